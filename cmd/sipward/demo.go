package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sipward/sipward/demo"
)

func newDemo() *cobra.Command {
	var o demo.Options
	var asJSON, alone bool
	cmd := &cobra.Command{
		Use:   "demo [--mitm | --alone] [--json] [--transport udp|tcp] [--pcap FILE] [--dir DIR]",
		Short: "Two phones, two sipwards and a wiretap in one process",
		Long: `Lets one phone call another through two sipwards, all in this process, and shows
what the key exchange put into the messages, what both sipwards show, what the
phones heard and what a wiretap between the two sipwards heard. The sound of all
of them is written to files.

With --mitm a man in the middle stands on the wire and exchanges keys with both
sides: the words that the two sipwards show then differ.

With --alone one phone calls the test addresses, as you can with your own phone
and "sipward run":
` + catalogue() + `
The exit status is 1 unless the call went as it should.`,
		Example:               "  sipward demo\n  sipward demo --mitm\n  sipward demo --alone\n  sipward demo --json --transport tcp --pcap wire.pcap --dir sound",
		Args:                  noArgs(""),
		DisableFlagsInUseLine: true,
		RunE: verb(func(cmd *cobra.Command) error {
			if o.Transport != "udp" && o.Transport != "tcp" {
				return usage("--transport is udp or tcp, not %q", o.Transport)
			}
			if alone && (o.Mitm || o.PCAP != "" || o.Dir != "") {
				return usage("--alone has no wire and writes no files: leave --mitm, --pcap and --dir out")
			}
			out := cmd.OutOrStdout()
			if !asJSON {
				o.Progress = func(s string) { fmt.Fprintln(cmd.ErrOrStderr(), s) }
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if alone {
				return demoAlone(ctx, out, o, asJSON)
			}
			r, err := demo.Run(ctx, o)
			switch {
			case ctx.Err() != nil:
				return errors.New("the demo was interrupted")
			case err != nil:
				return err
			case asJSON:
				err = json.NewEncoder(out).Encode(r)
			default:
				err = r.Write(out)
			}
			if err == nil && !r.OK {
				err = fmt.Errorf("the call was not as it should be: %s", strings.Join(r.Faults, "; "))
			}
			return err
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as one JSON object, and no progress")
	cmd.Flags().BoolVar(&o.Mitm, "mitm", false, "put a man in the middle on the wire")
	cmd.Flags().BoolVar(&alone, "alone", false, "call the test addresses, with one phone")
	cmd.Flags().StringVar(&o.Transport, "transport", "udp", "`TRANSPORT` of SIP: udp or tcp")
	cmd.Flags().StringVar(&o.PCAP, "pcap", "", "write a capture of the wire to this `FILE`")
	cmd.Flags().StringVar(&o.Dir, "dir", "", "write the sound to this `DIR` (default a new folder here)")
	return cmd
}

// catalogue lists the test addresses.
func catalogue() string {
	var b strings.Builder
	for _, a := range demo.TestAddresses() {
		fmt.Fprintf(&b, "  %-5s %s\n", a.User, a.Does)
	}
	return b.String()
}

func demoAlone(ctx context.Context, out io.Writer, o demo.Options, asJSON bool) error {
	r, err := demo.RunAlone(ctx, o)
	switch {
	case ctx.Err() != nil:
		return errors.New("the demo was interrupted")
	case err != nil:
		return err
	case asJSON:
		err = json.NewEncoder(out).Encode(r)
	default:
		err = r.Write(out)
	}
	if err == nil && !r.OK {
		err = errors.New("the calls were not as they should be")
	}
	return err
}
