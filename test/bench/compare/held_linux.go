package compare

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sipward/sipward/test/bench/relay"
)

// What a call must get to count as held.
const (
	heldLatency = 5 * time.Millisecond // at p99
	heldLoss    = 0.001
	// heldTries is how often in a row a relay has to fail: the machine alone may
	// take its CPU away for longer than it may be late.
	heldTries = 2
)

// Held searches for the most calls, in steps of step and up to most, that each
// relay holds with a latency below 5 ms at p99 and a loss below 0.1 %, in one of
// two tries. It probes upwards by a quarter until that fails and then halves the
// gap.
func (b *Bench) Held(ctx context.Context, suite string, from, most, step int, e Effort) ([]Held, error) {
	var all []Held
	for _, name := range []string{Sipward, RTPEngine} {
		fmt.Fprintf(b.o.Log, "%s, calls held by %s\n", suite, name)
		r, err := b.start(ctx, name, most, suite)
		if errors.Is(err, relay.ErrNoRTPEngine) {
			continue
		}
		if err != nil {
			return nil, err
		}
		held, err := search(from, most, step, func(calls int) (v verdict, err error) {
			for range heldTries {
				if v, err = b.probe(ctx, r, calls, &e); err == nil && v == holds || ctx.Err() != nil {
					return v, err
				}
				if err != nil { // a relay that gives up does not hold them
					fmt.Fprintf(b.o.Log, "  %s: %v %s\n", name, err, r.process.Said())
					v = fails
				}
				// What was too much for it may have left it unable to do less.
				if r, err = b.again(ctx, r, most, suite); err != nil {
					return v, err
				}
			}
			return v, nil
		})
		if r != nil {
			if e := r.close(); e != nil && err == nil {
				fmt.Fprintf(b.o.Log, "  %s: %v\n", name, e)
			}
		}
		if err != nil {
			return nil, err
		}
		held.Suite, held.Relay = suite, name
		all = append(all, held)
	}
	return all, nil
}

// again ends a relay and starts it anew, with some patience for one that was
// overloaded.
func (b *Bench) again(ctx context.Context, r *running, calls int, suite string) (*running, error) {
	if err := r.close(); err != nil {
		fmt.Fprintf(b.o.Log, "  %s: %v\n", r.name, err)
	}
	var err error
	for range 3 {
		var fresh *running
		if fresh, err = b.start(ctx, r.name, calls, suite); err == nil || ctx.Err() != nil {
			return fresh, err
		}
	}
	return nil, err
}

// probe asks whether a relay holds so many calls.
func (b *Bench) probe(ctx context.Context, r *running, calls int, e *Effort) (verdict, error) {
	result, err := b.run(ctx, r, calls, e)
	switch {
	case err != nil:
		return spoiled, err
	case result.Fault() != "":
		fmt.Fprintf(b.o.Log, "  thrown away: %s\n", result.Fault())
		return spoiled, nil
	case result.Latency.P99 < heldLatency && result.Loss() < heldLoss:
		return holds, nil
	}
	return fails, nil
}
