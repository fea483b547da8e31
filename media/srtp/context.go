package srtp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	pion "github.com/pion/srtp/v3"
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
	// replayWindow is the receiver's window, in packets (RFC 3711 §3.3.2 asks
	// for 64 at least).
	replayWindow = 256
	// maxSources bounds the SSRCs whose state one Context keeps. None may be
	// forgotten while the key lives, or its packets could be replayed.
	maxSources = 32

	rtpHeaderLen  = 12
	rtcpHeaderLen = 8
	rtcpIndexLen  = 4
)

// Context protects packets of one direction, or unprotects them, never both.
// It is for one goroutine at a time and allocates nothing per RTP packet that
// verifies.
type Context struct {
	profile profile
	inner   *pion.Context
	rtp     rtp.Header // scratch, so that parsing does not allocate
	rtcp    rtcp.Header

	sent     []sent   // sender: used indices of each SSRC
	seen     []uint32 // receiver: SSRCs that verified in RTP
	seenRTCP []uint32 // and in RTCP
	guessed  int      // receiver: SSRCs for which a second rollover counter was tried
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
	inner, err := pion.CreateContext(key, salt, p.id,
		pion.SRTPReplayProtection(replayWindow), pion.SRTCPReplayProtection(replayWindow))
	if err != nil {
		return nil, fmt.Errorf("srtp: %w", err)
	}
	return &Context{profile: p, inner: inner}, nil
}

// Erase forgets the keys; every later call gives ErrErased. The master key was
// never kept. What the cipher objects derived from it can only be left to the
// garbage collector, which reuses it.
func (c *Context) Erase() {
	*c = Context{profile: c.profile}
}

// Protect encrypts and authenticates an RTP packet (RFC 3711 §3.1) into dst,
// which may be pkt[:0] or have no octet in common with pkt; MaxOverhead octets
// of capacity beyond len(pkt) avoid an allocation.
//
// A packet whose index was used before under this key, or may have been, gives
// ErrIndex and nothing is written. The first packet of an SSRC has rollover
// counter 0; after that sequence numbers may move by less than 2^15.
func (c *Context) Protect(dst, pkt []byte) ([]byte, error) {
	if c.inner == nil {
		return nil, ErrErased
	}
	if len(pkt) < rtpHeaderLen || pkt[0]>>6 != 2 {
		return nil, ErrMalformed
	}
	if _, err := c.rtp.Unmarshal(pkt); err != nil {
		return nil, ErrMalformed
	}
	if err := c.claim(c.rtp.SSRC, c.rtp.SequenceNumber); err != nil {
		return nil, err
	}
	out, err := c.inner.EncryptRTP(dst, pkt, &c.rtp)
	if err != nil {
		return nil, ErrExhausted
	}
	return out, nil
}

// claim marks the packet's index as used.
func (c *Context) claim(ssrc uint32, seq uint16) error {
	for i := range c.sent {
		if c.sent[i].ssrc == ssrc {
			if !c.sent[i].claim(seq) {
				return ErrIndex
			}
			return nil
		}
	}
	if len(c.sent) == maxSources {
		return ErrSources
	}
	c.sent = append(c.sent, sent{})
	c.sent[len(c.sent)-1].start(ssrc, seq)
	return nil
}

// Unprotect authenticates and decrypts an SRTP packet into dst, which must not
// overlap pkt: pkt stays as it is, so that other keys can be tried. dst needs
// len(pkt) octets of capacity to avoid an allocation. Errors: ErrMalformed,
// ErrAuth, ErrReplay, ErrSources, ErrErased.
func (c *Context) Unprotect(dst, pkt []byte) ([]byte, error) {
	if c.inner == nil {
		return nil, ErrErased
	}
	if len(pkt) < rtpHeaderLen+c.profile.rtpTag || pkt[0]>>6 != 2 {
		return nil, ErrMalformed
	}
	ssrc := binary.BigEndian.Uint32(pkt[8:])
	known := slices.Contains(c.seen, ssrc)
	if !known && len(c.seen) == maxSources {
		return nil, ErrSources
	}
	out, err := c.open(dst, pkt)
	if err == ErrAuth && !known && pkt[2] < 0x80 {
		out, err = c.openWrapped(dst, pkt, ssrc)
	}
	if err == nil && !known {
		c.seen = append(c.seen, ssrc)
	}
	return out, err
}

func (c *Context) open(dst, pkt []byte) ([]byte, error) {
	out, err := c.inner.DecryptRTP(dst, pkt, &c.rtp)
	if err == nil {
		return out, nil
	}
	if errors.Is(err, pion.ErrFailedToVerifyAuthTag) {
		return nil, ErrAuth
	}
	n, err := c.rtp.Unmarshal(pkt)
	cryptex := c.rtp.Extension &&
		(c.rtp.ExtensionProfile == rtp.CryptexProfileOneByte || c.rtp.ExtensionProfile == rtp.CryptexProfileTwoByte)
	if err != nil || cryptex || len(pkt) < n+c.profile.rtpTag {
		return nil, ErrMalformed
	}
	return nil, ErrReplay
}

// openWrapped tries rollover counter 1 for an SSRC that has not verified yet.
// After a rekeying the sender's numbers go on, so that they can pass 65535
// before the first packet arrives here; without this the stream would stay
// unreadable. The tries are bounded, as strangers can cause them.
func (c *Context) openWrapped(dst, pkt []byte, ssrc uint32) ([]byte, error) {
	if _, tried := c.inner.ROC(ssrc); !tried {
		if c.guessed == maxSources {
			return nil, ErrAuth
		}
		c.guessed++
	}
	c.inner.SetROC(ssrc, 1)
	out, err := c.open(dst, pkt)
	if err != nil {
		c.inner.SetROC(ssrc, 0)
	}
	return out, err
}

// ProtectRTCP encrypts and authenticates a compound RTCP packet (RFC 3711
// §3.4) into dst, under the same rules as Protect. The index of the packet's
// first SSRC goes up by one.
func (c *Context) ProtectRTCP(dst, pkt []byte) ([]byte, error) {
	if c.inner == nil {
		return nil, ErrErased
	}
	if len(pkt) < rtcpHeaderLen || pkt[0]>>6 != 2 {
		return nil, ErrMalformed
	}
	out, err := c.inner.EncryptRTCP(dst, pkt, &c.rtcp)
	if err != nil {
		return nil, ErrExhausted
	}
	return out, nil
}

// UnprotectRTCP authenticates and decrypts an SRTCP packet into dst, under the
// same rules as Unprotect. A packet that is authenticated but not encrypted is
// refused as malformed: every suite here encrypts RTCP.
func (c *Context) UnprotectRTCP(dst, pkt []byte) ([]byte, error) {
	if c.inner == nil {
		return nil, ErrErased
	}
	_, encrypted, ok := c.rtcpIndex(pkt)
	if !ok || !encrypted || pkt[0]>>6 != 2 {
		return nil, ErrMalformed
	}
	ssrc := binary.BigEndian.Uint32(pkt[4:])
	known := slices.Contains(c.seenRTCP, ssrc)
	if !known && len(c.seenRTCP) == maxSources {
		return nil, ErrSources
	}
	out, err := c.inner.DecryptRTCP(dst, pkt, &c.rtcp)
	switch {
	case err == nil:
		if !known {
			c.seenRTCP = append(c.seenRTCP, ssrc)
		}
		return out, nil
	case errors.Is(err, pion.ErrFailedToVerifyAuthTag):
		return nil, ErrAuth
	case c.rtcp.Unmarshal(pkt) != nil:
		return nil, ErrMalformed
	}
	return nil, ErrReplay
}

// RTCPIndex reads the SRTCP index of a protected packet, 0 where pkt is too
// short. It means something only once the packet has verified.
func (c *Context) RTCPIndex(pkt []byte) uint32 {
	index, _, _ := c.rtcpIndex(pkt)
	return index
}

// rtcpIndex reads the word behind the encrypted part: the E flag and the index.
// With an AEAD the tag stands before that word, else behind it (RFC 7714 §9.2).
func (c *Context) rtcpIndex(pkt []byte) (index uint32, encrypted, ok bool) {
	if len(pkt) < rtcpHeaderLen+rtcpIndexLen+c.profile.rtcpTag {
		return 0, false, false
	}
	at := len(pkt) - rtcpIndexLen
	if !c.profile.aead {
		at -= c.profile.rtcpTag
	}
	word := binary.BigEndian.Uint32(pkt[at:])
	return word &^ (1 << 31), word>>31 == 1, true
}
