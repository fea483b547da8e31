package attest

import (
	"context"
	"crypto/ed25519"
)

// State is the outcome of a check.
type State int

// Outcomes.
const (
	// Unchecked: the type or the key is not known here, or the key is expired,
	// revoked or weak. It counts as if it were not there.
	Unchecked State = iota
	// Right: the signature is by the named key.
	Right
	// Wrong: the check was made and failed: an attack or a fault.
	Wrong
)

// String is the state in one lower-case word.
func (s State) String() string {
	switch s {
	case Right:
		return "right"
	case Wrong:
		return "wrong"
	}
	return "unchecked"
}

// Result is what a check of one signature has found. Whether the identity is the
// peer that the call names is not known here: compare it with [SameIdentity].
type Result struct {
	Value Value
	State State
	// Owned says that the keyring vouches that the key belongs to the identity
	// of the value. It is true for no other State than Right, and for no ed25519
	// key: whose that is, pins and confirmations say.
	Owned bool
	// Why is a part of a sentence for people, such as "the OpenPGP key 0A1B… is
	// revoked". It holds nothing secret.
	Why string
}

// Keyring knows OpenPGP keys. [Keys] and [GnuPG] are keyrings. Methods may be
// called from any goroutine, and return soon after ctx is done.
type Keyring interface {
	// Verify checks a detached binary signature over text by the key of this
	// primary fingerprint, 40 or 64 upper-case hex digits, or by a signing subkey
	// of it. The result's Value is not filled in. A keyring that cannot be asked
	// gives Unchecked and says so in Why.
	Verify(ctx context.Context, fingerprint, identity string, text, signature []byte) Result
	// Usable says whether a key that can sign, and is neither expired, revoked
	// nor weak, belongs to an identity, so that a signature could prove it.
	Usable(ctx context.Context, identity string) bool
}

// Check checks one signature of the given role: t is T1 for the responder and T2
// for the initiator. keyring may be nil: there are no OpenPGP keys. It takes no
// longer than the keyring does; the rest is far below a millisecond.
func Check(ctx context.Context, keyring Keyring, role Role, t [32]byte, v Value) Result {
	r := Result{Value: v}
	if _, _, ok := cutIdentity(v.Identity); !ok {
		r.Why = "its identity is not of the form sip:user@host"
		return r
	}
	if v.Type != TypeEd25519 && v.Type != TypeOpenPGP {
		r.Why = "its type is not known here"
		return r
	}
	sig, err := decode(v.Signature)
	if err != nil || len(v.Signature) > maxValue {
		r.Why = "its signature is not base64url, or too long"
		return r
	}
	if v.Type == TypeOpenPGP {
		if keyring == nil {
			r.Why = "there is no OpenPGP keyring"
			return r
		}
		r = keyring.Verify(ctx, v.Key, v.Identity, v.Text(role, t), sig)
		r.Value, r.Owned = v, r.Owned && r.State == Right
		return r
	}
	key, err := decode(v.Key)
	switch {
	case err != nil || len(key) != ed25519.PublicKeySize:
		r.Why = "its key is no ed25519 key"
	case ed25519.Verify(key, v.Text(role, t), sig):
		r.State, r.Why = Right, "signed by the key "+Short(v)
	default:
		r.State, r.Why = Wrong, "the signature is not by the key that it names, or not of this call"
	}
	return r
}

// CheckAll checks what stood beside a share, one result for each value in the
// same order. A value of another form, which the key exchange lets through of no
// type that is known here, is Unchecked.
func CheckAll(ctx context.Context, keyring Keyring, role Role, t [32]byte, values []string) []Result {
	results := make([]Result, len(values))
	for i, s := range values {
		v, err := Parse(s)
		if err != nil {
			results[i].Why = "it is not of the form of a signature"
			continue
		}
		results[i] = Check(ctx, keyring, role, t, v)
	}
	return results
}

// Short names a key as people read it: the first 16 characters in groups of 4.
func Short(v Value) string {
	s := v.Key[:min(16, len(v.Key))]
	out := ""
	for i := 0; i < len(s); i += 4 {
		if i > 0 {
			out += " "
		}
		out += s[i:min(i+4, len(s))]
	}
	return out
}
