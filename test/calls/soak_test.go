package calls

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
)

// What a soak may be told. A call that fails names its seed and its number, with
// which it runs alone:
//
//	go test ./test/calls -run TestSoak -soak.calls 20000
//	go test ./test/calls -run TestSoak -soak.seed 7 -soak.only 1234 -v
var (
	soakCalls = flag.Int("soak.calls", envInt("SIPWARD_SOAK_CALLS", defaultSoak()), "calls of TestSoak; the default is that of the variable SIPWARD_SOAK_CALLS")
	soakSeed  = flag.Uint64("soak.seed", uint64(envInt("SIPWARD_SOAK_SEED", 1)), "seed of TestSoak")
	soakOnly  = flag.Int("soak.only", -1, "the only call of TestSoak that is made")
)

// defaultSoak is fewer calls where the race detector makes each of them four times
// as dear; .ci/run makes all of them without it.
func defaultSoak() int {
	if raceEnabled {
		return 500
	}
	return 2000
}

func envInt(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

const soakAtOnce = 100

// TestSoak makes thousands of calls through two sipwards, a hundred at once, over
// a network that loses one SIP datagram in twenty and delays others. Some cross a
// third sipward, which the exchange of the two ends passes through. Each is
// answered, refused or given up, changed, held, resumed, led to somebody else and
// ended as its number says. Whatever happens: the two phones and the sipwards think
// the same of each call when nothing more is under way and in the end, and nothing
// stays behind.
//
// It does not run beside other tests of the package, whose memory it would count,
// and which would count its goroutines.
func TestSoak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSoak(t, *soakSeed)
		first, count := 0, *soakCalls
		if *soakOnly >= 0 {
			first, count = *soakOnly, 1
		}
		idle := s.rest()
		// Some calls first: the pools and maps that they leave are no leak.
		warm := min(count, 2*soakAtOnce)
		s.run(first, warm)
		before := s.rest()
		s.run(first+warm, count-warm)
		after := s.rest()
		if full := s.w.net.Stats().QueueFull; full != 0 {
			t.Errorf("seed %d: %d datagrams found no room: more was lost than was meant to be", s.seed, full)
		}
		if after.goroutines > idle.goroutines || after.sockets != idle.sockets || after.dialogs != 0 || after.calls != 0 {
			t.Errorf("seed %d: at rest %+v, before the first call %+v", s.seed, after, idle)
		}
		// What calls leave for a while (whom sipward has heard of) is bounded, and far
		// below what a call takes.
		if grown, most := after.heap-before.heap, int64(4<<20); grown > most {
			t.Errorf("seed %d: %d octets of memory more after %d calls", s.seed, grown, count-warm)
		}
		if *soakOnly < 0 && count >= 500 {
			s.judgeVariety()
		}
		t.Logf("at rest %+v, then %+v, then %+v\n%s", idle, before, after, s.told())
		s.close()
	})
}

// soak is the world of TestSoak: house A, house B, and a workstation with a sipward
// of its own whose office is A.
type soak struct {
	t     *testing.T
	w     *world
	seed  uint64
	began time.Time
	w3    *house // the workstation's

	alice, bob, seat *desk

	mu     sync.Mutex
	chance map[link]*rand.Rand
	wire   map[int]*bytes.Buffer // what was sent of a call, since the last rest
	events map[string]int        // what happened how often
	moves  map[string]int        // transitions of calls and their legs' keys, by the events of both sipwards
	last   map[string]string
	stop   []func()
	failed int
}

func newSoak(t *testing.T, seed uint64) *soak {
	s := &soak{t: t, seed: seed, chance: map[link]*rand.Rand{}, wire: map[int]*bytes.Buffer{}, began: time.Now(), events: map[string]int{}, moves: map[string]int{}, last: map[string]string{}}
	w := &world{t: t, net: memnet.New(memnet.Options{Seed: seed, Delay: 10 * time.Millisecond})}
	s.w = w
	// Keys turn over every few seconds, at the wish of either side.
	every := func(seconds time.Duration) func(*b2bua.Options) {
		return func(o *b2bua.Options) { o.Rekey = b2bua.Rekey{Every: seconds * time.Second} }
	}
	o := worldOptions{optionsA: func(o *b2bua.Options) {
		every(9)(o)
		o.Policy = passing("*@w.example")
	}, optionsB: every(7), optionsW: every(8)}
	w.a = w.house("a", insideA, outsideA, policy.Require, o, []string{
		"*@b.example", "sip:" + outsideB.String(), "outside",
		"*@c.example", "sip:*@" + carolPhone.String(), "inside",
		"*@w.example", "sip:" + outsideW.String(), "inside"})
	w.b = w.house("b", insideB, outsideB, policy.Require, o, []string{
		"*@b.example", "sip:*@" + bobPhone.String(), "inside",
		"*@d.example", "sip:*@" + davePhone.String(), "inside",
		"*@a.example", "sip:" + outsideA.String(), "outside",
		"*@w.example", "sip:" + outsideA.String(), "outside"})
	s.w3 = w.house("w", insideW, outsideW, policy.Require, o, []string{
		"*@b.example", "sip:" + insideA.String(), "outside",
		"*@w.example", "sip:*@" + seatPhone.String(), "inside",
		"*@v.example", "sip:*@" + nextSeat.String(), "inside"})
	w.net.SetRule(s.fate)
	s.alice = newDesk(s, "a.example", alicePhone, insideA)
	s.alice.colleague = newDesk(s, "c.example", carolPhone, insideA)
	s.bob = newDesk(s, "b.example", bobPhone, insideB)
	s.bob.colleague = newDesk(s, "d.example", davePhone, insideB)
	s.seat = newDesk(s, "w.example", seatPhone, insideW)
	s.seat.colleague = newDesk(s, "v.example", nextSeat, insideW)
	for _, h := range s.houses() {
		s.watch(h)
	}
	return s
}

// nextSeat is another phone of the workstation.
var nextSeat = netip.MustParseAddrPort("10.9.0.3:5060")

// passing is a policy that requires protection, but for calls of those addresses,
// whose own exchange may pass.
func passing(address string) *policy.Policy {
	own := policy.Match{Address: route.MustPattern(address)}
	p, err := policy.New(policy.Rules{UnknownPeers: policy.Require, ListedPeers: policy.Require, Inside: policy.Off, List: []policy.Rule{
		{Name: "from the workstation", From: own, Mode: policy.Prefer}, {Name: "to the workstation", To: own, Mode: policy.Prefer}}})
	if err != nil {
		panic(err)
	}
	return p
}

func (s *soak) houses() []*house { return []*house{s.w.a, s.w.b, s.w3} }

// run makes count calls, as many at once as may be.
func (s *soak) run(first, count int) {
	var all sync.WaitGroup
	next := make(chan int)
	for range min(soakAtOnce, count) {
		all.Go(func() {
			for n := range next {
				s.call(n)
			}
		})
	}
	for n := first; n < first+count; n++ {
		next <- n
	}
	close(next)
	all.Wait()
}

// resting is what is there while no call is.
type resting struct {
	goroutines, sockets, dialogs, calls int
	heap                                int64
}

// rest waits until the last late repetition is answered, and counts.
func (s *soak) rest() (r resting) {
	time.Sleep(3 * time.Minute)
	synctest.Wait()
	for _, h := range s.houses() {
		for _, left := range h.proxy.RemainingDialogs() {
			r.dialogs++
			n, _ := callNumber([]byte("SIP/2.0 <" + left[max(0, strings.Index(left, "sip:n")):]))
			s.fail(n, "a dialog has stayed: %s", left)
		}
		r.calls += len(h.proxy.Calls())
	}
	s.w.net.SetRule(nil)
	s.mu.Lock()
	s.chance, s.wire = map[link]*rand.Rand{}, map[int]*bytes.Buffer{} // a map that is cleared keeps its memory
	s.mu.Unlock()
	s.w.net.SetRule(s.fate)
	r.sockets = s.w.net.Sockets()
	r.goroutines = bubbled()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	r.heap = int64(m.HeapAlloc)
	return r
}

// bubbled counts the goroutines of the caller's bubble.
func bubbled() int {
	buf := make([]byte, 1<<22)
	stacks := buf[:runtime.Stack(buf, true)]
	_, mine, _ := bytes.Cut(stacks[:bytes.IndexByte(stacks, '\n')], []byte("synctest bubble "))
	number, _, _ := bytes.Cut(mine, []byte("]"))
	n := 0
	for line := range bytes.Lines(stacks) {
		if bytes.HasPrefix(line, []byte("goroutine ")) && bytes.Contains(line, append([]byte("synctest bubble "), append(number, ']')...)) {
			n++
		}
	}
	return n
}

// fail reports a call with what runs it alone.
func (s *soak) fail(n int, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed++; s.failed > 20 {
		return
	}
	s.t.Errorf("call %d: %s\n%salone: go test ./test/calls -run 'TestSoak$' -soak.seed %d -soak.only %d -v", n, fmt.Sprintf(format, args...), s.sent(n), s.seed, n)
}

func (s *soak) close() {
	for _, stop := range s.stop {
		stop()
	}
	for _, h := range s.houses() {
		h.proxy.Shutdown(s.t.Context())
		h.media.Close()
	}
	for _, d := range []*desk{s.alice, s.bob, s.seat} {
		d.stack.Close()
		d.colleague.stack.Close()
	}
	s.w.net.Close()
}
