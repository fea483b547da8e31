package auth

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"strings"
)

// Algorithm is a hash by its name in the registry of RFC 7616 section 6.1.
type Algorithm string

// The algorithms of RFC 8760, without their "-sess" variants, which no phone
// is known to need.
const (
	MD5       Algorithm = "MD5"         // RFC 3261; for phones that know nothing else
	SHA256    Algorithm = "SHA-256"     // RFC 8760
	SHA512256 Algorithm = "SHA-512-256" // RFC 8760
)

// byStrength holds every algorithm, the weakest first; an index into it is
// the algorithm's rank.
var byStrength = [...]Algorithm{MD5, SHA256, SHA512256}

// rank returns the algorithm's place in byStrength, or -1.
func (a Algorithm) rank() int {
	for i, known := range byStrength {
		if a == known {
			return i
		}
	}
	return -1
}

// algorithmNamed reads the algorithm parameter; its absence means MD5 (RFC
// 3261 section 22.4). Case does not matter, for phones write "md5".
func algorithmNamed(s string) (Algorithm, bool) {
	if s == "" {
		return MD5, true
	}
	for _, known := range byStrength {
		if strings.EqualFold(s, string(known)) {
			return known, true
		}
	}
	return "", false
}

// size is the length of a hash in octets.
func (a Algorithm) size() int {
	if a == MD5 {
		return md5.Size
	}
	return sha256.Size
}

// sum appends the hash of data to dst.
func (a Algorithm) sum(dst, data []byte) []byte {
	switch a {
	case MD5:
		h := md5.Sum(data)
		return append(dst, h[:]...)
	case SHA256:
		h := sha256.Sum256(data)
		return append(dst, h[:]...)
	case SHA512256:
		h := sha512.Sum512_256(data)
		return append(dst, h[:]...)
	}
	panic("auth: unknown algorithm " + string(a))
}

// sumHex appends the hash of data in lower-case hexadecimal digits, the form
// in which hashes enter other hashes.
func (a Algorithm) sumHex(dst, data []byte) []byte {
	var raw [sha256.Size]byte
	return hex.AppendEncode(dst, a.sum(raw[:0], data))
}

// HA1 returns H(user ":" realm ":" password) in lower-case hexadecimal digits
// (RFC 7616 section 3.4.2). It opens the account as the password does: keep it
// as secret. An unknown algorithm panics.
func HA1(a Algorithm, user, realm, password string) string {
	return ha1Of(a, user, realm, []byte(password))
}

func ha1Of(a Algorithm, user, realm string, password []byte) string {
	// Its full size at once: growing would leave copies of the password.
	b := make([]byte, 0, len(user)+len(realm)+len(password)+2)
	b = append(append(append(append(append(b, user...), ':'), realm...), ':'), password...)
	h := a.sumHex(nil, b)
	clear(b)
	return string(h)
}

// proof is what a response is computed over beside HA1 and the request; the
// parts stand as on the wire, quotes removed.
type proof struct {
	nonce, nc, cnonce, qop, uri string
}

// response appends the hash that answers a challenge (RFC 7616 section 3.4.1);
// without qop it is that of RFC 2069. The body counts for qop "auth-int" only.
func (a Algorithm) response(dst []byte, ha1 string, p proof, method string, body []byte) []byte {
	var space [512]byte // most of what phones send fits; else append allocates
	b := append(space[:0], method...)
	b = append(append(b, ':'), p.uri...)
	if strings.EqualFold(p.qop, "auth-int") {
		b = a.sumHex(append(b, ':'), body)
	}
	var ha2 [2 * sha256.Size]byte
	h2 := a.sumHex(ha2[:0], b)

	b = append(b[:0], ha1...)
	b = append(append(b, ':'), p.nonce...)
	if p.qop != "" {
		b = append(append(b, ':'), p.nc...)
		b = append(append(b, ':'), p.cnonce...)
		b = append(append(b, ':'), p.qop...)
	}
	b = append(append(b, ':'), h2...)
	return a.sum(dst, b)
}
