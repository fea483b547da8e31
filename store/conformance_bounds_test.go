package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func conformBounds(t *testing.T, s Store) {
	big := make([]byte, MaxValue)
	for _, tt := range []struct {
		name, bucket, key string
		value             []byte
	}{
		{"no bucket", "", "k", nil},
		{"long bucket", strings.Repeat("b", MaxBucket+1), "k", nil},
		{"reserved bucket", schemaBucket, schemaKey, []byte("9")},
		{"upper case", "Bucket", "k", nil},
		{"no key", "b", "", nil},
		{"long key", "b", strings.Repeat("k", MaxKey+1), nil},
		{"long value", "b", "k", make([]byte, MaxValue+1)},
	} {
		update(t, s, func(tx Tx) error {
			if err := tx.Put(tt.bucket, tt.key, tt.value); !errors.Is(err, ErrBounds) {
				t.Errorf("%s: Put returned %v", tt.name, err)
			}
			if tt.value == nil {
				if err := tx.Delete(tt.bucket, tt.key); !errors.Is(err, ErrBounds) {
					t.Errorf("%s: Delete returned %v", tt.name, err)
				}
			}
			return nil
		})
	}
	put(t, s, "abcdefghijklmnopqrstuvwxyz-0123456789./", strings.Repeat("k", MaxKey), string(big))
	put(t, s, strings.Repeat("b", MaxBucket), "k", "")
	err := s.Update(func(tx Tx) error {
		for i := range MaxUpdate/MaxValue + 1 {
			if err := tx.Put("big", fmt.Sprint(i), big); err != nil {
				if i != MaxUpdate/MaxValue-1 { // the keys count too
					t.Errorf("refused at value %d", i)
				}
				return err
			}
		}
		return nil
	})
	if !errors.Is(err, ErrBounds) || contents(t, s, "big") != "" {
		t.Errorf("an Update beyond its bound: %v", err)
	}
}

// A full store takes no more values, but lets go of those that it has.
func TestFull(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			const maxSize = 1 << 20
			s := k.open(t, maxSize)
			value := make([]byte, 20_000)
			stored, deleted := 0, 0
			fill := func() {
				for ; ; stored++ {
					err := s.Update(func(tx Tx) error { return tx.Put("b", fmt.Sprintf("%03d", stored), value) })
					if errors.Is(err, ErrFull) {
						return
					}
					if err != nil || (stored-deleted)*len(value) > maxSize {
						t.Fatalf("value %d: %v", stored, err)
					}
				}
			}
			fill()
			if stored*len(value) < maxSize/2 {
				t.Errorf("full at %d octets of %d", stored*len(value), maxSize)
			}
			for i := 0; ; i++ { // up to the last octet
				err := s.Update(func(tx Tx) error { return tx.Put("c", fmt.Sprintf("%04d", i), make([]byte, 500)) })
				if errors.Is(err, ErrFull) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			before := stored
			update(t, s, func(tx Tx) error {
				var errs []error
				for i := range 10 {
					errs = append(errs, tx.Delete("b", fmt.Sprintf("%03d", i)))
				}
				return errors.Join(errs...)
			})
			deleted = 10
			fill()
			if again := stored - before; again < 8 || again > 11 {
				t.Errorf("room for %d values where 10 were deleted", again)
			}
		})
	}
}
