package store

import (
	"errors"
	"fmt"
	"io/fs"

	"go.etcd.io/bbolt"
)

// A group ends early when it has grown so large that its first Updates would
// wait for too long.
const (
	maxGroup      = 1024     // Updates
	maxGroupBytes = 16 << 20 // octets that they write
)

// group is the Updates that one commit makes durable. Each runs on its caller's
// goroutine, one after another, on the same transaction of the library. The
// last, which is the one behind which no other is waiting, commits; the others
// wait for that. While it does, the next group gathers at the mutex. So an
// Update that is alone is committed at once, and the slower the disk, the more
// Updates share one write to it.
type group struct {
	bolt    *bbolt.Tx
	done    chan struct{}
	err     error // of the commit; read once done is closed
	failed  bool  // err is set, and the transaction holds half an Update
	updates int
	bytes   int // written by the Updates so far
	used    int // octets in use before the group
}

func (f *file) Update(fn func(Tx) error) error {
	g, err := f.join(fn)
	if g == nil {
		return err
	}
	// An Update that failed waits too: it may have failed for what one before
	// it in the group wrote, and that is not true before it is durable.
	<-g.done
	if err != nil {
		return err
	}
	return g.err
}

// join runs fn as the next Update of the open group and commits the group if it
// is the last. The error is that of fn. Without a group the store is not to be
// written to.
func (f *file) join(fn func(Tx) error) (g *group, err error) {
	f.waiting.Add(1)
	f.mu.Lock()
	f.waiting.Add(-1)
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return nil, fmt.Errorf("store: %w", ErrClosed)
	case f.broken != nil:
		return nil, f.broken
	case f.group == nil:
		if f.group, err = f.begin(); err != nil {
			return nil, f.fault(err)
		}
	}
	g = f.group
	defer f.endIfLast(g) // whether fn returns or panics
	g.updates++
	base := boltBase{g.bolt}
	t := newUpdate(base)
	if err := t.run(fn); err != nil {
		return g, err
	}
	if t.puts && g.used+g.bytes+t.size > f.maxSize {
		return g, fmt.Errorf("state file %s: more than %d MiB: %w", f.path, f.maxSize>>20, ErrFull)
	}
	g.bytes += t.size
	if err := base.apply(t); err != nil {
		g.failed, g.err = true, f.fault(err)
	}
	return g, nil
}

func (f *file) begin() (*group, error) {
	t, err := f.db.Begin(true)
	if err != nil {
		return nil, err
	}
	s := f.db.Stats()
	return &group{
		bolt: t,
		done: make(chan struct{}),
		used: int(t.Size()) - (s.FreePageN+s.PendingPageN)*f.db.Info().PageSize,
	}, nil
}

// endIfLast commits the group unless another Update is to join it. Whoever is
// counted as waiting comes here too, or to Close.
func (f *file) endIfLast(g *group) {
	if !g.failed && g.updates < maxGroup && g.bytes < maxGroupBytes && f.waiting.Load() > 0 {
		return
	}
	f.end(g)
}

func (f *file) end(g *group) {
	f.group = nil
	defer close(g.done)
	if g.failed || g.bytes == 0 {
		g.bolt.Rollback() // its only error is that the transaction has ended
		return
	}
	g.err = f.fault(errors.New("the commit did not return")) // for those who wait, should it panic
	err := f.commit(g.bolt)
	g.err = nil
	if err != nil {
		g.err = f.fault(err)
		// A write that was refused, as on a full disk, left what was there
		// before in force. After any other failure, of a sync above all, memory
		// and disk may differ from what the library believes: nothing more is
		// written until the file has been opened anew.
		var path *fs.PathError
		if !errors.As(err, &path) || path.Op != "write" {
			f.broken = fmt.Errorf("%w; nothing more is written before a restart", g.err)
		}
	}
}

func (f *file) fault(err error) error { return fmt.Errorf("state file %s: %w", f.path, err) }

func (f *file) Close() error {
	f.waiting.Add(1)
	f.mu.Lock()
	f.waiting.Add(-1)
	defer f.mu.Unlock()
	if f.group != nil {
		f.end(f.group)
	}
	if f.closed {
		return nil
	}
	f.closed = true
	return f.db.Close()
}
