package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/demo"
	"github.com/sipward/sipward/policy"
)

func newCheck() *cobra.Command {
	var file string
	var offline bool
	var calls int
	cmd := &cobra.Command{
		Use:   "check --config FILE [--offline] [--calls N]",
		Short: "Say what is wrong with a configuration",
		Long: `Reads a configuration as "sipward run" would, and then looks at what it needs of
the world: ports that are free, addresses of this machine, names that DNS knows,
a clock that can be right, ports for the calls that are expected. --offline leaves
the world out. Nothing stays open.

Every problem is one line "file:line:column: key: message" on standard error, and
the exit status is then 2. Where the message begins with "warning:" something works
but was most likely not meant, such as a route that an earlier one hides; warnings
alone leave the exit status 0. A configuration in order is summed up.`,
		Example:               "  sipward check --config sipward.yaml\n  sipward check --config sipward.yaml --offline\n  sipward check --config sipward.yaml --calls 500",
		Args:                  noArgs(fileIsFlag),
		DisableFlagsInUseLine: true,
		RunE: verb(func(cmd *cobra.Command) error {
			if file == "" {
				return usage("which configuration? Name it: sipward check --config FILE")
			}
			if calls < 0 {
				return usage("--calls %d: how many calls at once are expected? 1 or more", calls)
			}
			cfg, problems, err := loadAll(file)
			if err != nil {
				return err
			}
			problems = append(problems, cfg.Warnings()...)
			problems = append(problems, checkCapacity(cfg, calls)...)
			if !offline {
				ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
				defer stop()
				problems = append(problems, checkWorld(ctx, cfg, net.DefaultResolver)...)
			}
			problems.Sort()
			if slices.ContainsFunc(problems, func(p configs.Problem) bool { return !p.Warning }) {
				return &exitError{statusUsage, problems}
			}
			if len(problems) > 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), problems.Error())
			}
			summarize(cmd.OutOrStdout(), cfg, len(problems))
			return nil
		}),
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration `FILE`")
	cmd.Flags().BoolVar(&offline, "offline", false, "look at the files only")
	cmd.Flags().IntVar(&calls, "calls", 0, "expect `N` calls at once")
	return cmd
}

// summarize says in a few lines what a configuration does.
func summarize(out io.Writer, cfg *configs.Config, warnings int) {
	switch warnings {
	case 0:
		fmt.Fprintf(out, "%s: ok\n", cfg.File)
	case 1:
		fmt.Fprintf(out, "%s: ok, with 1 warning\n", cfg.File)
	default:
		fmt.Fprintf(out, "%s: ok, with %d warnings\n", cfg.File, warnings)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	for _, l := range cfg.Listeners {
		for _, g := range portGroups(l) {
			shown := ""
			if !l.Advertise.Auto() {
				shown = fmt.Sprintf(", known to others as %s", l.Advertise)
			}
			fmt.Fprintf(w, "listener\t%s\t%s %s %s, %s%s\n", l.Name, l.Side, where(l.AddressOf(g.transports[0])), strings.Join(g.transports, " and "), users(l), shown)
		}
	}
	if r := cfg.Registrar; r.On {
		who := "of this machine, without a password"
		if r.Users != "" {
			who = "with a password of " + r.Users
		}
		fmt.Fprintf(w, "phones\t%s\t%s, for %s at most\n", strings.Join(r.Domains, ", "), who, duration(r.MaxExpires))
	}
	if cfg.TestAddresses {
		for _, a := range demo.TestAddresses() {
			fmt.Fprintf(w, "test\t%s\t%s\n", a.User, a.Does)
		}
	}
	for _, a := range cfg.AliasList {
		fmt.Fprintf(w, "alias\t%s\tstands for %s\n", a.Match, a.To)
	}
	if e := cfg.Emergency; e.To != "" {
		fmt.Fprintf(w, "emergency\t%s\tto %s (%s)\n", strings.Join(e.Numbers, ", "), e.To, e.Side)
	}
	for _, r := range cfg.StaticRoutes {
		from := "from both sides"
		if r.From != "" {
			from = "from " + r.From
		}
		to := r.Side
		if r.Peer != "" {
			to += ", peer " + r.Peer
		}
		fmt.Fprintf(w, "route\t%s\t%s to %s (%s)\n", r.Match, from, r.To, to)
	}
	for _, p := range cfg.Peers {
		fmt.Fprintf(w, "peer\t%s\t%s\n", p.Name, strings.Join(append(p.Domains[:len(p.Domains):len(p.Domains)], texts(p.Networks)...), ", "))
	}
	for _, t := range cfg.Trunks {
		how := "does not register"
		if t.Register {
			how = "registers as " + t.User
		}
		fmt.Fprintf(w, "trunk\t%s\t%s at %s, calls as %s\n", t.Peer, how, t.Server, t.From)
	}
	for _, r := range cfg.Rules.List {
		fmt.Fprintf(w, "rule\t%s\t%s, from %s to %s\n", r.Name, r.Mode, party(r.From), party(r.To))
	}
	fmt.Fprintf(w, "otherwise\tinside\t%s\n\tlisted peers\t%s\n\tunknown peers\t%s\n", cfg.Rules.Inside, cfg.Rules.ListedPeers, cfg.Rules.UnknownPeers)
	api := "off"
	if !cfg.API.Off {
		api = cfg.API.Listen.String()
	}
	fmt.Fprintf(w, "media\tports\t%d to %d, for %d calls at once\n", cfg.Media.PortMin, cfg.Media.PortMax, cfg.Media.Calls())
	if cfg.Registrar.On {
		fmt.Fprintf(w, "state\t\t%s\n", kept(cfg))
	}
	fmt.Fprintf(w, "api\t\t%s\n", api)
}

// where is an address with what auto means at this moment on this machine.
func where(a configs.Address) string {
	if !a.Auto {
		return a.String()
	}
	now, err := configs.ResolveAddress(a)
	if err != nil {
		return a.String() + " (no default route here now)"
	}
	return fmt.Sprintf("%s (here now %s)", a, now)
}

// kept says where state is kept.
func kept(cfg *configs.Config) string {
	file, err := cfg.StateFile()
	switch {
	case err != nil:
		return err.Error()
	case file == "":
		return "off"
	}
	return file
}

// users says who may use a listener.
func users(l configs.Listener) string {
	switch {
	case l.Side == policy.Inside:
		return "for " + strings.Join(texts(l.Networks), ", ")
	case l.Accept == configs.AcceptPeers:
		return "for listed peers"
	default:
		return "for anyone"
	}
}

func party(m policy.Match) string {
	var parts []string
	if m.Side != "" {
		parts = append(parts, string(m.Side))
	}
	if m.Network.IsValid() {
		parts = append(parts, m.Network.String())
	}
	if m.Address != nil {
		parts = append(parts, m.Address.String())
	}
	if len(parts) == 0 {
		return "anyone"
	}
	return strings.Join(parts, " ")
}

func texts[T fmt.Stringer](list []T) []string {
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = x.String()
	}
	return out
}
