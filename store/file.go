package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// lockTimeout is how long OpenFile waits for another process to let go: the end
// of one that is being restarted takes less.
const lockTimeout = 2 * time.Second

// file is a store in one file. See group.go for how it is written.
type file struct {
	path    string
	maxSize int
	db      *bbolt.DB
	commit  func(*bbolt.Tx) error // (*bbolt.Tx).Commit but in tests

	waiting atomic.Int64 // Updates that want mu
	mu      sync.Mutex   // held while an Update runs and while a group is committed
	group   *group       // nil: none is open
	broken  error        // what made writing unsafe
	closed  bool
}

// fileOptions are what only tests change; zero values stand for what OpenFile does.
type fileOptions struct {
	timeout    time.Duration
	maxSize    int
	migrations []migration
}

// OpenFile opens the store in a file, which it makes (mode 0600), with its
// folder (0700), where there is none. An existing file is made readable by its
// owner alone. The error says what is wrong with the file and what to do: after
// 2 seconds it is that another process uses it.
func OpenFile(path string) (Store, error) {
	f, err := openFile(path, fileOptions{timeout: lockTimeout, maxSize: MaxSize, migrations: migrations})
	if err != nil {
		return nil, fmt.Errorf("state file %s: %w", path, err)
	}
	return f, nil
}

func openFile(path string, o fileOptions) (*file, error) {
	path, err := filepath.Abs(path) // the folder of the process may change
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making its folder: %w", err)
	}
	info, err := os.Stat(path)
	created := errors.Is(err, fs.ErrNotExist)
	if err != nil && !created {
		return nil, err
	}
	if !created && !info.Mode().IsRegular() {
		return nil, errors.New("is not a file; name one, or one that is to be made")
	}
	db, err := openBolt(path, o)
	if err != nil {
		return nil, err
	}
	if created {
		// The names of the file and of its folder have to last like what is in it.
		if err := syncFolders(filepath.Dir(path)); err != nil {
			db.Close()
			return nil, err
		}
	}
	return &file{path: path, maxSize: o.maxSize, db: db, commit: (*bbolt.Tx).Commit}, nil
}

var errDamaged = errors.New("is damaged, or no state file of sipward; move it away to start with an empty one, or put a backup in its place")

// openBolt opens and locks the file, goes over it, and brings it up to date. The
// library panics on a damaged page whenever it comes upon one, and pages that a
// file cut short lacks are a fault of memory. Both are to be found here and not
// in the middle of a call, as an error and not as the end of the process.
func openBolt(path string, o fileOptions) (db *bbolt.DB, err error) {
	var opened *os.File
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			db, err = nil, errDamaged // the library may hold locks: it is left as it is
		}
		if err == nil {
			return
		}
		if db != nil {
			db.Close()
			db = nil
		} else if opened != nil {
			unlock(opened)
			opened.Close()
		}
	}()
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:      o.timeout,
		FreelistType: bbolt.FreelistMapType,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			var err error
			opened, err = os.OpenFile(name, flag, mode)
			return opened, err
		},
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, inUse(path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w; it has to be readable and writable for the user that sipward runs as", err)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrVersionMismatch), errors.Is(err, berrors.ErrChecksum):
		return nil, errDamaged
	case err != nil:
		return nil, err
	}
	info, err := opened.Stat()
	if err != nil {
		return db, err
	}
	if info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		if err := opened.Chmod(0o600); err != nil {
			return db, fmt.Errorf("is readable by others than its owner, and %w", err)
		}
	}
	if err := db.View(func(t *bbolt.Tx) error { return readAll(t, info.Size()) }); err != nil {
		return db, err
	}
	return db, migrate(db, o.migrations)
}

// readAll goes over every page with keys or values.
func readAll(t *bbolt.Tx, size int64) error {
	if size < t.Size() {
		return errDamaged
	}
	var sum byte
	err := t.ForEach(func(_ []byte, b *bbolt.Bucket) error {
		if b == nil {
			return errors.New("belongs to another program; name a file of its own for sipward")
		}
		return b.ForEach(func(key, value []byte) error {
			for _, octets := range [][]byte{key, value} {
				if n := len(octets); n > 0 {
					sum += octets[0] + octets[n-1]
				}
			}
			return nil
		})
	})
	runtime.KeepAlive(sum)
	return err
}

// inUse is the error of a file that another process has locked.
func inUse(path string) error {
	switch pid := lockHolder(path); pid {
	case 0:
		return errors.New("another sipward uses it; stop that one, or give this one a state file of its own")
	case os.Getpid():
		return errors.New("this sipward uses it already; name another state file")
	default:
		return fmt.Errorf("another sipward uses it, process %d; stop that one, or give this one a state file of its own", pid)
	}
}

func syncFolders(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // folders cannot be synced there
	}
	for _, name := range []string{dir, filepath.Dir(dir)} {
		d, err := os.Open(name)
		if errors.Is(err, fs.ErrPermission) {
			continue // a folder above that is not ours, and was not made by us
		}
		if err != nil {
			return err
		}
		err = d.Sync()
		d.Close()
		if err != nil {
			return fmt.Errorf("syncing folder %s: %w", name, err)
		}
	}
	return nil
}

func (f *file) View(fn func(Tx) error) error {
	err := f.db.View(func(t *bbolt.Tx) error { return (&tx{base: boltBase{t}}).run(fn) })
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return fmt.Errorf("store: %w", ErrClosed)
	}
	return err
}

// boltBase is a transaction of the library as the base of one of ours.
type boltBase struct{ *bbolt.Tx }

func (b boltBase) get(bucket, key string) ([]byte, bool) {
	k := b.Bucket([]byte(bucket))
	if k == nil || bucket == schemaBucket {
		return nil, false
	}
	value := k.Get([]byte(key))
	return value, value != nil
}

func (b boltBase) each(bucket string, fn func(key string, value []byte) error) error {
	k := b.Bucket([]byte(bucket))
	if k == nil || bucket == schemaBucket {
		return nil
	}
	return k.ForEach(func(key, value []byte) error { return fn(string(key), value) })
}

// apply hands the writes of a transaction to the library. After an error some
// of them may be there.
func (b boltBase) apply(t *tx) error {
	for bucket, writes := range t.writes {
		k, err := b.CreateBucketIfNotExists([]byte(bucket))
		if err != nil {
			return err
		}
		for key, w := range writes {
			if w.deleted {
				err = k.Delete([]byte(key))
			} else {
				err = k.Put([]byte(key), w.value)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
