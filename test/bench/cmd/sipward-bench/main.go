// Command sipward-bench measures what a call costs sipward:
//
//	sipward-bench relay              media, beside rtpengine: CPU per packet, latency, calls held
//	sipward-bench quick              the same in less than a minute; the last line is JSON
//	sipward-bench calls              set-up, held calls, registrations: CPU and memory
//	sipward-bench serve --plan FILE  run sipward's media engine for a list of sessions
//
// See the packages of test/bench for how. Everything stays on 127.0.0.0/8.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"github.com/sipward/sipward/test/bench/calls"
	"github.com/sipward/sipward/test/bench/plan"
	"github.com/sipward/sipward/test/bench/serve"
)

func main() { os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr)) }

// verb is one thing that the command does.
type verb struct {
	about string
	run   func(ctx context.Context, args []string, out, log io.Writer) error
}

// portableVerbs need no particular system.
func portableVerbs() map[string]verb {
	return map[string]verb{
		"serve": {"--plan FILE: run the media engine for a list of sessions until SIGTERM", runServe},
		"house": {"the house that the verb calls measures", runHouse},
	}
}

// errUsage is a command line that has to be changed.
var errUsage = errors.New("usage")

// execute gives the exit status.
func execute(args []string, out, log io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	all := verbs()
	if len(args) == 0 || all[args[0]].run == nil {
		fmt.Fprintln(log, "sipward-bench VERB, of:")
		for _, name := range []string{"relay", "quick", "calls", "serve"} {
			if v, ok := all[name]; ok {
				fmt.Fprintf(log, "  %-6s %s\n", name, v.about)
			}
		}
		return 2
	}
	err := all[args[0]].run(ctx, args[1:], out, log)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage), errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(log, "sipward-bench:", err)
		return 2
	}
	fmt.Fprintln(log, "sipward-bench:", err)
	return 1
}

// parse reads flags and takes no other arguments.
func parse(f *flag.FlagSet, args []string, log io.Writer) error {
	f.SetOutput(log)
	if err := f.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%w: %q is no flag", errUsage, f.Arg(0))
	}
	return nil
}

func runServe(ctx context.Context, args []string, out, log io.Writer) error {
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	file := f.String("plan", "", "list of sessions, JSON (see package plan)")
	noRing := f.Bool("no-ring", false, "packet by packet, as where the system allows no io_uring")
	if err := parse(f, args, log); err != nil {
		return err
	}
	if *file == "" {
		return fmt.Errorf("%w: serve needs --plan FILE", errUsage)
	}
	p, err := plan.Read(*file)
	if err != nil {
		return err
	}
	return serve.Run(ctx, p, *noRing, out, slog.New(slog.NewTextHandler(log, nil)))
}

func runHouse(ctx context.Context, args []string, out, log io.Writer) error {
	f := flag.NewFlagSet("house", flag.ContinueOnError)
	at := f.String("at", "127.0.0.1", "address of both listeners")
	var o calls.HouseOptions
	f.StringVar(&o.Far, "far", "", "URI of the house that has the callees")
	f.StringVar(&o.State, "state", "", "file for registrations")
	f.StringVar(&o.Profile, "profile", "", "file for a profile of all allocations")
	if err := parse(f, args, log); err != nil {
		return err
	}
	var err error
	if o.At, err = netip.ParseAddr(*at); err != nil {
		return fmt.Errorf("%w: --at: %w", errUsage, err)
	}
	return calls.Serve(ctx, o, os.Stdin, out, quiet(log))
}

// quiet logs what is wrong with the machine, not each call.
func quiet(log io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelError}))
}
