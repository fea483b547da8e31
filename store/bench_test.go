package store

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"go.etcd.io/bbolt"
)

// BenchmarkUpdate writes a record of 200 octets, the size of a binding, from as
// many goroutines as the name says. The file is in the folder for temporary
// files: where that is in memory, the disk does not count.
func BenchmarkUpdate(b *testing.B) {
	value := make([]byte, 200)
	for _, k := range kinds {
		for _, at := range []int{1, 8, 64, 512} {
			b.Run(fmt.Sprintf("%s/%d at once", k.name, at), func(b *testing.B) {
				s := k.open(b, MaxSize)
				commits := 0
				if f, ok := s.(*file); ok {
					f.commit = func(tx *bbolt.Tx) error { commits++; return tx.Commit() }
				}
				b.ReportAllocs()
				b.ResetTimer()
				var wg sync.WaitGroup
				for w := range at {
					wg.Go(func() {
						for i := w; i < b.N; i += at {
							key := fmt.Sprintf("user%04d", i%10_000)
							if err := s.Update(func(tx Tx) error { return tx.Put("b", key, value) }); err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
				if commits > 0 {
					b.ReportMetric(float64(b.N)/float64(commits), "updates/commit")
				}
			})
		}
	}
}

// BenchmarkOpen opens a file with 10 000 records and reads them all.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "state")
	f := openTest(b, path, fileOptions{})
	update(b, f, func(tx Tx) error {
		for i := range 10_000 {
			if err := tx.Put("b", fmt.Sprintf("user%04d", i), make([]byte, 200)); err != nil {
				return err
			}
		}
		return nil
	})
	f.Close()
	for b.Loop() {
		s, err := OpenFile(path)
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		if err := NewRecords(s, "b").Load(func(string, []byte) error { n++; return nil }); err != nil || n != 10_000 {
			b.Fatal(n, err)
		}
		s.Close()
	}
}
