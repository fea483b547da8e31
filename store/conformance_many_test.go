package store

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
)

func conformConcurrent(t *testing.T, s Store) {
	const workers, rounds = 16, 20
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range rounds {
				err := s.Update(func(tx Tx) error {
					old, _ := tx.Get("n", "total")
					if err := tx.Put("n", "total", append(old, 'x')); err != nil {
						return err
					}
					if i%5 == 4 {
						return errors.New("every fifth fails")
					}
					return tx.Put("n", fmt.Sprintf("%d/%d", w, i), nil)
				})
				if (err != nil) != (i%5 == 4) {
					t.Errorf("round %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	want := workers * rounds * 4 / 5
	if err := s.View(func(tx Tx) error {
		total, _ := tx.Get("n", "total")
		if records := len(list(tx, "n")) - 1; len(total) != want || records != want {
			t.Errorf("counted %d, recorded %d, want %d of both", len(total), records, want)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// conformModel runs random transactions on the store and on plain maps.
func conformModel(t *testing.T, s Store) {
	r := rand.New(rand.NewPCG(1, 2))
	model := map[string]string{}
	fails := errors.New("fails")
	for round := range 200 {
		next := maps.Clone(model)
		failing := r.IntN(4) == 0
		err := s.Update(func(tx Tx) error {
			for range r.IntN(20) {
				key := fmt.Sprintf("%02d", r.IntN(40))
				switch r.IntN(4) {
				case 0:
					delete(next, key)
					if err := tx.Delete("m", key); err != nil {
						return err
					}
				case 1:
					if got, ok := tx.Get("m", key); string(got) != next[key] || ok != (next[key] != "") {
						t.Errorf("round %d, Get %s: %q, want %q", round, key, got, next[key])
					}
				default:
					next[key] = strings.Repeat("v", 1+r.IntN(3000))
					if err := tx.Put("m", key, []byte(next[key])); err != nil {
						return err
					}
				}
			}
			if got, want := strings.Join(list(tx, "m"), " "), modelText(next); got != want {
				t.Errorf("round %d, within the Update: %.80s, want %.80s", round, got, want)
			}
			if failing {
				return fails
			}
			return nil
		})
		if failing != (err == fails) {
			t.Fatalf("round %d: %v", round, err)
		}
		if !failing {
			model = next
		}
		if got, want := contents(t, s, "m"), modelText(model); got != want {
			t.Fatalf("round %d: %.80s, want %.80s", round, got, want)
		}
	}
}

func modelText(m map[string]string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		all = append(all, key+"="+m[key])
	}
	return strings.Join(all, " ")
}

func conformClose(t *testing.T, s Store) {
	// Updates at the time of Close are kept or say that they were too late.
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				if err := s.Update(func(tx Tx) error { return tx.Put("b", "k", nil) }); err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Errorf("Update: %v", err)
					}
					return
				}
			}
		})
		wg.Go(func() {
			for {
				if err := s.View(func(tx Tx) error { tx.Get("b", "k"); return nil }); err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Errorf("View: %v", err)
					}
					return
				}
			}
		})
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	wg.Wait()
}
