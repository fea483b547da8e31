package registrar_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sipward/sipward/route/registrar"
	"github.com/sipward/sipward/store"
)

var _ registrar.Keeper = (*store.Records)(nil)

func openStore(t testing.TB, path string) store.Store {
	t.Helper()
	s, err := store.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func newRegistrar(t testing.TB, o registrar.Options) *registrar.Registrar {
	t.Helper()
	r, err := registrar.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func register(r *registrar.Registrar, user int, cseq uint32, expires time.Duration) error {
	_, err := r.Register(fmt.Sprintf("sip:user%d@a.example", user), registrar.Request{
		CallID: fmt.Sprintf("4f7c%08d@192.0.2.7", user), CSeq: cseq,
		Source:  registrar.Source{Network: "udp", Listener: "phones", Remote: netip.MustParseAddrPort("192.0.2.7:5060")},
		Changes: []registrar.Change{{Contact: fmt.Sprintf("sip:user%d@192.0.2.7:5060;ob", user), Expires: expires, Q: 1000}},
	})
	return err
}

// Bindings come back from a file as they were, without what was removed and
// what expired meanwhile. The file is opened anew without the first registrar
// having been told of an end.
func TestRestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	now := time.Now()
	o := registrar.Options{Now: func() time.Time { return now }}
	s := openStore(t, path)
	o.Keeper = store.NewRecords(s, "registrar")
	r := newRegistrar(t, o)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if err := register(r, i, 1, time.Duration(i+60)*time.Second); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range 10 {
		if err := register(r, 90+i, 2, 0); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(80 * time.Second) // 0 to 20 expire
	before := r.All()
	s.Close()

	o.Keeper = store.NewRecords(openStore(t, path), "registrar")
	r = newRegistrar(t, o)
	after := r.All()
	if len(before) != 69 || len(after) != len(before) {
		t.Fatalf("%d bindings before, %d after, want 69", len(before), len(after))
	}
	for i := range before {
		b, a := before[i], after[i]
		if d := b.Expires.Sub(a.Expires); d < 0 || d >= time.Millisecond {
			t.Errorf("%s expires at %v, then at %v", b.AOR, b.Expires, a.Expires)
		}
		a.Expires, a.Updated, b.Expires, b.Updated = time.Time{}, time.Time{}, time.Time{}, time.Time{}
		if a != b {
			t.Errorf("%+v became %+v", b, a)
		}
	}
	// The order of requests is known still.
	if err := register(r, 50, 1, time.Minute); err == nil {
		t.Error("a request that was overtaken is taken behind a restart")
	}
	if err := register(r, 50, 2, time.Minute); err != nil {
		t.Error(err)
	}
}

// BenchmarkRegister registers 10 000 users, each refreshing one binding, so many
// at once.
func BenchmarkRegister(b *testing.B) {
	const users = 10_000
	for _, kind := range []string{"memory", "file"} {
		for _, at := range []int{1, 64, 512} {
			if kind == "file" && at == 1 {
				continue // one write to the disk after another; see BenchmarkUpdate of package store
			}
			b.Run(fmt.Sprintf("%s/%d at once", kind, at), func(b *testing.B) {
				s := store.NewMemory()
				if kind == "file" {
					s = openStore(b, filepath.Join(b.TempDir(), "state"))
				}
				r := newRegistrar(b, registrar.Options{Keeper: store.NewRecords(s, "registrar")})
				b.ReportAllocs()
				cseq := uint32(0)
				for b.Loop() {
					cseq++
					var wg sync.WaitGroup
					for w := range at {
						wg.Go(func() {
							for i := w; i < users; i += at {
								if err := register(r, i, cseq, time.Hour); err != nil {
									b.Error(err)
								}
							}
						})
					}
					wg.Wait()
				}
				if r.Len() != users {
					b.Fatalf("%d bindings", r.Len())
				}
				b.ReportMetric(float64(b.N)*users/b.Elapsed().Seconds(), "registrations/s")
			})
		}
	}
}

// BenchmarkLookup looks for one of 10 000 users.
func BenchmarkLookup(b *testing.B) {
	r := newRegistrar(b, registrar.Options{})
	for i := range 10_000 {
		if err := register(r, i, 1, time.Hour); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if len(r.Lookup("sip:user7777@a.example")) != 1 {
			b.Fatal("not found")
		}
	}
}

// BenchmarkStart loads 10 000 bindings from a file.
func BenchmarkStart(b *testing.B) {
	keeper := store.NewRecords(openStore(b, filepath.Join(b.TempDir(), "state")), "registrar")
	r := newRegistrar(b, registrar.Options{Keeper: keeper})
	var wg sync.WaitGroup
	for w := range 500 {
		wg.Go(func() {
			for i := w; i < 10_000; i += 500 {
				if err := register(r, i, 1, time.Hour); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for b.Loop() {
		if n := newRegistrar(b, registrar.Options{Keeper: keeper}).Len(); n != 10_000 {
			b.Fatal(n)
		}
	}
}
