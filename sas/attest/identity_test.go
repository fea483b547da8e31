package attest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestFirstStartMakesAKey(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state", "keys")
	var wg sync.WaitGroup
	publics := make([]string, 8)
	for i := range publics { // several that start at the same moment agree
		wg.Add(1)
		go func() {
			defer wg.Done()
			k, err := OpenIdentityKeys(dir)
			if err != nil {
				t.Error(err)
				return
			}
			defer k.Close()
			s := mustSigners(t, k, "")
			publics[i] = s[0].Public()
		}()
	}
	wg.Wait()
	for _, p := range publics {
		if p != publics[0] || p == "" {
			t.Errorf("different keys: %v", publics)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "sipward.key"))
	if err != nil || runtime.GOOS != "windows" && info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 1 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

func mustSigners(t testing.TB, k *IdentityKeys, user string) []*Ed25519 {
	t.Helper()
	s, err := k.Signers(user)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openTestKeys(t testing.TB) (*IdentityKeys, string) {
	t.Helper()
	dir := t.TempDir()
	k, err := OpenIdentityKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k, dir
}

func TestKeyThatOthersCanReadIsRefused(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("modes say nothing there")
	}
	k, dir := openTestKeys(t)
	path := filepath.Join(dir, "sipward.key")
	for _, mode := range []os.FileMode{0o640, 0o604, 0o602, 0o620} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenIdentityKeys(dir); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %o: %v", mode, err)
		}
		if _, err := k.Signers(""); err == nil {
			t.Errorf("mode %o: a running sipward goes on with it", mode)
		}
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	mustSigners(t, k, "")
}

func TestRotationIsAHandOver(t *testing.T) {
	t.Parallel()
	k, dir := openTestKeys(t)
	other, err := OpenIdentityKeys(dir) // sipward keys, beside a sipward that runs
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	first := mustSigners(t, k, "alice")[0]
	if err := other.Rotate("", HandOver); err != nil {
		t.Fatal(err)
	}
	both := mustSigners(t, k, "alice")
	if len(both) != 2 || both[1].Public() != first.Public() || both[0].Public() == first.Public() {
		t.Fatalf("after a rotation: %d signers", len(both))
	}
	if until := k.Until("alice"); until.Before(time.Now().Add(HandOver-time.Minute)) || until.After(time.Now().Add(HandOver)) {
		t.Errorf("until %s", until)
	}
	// A call that took its signer before goes on.
	transcript := [32]byte{9}
	var values []string
	for _, s := range append(both, first) {
		v, err := s.Sign(context.Background(), Initiator, transcript, "sip:alice@a.example")
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, v)
	}
	for _, r := range CheckAll(context.Background(), nil, Initiator, transcript, values) {
		if r.State != Right {
			t.Errorf("%+v", r)
		}
	}
	// It has its end.
	k.now = func() time.Time { return time.Now().Add(HandOver + time.Minute) }
	if s := mustSigners(t, k, "alice"); len(s) != 1 || s[0].Public() != both[0].Public() || !k.Until("alice").IsZero() {
		t.Errorf("%d signers after the hand-over", len(s))
	}
	k.now = time.Now
	// Without one the old key is gone from the file.
	if err := other.Rotate("", 0); err != nil {
		t.Fatal(err)
	}
	if s := mustSigners(t, k, ""); len(s) != 1 || s[0].Public() == both[0].Public() {
		t.Errorf("%d signers", len(s))
	}
	b, err := os.ReadFile(filepath.Join(dir, "sipward.key"))
	if err != nil || bytes.Count(b, []byte("BEGIN")) != 1 {
		t.Errorf("%s, %v", b, err)
	}
}

func TestKeyOfAUser(t *testing.T) {
	t.Parallel()
	k, _ := openTestKeys(t)
	shared := mustSigners(t, k, "")[0]
	for _, user := range []string{"alice", "../../evil", "..", "a/b", "%41", "ä"} {
		if k.Own(user) {
			t.Errorf("%s has a key", user)
		}
		if s := mustSigners(t, k, user); len(s) != 1 || s[0] != shared {
			t.Errorf("%s: %d signers", user, len(s))
		}
		if err := k.Rotate(user, time.Hour); err != nil {
			t.Fatal(err)
		}
		if filepath.Dir(k.File(user)) != filepath.Join(k.dir, "users") {
			t.Errorf("%s: %s", user, k.File(user))
		}
		s := mustSigners(t, k, user)
		if len(s) != 2 || s[0].Public() == shared.Public() || s[1].Public() != shared.Public() || !k.Own(user) {
			t.Errorf("%s: the sipward's key does not hand over", user)
		}
	}
	if s := mustSigners(t, k, "bob"); len(s) != 1 || s[0] != shared {
		t.Error("bob has another's key")
	}
	// A file system that knows no capitals gives Alice alice's file.
	if err := os.Link(k.File("alice"), k.File("Alice")); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Signers("Alice"); err == nil || !strings.Contains(err.Error(), `the key of user "alice"`) {
		t.Errorf("Alice: %v", err)
	}
	// Taken away, the shared one speaks again.
	if err := os.Remove(k.File("alice")); err != nil {
		t.Fatal(err)
	}
	if s := mustSigners(t, k, "alice"); len(s) != 1 || s[0] != shared {
		t.Error("alice signs with a key that is gone")
	}
}

func TestUsersWithoutKeyAreForgotten(t *testing.T) {
	t.Parallel()
	k, _ := openTestKeys(t)
	for i := range maxUsers + 10 {
		k.loaded[strings.Repeat("x", 1+i%50)+time.Duration(i).String()] = &keyPair{}
	}
	mustSigners(t, k, "alice")
	if len(k.loaded) > 3 {
		t.Errorf("%d users are remembered", len(k.loaded))
	}
}

func TestDamagedKeyFiles(t *testing.T) {
	t.Parallel()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block := func(headers map[string]string) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Headers: headers, Bytes: der}))
	}
	until := block(map[string]string{"Signs-Until": "2030-01-31T00:00:00Z"})
	if p, err := parseKeyPair([]byte(block(nil)+until), ""); err != nil || p.before == nil || p.until.Year() != 2030 {
		t.Errorf("a whole file: %v", err)
	}
	for name, tt := range map[string]struct{ file, want string }{
		"empty":           {"", "no PEM block"},
		"cut":             {block(nil)[:60], "no PEM block"},
		"another block":   {"-----BEGIN X-----\nAAAA\n-----END X-----\n", `a block "X"`},
		"damaged":         {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "damaged"},
		"of a user":       {block(map[string]string{"User": "alice"}), `the key of user "alice"`},
		"no time":         {block(nil) + block(nil), "no header Signs-Until"},
		"three keys":      {block(nil) + until + until, "more than two keys"},
		"another second":  {block(nil) + strings.ReplaceAll(until, "PRIVATE KEY", "X"), `a block "X"`},
		"damaged, second": {block(nil) + strings.Replace(until, "MC4C", "AAAA", 1), "damaged"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "sipward.key"), []byte(tt.file), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenIdentityKeys(dir); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "sipward.key") {
			t.Errorf("%s: %v", name, err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "sipward.key")); err != nil || string(b) != tt.file {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

func TestCloseErasesIdentityKeys(t *testing.T) {
	t.Parallel()
	k, _ := openTestKeys(t)
	old := mustSigners(t, k, "")[0]
	if err := k.Rotate("", time.Hour); err != nil {
		t.Fatal(err)
	}
	all := append(mustSigners(t, k, ""), old)
	var keys []ed25519.PrivateKey
	for _, s := range all {
		keys = append(keys, s.key)
	}
	k.Close()
	for _, key := range keys {
		if len(key) == 0 || !bytes.Equal(key, make([]byte, len(key))) {
			t.Error("a key is left")
		}
	}
	if _, err := k.Signers(""); err == nil {
		t.Error("signers after Close")
	}
	if err := k.Rotate("", 0); err == nil {
		t.Error("a rotation after Close")
	}
}

func FuzzKeyFile(f *testing.F) {
	dir := f.TempDir()
	k, err := OpenIdentityKeys(dir)
	if err != nil {
		f.Fatal(err)
	}
	defer k.Close()
	if err := k.Rotate("", time.Hour); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(k.File(""))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:len(b)/2])
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nUser: a\n\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseKeyPair(b, "")
		if err != nil {
			if p != nil {
				t.Error("keys beside an error")
			}
			return
		}
		if _, err := p.key.Sign(context.Background(), Initiator, [32]byte{}, "sip:a@b"); err != nil {
			t.Error(err)
		}
		if (p.before == nil) != p.until.IsZero() && p.before == nil {
			t.Error("a time without a key")
		}
	})
}
