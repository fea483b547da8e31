package keyexchange

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// The key schedule of protocol §3: HKDF (RFC 5869) with SHA-256.

const (
	chainLen = 32 // octets of the chain key
	sasLen   = 4  // octets of the short authentication string
)

// KeySalt is an SRTP master key and master salt (RFC 3711 §3.2.1), of the
// lengths that the suite names. Whoever holds it clears it.
type KeySalt struct {
	Key, Salt []byte
}

// Keys are the SRTP keys of one m= line as one end uses them: Send protects
// what this end sends, Recv verifies what the peer sends.
type Keys struct {
	Send, Recv KeySalt
}

// extractPRK is prk: the extract of the chain key, the ML-KEM secret (empty in
// group x25519) and the Diffie-Hellman result, with T3 as salt.
func extractPRK(t3 [hashLen]byte, chain, p, z []byte) ([]byte, error) {
	ikm := make([]byte, 0, 3*4+chainLen+len(p)+len(z)) // never grown, so that clear finds all of it
	for _, part := range [][]byte{chain, p, z} {
		ikm = binary.BigEndian.AppendUint32(ikm, uint32(len(part)))
		ikm = append(ikm, part...)
	}
	defer clear(ikm)
	return hkdf.Extract(sha256.New, ikm, t3[:])
}

// expandChain is the chain key that the next exchange of the dialog starts from.
func expandChain(prk []byte) ([]byte, error) {
	return hkdf.Expand(sha256.New, prk, "chain", chainLen)
}

// expandSRTP is SRTP(m, d). d is 'i' for what the initiator sends and 'r' for
// what the responder sends, m the index of the m= line.
func expandSRTP(prk []byte, s Suite, d, m byte) (KeySalt, error) {
	info := "srtp\x00" + s.Name + "\x00" + string([]byte{d, m})
	b, err := hkdf.Expand(sha256.New, prk, info, s.KeyLen+s.SaltLen)
	if err != nil {
		return KeySalt{}, fmt.Errorf("keyexchange: %w", err)
	}
	return KeySalt{Key: b[:s.KeyLen:s.KeyLen], Salt: b[s.KeyLen:]}, nil
}

// expandSAS is the short authentication string. It hangs on the
// Diffie-Hellman result and on nothing that either end may choose after it has
// seen the other's contribution.
func expandSAS(tsas [hashLen]byte, z []byte) (sas [sasLen]byte, err error) {
	prk, err := hkdf.Extract(sha256.New, z, tsas[:])
	if err != nil {
		return sas, err
	}
	defer clear(prk)
	b, err := hkdf.Expand(sha256.New, prk, "sas", sasLen)
	if err != nil {
		return sas, err
	}
	copy(sas[:], b)
	clear(b)
	return sas, nil
}
