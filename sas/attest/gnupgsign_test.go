package attest

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// checkSigner has a signer sign in both roles, and checks that with the keyring.
func checkSigner(t *testing.T, k Keyring, s Signer, fingerprint string) {
	t.Helper()
	ctx, transcript := context.Background(), [32]byte{7}
	for _, role := range []Role{Initiator, Responder} {
		value, err := s.Sign(ctx, role, transcript, alice)
		if err != nil {
			t.Error(err)
			return
		}
		v, err := Parse(value)
		if err != nil || v.Type != TypeOpenPGP || v.Key != fingerprint || v.Identity != alice {
			t.Errorf("%q: %v", value, err)
		}
		expectResult(t, Check(ctx, k, role, transcript, v), Right, true, "signed by the OpenPGP key "+fingerprint)
		expectResult(t, Check(ctx, k, role, [32]byte{8}, v), Wrong, false, "not of this call")
		other := map[Role]Role{Initiator: Responder, Responder: Initiator}[role]
		expectResult(t, Check(ctx, k, other, transcript, v), Wrong, false, "not of this call")
		v.Identity = "sip:bob@b.example"
		expectResult(t, Check(ctx, k, role, transcript, v), Wrong, false, "not of this call")
	}
	if v, err := s.Sign(ctx, Initiator, transcript, "alice"); err == nil {
		t.Errorf("signed for no identity: %s", v)
	}
}

func TestGnuPGSigns(t *testing.T) {
	t.Parallel()
	h, ctx := newHome(t), context.Background()
	for _, algorithm := range []string{"ed25519", "rsa3072", "nistp256"} {
		f := h.Make("Alice <alice@a.example>", algorithm, "sign", "never")
		s, err := NewGnuPGSigner(ctx, h.options(), f)
		if err != nil {
			t.Fatal(err)
		}
		checkSigner(t, h.keys(f), s, f)
		h.Run(nil, "--yes", "--delete-secret-and-public-key", f)
		if v, err := s.Sign(ctx, Initiator, [32]byte{}, alice); err == nil || !strings.Contains(err.Error(), f) {
			t.Errorf("%s by a key that is gone: %v", v, err)
		}
	}
	f := h.Make("alice@a.example", "ed25519", "cert", "never")
	first, second := h.Subkey(f, "ed25519", "sign", "never"), h.Subkey(f, "nistp256/ecdsa", "sign", "never")
	for _, named := range []string{f, first, second} {
		s, err := NewGnuPGSigner(ctx, h.options(), named)
		if err != nil {
			t.Fatal(err)
		}
		if s.Fingerprint() != f {
			t.Errorf("%s: fingerprint %s, want the primary key's", named, s.Fingerprint())
		}
		checkSigner(t, h.keys(f), s, f)
	}
	// Many at once.
	s, err := NewGnuPGSigner(ctx, h.options(), f)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if _, err := s.Sign(ctx, Initiator, [32]byte{}, alice); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	for _, key := range []string{strings.Repeat("A", 40), strings.ToLower(f), f[:16], "alice@a.example", "--version", ""} {
		if _, err := NewGnuPGSigner(ctx, h.options(), key); err == nil {
			t.Errorf("a signer of %q", key)
		}
	}
	// A key that expires later is an error then, in words.
	past := h.Make("past@a.example", "ed25519", "sign", "1y", "--faked-system-time", "20240101T000000!")
	if _, err := NewGnuPGSigner(ctx, h.options(), past); err == nil || !strings.Contains(err.Error(), "is expired") {
		t.Errorf("an expired key: %v", err)
	}
}

func TestMissingPassphraseIsAnError(t *testing.T) {
	t.Parallel()
	h, ctx := newHome(t), context.Background()
	h.Run(nil, "--passphrase", "secret words", "--quick-generate-key", "Alice <alice@a.example>", "ed25519", "sign", "never")
	f := h.Fingerprints("alice@a.example")[0]
	s, err := NewGnuPGSigner(ctx, h.options(), f)
	if err != nil {
		t.Fatal(err)
	}
	// Who has signed once has told the agent.
	h.Run(signedText, "--passphrase", "secret words", "--local-user", f, "--detach-sign", "--output", "-")
	checkSigner(t, h.keys(f), s, f)
	h.Forget()
	start := time.Now()
	if v, err := s.Sign(ctx, Initiator, [32]byte{}, alice); err == nil || !strings.Contains(err.Error(), "passphrase has to be known to gpg-agent") || strings.Contains(err.Error(), "secret words") {
		t.Errorf("%s, %v", v, err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestGnuPGThatHangsDoesNotHoldUpACall(t *testing.T) {
	t.Parallel()
	const f = "0123456789ABCDEF0123456789ABCDEF01234567"
	program := script(t, `case "$*" in *--list-secret-keys*) echo "sec:u::::::::::"; echo "fpr:::::::::`+f+`:";; *) sleep 60;; esac`)
	s, err := NewGnuPGSigner(context.Background(), GnuPGOptions{Program: program}, f)
	if err != nil {
		t.Fatal(err)
	}
	s.timeout = 300 * time.Millisecond
	var wg sync.WaitGroup
	start := time.Now()
	for range 3 * gpgAtOnce {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if v, err := s.Sign(context.Background(), Initiator, [32]byte{}, alice); err == nil {
				t.Errorf("signed: %s", v)
			}
		}()
	}
	wg.Wait()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	// What it prints has to be a signature.
	for _, output := range []string{"", "x", "\\302\\001x"} {
		s.gpg.program = script(t, "printf '"+output+"'")
		if v, err := s.Sign(context.Background(), Initiator, [32]byte{}, alice); err == nil || !strings.Contains(err.Error(), "cannot be used") {
			t.Errorf("%q: %s, %v", output, v, err)
		}
	}
}

func TestKeyFileSigns(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	dir := t.TempDir()
	write := func(name string, content []byte, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, algorithm := range []string{"ed25519", "rsa3072", "nistp256"} {
		f := h.Make(algorithm+" <alice@a.example>", algorithm, "sign", "never")
		path := write(algorithm, h.Run(nil, "--passphrase", "", "--export-secret-keys", f), 0o600)
		s, err := OpenKeyFile(path, "")
		if err != nil {
			t.Fatal(err)
		}
		if s.Fingerprint() != f {
			t.Errorf("fingerprint %s, want %s", s.Fingerprint(), f)
		}
		checkSigner(t, h.keys(f), s, f)
		s.Close()
		if v, err := s.Sign(context.Background(), Initiator, [32]byte{}, alice); err == nil {
			t.Errorf("signed after Close: %s", v)
		}
	}

	// The careful way: the primary key stays at home, a subkey has a passphrase.
	f := h.Make("careful <alice@a.example>", "ed25519", "cert", "never")
	sub := h.Subkey(f, "ed25519", "sign", "never")
	stub := h.Run(nil, "--passphrase", "", "--armor", "--export-secret-subkeys", sub+"!")
	s, err := OpenKeyFile(write("stub.asc", stub, 0o600), "")
	if err != nil {
		t.Fatal(err)
	}
	checkSigner(t, h.keys(f), s, f)

	h.Run(nil, "--passphrase", "secret words", "--quick-generate-key", "locked <alice@a.example>", "ed25519", "sign", "never")
	locked := h.Fingerprints("=locked <alice@a.example>")[0]
	lockedFile := write("locked", h.Run(nil, "--passphrase", "secret words", "--export-secret-keys", locked), 0o600)
	if s, err = OpenKeyFile(lockedFile, write("pass", []byte("secret words\nsecond line\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	checkSigner(t, h.keys(locked), s, locked)

	weak := h.Make("weak <alice@a.example>", "rsa1024", "sign", "never")
	past := h.Make("past@a.example", "ed25519", "sign", "1y", "--faked-system-time", "20240101T000000!")
	for name, tt := range map[string]struct{ path, pass, want string }{
		"no passphrase":    {lockedFile, "", "name the file that holds it"},
		"wrong passphrase": {lockedFile, write("wrong", []byte("other"), 0o600), "does not open it"},
		"open passphrase":  {lockedFile, write("open", []byte("secret words"), 0o644), "chmod 600"},
		"no file":          {filepath.Join(dir, "nothing"), "", "nothing"},
		"a folder":         {dir, "", "is not a file"},
		"public":           {write("public", h.Export(f), 0o600), "", "not one secret key"},
		"two":              {write("two", h.Run(nil, "--passphrase", "", "--export-secret-keys", f, weak), 0o600), "", "not one secret key"},
		"others read it":   {write("readable", stub, 0o640), "", "chmod 600"},
		"weak":             {write("weak", h.Run(nil, "--passphrase", "", "--export-secret-keys", weak), 0o600), "", "1024 bits"},
		"expired":          {write("past", h.Run(nil, "--passphrase", "", "--export-secret-keys", past), 0o600), "", "is expired"},
		"text":             {write("text", []byte("key"), 0o600), "", "no OpenPGP key"},
	} {
		if runtime.GOOS == "windows" && strings.Contains(tt.want, "chmod") {
			continue
		}
		if _, err := OpenKeyFile(tt.path, tt.pass); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret words") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
