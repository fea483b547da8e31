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

// Result is what a check of one signature has found.
type Result struct {
	Value Value
	State State
	// Owned says that the keyring holds the key and vouches that it belongs to
	// the identity. Of an ed25519 key nothing here can say so.
	Owned bool
	Why   string // in words
}

// Keyring checks OpenPGP signatures.
type Keyring interface {
	// Verify checks a detached signature by the key of this fingerprint, in
	// upper-case hex, or by a signing subkey of it. The result's Value is not
	// filled in.
	Verify(ctx context.Context, fingerprint, identity string, text, signature []byte) Result
	// Usable says whether a key that is neither expired, revoked nor weak belongs
	// to an identity, so that it could prove it.
	Usable(ctx context.Context, identity string) bool
}

// Check checks one signature. keyring may be nil: there are no OpenPGP keys.
func Check(ctx context.Context, keyring Keyring, role Role, t [32]byte, v Value) Result {
	r := Result{Value: v}
	if _, _, ok := cutIdentity(v.Identity); !ok {
		r.Why = "its identity is not of the form sip:user@host"
		return r
	}
	sig, err := decode(v.Signature)
	if err != nil {
		r.Why = "its signature is not base64url"
		return r
	}
	switch v.Type {
	case TypeEd25519:
		key, err := decode(v.Key)
		switch {
		case err != nil || len(key) != ed25519.PublicKeySize:
			r.Why = "its key is no ed25519 key"
		case ed25519.Verify(key, v.Text(role, t), sig):
			r.State, r.Why = Right, "signed by the key "+Short(v)
		default:
			r.State, r.Why = Wrong, "the signature is not by the key that it names, or not of this call"
		}
	case TypeOpenPGP:
		if keyring == nil {
			r.Why = "there is no OpenPGP keyring"
			return r
		}
		r = keyring.Verify(ctx, v.Key, v.Identity, v.Text(role, t), sig)
		r.Value = v
	default:
		r.Why = "its type is not known here"
	}
	return r
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
