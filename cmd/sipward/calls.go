package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/console"
)

func newCalls() *cobra.Command {
	var f apiFlags
	var asJSON, watch bool
	cmd := &cobra.Command{
		Use:   "calls [--watch] [--json]",
		Short: "Show the live calls of a running sipward",
		Long: `Asks a running sipward for its live calls: who talks to whom, how each call is
protected and why, and the three words that both people read to each other.

With --json it prints one JSON array of calls, with --watch one line for each
event, and with both one JSON object a line. --watch ends with Ctrl-C.`,
		Example:               "  sipward calls\n  sipward calls --watch\n  sipward calls --json --api http://192.168.1.2:5080 --token-file api-token",
		Args:                  noArgs(""),
		DisableFlagsInUseLine: true,
		RunE: verb(func(cmd *cobra.Command) error {
			client, err := f.client()
			if err != nil {
				return err
			}
			defer client.Close()
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if watch {
				return watchCalls(ctx, client, asJSON, cmd.OutOrStdout())
			}
			return showCalls(ctx, client, asJSON, cmd.OutOrStdout())
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON for programs")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "follow what happens until interrupted")
	f.bind(cmd)
	return cmd
}

func showCalls(ctx context.Context, client *console.Client, asJSON bool, out io.Writer) error {
	calls, err := client.Calls(ctx)
	if err != nil {
		return err
	}
	if !asJSON {
		return writeTable(out, calls)
	}
	if calls == nil {
		calls = []b2bua.View{}
	}
	return json.NewEncoder(out).Encode(calls)
}

// watchCalls prints events until ctx is done, which is how a person ends it.
func watchCalls(ctx context.Context, client *console.Client, asJSON bool, out io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lines := json.NewEncoder(out)
	err := client.Watch(ctx, func(e b2bua.Event) {
		var err error
		if asJSON {
			err = lines.Encode(e)
		} else {
			err = writeEvent(out, e)
		}
		if err != nil {
			cancel(err)
		}
	})
	if ctx.Err() == nil {
		return err
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}
