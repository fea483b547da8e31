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

// defaultAPI is where the ready-made configurations have the API.
const defaultAPI = "http://127.0.0.1:5080"

// callsFlags say which sipward is asked, and for what.
type callsFlags struct {
	json, watch                bool
	api, tokenFile, configFile string
}

func newCalls() *cobra.Command {
	var f callsFlags
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
			if f.watch {
				return watchCalls(ctx, client, f.json, cmd.OutOrStdout())
			}
			return showCalls(ctx, client, f.json, cmd.OutOrStdout())
		}),
	}
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON for programs")
	cmd.Flags().BoolVarP(&f.watch, "watch", "w", false, "follow what happens until interrupted")
	cmd.Flags().StringVar(&f.api, "api", "", "`URL` of the API (default "+defaultAPI+", or what --config says)")
	cmd.Flags().StringVar(&f.tokenFile, "token-file", "", "`FILE` with the token of the API")
	cmd.Flags().StringVarP(&f.configFile, "config", "c", "", "take the API's address and token file from this configuration `FILE`")
	return cmd
}

// client makes a client of the sipward that the flags name.
func (f callsFlags) client() (*console.Client, error) {
	url, tokenFile := f.api, f.tokenFile
	if f.configFile != "" {
		if f.api != "" {
			// The token of the configuration is for its own API alone.
			return nil, usage("--api and --config both say where the API is; give one of them")
		}
		cfg, err := loadConfig(f.configFile)
		switch {
		case err != nil:
			return nil, err
		case cfg.API.Off:
			return nil, usage("api.listen is off in %s, so its calls cannot be seen; write an address there, such as 127.0.0.1:5080", cfg.File)
		case cfg.API.Listen.Port() == 0:
			return nil, usage("api.listen in %s leaves the port open; take the one that sipward run printed: --api http://%s:PORT", cfg.File, cfg.API.Listen.Addr())
		}
		url = apiURL(cfg.API.Listen)
		if tokenFile == "" {
			tokenFile = cfg.API.TokenFile
		}
	}
	if url == "" {
		url = defaultAPI
	}
	token := ""
	if tokenFile != "" {
		var err error
		if token, err = console.ReadToken(tokenFile); err != nil {
			return nil, &exitError{statusUsage, err}
		}
	}
	client, err := console.NewClient(url, token)
	if err != nil {
		return nil, &exitError{statusUsage, err}
	}
	return client, nil
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
