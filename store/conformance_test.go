package store

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// kinds are the stores that the conformance tests hold for.
var kinds = []struct {
	name string
	open func(t testing.TB, maxSize int) Store
}{
	{"memory", func(t testing.TB, maxSize int) Store { return newMemory(maxSize) }},
	{"file", func(t testing.TB, maxSize int) Store {
		return openTest(t, filepath.Join(t.TempDir(), "state"), fileOptions{maxSize: maxSize})
	}},
}

// openTest opens a file and closes it after the test.
func openTest(t testing.TB, path string, o fileOptions) *file {
	t.Helper()
	if o.migrations == nil {
		o.migrations = migrations
	}
	if o.maxSize == 0 {
		o.maxSize = MaxSize
	}
	if o.timeout == 0 {
		o.timeout = lockTimeout
	}
	f, err := openFile(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		run  func(*testing.T, Store)
	}{
		{"values", conformValues},
		{"values are copies", conformCopies},
		{"an Update that fails", conformFailure},
		{"an Update that panics", conformPanic},
		{"order of Each", conformEach},
		{"Each while writing", conformEachWrites},
		{"View", conformView},
		{"a Tx used later", conformLater},
		{"bounds", conformBounds},
		{"Updates at once", conformConcurrent},
		{"against a model", conformModel},
		{"Close", conformClose},
		{"records", conformRecords},
	} {
		for _, k := range kinds {
			t.Run(tt.name+"/"+k.name, func(t *testing.T) {
				t.Parallel()
				s := k.open(t, MaxSize)
				tt.run(t, s)
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func update(t testing.TB, s Store, fn func(Tx) error) {
	t.Helper()
	if err := s.Update(fn); err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, s Store, bucket, key, value string) {
	t.Helper()
	update(t, s, func(tx Tx) error { return tx.Put(bucket, key, []byte(value)) })
}

// contents returns a bucket as Each shows it, "k=v k=v".
func contents(t testing.TB, s Store, bucket string) string {
	t.Helper()
	var all []string
	if err := s.View(func(tx Tx) error { all = list(tx, bucket); return nil }); err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

func list(tx Tx, bucket string) (all []string) {
	tx.Each(bucket, func(key string, value []byte) error {
		all = append(all, key+"="+string(value))
		return nil
	})
	return all
}

func conformValues(t *testing.T, s Store) {
	long := strings.Repeat("k", MaxKey)
	update(t, s, func(tx Tx) error {
		if _, ok := tx.Get("b", "k"); ok {
			t.Error("a key in a bucket that does not exist")
		}
		if err := tx.Delete("b", "k"); err != nil {
			t.Errorf("deleting what is not there: %v", err)
		}
		return errors.Join(
			tx.Put("b", "k", []byte("v")), tx.Put("b", "empty", nil), tx.Put("b", "\x00\xff", []byte{0, 255}),
			tx.Put("other", "k", []byte("w")), tx.Put("b", long, []byte("long")),
			tx.Put("b", "gone", []byte("x")), tx.Delete("b", "gone"),
			tx.Put("b", "twice", []byte("1")), tx.Delete("b", "twice"), tx.Put("b", "twice", []byte("2")))
	})
	check := func(tx Tx) error {
		for _, want := range []struct{ bucket, key, value string }{
			{"b", "k", "v"}, {"b", "empty", ""}, {"b", "\x00\xff", "\x00\xff"}, {"other", "k", "w"}, {"b", long, "long"}, {"b", "twice", "2"},
		} {
			if got, ok := tx.Get(want.bucket, want.key); !ok || got == nil || string(got) != want.value {
				t.Errorf("%s %.9q: got %q, %v; want %q", want.bucket, want.key, got, ok, want.value)
			}
		}
		for _, none := range []struct{ bucket, key string }{{"b", "gone"}, {"b", "other"}, {"other", "v"}, {"none", "k"}, {"b", ""}, {schemaBucket, schemaKey}} {
			if got, ok := tx.Get(none.bucket, none.key); ok || got != nil {
				t.Errorf("%s %q: got %q, %v; want none", none.bucket, none.key, got, ok)
			}
		}
		if all := list(tx, schemaBucket); all != nil {
			t.Errorf("the layout's version shows as a bucket: %v", all)
		}
		return nil
	}
	if err := s.View(check); err != nil {
		t.Error(err)
	}
	update(t, s, check)
	update(t, s, func(tx Tx) error { return tx.Delete("other", "k") })
	if got := contents(t, s, "other"); got != "" {
		t.Errorf("behind Delete: %s", got)
	}
}

func conformCopies(t *testing.T, s Store) {
	value := []byte("value")
	update(t, s, func(tx Tx) error {
		if err := tx.Put("b", "k", value); err != nil {
			return err
		}
		copy(value, "XXXXX")
		got, _ := tx.Get("b", "k")
		copy(got, "YYYYY")
		return tx.Each("b", func(_ string, v []byte) error { copy(v, "ZZZZZ"); return nil })
	})
	var kept []byte
	for range 2 {
		if err := s.View(func(tx Tx) error {
			kept, _ = tx.Get("b", "k")
			if string(kept) != "value" {
				t.Errorf("got %q", kept)
			}
			got, _ := tx.Get("b", "k")
			copy(got, "YYYYY") // of a file's own memory this would be a fault
			return tx.Each("b", func(_ string, v []byte) error { copy(v, "ZZZZZ"); return nil })
		}); err != nil {
			t.Fatal(err)
		}
	}
	put(t, s, "b", "k", "other")
	if string(kept) != "value" {
		t.Errorf("a value that was kept became %q", kept)
	}
}

func conformFailure(t *testing.T, s Store) {
	put(t, s, "b", "k", "before")
	sentinel := errors.New("no")
	err := s.Update(func(tx Tx) error {
		if err := errors.Join(tx.Put("b", "k", []byte("after")), tx.Put("b", "new", nil), tx.Put("new", "new", nil)); err != nil {
			t.Error(err)
		}
		return sentinel
	})
	if err != sentinel {
		t.Errorf("Update returned %v", err)
	}
	if err := s.View(func(Tx) error { return sentinel }); err != sentinel {
		t.Errorf("View returned %v", err)
	}
	if got := contents(t, s, "b") + contents(t, s, "new"); got != "k=before" {
		t.Errorf("behind an Update that failed: %s", got)
	}
}

func conformPanic(t *testing.T, s Store) {
	put(t, s, "b", "k", "before")
	for name, run := range map[string]func(func(Tx) error) error{"Update": s.Update, "View": s.View} {
		func() {
			defer func() {
				if r := recover(); r != "mine" {
					t.Errorf("%s: recovered %v", name, r)
				}
			}()
			run(func(tx Tx) error {
				tx.Put("b", "k", []byte("after"))
				panic("mine")
			})
		}()
	}
	if got := contents(t, s, "b"); got != "k=before" {
		t.Errorf("behind a panic: %s", got)
	}
	put(t, s, "b", "k", "later") // nothing is held that blocks it
}

func conformEach(t *testing.T, s Store) {
	keys := []string{"b", "\xff", "a", "B", "ab", "a\x00", "10", "9"}
	for _, key := range keys {
		put(t, s, "b", key, "")
	}
	slices.Sort(keys)
	want := strings.Join(keys, "= ") + "="
	if got := contents(t, s, "b"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	stop := errors.New("stop")
	n := 0
	err := s.View(func(tx Tx) error {
		return tx.Each("b", func(string, []byte) error {
			if n++; n == 3 {
				return stop
			}
			return nil
		})
	})
	if err != stop || n != 3 {
		t.Errorf("stopped with %v after %d keys", err, n)
	}
}

func conformEachWrites(t *testing.T, s Store) {
	for _, key := range []string{"b", "d", "f", "h"} {
		put(t, s, "b", key, "0")
	}
	stop := errors.New("stop")
	update(t, s, func(tx Tx) error {
		if err := errors.Join(tx.Put("b", "a", []byte("1")), tx.Put("b", "d", []byte("1")), tx.Delete("b", "f"), tx.Put("b", "z", []byte("1")), tx.Delete("b", "nothing")); err != nil {
			return err
		}
		if got := strings.Join(list(tx, "b"), " "); got != "a=1 b=0 d=1 h=0 z=1" {
			t.Errorf("own writes in Each: %s", got)
		}
		var seen []string
		err := tx.Each("b", func(key string, value []byte) error {
			seen = append(seen, key+"="+string(value))
			return errors.Join(tx.Delete("b", key), tx.Put("b", key+"+", value), tx.Put("b", "zz", nil))
		})
		if got := strings.Join(seen, " "); err != nil || got != "a=1 b=0 d=1 h=0 z=1" {
			t.Errorf("Each over a bucket that changes: %s, %v", got, err)
		}
		seen = nil
		err = tx.Each("b", func(key string, value []byte) error {
			seen = append(seen, key)
			return errors.Join(tx.Delete("b", "zz"), tx.Put("b", "z+", []byte("2")))
		})
		if got := strings.Join(seen, " "); err != nil || got != "a+ b+ d+ h+ z+ zz" {
			t.Errorf("Each over own writes that change: %s, %v", got, err)
		}
		if err := errors.Join(tx.Put("b", "zz", nil), tx.Put("b", "z+", []byte("1"))); err != nil {
			return err
		}
		for _, at := range []string{"a+", "d+", "zz"} { // own keys, in the middle and at the end
			if err := tx.Each("b", func(key string, _ []byte) error {
				if key == at {
					return stop
				}
				return nil
			}); err != stop {
				t.Errorf("Each stopped at %s returned %v", at, err)
			}
		}
		return nil
	})
	if got := contents(t, s, "b"); got != "a+=1 b+=0 d+=1 h+=0 z+=1 zz=" {
		t.Errorf("kept: %s", got)
	}
}

func conformView(t *testing.T, s Store) {
	put(t, s, "b", "k", "1")
	put(t, s, "c", "k", "1")
	if err := s.View(func(tx Tx) error {
		if err := tx.Put("b", "k", nil); !errors.Is(err, ErrReadOnly) {
			t.Errorf("Put: %v", err)
		}
		if err := tx.Delete("b", "k"); !errors.Is(err, ErrReadOnly) {
			t.Errorf("Delete: %v", err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	// A View shows one state, however many Updates come meanwhile.
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 50 {
			update(t, s, func(tx Tx) error {
				return errors.Join(tx.Put("b", "k", fmt.Append(nil, i)), tx.Put("c", "k", fmt.Append(nil, i)))
			})
		}
	})
	for range 50 {
		s.View(func(tx Tx) error {
			first, _ := tx.Get("b", "k")
			for range 20 {
				for _, bucket := range []string{"b", "c"} {
					if again, _ := tx.Get(bucket, "k"); !bytes.Equal(first, again) {
						t.Errorf("one View saw %s and %s", first, again)
					}
				}
			}
			return nil
		})
	}
	wg.Wait()
	if got := contents(t, s, "b") + contents(t, s, "c"); got != "k=49k=49" {
		t.Errorf("at the end: %s", got)
	}
}

func conformLater(t *testing.T, s Store) {
	var kept Tx
	s.View(func(tx Tx) error { kept = tx; return nil })
	viewed := kept
	update(t, s, func(tx Tx) error { kept = tx; return nil })
	for name, use := range map[string]func(){
		"Get in a View": func() { viewed.Get("b", "k") },
		"Get":           func() { kept.Get("b", "k") },
		"Put":           func() { kept.Put("b", "k", nil) },
		"Delete":        func() { kept.Delete("b", "k") },
		"Each":          func() { kept.Each("b", func(string, []byte) error { return nil }) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s of a Tx that has ended did not panic", name)
				}
			}()
			use()
		}()
	}
}

func conformRecords(t *testing.T, s Store) {
	r, other := NewRecords(s, "r"), NewRecords(s, "other")
	if err := errors.Join(r.Delete("none"), r.Save("a", []byte("1")), r.Save("b", []byte("2")), r.Save("c", nil), r.Save("a", []byte("3")), other.Save("a", []byte("4"))); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, s, "r"); got != "a=3 b=2 c=" {
		t.Errorf("saved: %s", got)
	}
	if err := r.Delete("a", "none", ""); !errors.Is(err, ErrBounds) || contents(t, s, "r") != "a=3 b=2 c=" {
		t.Errorf("a Delete with a key that cannot be: %v, %s", err, contents(t, s, "r"))
	}
	if err := r.Delete("a", "none", "c"); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	var got string
	if err := r.Load(func(key string, value []byte) error { got += key + string(value); return stop }); err != stop || got != "b2" {
		t.Errorf("loaded %s, %v", got, err)
	}
	if got := contents(t, s, "other"); got != "a=4" {
		t.Errorf("the other bucket: %s", got)
	}
}
