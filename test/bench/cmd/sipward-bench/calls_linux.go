package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sipward/sipward/test/bench/calls"
	"github.com/sipward/sipward/test/bench/relay"
)

func runCalls(ctx context.Context, args []string, out, log io.Writer) error {
	f := flag.NewFlagSet("calls", flag.ContinueOnError)
	list := f.String("held", "10,100,1000,5000", "numbers of calls held")
	registrations := f.Int("registrations", 10000, "phones to register; 0: none")
	o := calls.Options{Log: quiet(log)}
	f.DurationVar(&o.Settle, "settle", 40*time.Second, "rest before memory is looked at; SIP remembers a transaction for 37 s")
	f.StringVar(&o.Profile, "profile", "", "file for a profile of the set-up's allocations (go tool pprof -sample_index=alloc_space)")
	if err := parse(f, args, log); err != nil {
		return err
	}
	counts, err := increasing(*list)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	o.House = []string{self}
	places, shared, err := relay.FindPlaces()
	if err != nil {
		return err
	}
	if o.CPU = places.Relay; shared {
		fmt.Fprintln(log, "There is one CPU only: the calls a second are those of everything here together.")
	} else if err := relay.Stay(places.Generator); err != nil {
		return err
	}
	if err := relay.Hurry(); err != nil {
		fmt.Fprintf(log, "Not allowed to run before other programs (%v): what else runs here disturbs the figures.\n", err)
	}
	if len(counts) > 0 {
		most := counts[len(counts)-1]
		if room := calls.Room(most); room < most {
			fmt.Fprintf(log, "Of %d calls %d find room: a process here may have no more files open (ulimit -Hn).\n", most, room)
			for i := range counts {
				counts[i] = min(counts[i], room)
			}
			counts = slices.Compact(counts)
		}
		points, err := calls.Growth(ctx, o, counts)
		if err != nil {
			return err
		}
		fmt.Fprint(out, "| calls held | set-up, CPU | with its probes | calls a second and core | of them seen here | Go heap a call | memory a call | idle, CPU | wake-ups |\n|---|---|---|---|---|---|---|---|---|\n")
		for _, p := range points {
			fmt.Fprintf(out, "| %d | %.0f µs | %.0f µs | %.0f | %.0f | %.1f KB | %.1f KB | %.2f %% | %.0f/s |\n", p.Calls, float64(p.SetUp)/1e3,
				float64(p.Whole)/1e3, float64(time.Second)/float64(p.Whole), p.Second, float64(p.Heap)/1024, float64(p.All)/1024, 100*p.Idle.Seconds(), p.Wakeups)
		}
	}
	if *registrations < 1 {
		return nil
	}
	dir, err := os.MkdirTemp("", "sipward-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r, err := calls.Registrations(ctx, o, *registrations, dir)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "\n| registrations | CPU of one | a second | Go heap of one | memory of one | loading all |\n|---|---|---|---|---|---|\n| %d | %.0f µs | %.0f | %.1f KB | %.1f KB | %v |\n",
		r.Count, float64(r.CPU)/1e3, r.Second, float64(r.Heap)/1024, float64(r.All)/1024, r.Loading.Round(time.Millisecond))
	return err
}

// increasing reads numbers with commas between; "" is none.
func increasing(list string) (numbers []int, err error) {
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if list != "" && (err != nil || n < 1) {
			return nil, fmt.Errorf("%w: --held: %q is no number of calls", errUsage, text)
		}
		if list != "" {
			numbers = append(numbers, n)
		}
	}
	if !slices.IsSorted(numbers) || len(slices.Compact(slices.Clone(numbers))) != len(numbers) {
		return nil, fmt.Errorf("%w: --held: the numbers must increase", errUsage)
	}
	return numbers, nil
}
