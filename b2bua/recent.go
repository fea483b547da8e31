package b2bua

import "container/list"

// recent is a memory of bounded size that strangers may write to: a new entry
// beyond max takes the place of the one that was longest not used. Every
// operation takes the same time however many entries there are. It has no lock
// of its own.
type recent[K comparable, V any] struct {
	max     int
	entries map[K]*list.Element
	order   *list.List // of *remembered[K, V], the longest unused in front
}

type remembered[K comparable, V any] struct {
	key   K
	value V
}

func newRecent[K comparable, V any](max int) *recent[K, V] {
	return &recent[K, V]{max: max, entries: map[K]*list.Element{}, order: list.New()}
}

// find returns the value of a key, or nil. It does not count as use, so that
// asking keeps nothing alive.
func (r *recent[K, V]) find(key K) *V {
	e := r.entries[key]
	if e == nil {
		return nil
	}
	return &e.Value.(*remembered[K, V]).value
}

// use returns the value of a key, the zero value where it is new.
func (r *recent[K, V]) use(key K) *V {
	e := r.entries[key]
	if e == nil {
		if len(r.entries) >= r.max {
			r.forget(r.order.Front().Value.(*remembered[K, V]).key)
		}
		e = r.order.PushBack(&remembered[K, V]{key: key})
		r.entries[key] = e
	} else {
		r.order.MoveToBack(e)
	}
	return &e.Value.(*remembered[K, V]).value
}

func (r *recent[K, V]) forget(key K) {
	if e := r.entries[key]; e != nil {
		r.order.Remove(e)
		delete(r.entries, key)
	}
}

func (r *recent[K, V]) len() int { return len(r.entries) }
