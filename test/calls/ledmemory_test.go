package calls

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/memnet"
)

// A call that a transfer has joined may last as long as any other, and keeps no more
// of how it came about. Not parallel: the heap is the process's.
func TestLedCallsKeepNoMore(t *testing.T) {
	if raceEnabled {
		t.Skip("takes 20 s with the race detector, and the heap is the same")
	}
	weigh := func(lead func(t *testing.T, w *world, carol *phone)) (each int64) {
		const first, more = 30, 100
		inBubble(t, withColleagues(worldOptions{net: memnet.Options{Delay: 5 * time.Millisecond}}), func(t *testing.T, w *world) {
			carol := w.phone("carol", carolPhone, insideA)
			defer carol.close()
			w.alice.refers()
			up := func(n int) int64 {
				for range n {
					lead(t, w, carol)
					time.Sleep(10 * time.Second) // alice is sent away
				}
				time.Sleep(3 * time.Minute) // SIP forgets its transactions
				synctest.Wait()
				runtime.GC()
				runtime.GC() // what pools held until the first
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return int64(m.HeapAlloc)
			}
			before := up(first)
			each = (up(more) - before) / more
			if n := len(w.a.proxy.Calls()); n != first+more {
				t.Errorf("%d calls", n)
			}
		})
		return each
	}
	called := func(t *testing.T, w *world, carol *phone) {
		carol.call("sip:bob@b.example")
		carol.await("answered")
		w.bob.await("acked")
	}
	weigh(called) // what is made once
	direct := weigh(called)
	for way, lead := range leads {
		led := weigh(lead)
		t.Logf("%s: %d octets more than where carol has called", way, led-direct)
		if led > direct+2<<10 { // who came, from where, and why
			t.Errorf("%s: %d octets, %d where carol has called", way, led, direct)
		}
	}
}
