package calls

import (
	"bytes"
	"flag"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
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

const (
	soakAtOnce = 100
	soakLoss   = 0.05 // of the datagrams with SIP
)

// TestSoak makes thousands of calls through two sipwards, a hundred at once, over
// a network that loses one SIP datagram in twenty and delays others. Each is
// answered, refused or given up, changed, held, resumed and ended as its number
// says. Whatever happens: the two phones and the two sipwards think the same of
// each call when nothing more is under way and in the end, and nothing stays
// behind.
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

// soak is the world of TestSoak: one sipward, and one stack of phones, at either
// side.
type soak struct {
	t     *testing.T
	w     *world
	seed  uint64
	began time.Time
	desk  [4]*desk // the callers' and the callees' phones, and to whom each of them transfers

	mu     sync.Mutex
	chance map[link]*rand.Rand
	wire   map[int]*bytes.Buffer // what was sent of a call, since the last rest
	events map[string]int        // what happened how often
	moves  map[string]int        // transitions of calls and their legs' keys, by the events of both sipwards
	last   map[string]string
	stop   []func()
	failed int
}

// link is one direction between two addresses, for one call: what happens to a
// call's datagrams does not depend on the other calls.
type link struct {
	call     int
	from, to netip.AddrPort
}

func newSoak(t *testing.T, seed uint64) *soak {
	s := &soak{t: t, seed: seed, chance: map[link]*rand.Rand{}, wire: map[int]*bytes.Buffer{}, began: time.Now(), events: map[string]int{}, moves: map[string]int{}, last: map[string]string{}}
	w := &world{t: t, net: memnet.New(memnet.Options{Seed: seed, Delay: 10 * time.Millisecond})}
	s.w = w
	// Keys turn over every few seconds, at the wish of either side.
	o := worldOptions{optionsA: func(o *b2bua.Options) { o.Rekey = b2bua.Rekey{Every: 9 * time.Second} },
		optionsB: func(o *b2bua.Options) { o.Rekey = b2bua.Rekey{Every: 7 * time.Second} }}
	w.a = w.house("a", insideA, outsideA, policy.Require, o, []string{
		"*@b.example", "sip:" + outsideB.String(), "outside",
		"*@c.example", "sip:*@" + carolPhone.String(), "inside"})
	w.b = w.house("b", insideB, outsideB, policy.Require, o, []string{
		"*@b.example", "sip:*@" + bobPhone.String(), "inside",
		"*@d.example", "sip:*@" + davePhone.String(), "inside",
		"*@a.example", "sip:" + outsideA.String(), "outside"})
	w.net.SetRule(s.fate)
	s.desk[0] = newDesk(s, "a.example", alicePhone, insideA)
	s.desk[1] = newDesk(s, "b.example", bobPhone, insideB)
	s.desk[2] = newDesk(s, "c.example", carolPhone, insideA)
	s.desk[3] = newDesk(s, "d.example", davePhone, insideB)
	for _, h := range []*house{w.a, w.b} {
		s.watch(h)
	}
	return s
}

// fate decides about a SIP datagram by the call that it belongs to.
func (s *soak) fate(from, to netip.AddrPort, b []byte) memnet.Verdict {
	n, ok := callNumber(b)
	if !ok {
		return memnet.Verdict{}
	}
	k := link{n, from, to}
	r := s.chance[k]
	if r == nil {
		h := fnv.New64a()
		fmt.Fprint(h, from, to)
		r = rand.New(rand.NewPCG(s.seed^h.Sum64(), uint64(n)))
		s.chance[k] = r
	}
	lost, late, delay := r.Float64() < soakLoss, r.Float64() < 0.1, time.Duration(r.Int64N(int64(60*time.Millisecond)))
	v := memnet.Verdict{Drop: lost}
	if late {
		v.Delay = delay
	}
	s.keep(k, b, v)
	return v
}

// keep writes down what is sent of a call, in a line.
func (s *soak) keep(k link, b []byte, v memnet.Verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.wire[k.call]
	if w == nil {
		w = new(bytes.Buffer)
		s.wire[k.call] = w
	}
	_, rest, _ := bytes.Cut(b, []byte("\r\nCSeq: "))
	cseq, _, _ := bytes.Cut(rest, []byte("\r\n"))
	fmt.Fprintf(w, "%9.3f %v > %v ", time.Since(s.began).Seconds(), k.from.Addr(), k.to.Addr())
	if status, response := bytes.CutPrefix(b, []byte("SIP/2.0 ")); response {
		fmt.Fprintf(w, "%s ", status[:3])
	}
	w.Write(cseq)
	switch {
	case v.Drop:
		w.WriteString(", lost")
	case v.Delay > 0:
		fmt.Fprintf(w, ", %v late", v.Delay.Round(time.Millisecond))
	}
	w.WriteByte('\n')
}

// sent is what keep wrote of a call. The caller holds mu.
func (s *soak) sent(n int) string {
	if w := s.wire[n]; w != nil {
		return w.String()
	}
	return ""
}

// callNumber finds the number of the call that a SIP message belongs to, in the
// user part of its addresses.
func callNumber(b []byte) (int, bool) {
	if !isSIP(b) {
		return 0, false
	}
	_, rest, ok := bytes.Cut(b, []byte("<sip:n"))
	if !ok || len(rest) < 7 {
		return 0, false
	}
	n, err := strconv.Atoi(string(rest[:6]))
	return n, err == nil
}

func userOfCall(n int) string { return fmt.Sprintf("n%06d", n) }

// watch counts the transitions that a sipward tells of.
func (s *soak) watch(h *house) {
	events, cancel := h.proxy.Subscribe(1 << 16)
	s.stop = append(s.stop, cancel)
	go func() {
		for e := range events {
			s.mu.Lock()
			s.moved(e.Call.ID, string(b2bua.Routing), e.Call.State)
			for i, l := range e.Call.Legs {
				if strings.Contains(e.Call.Reason, "transferred by") {
					break // a leg of another call, with its keys, takes the place of one
				}
				name := e.Call.ID + l.Side
				if s.last[name] == string(b2bua.KeysOffered) && l.Keys == b2bua.KeysConfirmed {
					s.moved(name, "", string(b2bua.KeysAgreed)) // of early media's keys no event tells before
				}
				s.moved(name, string(b2bua.KeysNone), string(l.Keys))
				if e.Type == "call-ended" {
					delete(s.last, e.Call.ID+e.Call.Legs[i].Side)
				}
			}
			if e.Type == "call-ended" {
				delete(s.last, e.Call.ID)
			}
			s.mu.Unlock()
		}
	}()
}

// moved counts a transition of what has that name and began so. The caller holds mu.
func (s *soak) moved(name, first, now string) {
	was, known := s.last[name]
	if !known {
		was = first
	}
	if was != now {
		s.moves[was+" to "+now]++
	}
	s.last[name] = now
}

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
	for _, h := range []*house{s.w.a, s.w.b} {
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

// happened counts something for the report.
func (s *soak) happened(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events[what]++
}

func (s *soak) told() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, m := range []map[string]int{s.events, s.moves} {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			fmt.Fprintf(&b, "%6d %s\n", m[k], k)
		}
	}
	return b.String()
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

// judgeVariety holds against a soak that tests less than it says.
func (s *soak) judgeVariety() {
	for what, least := range map[string]int{"answered": 60, "refused": 2, "cancelled": 5, "hold": 30, "resume": 10, "re-INVITE": 20, "UPDATE": 10,
		"491": 1, "ended by the caller": 10, "ended by the callee": 10, "ended by both": 5,
		"PRACK": 20, "transfer": 50, "transferred": 20, "not transferred": 5} {
		if got := s.events[what]; got < least**soakCalls/1000 {
			s.t.Errorf("seed %d: %q happened %d times in %d calls, want %d", s.seed, what, got, *soakCalls, least**soakCalls/1000)
		}
	}
	s.judgeMoves()
	// Which calls end by themselves: the ACK with the key was lost too often.
	if got := s.events["given up"]; got > *soakCalls/100 {
		s.t.Errorf("seed %d: %d calls of %d were given up by sipward", s.seed, got, *soakCalls)
	}
}

// judgeMoves wants every transition of docs/calls.md to have happened, and no other.
func (s *soak) judgeMoves() {
	// What needs another world has tests of its own; keys are erased after the last
	// event of their call.
	elsewhere := []string{"routing to ended", "ringing to calling", "offered to none", "offered to erased", "agreed to erased", "confirmed to erased"}
	doc, err := os.ReadFile("../../docs/calls.md")
	if err != nil {
		s.t.Fatal(err)
	}
	tables, _, _ := strings.Cut(string(doc), "\n## What happens where\n")
	var documented []string
	from := ""
	for line := range strings.Lines(tables) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[3]) == "to" {
			continue
		}
		if state := strings.TrimSpace(cells[1]); state != "" {
			from = state
		}
		if to := strings.TrimSpace(cells[3]); to != "" {
			documented = append(documented, from+" to "+to)
		}
	}
	for _, m := range documented {
		if s.moves[m] == 0 && !slices.Contains(elsewhere, m) {
			s.t.Errorf("seed %d: no call went from %s", s.seed, m)
		}
	}
	for m := range s.moves {
		if !slices.Contains(documented, m) {
			s.t.Errorf("seed %d: a call went from %s, which docs/calls.md does not have", s.seed, m)
		}
	}
}

func (s *soak) close() {
	for _, stop := range s.stop {
		stop()
	}
	for _, h := range []*house{s.w.a, s.w.b} {
		h.proxy.Shutdown(s.t.Context())
		h.media.Close()
	}
	for _, d := range s.desk {
		d.stack.Close()
	}
	s.w.net.Close()
}
