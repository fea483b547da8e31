package calls

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
)

// limits are those of a configuration that says nothing about them.
var limits = b2bua.Limits{Calls: 4096, CallsPerUser: 100, CallsPerSource: 30, RequestsPerUser: 10, RequestsPerSource: 2}

// limited adds limits to house B.
func limited(o worldOptions, l b2bua.Limits) worldOptions {
	before := o.optionsB
	o.optionsB = func(b *b2bua.Options) {
		if before != nil {
			before(b)
		}
		b.Limits = l
	}
	return o
}

// 100 000 sources that nobody can tell from real ones send whatever they like to
// either side. What they cost does not grow with their number, and people go on
// calling. It does not run beside other tests: it counts the whole process.
func TestFloodOfSpoofedSources(t *testing.T) {
	o := limited(withAccounts("carol"), limits)
	o.modeA, o.modeB = policy.Prefer, policy.Prefer
	inBubble(t, o, func(t *testing.T, w *world) {
		if res := w.register(bobsMobile, insideB, "carol", "pw-carol", "3600"); res == nil || res.Status != 200 {
			t.Fatalf("REGISTER: %+v", res)
		}
		w.up()
		answers := 0
		w.net.Tap(func(d memnet.Datagram) {
			if d.To.Port() == 5999 {
				answers++
			}
		})
		sdp := phoneSDP(strangerAddr.Addr(), 4000)
		flood := func(first, last int) {
			for i := first; i < last; i++ {
				addr := netip.AddrFrom4([4]byte{203, byte(i >> 16), byte(i >> 8), byte(i)})
				to, msg := outsideB, ""
				switch i % 8 {
				case 0:
					msg = request("INVITE", "sip:carol@b.example", sdp, i) // whose phone is off: it rings long
				case 1:
					msg = request("INVITE", "sip:nobody@b.example", sdp, i)
				case 2:
					msg = request("REGISTER", "sip:b.example", "", i)
				case 3:
					msg = request("OPTIONS", "sip:b.example", "", i)
				case 4:
					msg = "INVITE sip:bob@b.example SIP/2.0\r\nVia: " + strings.Repeat("x", i%500) + "\r\n\r\n"
				case 5:
					msg = strings.Replace(request("BYE", "sip:bob@b.example", "", i), "To: <sip:bob@b.example>", "To: <sip:bob@b.example>;tag=1", 1)
				case 6:
					to, msg = insideB, guess("REGISTER", addr, i)
				case 7:
					to, msg = insideB, guess("INVITE", addr, i)
				}
				msg = strings.Replace(msg, "203.0.113.66:5060", fmt.Sprint(addr, ":5999"), 1)
				if err := w.net.Inject(netip.AddrPortFrom(addr, 5999), to, []byte(msg)); err != nil {
					t.Fatal(err)
				}
				if i%100 == 99 {
					time.Sleep(time.Millisecond)
					synctest.Wait()
				}
			}
		}
		measure := func() (heap uint64, goroutines int) {
			runtime.GC()
			runtime.GC() // what finalizers and pools held until the first
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc, runtime.NumGoroutine()
		}
		began := time.Now()
		flood(0, 10_000)
		time.Sleep(time.Second) // as many strangers as may have begun a call then
		flood(10_000, 25_000)
		heap, goroutines := measure()
		calls, dialogs := len(w.b.proxy.Calls()), w.b.proxy.Dialogs()
		flood(25_000, 100_000)
		heapAfter, goroutinesAfter := measure()
		t.Logf("heap %d to %d kB, goroutines %d to %d, calls %d to %d, dialogs %d to %d, %d answers within %v", heap>>10, heapAfter>>10, goroutines, goroutinesAfter,
			calls, len(w.b.proxy.Calls()), dialogs, w.b.proxy.Dialogs(), answers, time.Since(began))
		if heapAfter > heap+8<<20 {
			t.Errorf("the heap grows from %d to %d kB", heap>>10, heapAfter>>10)
		}
		if goroutinesAfter > goroutines+50 {
			t.Errorf("%d goroutines, were %d", goroutinesAfter, goroutines)
		}
		if n := len(w.b.proxy.Calls()); n > limits.Calls/32+1 {
			t.Errorf("%d calls of strangers", n)
		}

		// Who had a call lately has another one in the midst of it.
		w.alice.hangup()
		w.alice.await("bye answered")
		w.up()
		if b, a := w.talk(10); b != 10 || a != 10 {
			t.Errorf("afterwards bob heard %d, alice %d of 10", b, a)
		}
		if res := w.register(bobsMobile, insideB, "carol", "pw-carol", "3600"); res == nil || res.Status != 200 {
			t.Errorf("REGISTER: %+v", res)
		}
		w.alice.hangup()
		w.alice.await("bye answered")
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if c, d := len(w.b.proxy.Calls()), w.b.proxy.Dialogs(); c != 0 || d != 0 {
			t.Errorf("%d calls and %d dialogs stay", c, d)
		}
	})
}

// guess is a request from inside with a wrong password.
func guess(method string, from netip.Addr, n int) string {
	msg := strings.Replace(request(method, "sip:b.example", "", n), "<sip:mallory@evil.example>", fmt.Sprintf("<sip:user%d@b.example>", n), 1)
	msg = strings.Replace(msg, "To: <sip:b.example>", fmt.Sprintf("To: <sip:user%d@b.example>", n), 1)
	return strings.Replace(msg, "CSeq:", fmt.Sprintf("Authorization: Digest username=\"user%d\", realm=\"b.example\", nonce=\"0\", uri=\"sip:b.example\", response=\"%s\"\r\nCSeq:", n, strings.Repeat("0", 32)), 1)
}
