package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/console"
	"github.com/sipward/sipward/sas/attest"
	"github.com/sipward/sipward/store"
	"github.com/sipward/sipward/trust"
)

// signing is what signs calls, and what knows the keys of others.
type signing struct {
	identity *attest.IdentityKeys // nil where no state is kept, or nothing is signed
	openpgp  []openPGPSigner
	keyring  attest.Keyring // nil: none
	close    []func()
	log      *slog.Logger
}

type openPGPSigner struct {
	speaks configs.OpenPGPKey
	attest.Signer
}

// openSigning opens the keys that the configuration names. Where the passphrase of
// one is not there yet, the log says so and it signs once it is.
func openSigning(cfg *configs.Config, log *slog.Logger) (s *signing, err error) {
	s = &signing{log: log}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.keyring, err = openKeyring(cfg, log, &s.close); err != nil {
		return s, err
	}
	if cfg.Identity.Anonymous {
		return s, nil
	}
	if s.identity, err = openIdentity(cfg, log); err != nil {
		return s, err
	}
	if s.identity != nil {
		s.close = append(s.close, s.identity.Close)
	}
	for i, k := range cfg.Identity.OpenPGP {
		signer, end, err := openOpenPGP(k)
		if err != nil {
			return s, &exitError{statusUsage, fmt.Errorf("%w; %s", err, toChange(cfg, fmt.Sprintf("identity.openpgp[%d]", i)))}
		}
		s.close = append(s.close, end)
		s.openpgp = append(s.openpgp, openPGPSigner{k, signer})
		go tryOut(k, signer, log)
	}
	return s, nil
}

func openOpenPGP(k configs.OpenPGPKey) (attest.Signer, func(), error) {
	if k.File != "" {
		key, err := attest.OpenKeyFile(k.File, k.PassphraseFile)
		if err != nil {
			return nil, nil, err
		}
		return key, key.Close, nil
	}
	key, err := attest.NewGnuPGSigner(context.Background(), attest.GnuPGOptions{HomeDir: k.Home}, k.GnuPG)
	if err != nil {
		return nil, nil, err
	}
	return key, func() {}, nil
}

// tryOut has a key sign once at the start, which wakes gpg-agent before the first
// call, and says where it cannot.
func tryOut(k configs.OpenPGPKey, s attest.Signer, log *slog.Logger) {
	if _, err := s.Sign(context.Background(), attest.Responder, [32]byte{}, "sip:nobody@sipward.invalid"); err != nil {
		log.Warn("an OpenPGP key does not sign now, so calls go without its signature", "for", k.For.String(), "error", err)
	}
}

func openKeyring(cfg *configs.Config, log *slog.Logger, closing *[]func()) (attest.Keyring, error) {
	switch k := cfg.Keyring; {
	case k.GnuPG:
		g := attest.NewGnuPG(attest.GnuPGOptions{HomeDir: k.Home})
		*closing = append(*closing, g.Close)
		return g, nil
	case k.Files != "":
		keys, err := attest.OpenKeys(k.Files, func(err error) { log.Warn("the keyring's new files are not used", "error", err) })
		if err != nil {
			return nil, &exitError{statusUsage, fmt.Errorf("%w; %s", err, toChange(cfg, "keyring.files"))}
		}
		return keys, nil
	}
	return nil, nil
}

// signers are the keys that speak for an identity: the user's or sipward's own, and
// those of OpenPGP.
func (s *signing) signers(identity string) (keys []attest.Signer) {
	if s.identity != nil {
		user, _, _ := strings.Cut(strings.TrimPrefix(identity, "sip:"), "@")
		own, err := s.identity.Signers(user)
		if err != nil {
			s.log.Error("the identity key cannot be used, so this call is not signed with it", "error", err)
		}
		for _, k := range own {
			keys = append(keys, k)
		}
	}
	for _, k := range s.openpgp {
		if ok, err := k.speaks.For.Match(identity); ok && err == nil {
			keys = append(keys, k.Signer)
		}
	}
	return keys
}

// Close erases the keys.
func (s *signing) Close() {
	for _, f := range s.close {
		f()
	}
}

// into gives the proxy what it signs and checks with.
func (s *signing) into(o *b2bua.Options, cfg *configs.Config, m *trust.Memory) {
	o.Keyring, o.Memory, o.Anonymous = s.keyring, m, cfg.Identity.Anonymous
	if !o.Anonymous {
		o.Signers = s.signers
	}
	switch cfg.Identity.Answers {
	case configs.AnswersPeers:
		o.SignsFor = func(peer string) bool { return peer != "" }
	case configs.AnswersNobody:
		o.SignsFor = func(string) bool { return false }
	}
}

// openMemory reads what is remembered of peers; without a state it is remembered
// until the end only.
func openMemory(state store.Store) (*trust.Memory, error) {
	if state == nil {
		return trust.Open(nil)
	}
	m, err := trust.Open(store.NewRecords(state, trustBucket))
	if err != nil {
		return nil, fmt.Errorf("what is remembered of peers cannot be read: %w", err)
	}
	return m, nil
}

// remembered shows a memory to the console.
type remembered struct{ m *trust.Memory }

func (r remembered) Export(w io.Writer) error          { return r.m.Export(w) }
func (r remembered) Import(in io.Reader) (int, error)  { return r.m.Import(in) }
func (r remembered) Forget(identity, key string) error { return known(r.m.Forget(identity, key)) }

func (r remembered) Confirm(identity, key string) error {
	return known(r.m.Confirm(identity, key, "console", time.Now()))
}

func (r remembered) Block(identity, keyType, key string, blocked bool) error {
	switch {
	case identity != "" && key != "":
		return errors.New("block an identity or a key, one at a time")
	case key != "":
		return r.m.BlockKey(keyType, key, blocked)
	}
	return r.m.Block(identity, blocked)
}

func known(err error) error {
	if errors.Is(err, trust.ErrUnknown) {
		return fmt.Errorf("%w: %s", console.ErrNotRemembered, strings.TrimPrefix(err.Error(), trust.ErrUnknown.Error()))
	}
	return err
}
