// Package gnupg gives tests keyrings of the real GnuPG, each with an agent of its
// own: keys that it makes, certifies, revokes and signs with.
package gnupg

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Require is the environment variable that makes a missing GnuPG a failure.
const Require = "SIPWARD_REQUIRE_GPG"

// Home is a folder of GnuPG. What its methods cannot do fails the test.
type Home struct {
	Dir string
	t   testing.TB
}

// New makes an empty one, which ends with the test. Without GnuPG the test is
// skipped.
func New(t testing.TB) *Home {
	t.Helper()
	if _, err := exec.LookPath("gpg"); err != nil {
		if os.Getenv(Require) != "" {
			t.Fatal("gpg is missing: ", err)
		}
		t.Skip("gpg is missing: install GnuPG (Debian package gnupg)")
	}
	// The path of the agent's socket may have 107 octets: t.TempDir is too long.
	dir, err := os.MkdirTemp("", "gpg")
	if err != nil {
		t.Fatal(err)
	}
	h := &Home{dir, t}
	t.Cleanup(func() {
		h.Forget()
		os.RemoveAll(dir)
	})
	return h
}

// Forget ends the agent, and with it every passphrase that it knows.
func (h *Home) Forget() {
	h.t.Helper()
	if out, err := exec.Command("gpgconf", "--homedir", h.Dir, "--kill", "all").CombinedOutput(); err != nil {
		h.t.Errorf("gpgconf: %v: %s", err, out)
	}
}

// Run runs gpg and returns what it writes.
func (h *Home) Run(stdin []byte, args ...string) []byte {
	h.t.Helper()
	cmd := exec.Command("gpg", append([]string{"--homedir", h.Dir, "--batch", "--no-tty", "--quiet", "--yes", "--pinentry-mode", "loopback"}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Stdin = bytes.NewReader(stdin)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		h.t.Fatalf("gpg %s: %v\n%s", strings.Join(args, " "), err, complaint.Bytes())
	}
	return out.Bytes()
}

// Make makes a key without a passphrase and returns its fingerprint. args stand
// before the command.
func (h *Home) Make(userID, algorithm, usage, expire string, args ...string) string {
	h.t.Helper()
	return h.Lock("", userID, algorithm, usage, expire, args...)
}

// Lock makes one with a passphrase, which the agent does not know any more.
func (h *Home) Lock(passphrase, userID, algorithm, usage, expire string, args ...string) string {
	h.t.Helper()
	h.Run(nil, append(args, "--passphrase", passphrase, "--quick-generate-key", userID, algorithm, usage, expire)...)
	if passphrase != "" {
		h.Forget()
	}
	return h.Fingerprints("=" + userID)[0]
}

// Fingerprints are those of a key and its subkeys; where several keys fit, of the
// last one.
func (h *Home) Fingerprints(key string) (all []string) {
	h.t.Helper()
	for line := range strings.Lines(string(h.Run(nil, "--with-colons", "--list-keys", key))) {
		switch f := strings.Split(line, ":"); f[0] {
		case "pub":
			all = nil
		case "fpr":
			all = append(all, f[9])
		}
	}
	if len(all) == 0 {
		h.t.Fatalf("gpg has no key %s", key)
	}
	return all
}

// Subkey adds one without a passphrase and returns its fingerprint.
func (h *Home) Subkey(primary, algorithm, usage, expire string) string {
	h.t.Helper()
	h.Run(nil, "--passphrase", "", "--quick-add-key", primary, algorithm, usage, expire)
	all := h.Fingerprints(primary)
	return all[len(all)-1]
}

// Export is the public key.
func (h *Home) Export(key string) []byte { h.t.Helper(); return h.Run(nil, "--export", key) }

// Import takes keys, or revocations of them.
func (h *Home) Import(keys []byte) { h.t.Helper(); h.Run(keys, "--import") }

// Revocation is the certificate that GnuPG has made beside a key of this folder.
func (h *Home) Revocation(fingerprint string) []byte {
	h.t.Helper()
	b, err := os.ReadFile(filepath.Join(h.Dir, "openpgp-revocs.d", fingerprint+".rev"))
	if err != nil {
		h.t.Fatal(err)
	}
	return bytes.Replace(b, []byte(":-----BEGIN"), []byte("-----BEGIN"), 1)
}

// Levels of ownertrust, as gpg --import-ownertrust takes them.
const (
	Undefined = 2
	Marginal  = 4
	Full      = 5
	Ultimate  = 6
)

// Trust says how much certifications by a key count; an own key with Ultimate is
// valid by itself.
func (h *Home) Trust(fingerprint string, level int) {
	h.t.Helper()
	h.Run(fmt.Appendf(nil, "%s:%d:\n", fingerprint, level), "--import-ownertrust")
}
