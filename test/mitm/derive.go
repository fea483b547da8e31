package mitm

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"github.com/sipward/sipward/keyexchange"
)

// Grind tries keys of his own until one gives a short authentication string that
// near takes for the one that he needs, and returns the dh-fin that would open it,
// with the string. init is the dh-init that he has sent, resp the dh-resp that came
// back. ok is false where none of so many tries fits; fin is then the last one's.
//
// He derives the string by himself (protocol section 3), so that what he finds does
// not hang on the code that he attacks.
func Grind(init, resp string, tries int, near func([4]byte) bool) (fin string, sas [4]byte, ok bool) {
	share, ciphertext, err := x25519Share(resp)
	if err != nil {
		return "", sas, false
	}
	for range tries {
		key, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			return "", sas, false
		}
		fin = "1 " + base64.RawURLEncoding.EncodeToString(append(ciphertext, key.PublicKey().Bytes()...))
		if sas, err = stringOf(init, resp, key, share); err != nil {
			return "", sas, false
		}
		if near(sas) {
			return fin, sas, true
		}
	}
	return fin, sas, false
}

// stringOf is the string of an exchange as its initiator derives it.
func stringOf(init, resp string, key *ecdh.PrivateKey, share *ecdh.PublicKey) (sas [4]byte, err error) {
	z, err := key.ECDH(share)
	if err != nil {
		return sas, err
	}
	salt := hashOf("dh-srtp v1 sas", init, resp, string(key.PublicKey().Bytes()))
	prk, err := hkdf.Extract(sha256.New, z, salt[:])
	if err != nil {
		return sas, err
	}
	out, err := hkdf.Expand(sha256.New, prk, "sas", len(sas))
	copy(sas[:], out)
	return sas, err
}

// Transcript is what is signed: T1 of dh-init and dh-resp, T2 of dh-fin behind
// them. Whoever sees the messages knows it.
func Transcript(values ...string) [32]byte { return hashOf("dh-srtp v1 transcript", values...) }

func hashOf(label string, parts ...string) [32]byte {
	b := []byte(label)
	for _, part := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return sha256.Sum256(b)
}

// Commits says whether a dh-init holds the commitment to the key of a dh-fin
// (protocol section 2).
func Commits(init, fin string) bool {
	_, share, _ := strings.Cut(fin, " ")
	b, err := base64.RawURLEncoding.DecodeString(share)
	if err != nil || len(b) < x25519Len {
		return false
	}
	group := keyexchange.GroupX25519
	if len(b) > x25519Len {
		group = keyexchange.GroupX25519MLKEM768
	}
	sum := sha256.Sum256(append([]byte("dh-srtp v1 commit\x00"+group+"\x00"), b[len(b)-x25519Len:]...))
	return strings.Contains(init, group+"="+base64.RawURLEncoding.EncodeToString(sum[:]))
}

const x25519Len = 32 // octets of a public key

// x25519Share is the part of a dh-resp on which the string hangs, and in the hybrid
// group a ciphertext to its other part, on which it does not.
func x25519Share(resp string) (key *ecdh.PublicKey, ciphertext []byte, err error) {
	fields := strings.Split(resp, " ")
	if len(fields) != 4 {
		return nil, nil, errors.New("mitm: no dh-resp")
	}
	b, err := base64.RawURLEncoding.DecodeString(fields[3])
	if err != nil {
		return nil, nil, err
	}
	kem, x := b[:max(0, len(b)-x25519Len)], b[max(0, len(b)-x25519Len):]
	if len(kem) > 0 {
		ek, err := mlkem.NewEncapsulationKey768(kem)
		if err != nil {
			return nil, nil, err
		}
		_, ciphertext = ek.Encapsulate()
	}
	key, err = ecdh.X25519().NewPublicKey(x)
	return key, slices.Clip(ciphertext), err
}
