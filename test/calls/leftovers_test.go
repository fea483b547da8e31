package calls

import (
	"os"
	"runtime"
	"testing"
	"time"
)

// TestNothingStaysBehind: calls that ended leave no goroutine and no
// descriptor, so no media port either. It does not run beside other tests of
// the package, which it would count too. Calls that are refused or cancelled
// are seen to in bubbles, which end only when every goroutine has.
func TestNothingStaysBehind(t *testing.T) {
	a, b := newSwarm(t, "alice"), newSwarm(t, "bob")
	houseB := realHouse(t, "127.0.0.1", map[string]string{"*@b.example": "sip:*@" + b.lis.Local().String()}, nil)
	houseA := realHouse(t, "127.0.0.1", nil, map[string]string{"*@b.example": "sip:" + houseB.outside.String()})
	defer houseB.stop(t)
	defer houseA.stop(t)

	round := func() {
		for i := range 10 {
			a.dial(t, i, houseA.inside)
		}
		a.wait(t, 10)
		b.wait(t, 10)
		houseA.allEncrypted(t, 10)
		houseB.allEncrypted(t, 10)
		a.hangup()
		a.drop(t, houseA, houseB)
		b.drop(t, houseA, houseB)
	}
	goroutines, files := runtime.NumGoroutine(), descriptors()
	for range 4 {
		round()
	}
	if g, f := settle(goroutines, files); g > goroutines || f > files {
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines and %d descriptors, were %d and %d\n%s", g, f, goroutines, files, buf[:runtime.Stack(buf, true)])
	}
}

// drop closes the phones of calls that are over.
func (s *swarm) drop(t *testing.T, houses ...*realProxy) {
	t.Helper()
	for _, h := range houses {
		for deadline := time.Now().Add(10 * time.Second); len(h.proxy.Calls()) > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d calls left", len(h.proxy.Calls()))
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.calls {
		b.rtp.Close()
	}
	s.calls = nil
}

// settle waits until no more than that is there, and returns what is there.
func settle(goroutines, files int) (int, int) {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		g, f := runtime.NumGoroutine(), descriptors()
		if g <= goroutines && f <= files || time.Now().After(deadline) {
			return g, f
		}
	}
}

func descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0 // not Linux: goroutines alone are counted
	}
	return len(entries)
}
