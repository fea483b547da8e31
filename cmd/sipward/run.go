package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
)

// shutdownTime is how long the far ends of calls have to answer the BYE.
const shutdownTime = 2 * time.Second

func newRun() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "run [--config FILE]",
		Short: "Take calls until stopped",
		Long: `Takes calls until SIGTERM or SIGINT (Ctrl-C) comes. Calls that are still going
on then are ended with BYE, for which the far ends have two seconds; a second
signal does not wait for them.

Without --config the built-in configuration for one person at one computer is
used. What is listened on stands on standard output, the log goes to standard
error.`,
		Example:               "  sipward run\n  sipward run --config /etc/sipward/sipward.yaml",
		Args:                  noArgs(fileIsFlag),
		DisableFlagsInUseLine: true,
		RunE: verb(func(cmd *cobra.Command) error {
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			ctx, stop := untilSignal(cmd.Context(), os.Exit)
			defer stop()
			// Whoever reads the output may go away; the calls stay.
			signal.Ignore(syscall.SIGPIPE)
			return run(ctx, cfg, cmd.OutOrStdout(), newLog(cfg.Log, cmd.ErrOrStderr()))
		}),
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration `FILE`; without it the built-in one is used")
	return cmd
}

// run takes calls until ctx is done.
func run(ctx context.Context, cfg *configs.Config, out io.Writer, log *slog.Logger) error {
	d, err := assemble(cfg, log)
	if err != nil {
		return err
	}
	log.Info("started", "version", version(), "configuration", cfg.File)
	d.announce(out)
	<-ctx.Done()
	log.Info("stopping", "calls", d.proxy.Counters().Active)
	end, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	if err := d.Shutdown(end); err != nil {
		// What is left is the far ends' affair: this side has done its part.
		log.Warn("stopped", "error", err)
		return nil
	}
	log.Info("stopped")
	return nil
}

// newLog makes the log that the configuration asks for.
func newLog(c configs.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// announce says what is listened on and what to enter in a softphone.
func (d *daemon) announce(out io.Writer) {
	fmt.Fprintf(out, "sipward is ready, configuration: %s\n", d.cfg.File)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	var proxies []string
	for i, l := range d.cfg.Listeners {
		var where netip.AddrPort // the same for every transport
		var networks []string
		for _, s := range d.sockets {
			if s.listener == i {
				where = s.addr
				networks = append(networks, s.network)
			}
		}
		fmt.Fprintf(w, "  %s\t%v\t%s\n", l.Side, where, strings.Join(networks, " and "))
		if l.Side == policy.Inside {
			proxies = append(proxies, fmt.Sprintf("%v (%s)", where, strings.Join(networks, " or ")))
		}
	}
	if url := d.APIURL(); url != "" {
		fmt.Fprintf(w, "  API\t%s\t\n", url)
	}
	w.Flush()
	fmt.Fprintf(out, "  In the phone enter the outbound proxy %s.\n", strings.Join(proxies, " or "))
	if to, ok := ringsAt(d.cfg.StaticRoutes); ok {
		fmt.Fprintf(out, "  Calls from outside go to %s: let the phone or PBX listen there.\n", to)
	}
	if isBuiltIn(d.cfg) {
		fmt.Fprintln(out, "  Other settings: sipward run --config FILE")
	}
}

// ringsAt is where the calls go that come from outside, as the last route for
// them says: the ones before it are exceptions.
func ringsAt(routes []route.Route) (to string, ok bool) {
	for _, r := range routes {
		if r.Side != route.Inside || r.From == route.Inside {
			continue
		}
		if u, err := route.ParseNextHop(r.To); err == nil {
			port := u.Port
			if port == 0 {
				port = 5060
			}
			to, ok = fmt.Sprintf("%s port %d", u.Host, port), true
		}
	}
	return to, ok
}
