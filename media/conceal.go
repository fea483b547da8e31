package media

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// concealment keeps from an end's peer what a phone calls itself in RTCP: the
// canonical name is often user@host of the phone, and other items of a source
// description its owner's name (RFC 3550 §6.5). Every canonical name becomes
// another one of its length, the same for all streams under one key, since
// that is how a receiver knows which streams belong together; other items go.
type concealment struct {
	on  bool
	key [16]byte
}

const (
	sdesEnd   = 0
	sdesCNAME = 1
)

// Conceal replaces the canonical names in what leaves for an end's peer, by
// ones that tell nothing. Sessions of one call share a key, so that the
// receiver can still play its streams together. Key is secret: who knows it can
// try names.
func (s *Session) Conceal(e End, key [16]byte) {
	s.do(func(time.Duration) { s.ends[e].concealment = concealment{true, key} })
}

// rtcp changes a compound packet in place and gives it back, shorter where
// items went. It is false for a malformed one.
func (c *concealment) rtcp(pkt []byte) ([]byte, bool) {
	if !c.on {
		return pkt, true
	}
	kept := 0
	for rest := pkt; len(rest) > 0; {
		if len(rest) < 4 || rest[0]>>6 != 2 {
			return nil, false
		}
		size := 4 + 4*int(binary.BigEndian.Uint16(rest[2:]))
		if size > len(rest) {
			return nil, false
		}
		p, ok := rest[:size], true
		if p[1] == rtcpSDES {
			p, ok = c.sdes(p)
		}
		if !ok {
			return nil, false
		}
		kept += copy(pkt[kept:], p)
		rest = rest[size:]
	}
	return pkt[:kept], true
}

// sdes rebuilds a source description in place with its canonical names only.
func (c *concealment) sdes(p []byte) ([]byte, bool) {
	end := len(p)
	if p[0]&0x1f == 0 {
		return p, end == 4 // about nobody, and yet something would be said
	}
	if p[0]&0x20 != 0 {
		padding := int(p[end-1])
		if padding == 0 || padding > end-4 {
			return nil, false
		}
		end -= padding
	}
	in, out := 4, 4
	for range p[0] & 0x1f {
		if end-in < 8 {
			return nil, false
		}
		start := out
		out += copy(p[out:], p[in:in+4])
		named := false
		for in += 4; ; {
			if in >= end {
				return nil, false
			}
			if p[in] == sdesEnd {
				break
			}
			if in+2 > end || in+2+int(p[in+1]) > end {
				return nil, false
			}
			item := p[in : in+2+int(p[in+1])]
			in += len(item)
			if item[0] == sdesCNAME && !named {
				named = true
				out += c.name(p[out:], item)
			}
		}
		if in = in&^3 + 4; in > end {
			return nil, false
		}
		for first := true; first || (out-start)%4 != 0; first = false {
			p[out] = sdesEnd
			out++
		}
	}
	p[0] &^= 0x20
	binary.BigEndian.PutUint16(p[2:], uint16(out/4-1))
	return p[:out], true
}

// name writes an item in the place of one that dst may overlap from before.
func (c *concealment) name(dst, item []byte) int {
	const most = 255
	var secret [len(c.key) + most]byte
	n := copy(secret[:], c.key[:])
	n += copy(secret[n:], item[2:])
	sum := sha256.Sum256(secret[:n])
	var text [2 * len(sum)]byte
	hex.Encode(text[:], sum[:])
	size := len(item)
	dst[0], dst[1] = sdesCNAME, byte(size-2)
	for i := range size - 2 {
		dst[2+i] = text[i%len(text)]
	}
	return size
}
