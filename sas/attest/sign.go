package attest

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"
)

// Signer signs transcripts with one key. [Ed25519], [KeyFile] and [GnuPGSigner]
// are signers. Methods may be called from any goroutine.
type Signer interface {
	// Sign returns the value of a dh-sig: t is T1 for the responder and T2 for
	// the initiator. The error says in words why there is none; the call then
	// goes on without. It returns soon after ctx is done, and whatever happens
	// within the time that the signer was made with.
	Sign(ctx context.Context, role Role, t [32]byte, identity string) (string, error)
}

// Ed25519 signs with an identity key of sipward.
type Ed25519 struct {
	public string
	mu     sync.RWMutex
	key    ed25519.PrivateKey // nil: closed
}

// NewEd25519 makes a signer of a seed, 32 octets (RFC 8032), of which it keeps a
// copy until Close.
func NewEd25519(seed []byte) (*Ed25519, error) {
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("attest: an ed25519 seed of %d octets, not %d", len(seed), ed25519.SeedSize)
	}
	key := ed25519.NewKeyFromSeed(seed)
	return &Ed25519{public: encode(key[ed25519.SeedSize:]), key: key}, nil
}

// Public is the key as it stands in the attribute.
func (s *Ed25519) Public() string { return s.public }

// Sign implements [Signer].
func (s *Ed25519) Sign(_ context.Context, role Role, t [32]byte, identity string) (string, error) {
	if err := checkIdentity(identity); err != nil {
		return "", err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.key == nil {
		return "", errors.New("attest: the key is erased")
	}
	v := Value{Type: TypeEd25519, Key: s.public, Identity: identity}
	v.Signature = encode(ed25519.Sign(s.key, v.Text(role, t)))
	return v.String(), nil
}

// Close overwrites the key. Sign then fails.
func (s *Ed25519) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.key)
	s.key = nil
}

func checkIdentity(identity string) error {
	if _, _, ok := cutIdentity(identity); !ok || len(identity) > maxIdentity {
		return fmt.Errorf("attest: %q is not an identity of the form sip:user@host", clip(identity))
	}
	return nil
}

// maxIdentity leaves room for the signature in a value, in octets.
const maxIdentity = 512

// signOpenPGP makes the value of a dh-sig of what sign gives, and looks whether it
// is what peers take.
func signOpenPGP(fingerprint string, role Role, t [32]byte, identity string, sign func(text []byte) ([]byte, error)) (string, error) {
	if err := checkIdentity(identity); err != nil {
		return "", err
	}
	v := Value{Type: TypeOpenPGP, Key: fingerprint, Identity: identity}
	b, err := sign(v.Text(role, t))
	if err != nil {
		return "", fmt.Errorf("attest: the OpenPGP key %s has not signed: %w", fingerprint, err)
	}
	sig, err := readSignature(b)
	if err == nil && !strongHash(sig.Hash) {
		err = errors.New("made with the weak digest " + sig.Hash.String())
	}
	v.Signature = encode(b)
	s := v.String()
	if err == nil && len(s) > maxValue {
		err = fmt.Errorf("longer than %d octets", maxValue)
	}
	if err != nil {
		return "", fmt.Errorf("attest: the signature of the OpenPGP key %s cannot be used: %w", fingerprint, err)
	}
	return s, nil
}
