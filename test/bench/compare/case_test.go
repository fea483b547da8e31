package compare

import (
	"testing"
	"time"

	"github.com/sipward/sipward/test/bench/load"
)

func TestSearch(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name             string
		capacity, limit  int // the relay's, the generator's
		from, most, step int
		want             int
		atLeast          bool
		probes           int
	}{
		{"between", 1730, 5000, 1000, 3000, 50, 1700, false, 12},
		{"less than the first probe", 380, 5000, 1000, 3000, 50, 350, false, 12},
		{"none", 10, 5000, 1000, 3000, 50, 0, false, 12},
		{"up to the bound", 9000, 9000, 1000, 3000, 50, 3000, true, 12},
		{"as far as the generator goes", 9000, 2000, 1000, 3000, 50, 2000, true, 12},
		{"from is the bound", 9000, 9000, 3000, 3000, 50, 3000, true, 1},
	} {
		probes := 0
		held, err := search(test.from, test.most, test.step, func(calls int) (verdict, error) {
			probes++
			if calls > test.most || calls < 1 {
				t.Errorf("%s: probes %d", test.name, calls)
			}
			switch {
			case calls > test.limit:
				return spoiled, nil
			case calls > test.capacity:
				return fails, nil
			}
			return holds, nil
		})
		if err != nil || held.Calls != test.want || held.AtLeast != test.atLeast || probes > test.probes {
			t.Errorf("%s: %+v after %d probes, %v; want %d, at least: %v", test.name, held, probes, err, test.want, test.atLeast)
		}
	}
}

func TestCaseTakesMediansOfPairs(t *testing.T) {
	t.Parallel()
	c := Case{Suite: "AEAD_AES_128_GCM", Calls: 100}
	if _, _, _, ok := c.Ratio(); ok || c.Reason() == "" {
		t.Error("a ratio of nothing, or no reason for it")
	}
	for _, pair := range [][2]time.Duration{{6000, 10000}, {5000, 20000}, {9000, 10000}} {
		c.Add(map[string]*load.Result{
			Sipward:   {Delivered: 1000, CPU: 1000 * pair[0], Latency: load.Spread{P99: pair[0]}},
			RTPEngine: {Delivered: 1000, CPU: 1000 * pair[1]},
		})
	}
	if mid, least, most, ok := c.Ratio(); !ok || mid != 0.6 || least != 0.25 || most != 0.9 {
		t.Errorf("ratio %v, %v to %v, %v", mid, least, most, ok)
	}
	if c.PerPacket(Sipward) != 6000 || c.PerPacket(RTPEngine) != 10000 || c.Latency(Sipward).P99 != 6000 {
		t.Errorf("%v, %v, %v", c.PerPacket(Sipward), c.PerPacket(RTPEngine), c.Latency(Sipward))
	}
}
