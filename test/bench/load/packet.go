package load

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/pion/srtp/v3"

	"github.com/sipward/sipward/test/bench/plan"
)

const (
	headerLen  = 12
	payloadLen = 160
	firstSSRC  = 0x53570000
)

// direction is one of the two ways through a relay.
type direction uint8

const (
	protecting   direction = iota // plain in, SRTP out
	unprotecting                  // SRTP in, plain out
	directions
)

// name tells packets apart: the number counts those of one call and direction
// over all runs.
type name struct {
	call   uint32
	dir    direction
	number uint32
}

// appendPacket builds the packet of a name.
func appendPacket(b []byte, n name) []byte {
	marker := byte(0)
	if n.number == 0 {
		marker = 0x80
	}
	b = append(b, 0x80, marker)
	b = binary.BigEndian.AppendUint16(b, uint16(n.number))
	b = binary.BigEndian.AppendUint32(b, n.number*payloadLen)
	b = binary.BigEndian.AppendUint32(b, firstSSRC+n.call<<1+uint32(n.dir))
	return appendPayload(b, n)
}

// appendPayload writes the name and then octets that depend on all of it, so
// that a payload in a wrong place, or changed by a bit, is found.
func appendPayload(b []byte, n name) []byte {
	b = binary.BigEndian.AppendUint32(b, n.call<<1|uint32(n.dir))
	b = binary.BigEndian.AppendUint32(b, n.number)
	x := uint64(n.call)<<33 ^ uint64(n.dir)<<32 ^ uint64(n.number) ^ 0x9e3779b97f4a7c15
	for range (payloadLen - 8) / 8 { // xorshift64, never 0
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b = binary.BigEndian.AppendUint64(b, x)
	}
	return b
}

// readPacket finds the name of a clear packet and whether all of its payload is
// as it was sent.
func readPacket(pkt, scratch []byte) (name, bool) {
	if !isRTP(pkt) || pkt[0]&0x30 != 0 { // neither padding nor an extension was sent
		return name{}, false
	}
	start := headerLen + 4*int(pkt[0]&0x0f)
	if len(pkt) != start+payloadLen {
		return name{}, false
	}
	payload := pkt[start:]
	first := binary.BigEndian.Uint32(payload)
	n := name{first >> 1, direction(first & 1), binary.BigEndian.Uint32(payload[4:])}
	return n, bytes.Equal(payload, appendPayload(scratch[:0], n))
}

// isRTP tells RTP from RTCP (RFC 5761 section 4) and from everything else.
func isRTP(pkt []byte) bool {
	return len(pkt) >= headerLen && pkt[0]>>6 == 2 && (pkt[1] < 192 || pkt[1] > 223)
}

// profiles are the suites that a run can have: those of pion/srtp.
var profiles = map[string]srtp.ProtectionProfile{
	"AEAD_AES_128_GCM":        srtp.ProtectionProfileAeadAes128Gcm,
	"AEAD_AES_256_GCM":        srtp.ProtectionProfileAeadAes256Gcm,
	"AES_CM_128_HMAC_SHA1_80": srtp.ProtectionProfileAes128CmHmacSha1_80,
	"AES_256_CM_HMAC_SHA1_80": srtp.ProtectionProfileAes256CmHmacSha1_80,
}

// cipherOf is one direction's SRTP, nil for the suite NONE.
func cipherOf(suite, key string) (*srtp.Context, error) {
	if suite == plan.None {
		return nil, nil
	}
	profile, ok := profiles[suite]
	if !ok {
		return nil, fmt.Errorf("load: no SRTP of the suite %q here", suite)
	}
	k, err := plan.ParseKey(suite, key)
	if err != nil {
		return nil, err
	}
	return srtp.CreateContext(k.Key, k.Salt, profile)
}
