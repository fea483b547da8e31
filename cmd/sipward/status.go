package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/console"
)

func newStatus() *cobra.Command {
	var f apiFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [--json]",
		Short: "Show how a running sipward is",
		Long: `Asks a running sipward for its version, how long it has run, where it listens,
how many phones have registered, how its own registrations at providers are, its
live calls by protection, and who is shut out, why and how long (see sipward unblock).

The exit status is 1 where no sipward answers.`,
		Example:               "  sipward status\n  sipward status --json --config /etc/sipward/sipward.yaml",
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
			s, err := client.Status(ctx)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(s)
			}
			return writeStatus(cmd.OutOrStdout(), s)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object for programs")
	f.bind(cmd)
	return cmd
}

// protectionWords says the protections of calls in the order of their worth.
var protectionWords = [...]struct{ name, words string }{
	{"srtp", "encrypted"},
	{"passed-through", "encrypted by others, passed through"},
	{"negotiating", "agreeing on keys"},
	{"none", "not encrypted"},
	{"failed", "stopped, as the keys could not be agreed on"},
	{"other", "otherwise"},
}

// writeStatus shows it to a person.
func writeStatus(out io.Writer, s console.Status) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "sipward %s, up for %s\n", cell(s.Version), duration(time.Duration(s.Uptime)*time.Second))
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, l := range s.Listeners {
		shown := ""
		if l.Advertise != l.Address {
			shown = ", known to others as " + cell(l.Advertise)
		}
		fmt.Fprintf(w, "listener\t%s\t%s %s %s%s\n", cell(l.Name), cell(l.Side), cell(l.Address), cell(l.Network), shown)
	}
	phones := "cannot register here"
	if s.Phones != nil {
		kept := ", not kept over a restart"
		if s.StateFile != "" {
			kept = ", kept in " + cell(s.StateFile)
		}
		phones = fmt.Sprintf("%d registered%s", *s.Phones, kept)
	}
	fmt.Fprintf(w, "phones\t\t%s\n", phones)
	for _, t := range s.Trunks {
		fmt.Fprintf(w, "trunk\t%s\t%s\n", cell(t.Peer), trunkWords(t))
	}
	total := 0
	var kinds []string
	for _, p := range protectionWords {
		if n := s.Calls[p.name]; n > 0 {
			total += n
			kinds = append(kinds, fmt.Sprintf("%d %s", n, p.words))
		}
	}
	calls := "none"
	if total > 0 {
		calls = fmt.Sprintf("%d: %s", total, strings.Join(kinds, ", "))
	}
	fmt.Fprintf(w, "calls\t\t%s\n", calls)
	for _, s := range s.Blocked {
		source, user := "everywhere", ""
		if s.Source != "" {
			source = cell(s.Source)
		}
		if s.User != "" {
			user = "as " + cell(s.User) + " "
		}
		fmt.Fprintf(w, "shut out\t%s\t%suntil %s: %s (%d)\n", source, user, s.Until.Local().Format("15:04:05"), cell(s.Why), s.Count)
	}
	w.Flush()
	_, err := out.Write(b.Bytes())
	return err
}

// trunkWords says how the registration at a provider is.
func trunkWords(t b2bua.TrunkStatus) string {
	words := map[string]string{
		"fixed": "known to the provider by address", "registering": "registering", "failing": "not registered", "refused": "refused by the provider",
	}[t.State]
	switch {
	case t.State == "registered":
		words = fmt.Sprintf("registered until %s at %s", t.Until.Local().Format("15:04:05"), cell(t.Server))
	case words == "":
		words = cell(t.State)
	}
	if t.Reason != "" {
		words += ": " + cell(t.Reason)
	}
	if !t.Retry.IsZero() {
		words += ", tries again at " + t.Retry.Local().Format("15:04:05")
	}
	return words
}

// duration says how long something is in its two largest units, or in one where
// the other is 0.
func duration(d time.Duration) string {
	parts := []struct {
		n    int
		unit string
	}{{int(d / (24 * time.Hour)), "d"}, {int(d/time.Hour) % 24, "h"}, {int(d/time.Minute) % 60, "min"}, {int(d/time.Second) % 60, "s"}}
	for i, p := range parts[:len(parts)-1] {
		switch next := parts[i+1]; {
		case p.n > 0 && next.n > 0:
			return fmt.Sprintf("%d %s %d %s", p.n, p.unit, next.n, next.unit)
		case p.n > 0:
			return fmt.Sprintf("%d %s", p.n, p.unit)
		}
	}
	return fmt.Sprintf("%d s", parts[len(parts)-1].n)
}
