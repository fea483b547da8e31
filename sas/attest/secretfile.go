package attest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// maxSecret bounds a file with a secret, in octets.
const maxSecret = 1 << 20

// readSecret reads a file that others may not be able to read or change.
func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := secretInfo(path, info); err != nil {
		return nil, err
	}
	b := make([]byte, info.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

func secretInfo(path string, info fs.FileInfo) error {
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a file", path)
	case info.Size() > maxSecret:
		return fmt.Errorf("%s is longer than %d octets", path, maxSecret)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0: // there modes say nothing
		return fmt.Errorf("others than its owner can read or change %s (mode %04o), so it counts as no secret any more; chmod 600 closes it, and where that comes late, a new key belongs there", path, info.Mode().Perm())
	}
	return nil
}

// writeSecret puts a file in place, whole or not at all, whenever the machine
// stops. With fresh there must have been none: then the error is fs.ErrExist.
func writeSecret(path string, b []byte, fresh bool) (err error) {
	dir := filepath.Dir(path)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := sameOwner(dir, filepath.Dir(dir)); err != nil {
			return err
		}
	}
	f, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), sameOwner(f.Name(), path))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if !fresh {
		if err := os.Rename(f.Name(), path); err != nil {
			return err
		}
		return syncFolder(dir)
	}
	// Two that start at the same moment are to have the same key. A link does not
	// replace what is there.
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	os.Remove(f.Name())
	return syncFolder(dir)
}

// syncFolder has a new name last, where the system can do that.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	_ = d.Sync()
	return nil
}
