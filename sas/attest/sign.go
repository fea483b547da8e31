package attest

import (
	"context"
	"crypto/ed25519"
	"fmt"
)

// Signer signs transcripts for one identity.
type Signer interface {
	// Sign returns the value of a dh-sig. The error says in words why there is
	// none; the call then goes on without.
	Sign(ctx context.Context, role Role, t [32]byte, identity string) (string, error)
}

// Ed25519 signs with a private key.
type Ed25519 struct{ key ed25519.PrivateKey }

// NewEd25519 makes a signer of a private key, 64 octets (RFC 8032).
func NewEd25519(key ed25519.PrivateKey) (*Ed25519, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("attest: an ed25519 key of %d octets, not %d", len(key), ed25519.PrivateKeySize)
	}
	return &Ed25519{key}, nil
}

// Public is the key as it stands in the attribute.
func (s *Ed25519) Public() string { return encode(s.key.Public().(ed25519.PublicKey)) }

// Sign implements [Signer].
func (s *Ed25519) Sign(_ context.Context, role Role, t [32]byte, identity string) (string, error) {
	if _, _, ok := cutIdentity(identity); !ok {
		return "", fmt.Errorf("attest: %q is not an identity of the form sip:user@host", identity)
	}
	v := Value{Type: TypeEd25519, Key: s.Public(), Identity: identity}
	v.Signature = encode(ed25519.Sign(s.key, v.Text(role, t)))
	return v.String(), nil
}
