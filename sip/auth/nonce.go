package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// nonce is what a server's nonce says: when it was made and which one of that
// time it is. On the wire it is base64url of
//
//	8 octets  made: nanoseconds on the challenger's own clock, big-endian
//	8 octets  random
//	16 octets HMAC-SHA256 over both, cut off
//
// so that a challenge needs no memory. The clock starts at a random time with
// each challenger: a nonce does not tell how long the process runs, and a step
// of the machine's clock makes none valid again.
type nonce struct {
	made int64
	tail uint64
}

const (
	nonceBody   = 16
	nonceOctets = nonceBody + 16
)

// mint makes and reads nonces.
type mint struct {
	key   [32]byte
	start time.Time
	shift int64 // what the clock shows at start
}

func newMint(start time.Time) *mint {
	m := &mint{start: start}
	var b [8]byte
	rand.Read(m.key[:])
	rand.Read(b[:])
	// Below 2^61: what is left lasts for more than 200 years.
	m.shift = int64(binary.BigEndian.Uint64(b[:])>>3) + int64(time.Hour)
	return m
}

// clock reads the mint's own clock.
func (m *mint) clock(now time.Time) int64 { return m.shift + int64(now.Sub(m.start)) }

// issue returns a fresh nonce as text.
func (m *mint) issue(now time.Time) string {
	var b [nonceOctets]byte
	binary.BigEndian.PutUint64(b[:], uint64(m.clock(now)))
	rand.Read(b[8:nonceBody])
	m.mac(b[nonceBody:], b[:nonceBody])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// open reads a nonce; ok is false where this mint did not issue it.
func (m *mint) open(s string) (n nonce, ok bool) {
	var b [nonceOctets]byte
	if len(s) != base64.RawURLEncoding.EncodedLen(nonceOctets) {
		return nonce{}, false
	}
	// Strict: one nonce has one spelling.
	if _, err := base64.RawURLEncoding.Strict().Decode(b[:], []byte(s)); err != nil {
		return nonce{}, false
	}
	var want [nonceOctets - nonceBody]byte
	m.mac(want[:], b[:nonceBody])
	if !hmac.Equal(want[:], b[nonceBody:]) {
		return nonce{}, false
	}
	return nonce{int64(binary.BigEndian.Uint64(b[:])), binary.BigEndian.Uint64(b[8:])}, true
}

func (m *mint) mac(dst, body []byte) {
	h := hmac.New(sha256.New, m.key[:])
	h.Write(body)
	var sum [sha256.Size]byte
	copy(dst, h.Sum(sum[:0]))
}
