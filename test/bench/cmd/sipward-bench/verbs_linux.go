package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/sipward/sipward/test/bench/compare"
	"github.com/sipward/sipward/test/bench/relay"
	"github.com/sipward/sipward/test/bench/report"
)

const (
	gcm = "AEAD_AES_128_GCM"
	cm  = "AES_CM_128_HMAC_SHA1_80"
)

func verbs() map[string]verb {
	all := portableVerbs()
	all["relay"] = verb{"compare media with rtpengine, minutes; --docs FOLDER writes table and plot there", runRelay}
	all["quick"] = verb{"the same in less than a minute; the last line is JSON", runQuick}
	all["held"] = verb{"search for the most calls that a relay holds with 5 ms at p99, a minute", runHeld}
	all["calls"] = verb{"measure set-up, held calls and registrations, minutes", runCalls}
	return all
}

// prepare takes the CPUs and says under which conditions it measures. serve is what
// the verb serve gets.
func prepare(log io.Writer, serve ...string) (*compare.Bench, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	places, shared, err := relay.FindPlaces()
	if err != nil {
		return nil, err
	}
	if shared {
		fmt.Fprintln(log, "There is one CPU only: generator and relay share it, so latency and calls held say little.")
	} else {
		fmt.Fprintf(log, "The generator has CPU %d, the relay CPU %d.\n", places.Generator, places.Relay)
	}
	if err := relay.Stay(places.Generator); err != nil {
		return nil, err
	}
	if err := relay.Hurry(); err != nil {
		fmt.Fprintf(log, "Not allowed to run before other programs (%v): what else runs here disturbs the figures.\n", err)
	}
	return compare.New(compare.Options{Sipward: append([]string{self, "serve"}, serve...), Places: places, Log: log}), nil
}

// quickTime is what quick may take of the minute: the rest is for building and
// for a slow machine.
const quickTime = 45 * time.Second

func runQuick(ctx context.Context, args []string, out, log io.Writer) error {
	f := flag.NewFlagSet("quick", flag.ContinueOnError)
	noRing := f.Bool("no-ring", false, "sipward packet by packet, as where the system allows no io_uring")
	if err := parse(f, args, log); err != nil {
		return err
	}
	var serve []string
	if *noRing {
		serve = append(serve, "--no-ring")
	}
	end := time.Now().Add(quickTime)
	b, err := prepare(log, serve...)
	if err != nil {
		return err
	}
	var cases []*compare.Case
	wanted := []struct {
		suite string
		calls int
	}{{gcm, 500}, {gcm, 1000}, {cm, 500}}
	for i, w := range wanted {
		share := time.Until(end) / time.Duration(len(wanted)-i)
		c, err := b.Case(ctx, w.suite, w.calls, compare.Effort{
			Warm: time.Second, Again: 200 * time.Millisecond, Window: 1200 * time.Millisecond, Rounds: 5,
			Deadline: time.Now().Add(share),
		})
		if err != nil {
			return err
		}
		cases = append(cases, c)
	}
	line, err := report.Ratios(cases)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", line)
	return err
}

func runHeld(ctx context.Context, args []string, out, log io.Writer) error {
	f := flag.NewFlagSet("held", flag.ContinueOnError)
	suite := f.String("suite", gcm, "protection profile")
	from := f.Int("from", 1000, "calls to begin with")
	window := f.Duration("window", 4*time.Second, "measured time of a probe")
	if err := parse(f, args, log); err != nil {
		return err
	}
	b, err := prepare(log)
	if err != nil {
		return err
	}
	held, err := b.Held(ctx, *suite, *from, maxHeld, heldStep, compare.Effort{Warm: 4 * time.Second, Again: 500 * time.Millisecond, Window: *window})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s", report.Table(nil, held))
	return err
}

// The search for calls held.
const (
	maxHeld  = 3000
	heldStep = 50
)

func runRelay(ctx context.Context, args []string, out, log io.Writer) error {
	f := flag.NewFlagSet("relay", flag.ContinueOnError)
	docs := f.String("docs", "", "folder with performance.md, which gets the table, and for relay.svg")
	rounds := f.Int("rounds", 5, "how often the relays take turns")
	window := f.Duration("window", 4*time.Second, "measured time of a turn")
	hold := f.Bool("held", true, "search for the calls held, too")
	if err := parse(f, args, log); err != nil {
		return err
	}
	b, err := prepare(log)
	if err != nil {
		return err
	}
	effort := compare.Effort{Warm: 4 * time.Second, Again: 500 * time.Millisecond, Window: *window, Rounds: *rounds}
	var cases []*compare.Case
	var held []compare.Held
	for _, suite := range []string{gcm, cm} {
		for _, calls := range []int{1, 100, 500, 1000} {
			if calls == 1 && suite != gcm {
				continue // a lone call is about waking up
			}
			c, err := b.Case(ctx, suite, calls, effort)
			if err != nil {
				return err
			}
			cases = append(cases, c)
		}
		if !*hold {
			continue
		}
		h, err := b.Held(ctx, suite, 1000, maxHeld, heldStep, effort)
		if err != nil {
			return err
		}
		held = append(held, h...)
	}
	table := report.Table(cases, held)
	if _, err := fmt.Fprintf(out, "%s", table); err != nil {
		return err
	}
	if *docs == "" {
		return nil
	}
	if err := os.WriteFile(filepath.Join(*docs, "relay.svg"), []byte(report.Plot(cases)), 0o644); err != nil {
		return err
	}
	when := fmt.Sprintf("%s, %d rounds of %v.\n\n", time.Now().Format("2 January 2006"), *rounds, *window)
	return report.Replace(filepath.Join(*docs, "performance.md"), when+table)
}
