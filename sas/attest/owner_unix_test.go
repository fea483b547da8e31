//go:build unix

package attest

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// An administrator who rotates the key of a service leaves it to the service.
func TestRootLeavesKeysToTheirOwner(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	const service = 54321
	dir := filepath.Join(t.TempDir(), "keys")
	k, err := OpenIdentityKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	for _, name := range []string{dir, k.File("")} {
		if err := os.Chown(name, service, service); err != nil {
			t.Fatal(err)
		}
	}
	for _, user := range []string{"", "alice"} {
		if err := k.Rotate(user, HandOver); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{k.File(""), k.File("alice"), filepath.Dir(k.File("alice"))} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if owner := info.Sys().(*syscall.Stat_t); owner.Uid != service || owner.Gid != service {
			t.Errorf("%s belongs to %d", name, owner.Uid)
		}
	}
}
