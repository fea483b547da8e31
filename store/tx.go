package store

import (
	"fmt"
	"maps"
	"slices"
)

// base is what a transaction starts from. Its values are only borrowed.
type base interface {
	get(bucket, key string) ([]byte, bool)
	each(bucket string, fn func(key string, value []byte) error) error // ascending
}

// tx is a [Tx] over a base. It keeps writes to itself until its owner applies
// them: a function that fails leaves no trace in a base that it shares with
// others, and a base does not change under an Each.
type tx struct {
	base     base
	writable bool
	ended    bool
	bound    int // octets that may be written
	size     int // octets written so far
	puts     bool
	writes   map[string]map[string]write // by bucket and key
}

// write is a new value, or the end of a key.
type write struct {
	value   []byte
	deleted bool
}

func newUpdate(b base) *tx {
	return &tx{base: b, writable: true, bound: MaxUpdate, writes: map[string]map[string]write{}}
}

// run calls the function of an Update or View; the transaction ends with it,
// however that ends.
func (t *tx) run(fn func(Tx) error) error {
	defer func() { t.ended = true }()
	return fn(t)
}

func (t *tx) use() {
	if t.ended {
		panic("store: a Tx was used after its Update or View")
	}
}

func (t *tx) Get(bucket, key string) ([]byte, bool) {
	t.use()
	value, ok := t.base.get(bucket, key)
	if w, written := t.writes[bucket][key]; written {
		value, ok = w.value, !w.deleted
	}
	if !ok {
		return nil, false
	}
	return copied(value), true
}

func (t *tx) Put(bucket, key string, value []byte) error {
	if err := checkValue(value); err != nil {
		return err
	}
	if err := t.write(bucket, key, write{value: copied(value)}); err != nil {
		return err
	}
	t.puts = true
	return nil
}

func (t *tx) Delete(bucket, key string) error {
	return t.write(bucket, key, write{deleted: true})
}

func (t *tx) write(bucket, key string, w write) error {
	t.use()
	if !t.writable {
		return fmt.Errorf("store: %w", ErrReadOnly)
	}
	if err := checkBucket(bucket); err != nil {
		return err
	}
	if err := checkKey(key); err != nil {
		return err
	}
	size := t.size + len(key) + len(w.value)
	if size > t.bound {
		return fmt.Errorf("store: more than %d octets in one Update: %w", t.bound, ErrBounds)
	}
	t.size = size
	if t.writes[bucket] == nil {
		t.writes[bucket] = map[string]write{}
	}
	t.writes[bucket][key] = w
	return nil
}

func (t *tx) Each(bucket string, fn func(key string, value []byte) error) error {
	t.use()
	own := maps.Clone(t.writes[bucket]) // fn may write
	keys := slices.Sorted(maps.Keys(own))
	// ownBelow calls fn for the own keys that come before a key of the base.
	ownBelow := func(limit string, all bool) error {
		for len(keys) > 0 && (all || keys[0] < limit) {
			key := keys[0]
			keys = keys[1:]
			if w := own[key]; !w.deleted {
				if err := fn(key, copied(w.value)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	err := t.base.each(bucket, func(key string, value []byte) error {
		if err := ownBelow(key, false); err != nil {
			return err
		}
		if _, written := own[key]; written {
			return nil // its turn comes before the next key of the base
		}
		return fn(key, copied(value))
	})
	if err != nil {
		return err
	}
	return ownBelow("", true)
}

// copied returns a copy that is not nil: an empty value is a value.
func copied(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }
