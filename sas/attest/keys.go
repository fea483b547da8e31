package attest

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Keys are OpenPGP public keys from files. Being among them is trust: whoever
// filled the file or the folder has checked whose they are. It is a [Keyring]
// that waits for nothing but these files, which it reads again when they have
// changed.
//
// A revocation counts only where it stands in a file, and one by another key, a
// designated revoker, does not.
type Keys struct {
	path string
	note func(error)

	mu     sync.Mutex
	set    *keySet
	stamp  string // of the files that set was read from
	looked time.Time
}

const (
	maxKeyFile = 16 << 20        // octets
	lookEvery  = 2 * time.Second // at the files, at most
)

// OpenKeys reads a file of exported keys, armored or not, or all files of a
// folder but hidden ones. The error names the file: one without keys, or with a
// secret key, which does not belong there. Copies of one key are put together.
//
// Files that change are read again at the next check, 2 seconds later at the
// soonest; where they cannot be used the keys from before stay, and note, which
// may be nil, is told why. It may be called from several goroutines.
func OpenKeys(path string, note func(error)) (*Keys, error) {
	set, stamp, err := readKeyFiles(path)
	if err != nil {
		return nil, err
	}
	return &Keys{path: path, note: note, set: set, stamp: stamp, looked: time.Now()}, nil
}

// current gives the keys, read again where the files have changed.
func (k *Keys) current() *keySet {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.looked) < lookEvery {
		return k.set
	}
	k.looked = time.Now()
	_, stamp, err := keyFiles(k.path)
	if err == nil && stamp == k.stamp {
		return k.set
	}
	set, read, err := readKeyFiles(k.path)
	if err != nil {
		if k.stamp != stamp && k.note != nil {
			k.note(fmt.Errorf("%w; the keys from before stay", err))
		}
		k.stamp = stamp // said once
		return k.set
	}
	k.set, k.stamp = set, read
	return k.set
}

// keyFiles names the files, and gives what differs when one of them has changed.
func keyFiles(path string) (names []string, stamp string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err.Error(), fmt.Errorf("attest: %w", err)
	}
	var b strings.Builder
	add := func(name string, info fs.FileInfo) {
		names = append(names, name)
		fmt.Fprintf(&b, "%q %d %d\n", name, info.Size(), info.ModTime().UnixNano())
	}
	if !info.IsDir() {
		add(path, info)
		return names, b.String(), nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err.Error(), fmt.Errorf("attest: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		name := filepath.Join(path, e.Name())
		info, err := os.Stat(name)
		if err != nil {
			return nil, err.Error(), fmt.Errorf("attest: %w", err)
		}
		if !info.IsDir() {
			add(name, info)
		}
	}
	return names, b.String(), nil
}

// readKeyFiles gives the stamp from before it reads: what changes meanwhile is
// seen the next time.
func readKeyFiles(path string) (*keySet, string, error) {
	names, stamp, err := keyFiles(path)
	if err != nil {
		return nil, "", err
	}
	set := newKeySet()
	for _, name := range names {
		b, err := readLimited(name, maxKeyFile)
		if err != nil {
			return nil, "", fmt.Errorf("attest: %w", err)
		}
		if err := set.add(b); err != nil {
			return nil, "", fmt.Errorf("attest: %s: %w", name, err)
		}
	}
	return set, stamp, nil
}

// Len is how many keys there are.
func (k *Keys) Len() int { return len(k.current().certificates) }

// Verify implements [Keyring].
func (k *Keys) Verify(_ context.Context, fingerprint, identity string, text, signature []byte) Result {
	return k.current().verify(fingerprint, identity, text, signature, func(string) bool { return true })
}

// Usable implements [Keyring].
func (k *Keys) Usable(_ context.Context, identity string) bool {
	return k.current().usable(identity, func(*certificate, string) bool { return true })
}

func readLimited(name string, limit int) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(b) > limit {
		err = fmt.Errorf("%s is longer than %d octets", name, limit)
	}
	return b, err
}
