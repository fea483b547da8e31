package attest

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// gpgAtOnce bounds the runs of gpg that sign at the same time: the agent works
// through them one by one anyway.
const gpgAtOnce = 4

// GnuPGSigner has GnuPG sign: the secret key stays with gpg-agent.
type GnuPGSigner struct {
	gpg     gpg
	timeout time.Duration
	primary string // what the attribute names
	with    string // what gpg is told
	slots   chan struct{}
}

// NewGnuPGSigner makes a signer of a secret key that GnuPG has: the fingerprint of
// a primary key, with which GnuPG takes the newest subkey that can sign where
// there is one, or of a subkey, which then signs itself. The error says in words
// what is missing. It waits for gpg, at most for the options' Timeout.
func NewGnuPGSigner(ctx context.Context, o GnuPGOptions, fingerprint string) (*GnuPGSigner, error) {
	s := &GnuPGSigner{gpg: o.gpg(), timeout: orDefault(o.Timeout, 2*time.Second), slots: make(chan struct{}, gpgAtOnce)}
	if !isFingerprint(fingerprint) {
		return nil, fmt.Errorf("attest: %q is not the fingerprint of an OpenPGP key, 40 or 64 upper-case hex digits; gpg --list-secret-keys shows it", fingerprint)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	out, err := s.gpg.run(ctx, nil, maxListing, "--with-colons", "--fixed-list-mode", "--list-secret-keys", fingerprint)
	if err != nil {
		return nil, fmt.Errorf("attest: the secret key %s cannot be used: %w", fingerprint, err)
	}
	list, err := parseListing(out)
	if err != nil {
		return nil, fmt.Errorf("attest: %w", err)
	}
	i := slices.IndexFunc(list, func(l listed) bool { return slices.Contains(l.signers, fingerprint) })
	if i < 0 {
		return nil, fmt.Errorf("attest: GnuPG has no secret key %s", fingerprint)
	}
	if why := list[i].why; why != "" {
		return nil, fmt.Errorf("attest: the key %s %s", fingerprint, why)
	}
	s.primary, s.with = list[i].fingerprint, fingerprint
	if s.with != s.primary {
		s.with += "!" // that very one
	}
	return s, nil
}

func isFingerprint(s string) bool {
	if len(s) != 40 && len(s) != 64 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// Fingerprint is the primary key's, as it stands in the attribute.
func (s *GnuPGSigner) Fingerprint() string { return s.primary }

// Sign implements [Signer]. It never asks for a passphrase: one that gpg-agent
// does not know yet is an error.
func (s *GnuPGSigner) Sign(ctx context.Context, role Role, t [32]byte, identity string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return signOpenPGP(s.primary, role, t, identity, func(text []byte) ([]byte, error) {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		case <-ctx.Done():
			return nil, fmt.Errorf("%s has too much to sign", s.gpg.program)
		}
		sig, err := s.gpg.run(ctx, text, maxValue, "--pinentry-mode", "error", "--digest-algo", "SHA256",
			"--no-armor", "--no-textmode", "--local-user", s.with, "--output", "-", "--detach-sign")
		if err != nil {
			return nil, fmt.Errorf("%w; a passphrase has to be known to gpg-agent before (gpg-preset-passphrase), or the key has none", err)
		}
		return sig, nil
	})
}
