// Package recent remembers what strangers may write, in a bounded space.
package recent

import (
	"container/list"
	"iter"
	"maps"
)

// Memory is a map of bounded size: a new entry beyond max takes the place of the
// one that was longest not used. Every operation but Keys takes the same time
// however many entries there are. It has no lock of its own.
type Memory[K comparable, V any] struct {
	max     int
	entries map[K]*list.Element
	order   *list.List // of *remembered[K, V], the longest unused in front
}

type remembered[K comparable, V any] struct {
	key   K
	value V
}

// New returns an empty memory of so many entries.
func New[K comparable, V any](max int) *Memory[K, V] {
	return &Memory[K, V]{max: max, entries: map[K]*list.Element{}, order: list.New()}
}

// Find returns the value of a key, or nil. It does not count as use, so that
// asking keeps nothing alive.
func (m *Memory[K, V]) Find(key K) *V {
	e := m.entries[key]
	if e == nil {
		return nil
	}
	return &e.Value.(*remembered[K, V]).value
}

// Use returns the value of a key, the zero value where it is new.
func (m *Memory[K, V]) Use(key K) *V {
	e := m.entries[key]
	if e == nil {
		if len(m.entries) >= m.max {
			m.Forget(m.order.Front().Value.(*remembered[K, V]).key)
		}
		e = m.order.PushBack(&remembered[K, V]{key: key})
		m.entries[key] = e
	} else {
		m.order.MoveToBack(e)
	}
	return &e.Value.(*remembered[K, V]).value
}

// Forget takes an entry out, if there is one.
func (m *Memory[K, V]) Forget(key K) {
	if e := m.entries[key]; e != nil {
		m.order.Remove(e)
		delete(m.entries, key)
	}
}

// Keys lists the keys, in no order. Entries may be forgotten meanwhile.
func (m *Memory[K, V]) Keys() iter.Seq[K] { return maps.Keys(m.entries) }

// Len counts the entries.
func (m *Memory[K, V]) Len() int { return len(m.entries) }
