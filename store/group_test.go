package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"
)

// gatedFile is a file whose first commit ends only when the gate is opened, and
// that counts commits.
func gatedFile(t testing.TB) (f *file, commits *atomic.Int64, started, gate chan struct{}) {
	f = openTest(t, filepath.Join(t.TempDir(), "state"), fileOptions{})
	commits, started, gate = new(atomic.Int64), make(chan struct{}), make(chan struct{})
	f.commit = func(tx *bbolt.Tx) error {
		if commits.Add(1) == 1 {
			close(started)
			<-gate
		}
		return tx.Commit()
	}
	return f, commits, started, gate
}

// gather starts n Updates that have to wait for one whose commit is under way,
// and then lets it end.
func gather(f *file, n int, started, gate chan struct{}, run func(i int)) {
	var wg sync.WaitGroup
	wg.Go(func() { f.Update(func(tx Tx) error { return tx.Put("b", "first", nil) }) })
	<-started
	for i := range n {
		wg.Go(func() { run(i) })
	}
	for f.waiting.Load() < int64(n) {
		runtime.Gosched()
	}
	close(gate)
	wg.Wait()
}

func TestUpdatesShareACommit(t *testing.T) {
	t.Parallel()
	f, commits, started, gate := gatedFile(t)
	const n = 200
	gather(f, n, started, gate, func(i int) {
		err := f.Update(func(tx Tx) error {
			if i%10 == 3 {
				tx.Put("b", fmt.Sprintf("failed %d", i), nil)
				return errors.New("on purpose")
			}
			return tx.Put("b", fmt.Sprint(i), nil)
		})
		if (err != nil) != (i%10 == 3) {
			t.Errorf("Update %d: %v", i, err)
		}
	})
	if got := commits.Load(); got != 2 {
		t.Errorf("%d commits, want one for the first Update and one for all others", got)
	}
	f.View(func(tx Tx) error {
		if got, want := len(list(tx, "b")), 1+n*9/10; got != want {
			t.Errorf("%d keys, want %d", got, want)
		}
		return nil
	})
}

// A group that becomes large is committed although others wait.
func TestGroupIsBounded(t *testing.T) {
	t.Parallel()
	f, commits, started, gate := gatedFile(t)
	value := make([]byte, MaxValue)
	gather(f, 40, started, gate, func(i int) {
		if err := f.Update(func(tx Tx) error { return tx.Put("b", fmt.Sprint(i), value) }); err != nil {
			t.Error(err)
		}
	})
	if got, want := commits.Load(), int64(1+3); got != want { // 16 values fill a group
		t.Errorf("%d commits, want %d", got, want)
	}
}

// Updates that write nothing cost no commit, nor does one that fails.
func TestNothingWritten(t *testing.T) {
	t.Parallel()
	f := openTest(t, filepath.Join(t.TempDir(), "state"), fileOptions{})
	f.commit = func(*bbolt.Tx) error { return errors.New("there was a commit") }
	update(t, f, func(tx Tx) error { tx.Get("b", "k"); return nil })
	if err := f.Update(func(tx Tx) error { tx.Put("b", "k", nil); return os.ErrInvalid }); err != os.ErrInvalid {
		t.Errorf("got %v", err)
	}
}

// A commit that fails fails every Update of its group, and after a failure
// that leaves the disk in doubt nothing is written any more.
func TestCommitFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		err    error
		broken bool
	}{
		{"disk full", &fs.PathError{Op: "write", Path: "state", Err: syscall.ENOSPC}, false},
		{"sync failed", syscall.EIO, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "state")
			f := openTest(t, path, fileOptions{})
			put(t, f, "b", "before", "")
			started, gate := make(chan struct{}), make(chan struct{})
			var commits atomic.Int64
			f.commit = func(tx *bbolt.Tx) error {
				switch commits.Add(1) {
				case 1:
					close(started)
					<-gate
				case 2:
					tx.Rollback()
					return tt.err
				}
				return tx.Commit()
			}
			gather(f, 10, started, gate, func(i int) {
				err := f.Update(func(tx Tx) error { return tx.Put("b", fmt.Sprint(i), nil) })
				if !errors.Is(err, tt.err) || !strings.Contains(err.Error(), path) {
					t.Errorf("Update %d: %v", i, err)
				}
			})
			err := f.Update(func(tx Tx) error { return tx.Put("b", "later", nil) })
			want := "before= first= later="
			if tt.broken {
				want = "before= first="
				if !errors.Is(err, tt.err) || !strings.Contains(err.Error(), "before a restart") {
					t.Errorf("a later Update: %v", err)
				}
			} else if err != nil {
				t.Errorf("a later Update: %v", err)
			}
			if got := contents(t, f, "b"); got != want {
				t.Errorf("kept: %s, want %s", got, want)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A commit that panics does so on one goroutine; the others hear of a failure.
func TestCommitPanics(t *testing.T) {
	t.Parallel()
	f := openTest(t, filepath.Join(t.TempDir(), "state"), fileOptions{})
	started, gate := make(chan struct{}), make(chan struct{})
	var commits, panics, failures atomic.Int64
	f.commit = func(tx *bbolt.Tx) error {
		if commits.Add(1) == 1 {
			close(started)
			<-gate
			return tx.Commit()
		}
		tx.Rollback()
		panic("corrupt")
	}
	gather(f, 10, started, gate, func(i int) {
		defer func() {
			if recover() != nil {
				panics.Add(1)
			}
		}()
		if err := f.Update(func(tx Tx) error { return tx.Put("b", fmt.Sprint(i), nil) }); err != nil {
			failures.Add(1)
		}
	})
	if panics.Load() != 1 || failures.Load() != 9 {
		t.Errorf("%d panics and %d failures, want 1 and 9", panics.Load(), failures.Load())
	}
}

// Close commits the Updates that wait for others.
func TestCloseCommits(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	f := openTest(t, path, fileOptions{})
	f.waiting.Add(1) // one that never comes, for the group to stay open
	var wg sync.WaitGroup
	wg.Go(func() { put(t, f, "b", "k", "v") })
	for open := false; !open; runtime.Gosched() {
		f.mu.Lock()
		open = f.group != nil
		f.mu.Unlock()
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if got := contents(t, openTest(t, path, fileOptions{}), "b"); got != "k=v" {
		t.Errorf("kept: %q", got)
	}
}
