package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/sipward/sipward/test/bench/load"
	"github.com/sipward/sipward/test/bench/plan"
	"github.com/sipward/sipward/test/bench/relay"
)

// Options of a Bench.
type Options struct {
	// Sipward is the command that relays the calls of a plan, without --plan FILE.
	Sipward []string
	// Places are the CPUs, see relay.FindPlaces.
	Places relay.Places
	// Log gets a line per run, for people.
	Log io.Writer
}

// Bench measures.
type Bench struct{ o Options }

// New makes a Bench.
func New(o Options) *Bench { return &Bench{o} }

// caseLoss is how much a relay may lose in a round that counts.
const caseLoss = 0.01

// Effort is how much is measured.
type Effort struct {
	Warm   time.Duration // before the first window of a relay
	Again  time.Duration // before each later one
	Window time.Duration
	Rounds int // how often the relays take turns
	// Deadline ends the rounds early; zero is no bound, but rounds that are
	// thrown away are repeated as often as there are rounds, not more.
	Deadline time.Time
}

// running is a relay with its calls and their far ends.
type running struct {
	name      string
	process   *relay.Process
	generator *load.Generator
	used      bool
}

func (r *running) close() error {
	r.generator.Close()
	return r.process.Close()
}

// start starts a relay. Each has addresses of its own within 127.64.0.0/10,
// drawn at random so that two measurements at a time do not meet.
func (b *Bench) start(ctx context.Context, name string, calls int, suite string) (*running, error) {
	net := [2]byte{64 + byte(rand.IntN(64)), byte(rand.IntN(256))}
	host := func(last byte) netip.Addr { return netip.AddrFrom4([4]byte{127, net[0], net[1], last}) }
	local := [2]netip.AddrPort{netip.AddrPortFrom(host(2), 15000), netip.AddrPortFrom(host(3), 15000)}
	r := &running{name: name}
	var p *plan.Plan
	var err error
	if name == Sipward {
		r.process, p, err = relay.StartSipward(ctx, b.o.Sipward, b.o.Places.Relay, host(1), calls, suite, local)
	} else {
		r.process, p, err = relay.StartRTPEngine(ctx, b.o.Places.Relay, host(1), calls, suite, local)
	}
	if err != nil {
		return nil, err
	}
	if r.generator, err = load.New(p); err != nil {
		r.process.Close()
		return nil, err
	}
	return r, nil
}

// run measures one window. A relay that delivers what was not sent is an
// error, a generator that fell short is not: Result.Fault says it.
func (b *Bench) run(ctx context.Context, r *running, calls int, e *Effort) (*load.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	warm := e.Again
	if !r.used {
		warm, r.used = e.Warm, true
	}
	result, err := r.generator.Run(calls, warm, e.Window, r.process.CPU)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.name, err)
	}
	fmt.Fprintf(b.o.Log, "  %-9s %v\n", r.name, result)
	if wrong := result.Wrong(); wrong != "" {
		return nil, fmt.Errorf("%s, %d calls: %s", r.name, calls, wrong)
	}
	return result, nil
}

// Case measures one number of calls under one suite with both relays, which
// take turns.
func (b *Bench) Case(ctx context.Context, suite string, calls int, e Effort) (c *Case, err error) {
	fmt.Fprintf(b.o.Log, "%s, %d calls\n", suite, calls)
	c = &Case{Suite: suite, Calls: calls}
	var relays []*running
	defer func() {
		for _, r := range relays {
			if e := r.close(); err == nil && e != nil {
				err = e
			}
		}
	}()
	for _, name := range []string{Sipward, RTPEngine} {
		r, err := b.start(ctx, name, calls, suite)
		if errors.Is(err, relay.ErrNoRTPEngine) {
			c.Missing = err.Error()
			continue
		}
		if err != nil {
			return nil, err
		}
		relays = append(relays, r)
	}
	began := time.Now()
	for try := 0; c.Rounds() < e.Rounds && try < 2*e.Rounds; try++ {
		if try > 0 && !e.Deadline.IsZero() && time.Now().Add(time.Since(began)/time.Duration(try)).After(e.Deadline) {
			break
		}
		round := map[string]*load.Result{}
		fault := ""
		for i, r := range relays {
			result, err := b.run(ctx, r, calls, &e)
			if err != nil {
				return nil, err
			}
			f := result.Fault()
			if result.Loss() > caseLoss {
				// What a packet costs says little where others are lost; and a relay
				// that was overrun may deliver nothing from then on.
				f = fmt.Sprintf("%s lost %.1f %%", r.name, 100*result.Loss())
				if r.name == RTPEngine && fault == "" {
					c.Overrun(round[Sipward], f)
				}
				if relays[i], err = b.again(ctx, r, calls, suite); err != nil {
					relays = slices.Delete(relays, i, i+1)
					return nil, err
				}
			}
			if f != "" {
				fmt.Fprintf(b.o.Log, "  thrown away: %s\n", f)
				fault = f
			}
			round[r.name] = result
		}
		if fault != "" {
			c.Thrown = append(c.Thrown, fault)
			continue
		}
		c.Add(round)
	}
	return c, nil
}
