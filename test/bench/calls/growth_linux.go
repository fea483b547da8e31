package calls

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sipward/sipward/test/bench/relay"
)

// Options of Growth and Registrations.
type Options struct {
	House   []string // the command that takes the verb house
	CPU     int      // of the house under test
	Profile string   // file for a profile of the allocations; "": none
	// Settle is how long a house is left alone before its memory is looked at:
	// SIP remembers transactions for 37 s.
	Settle time.Duration
	Log    *slog.Logger
}

// Point is what was measured while the number of calls grew to Calls.
type Point struct {
	Calls   int
	SetUp   time.Duration // CPU time from INVITE to ACK, of a call
	Whole   time.Duration // and until nothing is due any more: its keys are confirmed and its probes sent
	Second  float64       // calls a second that came up, all of this machine at work
	Heap    int64         // octets of a held call in Go's heap, beyond the first 64
	All     int64         // and of the whole process, in RAM
	Idle    time.Duration // CPU time of a second in which nothing is said
	Wakeups float64       // of the process in such a second
}

// testHouse is the house under test, a process.
type testHouse struct {
	*relay.Process
	in    io.WriteCloser
	out   *bufio.Reader
	ready Ready
}

func (o *Options) start(ctx context.Context, args ...string) (*testHouse, error) {
	cmd := exec.CommandContext(ctx, o.House[0], append(append(o.House[1:], "house"), args...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	h := &testHouse{in: in, out: bufio.NewReader(out)}
	if h.Process, err = relay.Launch(cmd, o.CPU); err != nil {
		return nil, err
	}
	if err := h.read(&h.ready); err != nil {
		return nil, errors.Join(err, h.Process.Close())
	}
	return h, nil
}

// read takes one answer.
func (h *testHouse) read(v any) error {
	line, err := h.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, v)
	}
	if err != nil {
		return fmt.Errorf("calls: the house under test says %q %s: %w", line, h.Said(), err)
	}
	return nil
}

func (h *testHouse) look() (s State, err error) {
	if _, err = io.WriteString(h.in, "look\n"); err == nil {
		err = h.read(&s)
	}
	return s, err
}

// end lets the house write its profile, which it does when nothing more can be
// asked.
func (h *testHouse) end() error {
	h.in.Close()
	io.Copy(io.Discard, h.out)
	return h.Wait()
}

// together is how many calls are on their way up at a time.
const together = 16

// usual is how many calls stand before any is counted.
const usual = 64

// probing is for how long a call's last probes are waited for: each end sends one
// every 100 ms until a second behind its confirmation. While many calls come up,
// those before are still at it, so SetUp alone has the less of them the fewer come.
const probing = 1500 * time.Millisecond

// Growth sets calls up and holds them, in steps up to each of the counts.
func Growth(ctx context.Context, o Options, counts []int) (points []Point, err error) {
	net := [2]byte{64 + byte(rand.IntN(64)), byte(rand.IntN(256))}
	at := func(host byte) netip.Addr { return netip.AddrFrom4([4]byte{127, net[0], net[1], host}) }

	callees, err := newPhones(at(4), o.Log)
	if err != nil {
		return nil, err
	}
	defer callees.close()
	callers, err := newPhones(at(1), o.Log)
	if err != nil {
		return nil, err
	}
	defer callers.close()
	far, err := openHouse(HouseOptions{At: at(3), Phones: "sip:*@" + callees.lis.Local().String()}, o.Log)
	if err != nil {
		return nil, err
	}
	defer far.close()
	h, err := o.start(ctx, "--at", at(2).String(), "--far", "sip:"+far.ready.Outside.String(), "--profile", o.Profile)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.end()) }()

	g := growth{h: h, callers: callers, callees: callees}
	// The first calls are not counted: with them comes the program itself into RAM.
	if err := g.to(usual); err != nil {
		return nil, err
	}
	if err := protected(h, usual, 30*time.Second); err != nil {
		return nil, err
	}
	empty, err := o.rested(h)
	if err != nil {
		return nil, err
	}
	for _, count := range counts {
		p := Point{Calls: count}
		before, err := h.CPU()
		if err != nil {
			return nil, err
		}
		began, more := time.Now(), usual+count-g.held
		if err := g.to(usual + count); err != nil {
			return nil, err
		}
		after, err := h.CPU()
		if err != nil {
			return nil, err
		}
		p.SetUp, p.Second = (after-before)/time.Duration(more), float64(more)/time.Since(began).Seconds()
		time.Sleep(probing)
		if after, err = h.CPU(); err != nil {
			return nil, err
		}
		p.Whole = (after - before) / time.Duration(more)
		if err := protected(h, g.held, 30*time.Second); err != nil {
			return nil, err
		}
		state, err := o.rested(h)
		if err != nil {
			return nil, err
		}
		p.Heap = (int64(state.Heap) - int64(empty.Heap)) / int64(count)
		p.All = (int64(state.Resident) - int64(empty.Resident)) / int64(count)
		if p.Idle, p.Wakeups, err = idle(h, 2*time.Second); err != nil {
			return nil, err
		}
		points = append(points, p)
	}
	return points, nil
}

// growth sets up calls through a house, and holds them.
type growth struct {
	h                *testHouse
	callers, callees *phones
	held             int
}

// to sets up what is missing to so many.
func (g *growth) to(count int) error {
	for g.held < count {
		n := min(together, count-g.held)
		for i := range n {
			g.callers.dial(g.held+i, g.h.ready.Inside)
		}
		for _, end := range []*phones{g.callers, g.callees} {
			if err := end.await(n, 30*time.Second); err != nil {
				return err
			}
		}
		g.held += n
	}
	return nil
}

// protected waits until the far house has proved its keys in so many calls.
func protected(h *testHouse, calls int, limit time.Duration) error {
	for end := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) {
		s, err := h.look()
		if err != nil || s.Protected == calls && s.Calls == calls {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("calls: after %v %d of %d calls are protected", limit, s.Protected, calls)
		}
	}
}

// rested looks at a house that had nothing to do for a while.
func (o *Options) rested(h *testHouse) (State, error) {
	time.Sleep(o.Settle)
	return h.look()
}

// idle is what a house does in a second of doing nothing.
func idle(h *testHouse, during time.Duration) (cpu time.Duration, wakeups float64, err error) {
	cpu, wakes, err := h.Work()
	if err != nil {
		return 0, 0, err
	}
	time.Sleep(during)
	cpuAfter, wakesAfter, err := h.Work()
	return time.Duration(float64(cpuAfter-cpu) / during.Seconds()), float64(wakesAfter-wakes) / during.Seconds(), err
}

// Registered is what registrations cost.
type Registered struct {
	Count   int
	CPU     time.Duration // of a REGISTER
	Second  float64       // REGISTERs a second
	Heap    int64         // octets of a registration in Go's heap
	All     int64         // and of the whole process, in RAM
	Loading time.Duration // of all of them, when the house starts again
}

// Registrations registers count phones at a house that keeps them in a file in
// the folder dir, and starts the house again.
func Registrations(ctx context.Context, o Options, count int, dir string) (*Registered, error) {
	net := [2]byte{64 + byte(rand.IntN(64)), byte(rand.IntN(256))}
	at := func(host byte) netip.Addr { return netip.AddrFrom4([4]byte{127, net[0], net[1], host}) }
	p, err := newPhones(at(1), o.Log)
	if err != nil {
		return nil, err
	}
	defer p.close()
	args := []string{"--at", at(2).String(), "--state", filepath.Join(dir, "state")}
	h, err := o.start(ctx, args...)
	if err != nil {
		return nil, err
	}
	r, err := o.registerAll(h, p, count)
	if err = errors.Join(err, h.end()); err != nil {
		return nil, err
	}
	if h, err = o.start(ctx, args...); err != nil {
		return nil, err
	}
	if h.ready.Registered != count {
		err = fmt.Errorf("calls: %d of %d registrations are left when the house starts again", h.ready.Registered, count)
	}
	r.Loading = h.ready.Loading
	return r, errors.Join(err, h.end())
}

func (o *Options) registerAll(h *testHouse, p *phones, count int) (*Registered, error) {
	r := &Registered{Count: count}
	empty, err := o.rested(h)
	if err != nil {
		return nil, err
	}
	before, err := h.CPU()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	for i := 0; i < count; i += together {
		n := min(together, count-i)
		for j := range n {
			p.register(i+j, h.ready.Inside)
		}
		if err := p.await(n, 30*time.Second); err != nil {
			return nil, err
		}
	}
	after, err := h.CPU()
	if err != nil {
		return nil, err
	}
	r.CPU, r.Second = (after-before)/time.Duration(count), float64(count)/time.Since(began).Seconds()
	state, err := o.rested(h)
	if err != nil {
		return nil, err
	}
	if state.Registered != count {
		return nil, fmt.Errorf("calls: %d of %d phones are registered", state.Registered, count)
	}
	r.Heap = (int64(state.Heap) - int64(empty.Heap)) / int64(count)
	r.All = (int64(state.Resident) - int64(empty.Resident)) / int64(count)
	return r, nil
}

// Room is how many calls the system lets a process hold, each with four
// sockets. It raises the bound for this process, and those that it starts, to
// what want calls need, where that is allowed.
func Room(want int) int {
	const each, others = 4, 100
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return want
	}
	need := uint64((want+usual)*each + others)
	if limit.Max < need && unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: need, Max: need}) == nil {
		return want
	}
	return min(want, int(limit.Max-others)/each-usual)
}
