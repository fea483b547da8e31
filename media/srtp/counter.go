package srtp

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"
	"hash"
)

// counterCipher protects with AES in counter mode and HMAC-SHA1 (RFC 3711
// sections 4.1.1 and 4.2.1, RFC 6188): the payload is encrypted, then header
// and payload are authenticated together with the rollover counter.
type counterCipher struct {
	rtp, rtcp         cipher.Block
	rtpAuth, rtcpAuth hash.Hash
	rtpSalt, rtcpSalt [14]byte
	tag               int
	iv, stream        [16]byte // scratch, so that nothing escapes per packet
	word              [4]byte
	sum               [sha1.Size]byte
}

const authKeyLen = 20 // RFC 3711 section 5.2

func newCounter(p *profile, key, salt []byte) (*counterCipher, error) {
	master, err := p.block(key)
	if err != nil {
		return nil, err
	}
	c := &counterCipher{tag: p.tag}
	session := make([]byte, len(key))
	auth := make([]byte, authKeyLen)
	defer clear(session)
	defer clear(auth)
	derive(session, master, salt, labelRTPKey)
	if c.rtp, err = p.block(session); err != nil {
		return nil, err
	}
	derive(session, master, salt, labelRTCPKey)
	if c.rtcp, err = p.block(session); err != nil {
		return nil, err
	}
	derive(auth, master, salt, labelRTPAuth)
	c.rtpAuth = hmac.New(sha1.New, auth)
	derive(auth, master, salt, labelRTCPAuth)
	c.rtcpAuth = hmac.New(sha1.New, auth)
	derive(c.rtpSalt[:], master, salt, labelRTPSalt)
	derive(c.rtcpSalt[:], master, salt, labelRTCPSalt)
	return c, nil
}

// xor encrypts or decrypts src into dst, which are the same octets or have
// none in common. The initial counter is that of RFC 3711 section 4.1.1.
func (c *counterCipher) xor(dst, src []byte, block cipher.Block, salt *[14]byte, ssrc uint32, index uint64) {
	c.iv = [16]byte{}
	copy(c.iv[:], salt[:])
	binary.BigEndian.PutUint32(c.iv[4:], binary.BigEndian.Uint32(c.iv[4:])^ssrc)
	binary.BigEndian.PutUint64(c.iv[6:], binary.BigEndian.Uint64(c.iv[6:])^index)
	// The blocks are counted in the last two octets: no packet has 2^16 of them.
	for n := uint16(0); len(src) > 0; n++ {
		binary.BigEndian.PutUint16(c.iv[14:], n)
		block.Encrypt(c.stream[:], c.iv[:])
		done := subtle.XORBytes(dst, src, c.stream[:])
		dst, src = dst[done:], src[done:]
	}
}

// authenticate returns the tag of a packet, valid until the next call.
func (c *counterCipher) authenticate(h hash.Hash, pkt []byte, more []byte) []byte {
	h.Reset()
	h.Write(pkt)
	h.Write(more)
	return h.Sum(c.sum[:0])[:c.tag]
}

func (c *counterCipher) sealRTP(dst, pkt []byte, header int, ssrc uint32, index uint64) []byte {
	start := len(dst)
	out := append(dst, pkt...)
	sealed := out[start:]
	c.xor(sealed[header:], sealed[header:], c.rtp, &c.rtpSalt, ssrc, index)
	binary.BigEndian.PutUint32(c.word[:], uint32(index>>16))
	return append(out, c.authenticate(c.rtpAuth, sealed, c.word[:])...)
}

func (c *counterCipher) openRTP(dst, pkt []byte, header int, ssrc uint32, index uint64) ([]byte, bool) {
	body, tag := pkt[:len(pkt)-c.tag], pkt[len(pkt)-c.tag:]
	binary.BigEndian.PutUint32(c.word[:], uint32(index>>16))
	if subtle.ConstantTimeCompare(c.authenticate(c.rtpAuth, body, c.word[:]), tag) == 0 {
		return nil, false
	}
	start := len(dst)
	out := append(dst, body...)
	opened := out[start:]
	c.xor(opened[header:], opened[header:], c.rtp, &c.rtpSalt, ssrc, index)
	return out, true
}

func (c *counterCipher) sealRTCP(dst, pkt []byte, ssrc, word uint32) []byte {
	start := len(dst)
	out := append(dst, pkt...)
	c.xor(out[start+rtcpHeaderLen:], out[start+rtcpHeaderLen:], c.rtcp, &c.rtcpSalt, ssrc, uint64(word&^encryptedFlag))
	out = binary.BigEndian.AppendUint32(out, word)
	return append(out, c.authenticate(c.rtcpAuth, out[start:], nil)...)
}

func (c *counterCipher) openRTCP(dst, pkt []byte, ssrc, word uint32) ([]byte, bool) {
	body, tag := pkt[:len(pkt)-c.tag], pkt[len(pkt)-c.tag:]
	if subtle.ConstantTimeCompare(c.authenticate(c.rtcpAuth, body, nil), tag) == 0 {
		return nil, false
	}
	start := len(dst)
	out := append(dst, body[:len(body)-rtcpIndexLen]...)
	c.xor(out[start+rtcpHeaderLen:], out[start+rtcpHeaderLen:], c.rtcp, &c.rtcpSalt, ssrc, uint64(word&^encryptedFlag))
	return out, true
}
