package attest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/test/gnupg"
)

// home is a keyring of GnuPG, and what is expected of it here.
type home struct {
	*gnupg.Home
	t testing.TB
}

func newHome(t testing.TB) *home { t.Helper(); return &home{gnupg.New(t), t} }

func (h *home) options() GnuPGOptions { return GnuPGOptions{HomeDir: h.Dir, Timeout: 20 * time.Second} }

func (h *home) keys(key string) *Keys {
	h.t.Helper()
	return readTestKeys(h.t, h.Export(key))
}

func readTestKeys(t testing.TB, exported []byte) *Keys {
	t.Helper()
	name := filepath.Join(t.TempDir(), "keys.gpg")
	if err := os.WriteFile(name, exported, 0o644); err != nil {
		t.Fatal(err)
	}
	k, err := OpenKeys(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// sign makes a detached signature with exactly this key.
func (h *home) sign(key string, text []byte, args ...string) []byte {
	h.t.Helper()
	return h.Run(text, append(args, "--local-user", key+"!", "--detach-sign", "--output", "-")...)
}

const alice = "sip:alice@a.example"

var (
	signedText  = Value{Type: TypeOpenPGP, Key: "AA", Identity: alice}.Text(Initiator, [32]byte{1})
	changedText = append(bytes.Clone(signedText), 'x')
)

func (h *home) expect(k Keyring, key string, signature []byte, state State, owned bool, why string) {
	h.t.Helper()
	expectResult(h.t, k.Verify(context.Background(), key, alice, signedText, signature), state, owned, why)
}

func expectResult(t testing.TB, r Result, state State, owned bool, why string) {
	t.Helper()
	if r.State != state || r.Owned != owned || !strings.Contains(r.Why, why) || r.Why == "" {
		t.Errorf("%s, owned %v: %s; want %s, %v: …%s…", r.State, r.Owned, r.Why, state, owned, why)
	}
}

func TestKeysMadeByGnuPG(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"ed25519", "rsa3072", "nistp256", "nistp384", "brainpoolP256r1"} {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			h := newHome(t)
			f := h.Make("Alice <alice@a.example>", algorithm, "sign", "never")
			k, sig := h.keys(f), h.sign(f, signedText)
			h.expect(k, f, sig, Right, true, "signed by the OpenPGP key "+f)
			h.expect(k, f, h.sign(f, signedText, "--digest-algo", "SHA512"), Right, true, "signed")
			h.expect(k, f, h.sign(f, changedText), Wrong, false, "not by the key that it names")
			h.expect(k, strings.Repeat("0", 40), sig, Unchecked, false, "not in the keyring")
			expectResult(t, k.Verify(context.Background(), f, "sip:bob@a.example", signedText, sig), Right, false, "not known to belong to sip:bob@a.example")
			if !k.Usable(context.Background(), "sip:alice@A.example") || k.Usable(context.Background(), "sip:bob@a.example") {
				t.Error("usable for bob, or not for alice")
			}
			for i := range sig { // every octet of it counts, or its change is at least not right for another text
				changed := bytes.Clone(sig)
				changed[i] ^= 0x41
				if r := k.Verify(context.Background(), f, alice, changedText, changed); r.State == Right {
					t.Fatalf("octet %d changed: right for another text", i)
				}
			}
			h.expect(k, f, append(bytes.Clone(sig), sig...), Wrong, false, "not one binary")
			h.expect(k, f, h.Run(signedText, "--local-user", f, "--armor", "--detach-sign", "--output", "-"), Wrong, false, "not one binary")
			h.expect(k, f, h.Run(signedText, "--local-user", f, "--textmode", "--detach-sign", "--output", "-"), Wrong, false, "not one binary")
			h.expect(k, f, h.Run(signedText, "--local-user", f, "--sign", "--output", "-"), Wrong, false, "not one binary")
			h.expect(k, f, nil, Wrong, false, "not one binary")
		})
	}
}

func TestSubkeysMadeByGnuPG(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	f := h.Make("alice@a.example", "ed25519", "cert", "never")
	if k := h.keys(f); k.Usable(context.Background(), alice) {
		t.Error("a key that may only certify is usable")
	}
	before := h.keys(f)
	sub := h.Subkey(f, "nistp256/ecdsa", "sign", "never")
	h.Subkey(f, "ed25519", "auth", "never")
	h.Subkey(f, "cv25519", "encr", "never")
	k, bySub := h.keys(f), h.sign(sub, signedText)
	h.expect(k, f, bySub, Right, true, "signed by the OpenPGP key "+f)
	h.expect(k, sub, bySub, Unchecked, false, "not in the keyring") // the attribute names the primary key
	h.expect(before, f, bySub, Unchecked, false, "by a subkey that the keyring does not have")
	if !k.Usable(context.Background(), alice) {
		t.Error("not usable by its subkey")
	}

	// gpg refuses to sign with a key for authentication: its flags are changed for that.
	made := h.keys(f)
	for i := range made.set.certificates[f].entity.Subkeys {
		if s := &made.set.certificates[f].entity.Subkeys[i]; hexOf(s.PublicKey) == sub {
			for _, b := range s.Bindings {
				b.Packet.FlagSign = false
			}
		}
	}
	h.expect(made, f, bySub, Unchecked, false, "may not sign")

	h.Run([]byte("y\n0\n\ny\n"), "--command-fd", "0", "--no-batch", "--edit-key", f, "key 1", "revkey", "save")
	h.expect(h.keys(f), f, bySub, Unchecked, false, "is revoked")
	// Whichever copy is read first, the revocation counts.
	old := before
	for _, copies := range [][]byte{append(h.Export(f), exported(t, old)...), append(exported(t, old), h.Export(f)...)} {
		h.expect(readTestKeys(t, copies), f, bySub, Unchecked, false, "is revoked")
	}
}

func exported(t testing.TB, k *Keys) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, c := range k.set.certificates {
		if err := c.entity.Serialize(&b); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestRevokedByGnuPG(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	f := h.Make("Alice <alice@a.example>", "ed25519", "sign", "never")
	h.Run(nil, "--quick-add-uid", f, "Alice <sip:alice@b.example>")
	sig, fresh := h.sign(f, signedText), h.Export(f)
	h.Run(nil, "--quick-revoke-uid", f, "Alice <alice@a.example>")
	h.expect(h.keys(f), f, sig, Right, false, "not known to belong")
	expectResult(t, h.keys(f).Verify(context.Background(), f, "sip:alice@b.example", signedText, sig), Right, true, "signed")
	if k := h.keys(f); k.Usable(context.Background(), alice) || !k.Usable(context.Background(), "sip:alice@b.example") {
		t.Error("usable under a user ID that was taken back, or not under the other")
	}

	h.Import(h.Revocation(f))
	revoked := h.Export(f)
	for _, copies := range [][]byte{revoked, append(bytes.Clone(fresh), revoked...), append(bytes.Clone(revoked), fresh...)} {
		k := readTestKeys(t, copies)
		h.expect(k, f, sig, Unchecked, false, "is revoked")
		if k.Usable(context.Background(), "sip:alice@b.example") {
			t.Error("a revoked key is usable")
		}
	}
}

func TestExpiredByGnuPG(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	then := []string{"--faked-system-time", "20240101T000000!"}
	f := h.Make("alice@a.example", "ed25519", "sign", "1y", then...)
	sig := h.sign(f, signedText, then...)
	h.expect(h.keys(f), f, sig, Unchecked, false, "is expired")
	if h.keys(f).Usable(context.Background(), alice) {
		t.Error("an expired key is usable")
	}
	at := h.keys(f)
	at.set.now = func() time.Time { return time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC) }
	h.expect(at, f, sig, Right, true, "signed")
	at.set.now = time.Now // judged anew
	h.expect(at, f, sig, Unchecked, false, "is expired")

	h.Run(nil, "--quick-set-expire", f, "never")
	sub := h.Subkey(f, "ed25519", "sign", "2030-01-01")
	k := h.keys(f)
	h.expect(k, f, h.sign(sub, signedText), Right, true, "signed")
	k.set.now = func() time.Time { return time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC) }
	h.expect(k, f, h.sign(sub, signedText), Unchecked, false, "the subkey "+sub+" is expired")
	h.expect(k, f, h.sign(f, signedText), Right, true, "signed")

	// A signature that says itself until when it holds.
	k = h.keys(f)
	short := h.sign(f, signedText, "--default-sig-expire", "1d")
	h.expect(k, f, short, Right, true, "signed")
	k.set.now = func() time.Time { return time.Now().AddDate(0, 0, 3) }
	h.expect(k, f, short, Unchecked, false, "the signature is expired")
}

func TestWeakByGnuPG(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	short := h.Make("alice@a.example", "rsa1024", "sign", "never")
	h.expect(h.keys(short), short, h.sign(short, signedText), Unchecked, false, "RSA key of 1024 bits, and 2048 are needed")
	dsa := h.Make("alice@dsa.example", "dsa2048", "sign", "never")
	h.expect(h.keys(dsa), dsa, h.sign(dsa, signedText), Unchecked, false, "of an algorithm that does not count")
	sha1 := h.Make("alice@b.example", "ed25519", "sign", "never", "--cert-digest-algo", "SHA1")
	h.expect(h.keys(sha1), sha1, h.sign(sha1, signedText), Unchecked, false, "no strong self-signature")
	for _, key := range []struct{ f, identity string }{{short, alice}, {dsa, "sip:alice@dsa.example"}, {sha1, "sip:alice@b.example"}} {
		if h.keys(key.f).Usable(context.Background(), key.identity) {
			t.Errorf("%s is usable", key.identity)
		}
	}
	f := h.Make("Alice <alice@a.example>", "rsa2048", "sign", "never")
	for digest, why := range map[string]string{"SHA1": "weak digest SHA-1", "RIPEMD160": "", "SHA224": "weak digest SHA-224"} {
		h.expect(h.keys(f), f, h.sign(f, signedText, "--digest-algo", digest), Unchecked, false, why)
	}
	h.expect(h.keys(f), f, h.sign(f, signedText, "--digest-algo", "SHA256"), Right, true, "signed")
	weakSub := h.Subkey(f, "rsa1024", "sign", "never")
	h.expect(h.keys(f), f, h.sign(weakSub, signedText), Unchecked, false, "the subkey "+weakSub+" is an RSA key of 1024 bits")

	// A strong key, another name of which is bound by SHA-1: that name does not count.
	h.Run(nil, "--cert-digest-algo", "SHA1", "--quick-add-uid", f, "alice@c.example")
	expectResult(t, h.keys(f).Verify(context.Background(), f, "sip:alice@c.example", signedText, h.sign(f, signedText)), Right, false, "not known to belong")
}

func TestOpenKeys(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	a, b := h.Make("alice@a.example", "ed25519", "sign", "never"), h.Make("bob@b.example", "ed25519", "sign", "never")
	armored := append(h.Run(nil, "--armor", "--export", a), h.Run(nil, "--armor", "--export", b)...)
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	two := write("two.asc", armored)
	if k, err := OpenKeys(two, nil); err != nil || k.Len() != 2 || !k.Usable(context.Background(), "sip:bob@b.example") {
		t.Errorf("two blocks in one file: %v", err)
	}
	write("again.gpg", h.Export(a))
	write(".hidden", []byte("nothing"))
	if k, err := OpenKeys(dir, nil); err != nil || k.Len() != 2 {
		t.Errorf("a folder: %v", err)
	}
	for name, tt := range map[string]struct {
		content []byte
		want    string
	}{
		"secret.gpg": {h.Run(nil, "--passphrase", "", "--export-secret-keys", a), "holds a secret key"},
		"empty":      {nil, "no OpenPGP keys"},
		"readme":     {[]byte("these are the keys\n"), "no OpenPGP keys"},
		"sig.asc":    {h.Run(signedText, "--armor", "--detach-sign", "--output", "-"), "not keys"},
		"long":       {make([]byte, maxKeyFile+1), "longer than"},
	} {
		path := write(name, tt.content)
		for _, p := range []string{path, dir} {
			if _, err := OpenKeys(p, nil); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %v", name, err)
			}
		}
		os.Remove(path)
	}
	if _, err := OpenKeys(filepath.Join(dir, "none"), nil); err == nil {
		t.Error("no error for nothing")
	}
}

func TestChangedKeyFilesAreReadAgain(t *testing.T) {
	t.Parallel()
	h, dir := newHome(t), t.TempDir()
	f := h.Make("alice@a.example", "ed25519", "sign", "never")
	sig, file := h.sign(f, signedText), filepath.Join(dir, "alice.gpg")
	write := func(name string, b []byte) {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file, h.Export(f))
	var notes []error
	k, err := OpenKeys(dir, func(err error) { notes = append(notes, err) })
	if err != nil {
		t.Fatal(err)
	}
	later := func() { k.looked = time.Now().Add(-lookEvery) }
	h.expect(k, f, sig, Right, true, "signed")

	h.Import(h.Revocation(f))
	write(filepath.Join(dir, "bad"), []byte("no keys"))
	for range 3 {
		later()
		h.expect(k, f, sig, Right, true, "signed")
	}
	if len(notes) != 1 || !strings.Contains(notes[0].Error(), "the keys from before stay") {
		t.Errorf("notes %v", notes)
	}
	os.Remove(filepath.Join(dir, "bad"))
	write(filepath.Join(dir, "revoked.gpg"), h.Export(f))
	later()
	h.expect(k, f, sig, Unchecked, false, "is revoked")
	os.RemoveAll(dir)
	later()
	h.expect(k, f, sig, Unchecked, false, "is revoked")
	if len(notes) != 2 {
		t.Errorf("notes %v", notes)
	}
}

func TestTrustInGnuPG(t *testing.T) {
	t.Parallel()
	h, ctx := newHome(t), context.Background()
	me := h.Make("me@me.example", "ed25519", "default", "never") // ultimate
	a := h.Make("Alice <alice@a.example>", "ed25519", "sign", "never")
	c := h.Make("carol@c.example", "ed25519", "default", "never")
	d := h.Make("dave@d.example", "ed25519", "sign", "never")
	h.Run([]byte(a+":2:\n"+c+":2:\n"+d+":2:\n"), "--import-ownertrust") // undefined
	sig := h.sign(a, signedText)
	open := func() *GnuPG {
		g := NewGnuPG(h.options())
		t.Cleanup(g.Close)
		return g
	}
	g := open()
	h.expect(g, a, sig, Unchecked, false, "gpg --lsign-key "+a)
	if g.Usable(ctx, alice) || !g.Usable(ctx, "sip:me@me.example") {
		t.Error("usable without trust, or the own one is not")
	}
	expectResult(t, g.Verify(ctx, me, "sip:me@me.example", signedText, h.sign(me, signedText)), Right, true, "signed")
	h.expect(g, strings.Repeat("F", 40), sig, Unchecked, false, "not in the keyring")

	// Certified by the own key: full. Another user ID of it stays without.
	h.Run(nil, "--local-user", me, "--quick-lsign-key", a, "=Alice <alice@a.example>")
	h.Run(nil, "--quick-add-uid", a, "alice@b.example")
	g = open()
	h.expect(g, a, sig, Right, true, "signed by the OpenPGP key "+a)
	expectResult(t, g.Verify(ctx, a, "sip:alice@b.example", signedText, sig), Right, false, "not known to belong")
	h.expect(g, a, h.sign(a, []byte("other")), Wrong, false, "not by the key")
	if !g.Usable(ctx, alice) || g.Usable(ctx, "sip:alice@b.example") {
		t.Error("trust of one user ID is that of another")
	}

	// Certified by somebody whose certifications count.
	h.Run(nil, "--local-user", c, "--quick-lsign-key", d)
	if open().Usable(ctx, "sip:dave@d.example") {
		t.Error("carol is not trusted to certify")
	}
	h.Run(nil, "--local-user", me, "--quick-lsign-key", c)
	h.Run([]byte(c+":4:\n"), "--import-ownertrust") // marginal
	if open().Usable(ctx, "sip:dave@d.example") {
		t.Error("one marginal certification is enough")
	}
	h.Run([]byte(c+":5:\n"), "--import-ownertrust") // full
	if !open().Usable(ctx, "sip:dave@d.example") {
		t.Error("dave is not trusted through carol")
	}

	h.Run([]byte("y\n0\n\ny\n"), "--command-fd", "0", "--no-batch", "--edit-key", a, "disable", "save")
	h.expect(open(), a, sig, Unchecked, false, "is disabled")
	h.Import(h.Revocation(a))
	h.Run(nil, "--no-batch", "--edit-key", a, "enable", "save")
	h.expect(open(), a, sig, Unchecked, false, "is revoked")
}

// Keys of a kind that is not known here are no fault of the others.
func TestUnknownKeysInGnuPG(t *testing.T) {
	t.Parallel()
	program := script(t, `case "$*" in *--list-keys*)
for f in A B; do echo "pub:u::::::::::"; echo "fpr:::::::::$f:"; echo "uid:u::::::::alice@a.example:"; done;;
*) printf '\\231\\000\\002\\004x';; esac`)
	g := NewGnuPG(GnuPGOptions{Program: program})
	defer g.Close()
	expectResult(t, g.Verify(context.Background(), "A", alice, nil, nil), Unchecked, false, "is of a kind that is not known here")
	expectResult(t, g.Verify(context.Background(), "C", alice, nil, nil), Unchecked, false, "not in the keyring")
	if g.Usable(context.Background(), alice) {
		t.Error("usable")
	}
}

func TestGnuPGIsReadAgain(t *testing.T) {
	t.Parallel()
	h, ctx := newHome(t), context.Background()
	h.Make("first@a.example", "ed25519", "sign", "never")
	o := h.options()
	o.Refresh, o.MaxAge = time.Nanosecond, time.Hour
	g := NewGnuPG(o)
	defer g.Close()
	if !g.Usable(ctx, "sip:first@a.example") {
		t.Fatal("the first key is not usable")
	}
	h.Make("alice@a.example", "ed25519", "sign", "never")
	for deadline := time.Now().Add(20 * time.Second); !g.Usable(ctx, alice); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a new key is never seen")
		}
	}
	// For one that is too old the check waits.
	o.MaxAge, o.Timeout = time.Nanosecond, 20*time.Second
	late := NewGnuPG(o)
	defer late.Close()
	for _, user := range []string{"late", "later"} {
		h.Make(user+"@a.example", "ed25519", "sign", "never")
		if !late.Usable(ctx, "sip:"+user+"@a.example") {
			t.Errorf("keys from before %s's are used", user)
		}
	}
	g.Close()
	h.expect(g, strings.Repeat("F", 40), nil, Unchecked, false, "closed")
}

// script writes a program that stands for gpg.
func script(t *testing.T, text string) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("no shell scripts there")
	}
	path := filepath.Join(t.TempDir(), "gpg")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestGnuPGThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	const key = "0123456789ABCDEF0123456789ABCDEF01234567"
	for name, tt := range map[string]struct{ program, want string }{
		"missing":   {"/nonexistent/gpg", "install GnuPG"},
		"not found": {"no-such-program-gpg", "install GnuPG"},
		"hangs":     {script(t, "sleep 60"), "has not answered"},
		"fails":     {script(t, "echo gpg: line >&2; printf 'gpg: no way\\033[2J\\n' >&2; exit 2"), "no way[2J"},
		"floods":    {script(t, "while :; do echo pub:u:pub:u:pub:u:pub:u:pub:u:pub:u:pub:u:pub:u:pub:u:pub:u:pub:u:pub:u:pub:u:; done | tr '\\n' x"), ""},
		"nonsense":  {script(t, "echo uid:u:"), "list of keys"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := GnuPGOptions{Program: tt.program, Timeout: 300 * time.Millisecond}
			g := NewGnuPG(o)
			defer g.Close()
			start := time.Now()
			expectResult(t, g.Verify(context.Background(), key, alice, signedText, nil), Unchecked, false, tt.want)
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if g.Usable(ctx, alice) {
				t.Error("usable")
			}
			if _, err := NewGnuPGSigner(context.Background(), o, key); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("a signer: %v", err)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// Calls do not start a gpg each where it fails.
func TestFailingGnuPGIsLeftAlone(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	g := NewGnuPG(GnuPGOptions{Program: script(t, "echo x >>"+log+"; exit 2")})
	defer g.Close()
	for range 50 {
		expectResult(t, g.Verify(context.Background(), strings.Repeat("A", 40), alice, nil, nil), Unchecked, false, "exit status 2")
	}
	if b, err := os.ReadFile(log); err != nil || len(b) != 2 {
		t.Errorf("gpg was run %d times, %v", len(b)/2, err)
	}
}

func FuzzListing(f *testing.F) {
	f.Add("pub:u:255:22:AA:1:::u:::scSC:::\nfpr:::::::::AABB:\nuid:f::::1::H::Alice \\x3a <alice@a.example>::\nsub:u:\nfpr:::::::::CCDD:\n")
	f.Add("pub:r:255:22:AA:1:::u:::scSCD:::\nuid:u::::::::x:\n")
	f.Add("uid:u::::::::x:\n")
	f.Add("pub:u:\n\\x\\xzz")
	f.Fuzz(func(t *testing.T, s string) {
		list, err := parseListing([]byte(s))
		if err != nil {
			return
		}
		uids := strings.Count(s, "uid:f:") + strings.Count(s, "uid:u:")
		for _, l := range list {
			if len(l.trusted) > uids {
				t.Errorf("%d trusted user IDs of %d", len(l.trusted), uids)
			}
			uids -= len(l.trusted)
		}
	})
}
