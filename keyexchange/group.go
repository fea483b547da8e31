package keyexchange

import (
	"crypto/mlkem"
)

// Names of the groups that are built (protocol §2, "group"). Both are groups
// that every implementation has; the optional ones count as unknown here.
const (
	GroupX25519         = "x25519"
	GroupX25519MLKEM768 = "x25519mlkem768"
)

// Lengths in octets.
const (
	x25519Len  = 32 // X25519 public key, private key and result (RFC 7748)
	hashLen    = 32 // SHA-256
	kemSeedLen = mlkem.SeedSize
	kemKeyLen  = mlkem.EncapsulationKeySize768
	kemTextLen = mlkem.CiphertextSize768
)

// group is what the form of the attributes and the schedule need to know of
// one Diffie-Hellman group. In both groups a share ends with an X25519 public
// key, and that of the initiator is the committed key.
type group struct {
	name    string
	hybrid  bool // an ML-KEM-768 part stands before the X25519 key
	respLen int  // octets of the responder's share
	finLen  int  // octets of the initiator's share
}

// builtGroup finds a group by its name. ok is false for every group that is
// not built, whoever may have registered it.
func builtGroup(name string) (g group, ok bool) {
	switch name {
	case GroupX25519:
		return group{name: name, respLen: x25519Len, finLen: x25519Len}, true
	case GroupX25519MLKEM768:
		return group{name: name, hybrid: true, respLen: kemKeyLen + x25519Len, finLen: kemTextLen + x25519Len}, true
	}
	return group{}, false
}

// split cuts a share of the right length into its ML-KEM part, empty for
// x25519, and its X25519 public key.
func (g group) split(share []byte) (kem, dh []byte) {
	at := len(share) - x25519Len
	return share[:at], share[at:]
}
