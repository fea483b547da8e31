package compare

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sipward/sipward/test/bench/load"
	"github.com/sipward/sipward/test/bench/relay"
)

// What a call must get to count as held.
const (
	heldLatency = 5 * time.Millisecond // at p99
	heldLoss    = 0.001
)

// Held searches for the most calls, in steps of step and up to most, that each
// relay holds with a latency below 5 ms at p99 and a loss below 0.1 %. It
// probes upwards by a quarter until one fails and then halves the gap; a probe
// that the generator spoils is repeated once.
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
		held, err := search(from, most, step, func(calls int) (verdict, error) { return b.probe(ctx, r, calls, &e) })
		if e := r.close(); err == nil {
			err = e
		}
		if err != nil {
			return nil, err
		}
		held.Suite, held.Relay = suite, name
		all = append(all, held)
	}
	return all, nil
}

// probe asks whether a relay holds so many calls.
func (b *Bench) probe(ctx context.Context, r *running, calls int, e *Effort) (verdict, error) {
	var result *load.Result
	for range 2 {
		var err error
		if result, err = b.run(ctx, r, calls, e); err != nil {
			return spoiled, err
		}
		if result.Fault() == "" {
			if result.Latency.P99 < heldLatency && result.Loss() < heldLoss {
				return holds, nil
			}
			return fails, nil
		}
		fmt.Fprintf(b.o.Log, "  thrown away: %s\n", result.Fault())
	}
	return spoiled, nil
}
