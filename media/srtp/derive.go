package srtp

import (
	"crypto/cipher"
)

// Labels of the key derivation (RFC 3711 section 4.3.1).
const (
	labelRTPKey = iota
	labelRTPAuth
	labelRTPSalt
	labelRTCPKey
	labelRTCPAuth
	labelRTCPSalt
)

// derive fills out with a session key (RFC 3711 section 4.3.1, with a key
// derivation rate of 0): the keystream of the master key, with the salt and the
// label as its initial counter. A salt of 12 octets counts as one of 14 with
// zeros behind it (RFC 7714 section 11).
func derive(out []byte, master cipher.Block, salt []byte, label byte) {
	var iv, block [16]byte
	copy(iv[:14], salt)
	iv[7] ^= label
	for n := 0; n < len(out); n += len(block) {
		master.Encrypt(block[:], iv[:])
		copy(out[n:], block[:])
		iv[15]++ // no session key is longer than 256 blocks
	}
	clear(block[:])
}
