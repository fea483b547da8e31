package store

import (
	"fmt"
	"maps"
	"slices"
	"sync"
)

// NewMemory returns a store that ends with the process.
func NewMemory() Store { return newMemory(MaxSize) }

func newMemory(maxSize int) *memory {
	return &memory{maxSize: maxSize, buckets: memoryBase{}}
}

type memory struct {
	maxSize int

	mu      sync.RWMutex
	closed  bool
	size    int // octets of all keys and values
	buckets memoryBase
}

func (m *memory) Update(fn func(Tx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return fmt.Errorf("store: %w", ErrClosed)
	}
	t := newUpdate(m.buckets)
	if err := t.run(fn); err != nil {
		return err
	}
	size := m.size
	for bucket, writes := range t.writes {
		for key, w := range writes {
			if old, ok := m.buckets[bucket][key]; ok {
				size -= len(key) + len(old)
			}
			if !w.deleted {
				size += len(key) + len(w.value)
			}
		}
	}
	if t.puts && size > m.maxSize {
		return fmt.Errorf("store: more than %d octets: %w", m.maxSize, ErrFull)
	}
	m.size = size
	for bucket, writes := range t.writes {
		m.buckets.apply(bucket, writes)
	}
	return nil
}

func (m *memory) View(fn func(Tx) error) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return fmt.Errorf("store: %w", ErrClosed)
	}
	return (&tx{base: m.buckets}).run(fn)
}

func (m *memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed, m.buckets = true, nil
	return nil
}

// memoryBase holds the values by bucket and key.
type memoryBase map[string]map[string][]byte

func (m memoryBase) get(bucket, key string) ([]byte, bool) {
	value, ok := m[bucket][key]
	return value, ok
}

func (m memoryBase) each(bucket string, fn func(key string, value []byte) error) error {
	for _, key := range slices.Sorted(maps.Keys(m[bucket])) {
		if err := fn(key, m[bucket][key]); err != nil {
			return err
		}
	}
	return nil
}

func (m memoryBase) apply(bucket string, writes map[string]write) {
	if m[bucket] == nil {
		m[bucket] = map[string][]byte{}
	}
	for key, w := range writes {
		if w.deleted {
			delete(m[bucket], key)
		} else {
			m[bucket][key] = w.value
		}
	}
	if len(m[bucket]) == 0 {
		delete(m, bucket)
	}
}
