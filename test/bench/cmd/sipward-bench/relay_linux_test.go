package main

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/sipward/sipward/test/bench/compare"
	"github.com/sipward/sipward/test/bench/relay"
)

func newBench(t *testing.T) *compare.Bench {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	places, _, err := relay.FindPlaces()
	if err != nil {
		t.Fatal(err)
	}
	return compare.New(compare.Options{Sipward: []string{self, "serve"}, Places: places, Log: t.Output()})
}

// Both relays as processes, few calls, a moment: that every packet is delivered
// as it was sent is part of Case. Rounds may be thrown away on a busy machine.
func TestCase(t *testing.T) {
	t.Parallel()
	for _, suite := range []string{gcm, cm} {
		c, err := newBench(t).Case(t.Context(), suite, 3, compare.Effort{Warm: 40 * time.Millisecond, Window: 200 * time.Millisecond, Rounds: 2})
		if err != nil {
			t.Fatal(err)
		}
		if c.Rounds() == 0 && len(c.Thrown) == 0 {
			t.Errorf("%s: nothing was measured", suite)
		}
		if c.Rounds() > 0 && (c.PerPacket(compare.Sipward) <= 0 || c.Latency(compare.Sipward).P50 <= 0) {
			t.Errorf("%s: CPU %v, latency %+v", suite, c.PerPacket(compare.Sipward), c.Latency(compare.Sipward))
		}
		if _, err := exec.LookPath("rtpengine"); err != nil {
			if c.Missing == "" || c.Reason() != c.Missing {
				t.Errorf("rtpengine is missing, and the reason is %q", c.Reason())
			}
			continue
		}
		if _, _, _, ok := c.Ratio(); c.Rounds() > 0 && !ok {
			t.Errorf("%s: no ratio", suite)
		}
	}
	if _, err := exec.LookPath("rtpengine"); err != nil {
		t.Skip("rtpengine is not installed, so sipward was measured alone")
	}
}

func TestHeld(t *testing.T) {
	t.Parallel()
	held, err := newBench(t).Held(t.Context(), gcm, 2, 4, 1, compare.Effort{Window: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if len(held) == 0 || held[0].Relay != compare.Sipward || held[0].Suite != gcm {
		t.Errorf("%+v", held)
	}
}
