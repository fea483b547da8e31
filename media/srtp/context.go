package srtp

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Errors of a Context. They say nothing about keys or contents.
var (
	ErrSuite     = errors.New("srtp: unknown protection profile")
	ErrKeyLength = errors.New("srtp: master key or salt has the wrong length")
	ErrErased    = errors.New("srtp: keys were erased")
	ErrMalformed = errors.New("srtp: not a packet of this form")
	ErrAuth      = errors.New("srtp: packet does not verify")
	ErrReplay    = errors.New("srtp: packet was seen before or is too old")
	ErrIndex     = errors.New("srtp: packet index was used before or is too old")
	ErrSources   = errors.New("srtp: too many SSRCs under one key")
	ErrExhausted = errors.New("srtp: key has protected all it may")
)

const (
	// maxSources bounds the SSRCs whose state one Context keeps. None may be
	// forgotten while the key lives, or its packets could be replayed.
	maxSources = 32

	rtpHeaderLen  = 12
	rtcpHeaderLen = 8
	rtcpIndexLen  = 4
	encryptedFlag = 1 << 31 // of the SRTCP index word (RFC 3711 section 3.4)
)

// Context protects packets of one direction, or unprotects them, never both.
// It is for one goroutine at a time and allocates nothing per packet of an SSRC
// that it knows.
//
// A relay of many calls finds little of one call in the processor's caches: what
// a packet needs stands together.
type Context struct {
	profile *profile
	cipher  transform  // nil: erased
	aead    aeadCipher // cipher, where the suite is an AEAD

	sent sources[sent]     // sender: used indices of each SSRC
	seen sources[received] // receiver: SSRCs that verified in RTP

	sentRTCP []sentRTCP // sender: the last SRTCP index of each SSRC
	seenRTCP []received // receiver: SSRCs that verified in RTCP
}

// sources is what is known of each SSRC. Most keys protect one, which needs no
// allocation of its own.
type sources[T any] struct {
	all   []T
	first [1]T
}

func (s *sources[T]) add(t T) *T {
	if s.all == nil {
		s.all = s.first[:0]
	}
	s.all = append(s.all, t)
	return &s.all[len(s.all)-1]
}

// sentRTCP is the last SRTCP index that an SSRC used.
type sentRTCP struct{ ssrc, index uint32 }

// transform is a cipher with its session keys. It is without memory: indices
// and windows are the Context's. The first octets of an RTP packet, its header,
// stay in clear, and the first 8 of an RTCP packet; word is the SRTCP index
// behind its E flag. Results are appended to dst, which for sealing may be
// pkt[:0]; false: the packet does not verify.
type transform interface {
	sealRTP(dst, pkt []byte, header int, ssrc uint32, index uint64) []byte
	openRTP(dst, pkt []byte, header int, ssrc uint32, index uint64) ([]byte, bool)
	sealRTCP(dst, pkt []byte, ssrc, word uint32) []byte
	openRTCP(dst, pkt []byte, ssrc, word uint32) ([]byte, bool)
}

// NewContext makes the Context for one direction from its master key and
// master salt, which the caller may clear afterwards. Rollover counter and
// SRTCP index start at 0. Errors: ErrSuite, ErrKeyLength.
func NewContext(suite string, key, salt []byte) (*Context, error) {
	p, ok := lookup(suite)
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrSuite, suite)
	}
	if len(key) != p.KeyLen || len(salt) != p.SaltLen {
		return nil, fmt.Errorf("%w: %s takes %d and %d octets, not %d and %d",
			ErrKeyLength, p.Name, p.KeyLen, p.SaltLen, len(key), len(salt))
	}
	c := &Context{profile: p}
	if err := c.newCipher(key, salt); err != nil {
		return nil, fmt.Errorf("srtp: %w", err)
	}
	return c, nil
}

func (c *Context) newCipher(key, salt []byte) (err error) {
	if c.profile.seal == nil {
		c.cipher, err = newCounter(c.profile, key, salt)
		return err
	}
	c.cipher = &c.aead
	return c.aead.init(c.profile, key, salt)
}

// Erase forgets the keys; every later call gives ErrErased. The master key was
// never kept. What the cipher objects derived from it can only be left to the
// garbage collector, which reuses it.
func (c *Context) Erase() {
	*c = Context{profile: c.profile}
}

// Fetch reads what the next packet will need, and gives something made of it that
// says nothing of keys. A relay of many calls does so for some packets before it
// works on the first.
func (c *Context) Fetch() uint64 {
	n := c.sent.first[0].highest + c.seen.first[0].highest + c.seen.first[0].window[3]
	if c.aead.rtp != nil {
		n += uint64(c.aead.rtp.NonceSize())
	}
	return n
}

// Protect encrypts and authenticates an RTP packet (RFC 3711 section 3.1) into
// dst, which may be pkt[:0] or have no octet in common with pkt; MaxOverhead
// octets of capacity beyond len(pkt) avoid an allocation.
//
// A packet whose index was used before under this key, or may have been, gives
// ErrIndex and nothing is written. The first packet of an SSRC has rollover
// counter 0; after that sequence numbers may move by less than 2^15.
func (c *Context) Protect(dst, pkt []byte) ([]byte, error) {
	if c.cipher == nil {
		return nil, ErrErased
	}
	header, ok := headerLen(pkt)
	if !ok {
		return nil, ErrMalformed
	}
	ssrc := binary.BigEndian.Uint32(pkt[8:])
	index, err := c.claim(ssrc, binary.BigEndian.Uint16(pkt[2:]))
	if err != nil {
		return nil, err
	}
	return c.cipher.sealRTP(dst, pkt, header, ssrc, index), nil
}

// headerLen returns the length of an RTP header with its CSRCs and its
// extension (RFC 3550 section 5.1).
func headerLen(pkt []byte) (n int, ok bool) {
	if len(pkt) < rtpHeaderLen || pkt[0]>>6 != 2 {
		return 0, false
	}
	n = rtpHeaderLen + 4*int(pkt[0]&0xf)
	if pkt[0]&0x10 != 0 {
		if n += 4; len(pkt) < n {
			return 0, false
		}
		// Cryptex (RFC 9335) would encrypt what here stays in clear; nobody
		// has negotiated it.
		if profile := binary.BigEndian.Uint16(pkt[n-4:]); profile == 0xc0de || profile == 0xc2de {
			return 0, false
		}
		n += 4 * int(binary.BigEndian.Uint16(pkt[n-2:]))
	}
	return n, n <= len(pkt)
}

// claim marks the packet's index as used, and returns it.
func (c *Context) claim(ssrc uint32, seq uint16) (uint64, error) {
	for i := range c.sent.all {
		if s := &c.sent.all[i]; s.ssrc == ssrc {
			return s.claim(seq)
		}
	}
	if len(c.sent.all) == maxSources {
		return 0, ErrSources
	}
	c.sent.add(sent{}).start(ssrc, seq)
	return uint64(seq), nil
}

// Unprotect authenticates and decrypts an SRTP packet into dst, which must not
// overlap pkt: pkt stays as it is, so that other keys can be tried. dst needs
// len(pkt) octets of capacity to avoid an allocation. Errors: ErrMalformed,
// ErrAuth, ErrReplay, ErrSources, ErrErased.
func (c *Context) Unprotect(dst, pkt []byte) ([]byte, error) {
	if c.cipher == nil {
		return nil, ErrErased
	}
	header, ok := headerLen(pkt)
	if !ok || len(pkt) < header+c.profile.tag {
		return nil, ErrMalformed
	}
	ssrc, seq := binary.BigEndian.Uint32(pkt[8:]), binary.BigEndian.Uint16(pkt[2:])
	r := find(c.seen.all, ssrc)
	if r == nil {
		return c.unprotectFirst(dst, pkt, header, ssrc, seq)
	}
	index, ok := r.index(seq)
	if !ok || !r.fresh(index) {
		return nil, ErrReplay
	}
	out, ok := c.cipher.openRTP(dst, pkt, header, ssrc, index)
	if !ok {
		return nil, ErrAuth
	}
	r.mark(index)
	return out, nil
}

// unprotectFirst takes a packet of an SSRC that has not verified yet. Nothing
// is kept of it unless it verifies.
//
// It tries rollover counter 1 as well: after a rekeying the sender's numbers go
// on, so that they can pass 65535 before the first packet arrives here, and
// without this the stream would stay unreadable.
func (c *Context) unprotectFirst(dst, pkt []byte, header int, ssrc uint32, seq uint16) ([]byte, error) {
	if len(c.seen.all) == maxSources {
		return nil, ErrSources
	}
	index := uint64(seq)
	out, ok := c.cipher.openRTP(dst, pkt, header, ssrc, index)
	if !ok && seq < 1<<15 {
		index |= 1 << 16
		out, ok = c.cipher.openRTP(dst, pkt, header, ssrc, index)
	}
	if !ok {
		return nil, ErrAuth
	}
	c.seen.add(received{ssrc: ssrc, highest: index, window: [4]uint64{1}})
	return out, nil
}

// ProtectRTCP encrypts and authenticates a compound RTCP packet (RFC 3711
// section 3.4) into dst, under the same rules as Protect. The index of the
// packet's first SSRC goes up by one.
func (c *Context) ProtectRTCP(dst, pkt []byte) ([]byte, error) {
	if c.cipher == nil {
		return nil, ErrErased
	}
	if len(pkt) < rtcpHeaderLen || pkt[0]>>6 != 2 {
		return nil, ErrMalformed
	}
	ssrc := binary.BigEndian.Uint32(pkt[4:])
	index, err := c.claimRTCP(ssrc)
	if err != nil {
		return nil, err
	}
	return c.cipher.sealRTCP(dst, pkt, ssrc, encryptedFlag|index), nil
}

func (c *Context) claimRTCP(ssrc uint32) (uint32, error) {
	for i := range c.sentRTCP {
		if s := &c.sentRTCP[i]; s.ssrc == ssrc {
			if s.index == encryptedFlag-1 {
				return 0, ErrExhausted
			}
			s.index++
			return s.index, nil
		}
	}
	if len(c.sentRTCP) == maxSources {
		return 0, ErrSources
	}
	c.sentRTCP = append(c.sentRTCP, sentRTCP{ssrc, 1})
	return 1, nil
}

// UnprotectRTCP authenticates and decrypts an SRTCP packet into dst, under the
// same rules as Unprotect. A packet that is authenticated but not encrypted is
// refused as malformed: every suite here encrypts RTCP.
func (c *Context) UnprotectRTCP(dst, pkt []byte) ([]byte, error) {
	if c.cipher == nil {
		return nil, ErrErased
	}
	word, ok := c.rtcpWord(pkt)
	if !ok || word&encryptedFlag == 0 || pkt[0]>>6 != 2 {
		return nil, ErrMalformed
	}
	ssrc, index := binary.BigEndian.Uint32(pkt[4:]), uint64(word&^encryptedFlag)
	r := find(c.seenRTCP, ssrc)
	switch {
	case r == nil && len(c.seenRTCP) == maxSources:
		return nil, ErrSources
	case r != nil && !r.fresh(index):
		return nil, ErrReplay
	}
	out, ok := c.cipher.openRTCP(dst, pkt, ssrc, word)
	if !ok {
		return nil, ErrAuth
	}
	if r == nil {
		c.seenRTCP = append(c.seenRTCP, received{ssrc: ssrc, highest: index})
		r = &c.seenRTCP[len(c.seenRTCP)-1]
	}
	r.mark(index)
	return out, nil
}

// RTCPIndex reads the SRTCP index of a protected packet, 0 where pkt is too
// short. It means something only once the packet has verified.
func (c *Context) RTCPIndex(pkt []byte) uint32 {
	word, _ := c.rtcpWord(pkt)
	return word &^ encryptedFlag
}

// rtcpWord reads the E flag and the index behind the encrypted part. With an
// AEAD the tag stands before that word, else behind it (RFC 7714 section 9.2).
func (c *Context) rtcpWord(pkt []byte) (word uint32, ok bool) {
	if len(pkt) < rtcpHeaderLen+rtcpIndexLen+c.profile.tag {
		return 0, false
	}
	at := len(pkt) - rtcpIndexLen
	if !c.profile.aead {
		at -= c.profile.tag
	}
	return binary.BigEndian.Uint32(pkt[at:]), true
}
