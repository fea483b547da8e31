package srtp

import (
	"crypto/aes"
	"crypto/cipher"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/sipward/sipward/media/srtp/aria"
)

// Suite is a protection profile under its registered name. Lengths are those
// of the master key and master salt, in octets.
type Suite struct {
	Name    string
	KeyLen  int
	SaltLen int
	// Common says that every sipward has it. The others are built in, and
	// offered only where the configuration names them.
	Common bool
}

// MaxOverhead is the number of octets by which the longest suite lengthens a
// packet: for SRTCP under an AEAD a tag of 16 and an index of 4.
const MaxOverhead = 20

// profile is what a suite means to the code below.
type profile struct {
	Suite
	tag  int  // octets of the authentication tag, for RTP and RTCP
	aead bool // the tag stands before the SRTCP index, not behind it
	// block makes the cipher of the key derivation (RFC 3711 section 4.3.3).
	block func(key []byte) (cipher.Block, error)
	// seal makes the cipher of an AEAD suite from a session key; nil: AES in
	// counter mode with HMAC-SHA1.
	seal func(key []byte) (cipher.AEAD, error)
}

// profiles is the one table of suites, in order of preference: a further suite
// is a line here. No profile without authentication is ever listed.
var profiles = [...]profile{
	{Suite{"AEAD_AES_256_GCM", 32, 12, true}, 16, true, aes.NewCipher, newGCM},         // RFC 7714
	{Suite{"AEAD_AES_128_GCM", 16, 12, true}, 16, true, aes.NewCipher, newGCM},         // RFC 7714
	{Suite{"AES_256_CM_HMAC_SHA1_80", 32, 14, true}, 10, false, aes.NewCipher, nil},    // RFC 6188
	{Suite{"AES_CM_128_HMAC_SHA1_80", 16, 14, true}, 10, false, aes.NewCipher, nil},    // RFC 3711, RFC 4568
	{Suite{"AEAD_ARIA_256_GCM", 32, 12, false}, 16, true, aria.NewCipher, aria.NewGCM}, // RFC 8269
	// No RFC registers ChaCha20-Poly1305 for SRTP. This is RFC 7714 with that
	// cipher in the place of AES-GCM, and the name says that it is private.
	{Suite{"X_AEAD_CHACHA20_POLY1305", 32, 12, false}, 16, true, aes.NewCipher, chacha20poly1305.New},
}

func newGCM(key []byte) (cipher.AEAD, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}

// Suites lists the protection profiles this package knows, best first.
func Suites() []Suite {
	suites := make([]Suite, 0, len(profiles))
	for _, p := range profiles {
		suites = append(suites, p.Suite)
	}
	return suites
}

// lookup finds a profile by its registered name.
func lookup(name string) (*profile, bool) {
	for i := range profiles {
		if profiles[i].Name == name {
			return &profiles[i], true
		}
	}
	return nil, false
}
