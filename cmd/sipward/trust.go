package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/console"
	"github.com/sipward/sipward/sas/attest"
	"github.com/sipward/sipward/store"
	"github.com/sipward/sipward/trust"
)

func newTrust() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trust",
		Short: "Look after the keys of others",
		Long: `sipward remembers by which key each peer has signed. A key is weak while only calls
from outside have shown it, pinned once the peer was called and signed with it, and
confirmed once somebody has compared the words, or said here that it is the right one.
Where the words differed, calls with the key that signed are a mismatch until somebody
has confirmed or forgotten it here.

The running sipward is asked; where none runs, its state file is.`,
		Example: "  sipward trust list\n  sipward trust confirm sip:bob@b.example",
		Args:    noArgs("name what to do: sipward trust list, show, confirm, forget, block, unblock, import or export"),
		RunE: verb(func(cmd *cobra.Command) error {
			return usage("what is to be done? sipward trust list, show, confirm, forget, block, unblock, import or export")
		}),
	}
	cmd.AddCommand(newTrustList(), newTrustShow(), newTrustConfirm(), newTrustForget(), newTrustBlock(true), newTrustBlock(false), newTrustImport(), newTrustExport())
	return cmd
}

// withTrust gives f what the running sipward remembers, or what its state file does
// where none runs.
func withTrust(cmd *cobra.Command, f apiFlags, do func(console.Trust) error) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	asked, err := f.client()
	var off *exitError
	if err != nil && !(f.configFile != "" && errors.As(err, &off)) {
		return err
	}
	if err == nil {
		defer asked.Close()
		running := asked.Trust(ctx)
		err = running.Export(io.Discard)
		if err == nil {
			return do(running)
		}
		if !errors.Is(err, console.ErrUnreachable) || f.api != "" {
			return err
		}
	}
	return inStateFile(f.configFile, err, do)
}

// inStateFile opens the state of a sipward that does not run.
func inStateFile(configFile string, unreachable error, do func(console.Trust) error) error {
	cfg, err := loadConfig(configFile)
	if err != nil {
		return err
	}
	path, err := cfg.StateFile()
	switch {
	case err != nil:
		return err
	case path == "":
		return fmt.Errorf("%s keeps no state, and %w", cfg.File, unreachable)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w; and there is no state file %s", unreachable, path)
	}
	s, err := store.OpenFile(path)
	if err != nil {
		return fmt.Errorf("%w; and %w", unreachable, err)
	}
	m, err := openMemory(s)
	if err == nil {
		err = do(remembered{m})
	}
	return errors.Join(err, s.Close())
}

// all reads everything that is remembered.
func all(t console.Trust) (*trust.Memory, error) {
	var b bytes.Buffer
	if err := t.Export(&b); err != nil {
		return nil, err
	}
	m, err := trust.Open(nil)
	if err == nil {
		_, err = m.Import(&b)
	}
	return m, err
}

// identityArg completes what a person writes for an identity.
func identityArg(s string) string {
	if !strings.Contains(s, ":") {
		return "sip:" + s
	}
	return s
}

func newTrustList() *cobra.Command {
	var f apiFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:                   "list [--json]",
		Short:                 "List who is remembered",
		Example:               "  sipward trust list",
		Args:                  noArgs(""),
		DisableFlagsInUseLine: true,
		RunE: verb(func(cmd *cobra.Command) error {
			return withTrust(cmd, f, func(t console.Trust) error {
				m, err := all(t)
				if err != nil {
					return err
				}
				if asJSON {
					entries := m.List()
					if entries == nil {
						entries = []trust.Entry{}
					}
					return json.NewEncoder(cmd.OutOrStdout()).Encode(entries)
				}
				return writeTrust(cmd.OutOrStdout(), m)
			})
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array for programs")
	f.bind(cmd)
	return cmd
}

func writeTrust(out io.Writer, m *trust.Memory) error {
	entries, keys := m.List(), m.BlockedKeys()
	if len(entries)+len(keys) == 0 {
		_, err := fmt.Fprintln(out, "nobody is remembered")
		return err
	}
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHO\tKEY\tTRUST\tLAST CALL")
	for _, e := range entries {
		who := clean(e.Identity)
		if e.Blocked {
			fmt.Fprintf(w, "%s\t-\tblocked\t-\n", who)
		}
		if len(e.Pins) == 0 && !e.Blocked {
			fmt.Fprintf(w, "%s\t-\tencrypted\t%s\n", who, e.Protected.Local().Format("2006-01-02 15:04"))
		}
		for _, p := range e.Pins {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", who, shortKey(p), degree(p), p.Last.Local().Format("2006-01-02 15:04"))
		}
	}
	for _, k := range keys {
		fmt.Fprintf(w, "anybody\t%s\tblocked\t-\n", clean(k))
	}
	w.Flush()
	_, err := out.Write(b.Bytes())
	return err
}

func shortKey(p trust.Pin) string { return attest.Short(attest.Value{Type: p.Type, Key: p.Key}) }

// degree is what a pin is worth, in a word.
func degree(p trust.Pin) string {
	switch {
	case !p.Differed.IsZero():
		return "differed"
	case len(p.Confirmations) > 0:
		return "confirmed"
	case p.Strong:
		return "pinned"
	}
	return "weak"
}

func newTrustShow() *cobra.Command {
	var f apiFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:                   "show WHO [--json]",
		Short:                 "Show what is remembered of somebody",
		Example:               "  sipward trust show sip:bob@b.example",
		Args:                  oneArg("whom? sipward trust show sip:bob@b.example"),
		DisableFlagsInUseLine: true,
	}
	cmd.RunE = withArg(func(cmd *cobra.Command, who string) error {
		return withTrust(cmd, f, func(t console.Trust) error {
			m, err := all(t)
			if err != nil {
				return err
			}
			e, err := m.Get(identityArg(who))
			switch {
			case err != nil:
				return fmt.Errorf("nothing is remembered of %s", clean(identityArg(who)))
			case asJSON:
				return json.NewEncoder(cmd.OutOrStdout()).Encode(e)
			}
			return writeEntry(cmd.OutOrStdout(), e)
		})
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object for programs")
	f.bind(cmd)
	return cmd
}

func writeEntry(out io.Writer, e trust.Entry) error {
	var b strings.Builder
	fmt.Fprintln(&b, clean(e.Identity))
	if e.Blocked {
		fmt.Fprintln(&b, "  blocked: no calls take place")
	}
	if !e.Protected.IsZero() {
		fmt.Fprintf(&b, "  last heard encrypted %s\n", e.Protected.Local().Format("2006-01-02 15:04"))
	}
	for _, p := range e.Pins {
		fmt.Fprintf(&b, "  key %s  %s\n    %s %s\n    first call %s, last call %s\n", shortKey(p), degree(p), p.Type, p.Key,
			p.First.Local().Format("2006-01-02 15:04"), p.Last.Local().Format("2006-01-02 15:04"))
		if !p.Differed.IsZero() {
			fmt.Fprintf(&b, "    the words differed %s: calls that it signs are a mismatch\n", p.Differed.Local().Format("2006-01-02 15:04"))
		}
		for _, c := range p.Confirmations {
			fmt.Fprintf(&b, "    confirmed %s (%s)\n", c.When.Local().Format("2006-01-02 15:04"), clean(c.How))
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// oneArg asks for exactly one argument.
func oneArg(otherwise string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return errors.New(otherwise)
		}
		return nil
	}
}

// withArg is verb for verbs with an argument.
func withArg(f func(cmd *cobra.Command, arg string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		return verb(func(cmd *cobra.Command) error { return f(cmd, args[0]) })(cmd, args)
	}
}

func newTrustConfirm() *cobra.Command {
	var f apiFlags
	var key string
	cmd := &cobra.Command{
		Use:   "confirm WHO [--key KEY]",
		Short: "Say that a key is the right one",
		Long: `Calls signed with the key count as verified from now on. Compare it before, on
another way than the call: sipward keys show prints it at the other end. This also takes
back that the words of a call with the key differed.

KEY is the beginning of the key, as sipward trust list shows it; it may be left out
where only one is remembered.`,
		Example:               "  sipward trust confirm sip:bob@b.example --key 'qL5x 9Tk2'",
		Args:                  oneArg("whose key? sipward trust confirm sip:bob@b.example"),
		DisableFlagsInUseLine: true,
	}
	cmd.RunE = withArg(func(cmd *cobra.Command, who string) error {
		return withTrust(cmd, f, func(t console.Trust) error {
			if err := t.Confirm(identityArg(who), key); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "confirmed: calls with %s that are signed with this key are verified\n", clean(identityArg(who)))
			return nil
		})
	})
	cmd.Flags().StringVar(&key, "key", "", "the beginning of the `KEY`")
	f.bind(cmd)
	return cmd
}

func newTrustForget() *cobra.Command {
	var f apiFlags
	var key string
	cmd := &cobra.Command{
		Use:   "forget WHO [--key KEY]",
		Short: "Forget somebody, or one of their keys",
		Long: `The next call begins anew, as with a peer that was never heard. Do this when somebody
has told you, on another way, that the key has changed. A block stays.`,
		Example:               "  sipward trust forget sip:bob@b.example",
		Args:                  oneArg("whom? sipward trust forget sip:bob@b.example"),
		DisableFlagsInUseLine: true,
	}
	cmd.RunE = withArg(func(cmd *cobra.Command, who string) error {
		return withTrust(cmd, f, func(t console.Trust) error {
			if err := t.Forget(identityArg(who), key); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "forgotten: %s\n", clean(identityArg(who)))
			return nil
		})
	})
	cmd.Flags().StringVar(&key, "key", "", "forget this `KEY` alone; its beginning is enough")
	f.bind(cmd)
	return cmd
}

func newTrustBlock(blocked bool) *cobra.Command {
	var f apiFlags
	name, short, done := "unblock", "Let calls with somebody take place again", "calls take place again"
	long := "Takes back what sipward trust block did."
	if blocked {
		name, short, done = "block", "Have no calls with somebody", "no calls take place"
		long = `Calls with the address are refused. With ed25519:KEY or openpgp:FINGERPRINT, the
whole of it, calls that are signed with that key end, whatever name they come under.`
	}
	cmd := &cobra.Command{
		Use:                   name + " WHO|TYPE:KEY",
		Short:                 short,
		Long:                  long,
		Example:               "  sipward trust " + name + " sip:mallory@evil.example",
		Args:                  oneArg("whom? sipward trust " + name + " sip:mallory@evil.example"),
		DisableFlagsInUseLine: true,
	}
	cmd.RunE = withArg(func(cmd *cobra.Command, who string) error {
		return withTrust(cmd, f, func(t console.Trust) error {
			identity, keyType, key := identityArg(who), "", ""
			if typ, k, ok := strings.Cut(who, ":"); ok && (typ == attest.TypeEd25519 || typ == attest.TypeOpenPGP) {
				identity, keyType, key = "", typ, k
			}
			if err := t.Block(identity, keyType, key, blocked); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", clean(who), done)
			return nil
		})
	})
	f.bind(cmd)
	return cmd
}

func newTrustExport() *cobra.Command {
	var f apiFlags
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print everything that is remembered",
		Long: `Prints one JSON object that sipward trust import takes. There is no secret in it, but
it says who calls whom.`,
		Example:               "  sipward trust export >trust.json",
		Args:                  noArgs(""),
		DisableFlagsInUseLine: true,
		RunE: verb(func(cmd *cobra.Command) error {
			return withTrust(cmd, f, func(t console.Trust) error { return t.Export(cmd.OutOrStdout()) })
		}),
	}
	f.bind(cmd)
	return cmd
}

func newTrustImport() *cobra.Command {
	var f apiFlags
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Take over what another sipward remembers",
		Long: `Takes what sipward trust export has printed, beside what is there already. Whoever
wrote the file says whom you trust: take it from nobody but yourself.`,
		Example:               "  sipward trust import trust.json",
		Args:                  oneArg("which file? sipward trust import trust.json"),
		DisableFlagsInUseLine: true,
	}
	cmd.RunE = withArg(func(cmd *cobra.Command, name string) error {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return withTrust(cmd, f, func(t console.Trust) error {
			keys, err := t.Import(bytes.NewReader(text))
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "keys taken over: %d\n", keys)
			return nil
		})
	})
	f.bind(cmd)
	return cmd
}

// trustOf asks the running sipward, or else its state file, what is remembered of
// an identity; from says which.
func trustOf(ctx context.Context, cfg *configs.Config, file, identity string) (e trust.Entry, from string, err error) {
	look := func(t console.Trust) error {
		m, err := all(t)
		if err == nil {
			e, err = m.Get(identity)
		}
		return err
	}
	if !cfg.API.Off && cfg.API.Listen.Port() != 0 {
		if client, cerr := (apiFlags{api: apiURL(cfg.API.Listen), tokenFile: cfg.API.TokenFile}).client(); cerr == nil {
			defer client.Close()
			if err = look(client.Trust(ctx)); err == nil || errors.Is(err, trust.ErrUnknown) {
				return e, "the running sipward", err
			}
		}
	}
	err = inStateFile(file, errors.New("no sipward runs"), look)
	return e, "the state file", err
}
