package load

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/pion/srtp/v3"
	"golang.org/x/sys/unix"

	"github.com/sipward/sipward/test/bench/plan"
)

// A run ends when nothing has arrived for a while: for settled where there were
// as many packets as were sent, for given where some are missing.
const (
	settled = 10 * time.Millisecond
	given   = 500 * time.Millisecond
)

// Tick is how often the generator sends what is due. It decides how many packets a
// relay finds at once, so only runs with the same tick compare.
const Tick = 100 * time.Microsecond

const (
	// gather is how often it takes what arrived. When that is does not matter to the
	// figures, as the kernel says when a packet came; each system call saved lets the
	// generator speak in more calls.
	gather = time.Millisecond
	// burst is how many packets a generator that is late sends before it looks at what
	// has arrived, for which its sockets have room only for so long.
	burst = 8 * batch
)

// Generator is the far end of all calls of a plan: their phones, and the
// network. It is used by one goroutine.
type Generator struct {
	sockets [directions]*socket // by direction: the one that sends
	calls   []call
	bySrc   map[unix.RawSockaddrInet4]int // the secure ports
	next    uint32                        // number of the next run's first packets
}

// call is one call's addresses and keys.
type call struct {
	to               [directions]unix.RawSockaddrInet4
	encrypt, decrypt *srtp.Context // nil: plain
}

// New opens the two sockets of a plan.
func New(p *plan.Plan) (*Generator, error) {
	g := &Generator{calls: make([]call, len(p.Sessions)), bySrc: map[unix.RawSockaddrInet4]int{}}
	for i, s := range p.Sessions {
		if !s.Plain.Addr().Is4() || !s.Secure.Addr().Is4() {
			return nil, fmt.Errorf("load: session %d: the generator speaks IPv4 only", i)
		}
		c := &g.calls[i]
		c.to = [directions]unix.RawSockaddrInet4{protecting: address(s.Plain), unprotecting: address(s.Secure)}
		var errs [2]error
		c.encrypt, errs[0] = cipherOf(s.Suite, s.ToProxy)
		c.decrypt, errs[1] = cipherOf(s.Suite, s.FromProxy)
		if err := errors.Join(errs[:]...); err != nil {
			return nil, fmt.Errorf("session %d: %w", i, err)
		}
		g.bySrc[address(s.Secure)] = i
	}
	var err error
	if g.sockets[protecting], err = newSocket(p.PlainLocal); err != nil {
		return nil, err
	}
	if g.sockets[unprotecting], err = newSocket(p.SecureLocal); err != nil {
		g.sockets[protecting].close()
		return nil, err
	}
	return g, nil
}

// Close closes the sockets.
func (g *Generator) Close() {
	for _, s := range g.sockets {
		s.close()
	}
}

// Run speaks on the first calls of the plan, for warm and then for window,
// which is what the result is about. cpu gives the relay's CPU time so far.
func (g *Generator) Run(calls int, warm, window time.Duration, cpu func() (time.Duration, error)) (*Result, error) {
	if calls < 1 || calls > len(g.calls) {
		return nil, fmt.Errorf("load: %d calls of a plan of %d", calls, len(g.calls))
	}
	rounds := [2]int{int(warm / interval), int(window / interval)}
	if rounds[1] < 1 {
		return nil, fmt.Errorf("load: a window of %v is shorter than %v", window, interval)
	}
	s, err := g.write(calls, rounds[0]+rounds[1])
	if err != nil {
		return nil, err
	}
	defer s.free()
	g.next += uint32(s.rounds)
	var in [directions]*inbox // by direction: what comes out of the relay
	for d := range in {
		n := calls * s.rounds
		if in[d], err = newInbox(n + n/10 + 1000); err != nil {
			return nil, err
		}
		defer in[d].free()
	}
	r := &Result{Calls: calls, Window: time.Duration(rounds[1]) * interval}
	if err := g.pump(s, in, rounds[0], cpu, r); err != nil {
		return nil, err
	}
	g.judge(s, in, rounds[0], r)
	return r, nil
}

// pump is the timed part. Nothing in it allocates, so no garbage is collected.
func (g *Generator) pump(s *script, in [directions]*inbox, warm int, cpu func() (time.Duration, error), r *Result) error {
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Sleeps are to end when they should: the default slack is half a tick.
	unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)

	for d := range in { // what an earlier run left
		in[d].fill(g.receiver(d))
		in[d].count = 0
	}
	drops := g.drops()
	var queued [directions]struct {
		count int
		which [batch]int
	}
	flush := func(d direction) {
		q := &queued[d]
		if q.count == 0 {
			return
		}
		began := time.Now().UnixNano()
		sent := g.sockets[d].send(q.count)
		each := (time.Now().UnixNano() - began) / int64(q.count)
		for i := range sent {
			s.sent[q.which[i]] = began + int64(i)*each
		}
		r.Refused += q.count - sent
		q.count = 0
	}
	var before, spent time.Duration
	var err error
	next, taken := 0, int64(0)
	s.start(time.Now().Add(5 * time.Millisecond))
	for next < len(s.sent) {
		now := time.Now().UnixNano()
		for last := min(next+burst, len(s.sent)); next < last && s.due(next) <= now; {
			if next == warm*len(s.streams) {
				if before, err = cpu(); err != nil {
					return err
				}
				r.began = time.Now().UnixNano()
			}
			stream := &s.streams[next%len(s.streams)]
			q := &queued[stream.dir]
			g.sockets[stream.dir].set(q.count, s.packet(next), &g.calls[stream.call].to[stream.dir])
			q.which[q.count] = next
			q.count++
			if q.count == batch {
				flush(stream.dir)
			}
			next++
		}
		flush(protecting)
		flush(unprotecting)
		if now-taken >= int64(gather) {
			taken = now
			for d := range in {
				in[d].fill(g.receiver(d))
			}
		}
		sleepUntil(now + int64(Tick))
	}
	if spent, err = cpu(); err != nil {
		return err
	}
	r.ended = time.Now().UnixNano()
	r.CPU = spent - before
	for last, count := time.Now(), -1; ; sleepUntil(time.Now().UnixNano() + int64(Tick)) {
		arrived := 0
		for d := range in {
			in[d].fill(g.receiver(d))
			arrived += in[d].count
		}
		quiet := time.Since(last)
		if arrived != count {
			last, count = time.Now(), arrived
		} else if quiet > given || quiet > settled && arrived >= len(s.sent)-r.Refused {
			break
		}
	}
	r.Dropped = g.drops() - drops + in[0].full + in[1].full
	return nil
}

// receiver is the socket at which a direction comes out.
func (g *Generator) receiver(d int) *socket { return g.sockets[1-d] }

func (g *Generator) drops() int { return g.sockets[0].drops() + g.sockets[1].drops() }

func sleepUntil(at int64) {
	if left := at - time.Now().UnixNano(); left > 0 {
		t := unix.NsecToTimespec(left)
		unix.Nanosleep(&t, nil)
	}
}
