package srtp

import (
	"crypto/cipher"
	"encoding/binary"
)

// aeadCipher protects with an AEAD (RFC 7714): the header is authenticated, the
// payload encrypted, the tag stands behind it.
type aeadCipher struct {
	rtp     cipher.AEAD
	rtpSalt [12]byte
	nonce   [12]byte // scratch, so that nothing escapes per packet

	rtcp     cipher.AEAD
	rtcpSalt [12]byte
	aad      [rtcpHeaderLen + rtcpIndexLen]byte
}

func (c *aeadCipher) init(p *profile, key, salt []byte) error {
	master, err := p.block(key)
	if err != nil {
		return err
	}
	session := make([]byte, len(key))
	defer clear(session)
	derive(session, master, salt, labelRTPKey)
	if c.rtp, err = p.seal(session); err != nil {
		return err
	}
	derive(session, master, salt, labelRTCPKey)
	if c.rtcp, err = p.seal(session); err != nil {
		return err
	}
	derive(c.rtpSalt[:], master, salt, labelRTPSalt)
	derive(c.rtcpSalt[:], master, salt, labelRTCPSalt)
	return nil
}

// setNonce makes the 12-octet IV of RFC 7714 sections 8.1 and 9.1: two zero
// octets, the SSRC, the 48-bit index.
func (c *aeadCipher) setNonce(salt *[12]byte, ssrc uint32, index uint64) {
	binary.BigEndian.PutUint16(c.nonce[:], 0)
	binary.BigEndian.PutUint32(c.nonce[2:], ssrc)
	binary.BigEndian.PutUint16(c.nonce[6:], uint16(index>>32))
	binary.BigEndian.PutUint32(c.nonce[8:], uint32(index))
	for i := range c.nonce {
		c.nonce[i] ^= salt[i]
	}
}

func (c *aeadCipher) sealRTP(dst, pkt []byte, header int, ssrc uint32, index uint64) []byte {
	c.setNonce(&c.rtpSalt, ssrc, index)
	out := append(dst, pkt[:header]...)
	return c.rtp.Seal(out, c.nonce[:], pkt[header:], pkt[:header])
}

func (c *aeadCipher) openRTP(dst, pkt []byte, header int, ssrc uint32, index uint64) ([]byte, bool) {
	c.setNonce(&c.rtpSalt, ssrc, index)
	out, err := c.rtp.Open(append(dst, pkt[:header]...), c.nonce[:], pkt[header:], pkt[:header])
	return out, err == nil
}

func (c *aeadCipher) sealRTCP(dst, pkt []byte, ssrc, word uint32) []byte {
	c.authenticated(pkt, word)
	c.setNonce(&c.rtcpSalt, ssrc, uint64(word&^encryptedFlag))
	out := append(dst, pkt[:rtcpHeaderLen]...)
	out = c.rtcp.Seal(out, c.nonce[:], pkt[rtcpHeaderLen:], c.aad[:])
	return binary.BigEndian.AppendUint32(out, word)
}

func (c *aeadCipher) openRTCP(dst, pkt []byte, ssrc, word uint32) ([]byte, bool) {
	c.authenticated(pkt, word)
	c.setNonce(&c.rtcpSalt, ssrc, uint64(word&^encryptedFlag))
	out, err := c.rtcp.Open(append(dst, pkt[:rtcpHeaderLen]...), c.nonce[:], pkt[rtcpHeaderLen:len(pkt)-rtcpIndexLen], c.aad[:])
	return out, err == nil
}

// authenticated gathers what of an RTCP packet is authenticated and stays in
// clear (RFC 7714 section 9.2).
func (c *aeadCipher) authenticated(pkt []byte, word uint32) {
	copy(c.aad[:], pkt[:rtcpHeaderLen])
	binary.BigEndian.PutUint32(c.aad[rtcpHeaderLen:], word)
}
