package store

import (
	"errors"
	"fmt"
)

// Bounds. What goes beyond them is refused with an error that wraps
// [ErrBounds], or [ErrFull] for MaxSize.
const (
	MaxBucket = 64      // octets of a bucket's name, which consists of a-z, 0-9, '.', '/' and '-'
	MaxKey    = 1024    // octets of a key, which has one at least
	MaxValue  = 1 << 20 // octets of a value; none is a value too
	MaxUpdate = 8 << 20 // octets of the keys and values that one Update writes
	MaxSize   = 1 << 30 // octets that a store takes up: used pages of a file, keys and values in memory
)

var (
	// ErrBounds is wrapped by errors about names, keys and values that no store takes.
	ErrBounds = errors.New("outside the bounds of the store")
	// ErrFull is returned by an Update that would take a store beyond its size.
	// An Update that only deletes still succeeds.
	ErrFull = errors.New("the store is full")
	// ErrReadOnly is returned by Put and Delete within a View.
	ErrReadOnly = errors.New("nothing can be written within a View")
	// ErrClosed is returned by a store that was closed.
	ErrClosed = errors.New("the store is closed")
)

// Store keeps state. It may be used by several goroutines.
type Store interface {
	// Update runs fn and keeps what it wrote, durably before Update returns.
	// Updates run one after another, each on what those before it wrote. When
	// fn returns an error, which Update then returns, nothing is kept. Any
	// other error is the store's own; after one of a disk what fn wrote may
	// turn out to be kept when the store is opened again.
	//
	// fn does nothing but use its Tx: a store may have to run it again. It
	// starts no Update or View and ends before the Tx does.
	Update(fn func(Tx) error) error
	// View runs fn on what the Updates that returned before, and perhaps some
	// that are about to, have kept; nothing of that changes while fn runs. It
	// returns fn's error. fn starts no Update or View and is brief: a file
	// cannot grow meanwhile.
	View(fn func(Tx) error) error
	// Close waits for what is running and gives the store up. Closing again
	// does nothing.
	Close() error
}

// Tx is the store as one Update or View sees it. It is for the goroutine of the
// function that it was handed to, and for no longer than that runs: used later
// it panics.
type Tx interface {
	// Get returns the value of a key, which is the caller's to keep and change.
	// ok is false where there is none.
	Get(bucket, key string) (value []byte, ok bool)
	// Put sets the value of a key. The value is copied.
	Put(bucket, key string, value []byte) error
	// Delete removes a key; where there is none it does nothing.
	Delete(bucket, key string) error
	// Each calls fn for every key of a bucket, in ascending order of their
	// octets, until fn returns an error, which Each then returns. It goes over
	// the bucket as it was when Each began; fn may write to it. The value is
	// fn's to keep and change.
	Each(bucket string, fn func(key string, value []byte) error) error
}

func checkBucket(bucket string) error {
	if bucket == "" || len(bucket) > MaxBucket {
		return fmt.Errorf("store: bucket name of %d octets, not 1 to %d: %w", len(bucket), MaxBucket, ErrBounds)
	}
	for i := range len(bucket) {
		if c := bucket[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '/' && c != '-' {
			return fmt.Errorf("store: bucket name with %q: %w", c, ErrBounds)
		}
	}
	return nil
}

func checkKey(key string) error {
	if key == "" || len(key) > MaxKey {
		return fmt.Errorf("store: key of %d octets, not 1 to %d: %w", len(key), MaxKey, ErrBounds)
	}
	return nil
}

func checkValue(value []byte) error {
	if len(value) > MaxValue {
		return fmt.Errorf("store: value of %d octets, more than %d: %w", len(value), MaxValue, ErrBounds)
	}
	return nil
}
