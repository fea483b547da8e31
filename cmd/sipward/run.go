package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sipward/sipward/configs"
)

// shutdownTime is how long the far ends of calls have to answer the BYE.
const shutdownTime = 2 * time.Second

func newRun() *cobra.Command {
	var file string
	var free bool
	cmd := &cobra.Command{
		Use:   "run [--config FILE | --free-ports]",
		Short: "Take calls until stopped",
		Long: `Takes calls until SIGTERM or SIGINT (Ctrl-C) comes. Calls that are still going
on then are ended with BYE, for which the far ends have two seconds; a second
signal does not wait for them.

Without --config the built-in configuration for one person at one computer is
used: it says what to enter in the softphone, whom to call to try everything, and
when the softphone has registered. --free-ports is for a look where its ports
are taken: the softphone has to be told the new ones each time. What is listened on stands on standard output, the log goes to
standard error.

Registrations are kept in a state file, so that phones can be reached after a
restart: in ~/.local/state/sipward ($XDG_STATE_HOME), unless the configuration
says otherwise.`,
		Example:               "  sipward run\n  sipward run --config /etc/sipward/sipward.yaml",
		Args:                  noArgs(fileIsFlag),
		DisableFlagsInUseLine: true,
		RunE: verb(func(cmd *cobra.Command) error {
			if free && file != "" {
				return usage("--free-ports is for the built-in configuration; the ports of %s are what it says", file)
			}
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			if free {
				onFreePorts(cfg)
			}
			ctx, stop := untilSignal(cmd.Context(), os.Exit)
			defer stop()
			// Whoever reads the output may go away; the calls stay.
			signal.Ignore(syscall.SIGPIPE)
			return run(ctx, cfg, cmd.OutOrStdout(), newLog(cfg.Log, cmd.ErrOrStderr()))
		}),
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration `FILE`; without it the built-in one is used")
	cmd.Flags().BoolVar(&free, "free-ports", false, "have the built-in configuration listen on any ports that are free")
	return cmd
}

// run takes calls until ctx is done.
func run(ctx context.Context, cfg *configs.Config, out io.Writer, log *slog.Logger) error {
	notices := &notices{out: out, log: log, person: isBuiltIn(cfg)}
	d, err := assemble(cfg, log, notices.registered)
	if err != nil {
		return err
	}
	log.Info("started", "version", version(), "configuration", cfg.File)
	notices.write(d.announce)
	d.follow(ctx, func(from, to socket) { notices.moved(d, from, to) })
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
