// Package compare measures sipward's media engine and rtpengine side by side:
// in the same minutes, with the same generator, in turns (A B A B), so that a
// machine which is busy or slow is so for both. Medians and ratios count; a
// figure in microseconds is of one machine and one day.
//
// It needs Linux.
package compare

import (
	"cmp"
	"slices"
	"time"

	"github.com/sipward/sipward/test/bench/load"
)

// The relays that are compared.
const (
	Sipward   = "sipward"
	RTPEngine = "rtpengine"
)

// Case is what was measured of one suite and one number of calls.
type Case struct {
	Suite   string
	Calls   int
	Missing string   // why rtpengine took no part; "" where it did
	Thrown  []string // why rounds were thrown away

	results map[string][]*load.Result // by relay; the same number of rounds each
	overrun []*load.Result            // sipward's, of rounds in which rtpengine lost too much
	lost    string                    // how much that was, in the last of them
}

// Rounds is how many rounds count.
func (c *Case) Rounds() int { return len(c.results[Sipward]) }

// Has tells whether there are figures of a relay.
func (c *Case) Has(relay string) bool { return len(c.of(relay)) > 0 }

// of is what there is of a relay: where rtpengine was overrun in every round, what
// sipward did in those.
func (c *Case) of(relay string) []*load.Result {
	if r := c.results[relay]; len(r) > 0 || relay != Sipward {
		return r
	}
	return c.overrun
}

// PerPacket is a relay's CPU time per packet, the median of its rounds.
func (c *Case) PerPacket(relay string) time.Duration {
	return median(collect(c.of(relay), (*load.Result).PerPacket))
}

// Latency is what a relay adds, each quantile the median over its rounds.
func (c *Case) Latency(relay string) load.Spread {
	of := func(pick func(load.Spread) time.Duration) time.Duration {
		return median(collect(c.of(relay), func(r *load.Result) time.Duration { return pick(r.Latency) }))
	}
	return load.Spread{
		P50:  of(func(s load.Spread) time.Duration { return s.P50 }),
		P99:  of(func(s load.Spread) time.Duration { return s.P99 }),
		P999: of(func(s load.Spread) time.Duration { return s.P999 }),
		Max:  of(func(s load.Spread) time.Duration { return s.Max }),
	}
}

// Loss is the median part of a relay's packets that was lost.
func (c *Case) Loss(relay string) float64 {
	return median(collect(c.of(relay), (*load.Result).Loss))
}

// Ratio is sipward's CPU time per packet by rtpengine's: the median over the
// rounds, and the least and the greatest. Not ok where there is none.
func (c *Case) Ratio() (mid, least, most float64, ok bool) {
	var ratios []float64
	for i, r := range c.results[RTPEngine] {
		if r.PerPacket() > 0 {
			ratios = append(ratios, float64(c.results[Sipward][i].PerPacket())/float64(r.PerPacket()))
		}
	}
	if len(ratios) == 0 {
		return 0, 0, 0, false
	}
	return median(ratios), slices.Min(ratios), slices.Max(ratios), true
}

// Overrun puts sipward's result of a round into a case in which rtpengine lost so
// much that its own says nothing; lost says how much.
func (c *Case) Overrun(sipward *load.Result, lost string) {
	c.overrun, c.lost = append(c.overrun, sipward), lost
}

// RatioTo is sipward's CPU time per packet by that of rtpengine in another case, such
// as one of fewer calls, for a case of which rtpengine has no figure.
func (c *Case) RatioTo(other *Case) (ratio float64, ok bool) {
	theirs := other.PerPacket(RTPEngine)
	if !c.Has(Sipward) || theirs <= 0 {
		return 0, false
	}
	return float64(c.PerPacket(Sipward)) / float64(theirs), true
}

// Reason says why there is no ratio.
func (c *Case) Reason() string {
	switch {
	case c.Missing != "":
		return c.Missing
	case len(c.overrun) > 0:
		return "every round was thrown away: " + c.lost
	case len(c.Thrown) > 0:
		return "every round was thrown away: " + c.Thrown[len(c.Thrown)-1]
	}
	return "nothing was measured"
}

func collect[T any](results []*load.Result, of func(*load.Result) T) []T {
	var values []T
	for _, r := range results {
		values = append(values, of(r))
	}
	return values
}

// median is the middle value, the lower of two, 0 of none.
func median[T cmp.Ordered](values []T) T {
	var none T
	if len(values) == 0 {
		return none
	}
	values = slices.Sorted(slices.Values(values))
	return values[(len(values)-1)/2]
}

// Add puts one round into a case: a result of each relay that took part.
func (c *Case) Add(round map[string]*load.Result) {
	if c.results == nil {
		c.results = map[string][]*load.Result{}
	}
	for relay, r := range round {
		c.results[relay] = append(c.results[relay], r)
	}
}
