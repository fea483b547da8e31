package calls

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/media/srtp"
	"github.com/sipward/sipward/policy"
)

// A PBX inside forks what it gets, and two phones with SRTP play something before
// either answers: the one that was first is heard until then, and whichever answers
// has the call, under its own keys.
func TestCalledForksWithSDES(t *testing.T) {
	t.Parallel()
	suites := srtp.Suites()
	for _, caller := range []string{"inside", "outside"} {
		for name, second := range map[string]srtp.Suite{"one suite": suites[0], "two suites": suites[1]} {
			for _, answers := range []string{"first", "second"} {
				for _, rseq := range []int{0, 17} {
					t.Run(fmt.Sprint("a caller ", caller, ", ", name, ", the ", answers, " answers, RSeq ", rseq), func(t *testing.T) {
						t.Parallel()
						o := withColleagues(worldOptions{net: memnet.Options{Delay: 5 * time.Millisecond}, modeA: policy.Require, optionsA: func(o *b2bua.Options) { o.Listeners[0].SDES = b2bua.SDESAlways }})
						inBubble(t, o, func(t *testing.T, w *world) {
							f := &forker{t: t, raw: w.raw(carolPhone), at: carolPhone, to: insideA}
							defer f.raw.conn.Close()
							forks := map[string]*srtpPhone{}
							for i, tag := range []string{"first", "second"} {
								p := w.phone(tag, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, 0, byte(11 + i)}), 5060), insideA)
								defer p.close()
								forks[tag] = &srtpPhone{phone: p, suite: []srtp.Suite{suites[0], second}[i], draws: byte(i * 10), sent: uint16(i * 1000)}
								forks[tag].newKey()
							}
							clear := w.tapClear()
							calls := map[string]*phone{"inside": w.alice, "outside": w.bob}[caller]
							calls.call("sip:carol@a.example")
							time.Sleep(time.Second)
							f.take()
							for _, p := range forks {
								p.learn(f.invite)
								p.pick(f.invite.Body)
							}
							if rseq > 0 && !f.invite.HasToken("Supported", "100rel") {
								rseq = 0 // alice's phone takes none
							}
							f.describe(183, "first", rseq, forks["first"].sdp())
							time.Sleep(time.Second)
							f.take()
							heard := func(tag string, n int, when string) {
								t.Helper()
								before := len(calls.heard)
								forks[tag].speak(10)
								time.Sleep(500 * time.Millisecond)
								if got := len(calls.heard) - before; got != n {
									t.Errorf("%s the %s is heard with %d packets of 10, want %d", when, tag, got, n)
								}
							}
							heard("first", 10, "alone")
							f.describe(183, "second", 10*rseq, forks["second"].sdp())
							time.Sleep(time.Second)
							f.take()
							heard("first", 10, "beside the second")
							heard("second", 0, "before the answer")
							f.describe(200, answers, 0, forks[answers].sdp())
							if got := calls.await("answered", "refused", "bye"); got != "answered" {
								t.Fatal(got)
							}
							time.Sleep(time.Second)
							f.take()
							if a, b := forks[answers].converseWith(w, calls, 20); a != 20 || b != 20 {
								t.Errorf("the caller heard %d, the phone %d of 20", a, b)
							}
							other := map[string]string{"first": "second", "second": "first"}[answers]
							heard(other, 0, "behind the other one's answer")
							synctest.Wait()
							if v := w.a.proxy.Calls(); len(v) != 1 || v[0].State != "established" || v[0].Legs[1].SDES != forks[answers].suite.Name || *clear != 0 {
								t.Errorf("%+v, %d packets in clear", v, *clear)
							}
							if n := len(f.of("ACK", answers)); n != 1 || len(f.of("BYE", "")) != 0 {
								t.Errorf("%d ACK, BYE %q", n, f.of("BYE", ""))
							}
							calls.hangup()
							calls.await("bye answered")
							f.take()
						})
					})
				}
			}
		}
	}
}
