package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/sip/auth"
	"github.com/sipward/sipward/trust"
)

func newExplain() *cobra.Command {
	var q question
	var file, source string
	var asJSON, dns bool
	cmd := &cobra.Command{
		Use:   "explain --from A --to B [--source IP] [--config FILE] [--dns] [--json]",
		Short: "Say what would become of a call, and why",
		Long: `Follows a call through a configuration, without a call and without sending
anything: which alias, which route, which rule of the policy, what the call would
be, what is known of the other end's keys, and where each of them stands in the
file. A sipward that runs is asked what it remembers, or its state file is.

A and B are addresses such as sip:bob@b.example, or a user or number alone. On
which side the caller is follows from --source, the IP address that the call comes
from; without it, from the caller's domain. Names are looked up with --dns only.

Without --config the built-in configuration is explained.`,
		Example: `  sipward explain --from alice --to bob@b.example
  sipward explain --from bob@b.example --to +4930123 --source 198.51.100.7 --config sipward.yaml
  sipward explain --from alice --to 112 --config sipward.yaml --json`,
		Args:                  noArgs("name the two ends: --from A --to B"),
		DisableFlagsInUseLine: true,
		RunE: verb(func(cmd *cobra.Command) error {
			if q.from == "" || q.to == "" {
				return usage("which call? Name its ends: sipward explain --from A --to B")
			}
			if source != "" {
				addr, err := netip.ParseAddr(source)
				if err != nil {
					return usage("--source %q is not an IP address", source)
				}
				q.source = addr.Unmap()
			}
			if dns {
				q.lookup = net.DefaultResolver
			}
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			p, err := accounts(cfg)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			var closing []func()
			defer func() {
				for _, f := range closing {
					f()
				}
			}()
			keyring, err := openKeyring(cfg, slog.New(slog.DiscardHandler), &closing)
			if err != nil {
				return err
			}
			q.known = &knowledge{keyring: keyring, remember: func(ctx context.Context, id string) (trust.Entry, string, error) { return trustOf(ctx, cfg, file, id) }}
			e, err := explain(ctx, cfg, p, q)
			switch {
			case err != nil:
				return err
			case asJSON:
				return json.NewEncoder(cmd.OutOrStdout()).Encode(e)
			}
			return writeExplanation(cmd.OutOrStdout(), e)
		}),
	}
	cmd.Flags().StringVar(&q.from, "from", "", "who calls: an `ADDRESS`, user or number")
	cmd.Flags().StringVar(&q.to, "to", "", "who is called: an `ADDRESS`, user or number")
	cmd.Flags().StringVar(&source, "source", "", "the `IP` address that the call comes from")
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration `FILE`; without it the built-in one is explained")
	cmd.Flags().BoolVar(&dns, "dns", false, "look names up")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object for programs")
	return cmd
}

// accounts reads the users file, and nothing else of the phones; nil where none can
// register.
func accounts(cfg *configs.Config) (*phones, error) {
	switch {
	case !cfg.Registrar.On:
		return nil, nil
	case cfg.Registrar.Users == "":
		return &phones{}, nil
	}
	users, err := auth.OpenUsers(cfg.Registrar.Users, cfg.Registrar.Domains[0])
	return &phones{users: users}, err
}

// writeExplanation shows it to a person.
func writeExplanation(out io.Writer, e *explanation) error {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, s := range e.Steps {
		place := ""
		if s.Place != "" {
			place = " (" + clean(s.Place) + ")"
		}
		fmt.Fprintf(w, "%s\t%s%s\n", s.What, clean(s.Says), place)
	}
	w.Flush()
	fmt.Fprintln(&b, clean(e.Says))
	for _, n := range e.Notes {
		fmt.Fprintf(&b, "Note: %s.\n", clean(n))
	}
	_, err := out.Write(b.Bytes())
	return err
}
