package attest

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
)

// Types of signatures.
const (
	TypeEd25519 = "ed25519"
	TypeOpenPGP = "openpgp"
)

// Role is which end signs. It belongs to the INVITE transaction.
type Role string

// The roles, as they stand in the signed text.
const (
	Initiator Role = "initiator" // signs T2, beside dh-fin
	Responder Role = "responder" // signs T1, beside dh-resp
)

// Value is the value of a dh-sig, its fields as they stand in the attribute.
type Value struct{ Type, Key, Identity, Signature string }

// maxValue bounds a value, in octets: an OpenPGP signature by RSA 4096 takes
// about 850.
const maxValue = 8192

var errForm = errors.New("attest: not four fields of visible ASCII with one space between them")

// Parse reads a value. Forms of known types are the key exchange's affair,
// which has read the value before.
func Parse(value string) (Value, error) {
	if len(value) > maxValue {
		return Value{}, errForm
	}
	f := strings.Split(value, " ")
	if len(f) != 4 {
		return Value{}, errForm
	}
	for _, s := range f {
		if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
			return Value{}, errForm
		}
	}
	return Value{f[0], f[1], f[2], f[3]}, nil
}

// String is the inverse of Parse.
func (v Value) String() string {
	return v.Type + " " + v.Key + " " + v.Identity + " " + v.Signature
}

// Text is what a signature is made over: t is T1 for the responder and T2 for
// the initiator. The signature's own field does not enter.
func (v Value) Text(role Role, t [32]byte) []byte {
	b := []byte("dh-srtp v1 signature\x00" + string(role) + "\x00")
	b = append(b, t[:]...)
	for _, s := range []string{v.Type, v.Key, v.Identity} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return b
}

func decode(s string) ([]byte, error) { return base64.RawURLEncoding.Strict().DecodeString(s) }

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// SameIdentity says whether two identities are the same: scheme sip, the user
// octet for octet, the host without regard to case, no parameters and no port
// (protocol section 5).
func SameIdentity(a, b string) bool {
	userA, hostA, okA := cutIdentity(a)
	userB, hostB, okB := cutIdentity(b)
	return okA && okB && userA == userB && strings.EqualFold(hostA, hostB)
}

// cutIdentity takes an identity apart. Nothing but visible ASCII is one: letters
// of other scripts that count as the same as one of ASCII regardless of case, such
// as the Kelvin sign, would make two hosts one.
func cutIdentity(s string) (user, host string, ok bool) {
	s, ok = strings.CutPrefix(s, "sip:")
	if !ok || strings.ContainsFunc(s, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
		return "", "", false
	}
	user, host, ok = strings.Cut(s, "@")
	if !ok || user == "" || host == "" || strings.ContainsAny(user, ";?<>") || strings.ContainsAny(host, "@;?<>") {
		return "", "", false
	}
	if strings.HasPrefix(host, "[") { // IPv6
		return user, host, strings.HasSuffix(host, "]") && len(host) > 2
	}
	return user, host, !strings.Contains(host, ":")
}
