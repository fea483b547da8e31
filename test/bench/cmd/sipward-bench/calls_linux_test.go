package main

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sipward/sipward/test/bench/calls"
	"github.com/sipward/sipward/test/bench/relay"
)

func callsOptions(t *testing.T) calls.Options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	places, _, err := relay.FindPlaces()
	if err != nil {
		t.Fatal(err)
	}
	return calls.Options{House: []string{self}, CPU: places.Relay, Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))}
}

// Growth fails where a call is not protected at the house under test.
func TestGrowth(t *testing.T) {
	t.Parallel()
	o := callsOptions(t)
	o.Profile = filepath.Join(t.TempDir(), "allocs")
	points, err := calls.Growth(t.Context(), o, []int{2, 20})
	if err != nil {
		t.Fatal(err)
	}
	if len(points) != 2 || points[0].Calls != 2 || points[1].Calls != 20 {
		t.Fatalf("%+v", points)
	}
	for _, p := range points {
		if p.SetUp <= 0 || p.Whole < p.SetUp || p.Second <= 0 {
			t.Errorf("%+v", p)
		}
	}
	if info, err := os.Stat(o.Profile); err != nil || info.Size() == 0 {
		t.Errorf("no profile: %v", err)
	}
}

// The live heap of a protected call, media, dialogs and all, two seconds after it came
// up: with what SIP remembers of its transactions for half a minute, two or three
// kilobytes. With what the collector leaves between, 24 KB is the bound of the whole.
func TestMemoryOfACall(t *testing.T) {
	t.Parallel()
	o := callsOptions(t)
	o.Settle = 2 * time.Second
	points, err := calls.Growth(t.Context(), o, []int{400})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d octets a call", points[0].Heap)
	if each := points[0].Heap; each > 18<<10 || each < 6<<10 {
		t.Errorf("%d octets a call", each)
	}
}

func TestRegistrations(t *testing.T) {
	t.Parallel()
	r, err := calls.Registrations(t.Context(), callsOptions(t), 40, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if r.Count != 40 || r.CPU <= 0 || r.Second <= 0 || r.Loading <= 0 {
		t.Errorf("%+v", r)
	}
}

func TestHeldNumbers(t *testing.T) {
	t.Parallel()
	for list, want := range map[string][]int{"": nil, "7": {7}, "10,100,1000": {10, 100, 1000}} {
		if got, err := increasing(list); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", list, got, err)
		}
	}
	for _, list := range []string{"x", "0", "-1", "10,", "10,10", "10,5", ","} {
		if got, err := increasing(list); err == nil {
			t.Errorf("%q: %v", list, got)
		}
	}
}

func TestCallsRefusesNonsense(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	if status := execute([]string{"calls", "--held", "5,1"}, io.Discard, &log); status != 2 {
		t.Errorf("status %d, %s", status, log.String())
	}
}
