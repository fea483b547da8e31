//go:build unix

package attest

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// sameOwner gives a new file to who owns the one that it replaces, or else the
// folder. Only root can do that, and only for root is there something to do.
func sameOwner(name, path string) error {
	info, err := os.Stat(path)
	if os.IsNotExist(err) {
		info, err = os.Stat(filepath.Dir(path))
	}
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(owner.Uid) == os.Geteuid() {
		return nil
	}
	if err := os.Chown(name, int(owner.Uid), int(owner.Gid)); err != nil {
		return fmt.Errorf("%s belongs to another user (number %d); do it as that user: %w", path, owner.Uid, err)
	}
	return nil
}
