package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/policy"
)

func newCheck() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "check --config FILE",
		Short: "Say what is wrong with a configuration",
		Long: `Reads a configuration as "sipward run" would and opens nothing.

Every problem is one line "file:line:column: key: message" on standard error,
and the exit status is then 2. A configuration in order is summed up.`,
		Example:               "  sipward check --config sipward.yaml",
		Args:                  noArgs(fileIsFlag),
		DisableFlagsInUseLine: true,
		RunE: verb(func(cmd *cobra.Command) error {
			if file == "" {
				return usage("which configuration? Name it: sipward check --config FILE")
			}
			cfg, err := loadConfig(file)
			if err != nil {
				return err
			}
			summarize(cmd.OutOrStdout(), cfg)
			return nil
		}),
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration `FILE`")
	return cmd
}

// summarize says in a few lines what a configuration does.
func summarize(out io.Writer, cfg *configs.Config) {
	fmt.Fprintf(out, "%s: ok\n", cfg.File)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	for _, l := range cfg.Listeners {
		fmt.Fprintf(w, "listener\t%s\t%s %s %s, %s\n", l.Name, l.Side, where(l.Address), strings.Join(l.Transports, " and "), users(l))
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
	for _, r := range cfg.Rules.List {
		fmt.Fprintf(w, "rule\t%s\t%s, from %s to %s\n", r.Name, r.Mode, party(r.From), party(r.To))
	}
	fmt.Fprintf(w, "otherwise\tinside\t%s\n\tlisted peers\t%s\n\tunknown peers\t%s\n", cfg.Rules.Inside, cfg.Rules.ListedPeers, cfg.Rules.UnknownPeers)
	api := "off"
	if !cfg.API.Off {
		api = cfg.API.Listen.String()
	}
	fmt.Fprintf(w, "media\tports\t%d to %d\napi\t\t%s\n", cfg.Media.PortMin, cfg.Media.PortMax, api)
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
