package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sipward/sipward/b2bua"
)

func newConfirm() *cobra.Command {
	var f apiFlags
	var s b2bua.Said
	cmd := &cobra.Command{
		Use:   "confirm [CALL] --code CODE | --equal | --different",
		Short: "Say whether both people have read the same words",
		Long: `Once both people have read the words or the code of a call to each other, say here
whether they were the same. The call then counts as verified, and so do later ones
that the same key signs; or, if they differ, somebody sits in between and the call ends.
What was said of that key before is withdrawn then, and later calls that it signs are a
mismatch until sipward trust confirm or forget. Who has said "equal" may still say this.

--code takes the six digits that the other person has read out to you. A second wrong
code counts as different.

CALL is the other person's address or user, or the call's id; it may be left out
where there is one call only.`,
		Example:               "  sipward confirm --equal\n  sipward confirm bob --code 123456\n  sipward confirm sip:bob@b.example --different",
		Args:                  cobra.MaximumNArgs(1),
		DisableFlagsInUseLine: true,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return verb(func(cmd *cobra.Command) error {
			which := ""
			if len(args) == 1 {
				which = args[0]
			}
			return confirm(cmd, f, which, s)
		})(cmd, args)
	}
	cmd.Flags().StringVar(&s.Code, "code", "", "the `CODE` that the other person has read out")
	cmd.Flags().BoolVar(&s.Equal, "equal", false, "both have read the same")
	cmd.Flags().BoolVar(&s.Different, "different", false, "they have not")
	cmd.MarkFlagsMutuallyExclusive("code", "equal", "different")
	f.bind(cmd)
	return cmd
}

func confirm(cmd *cobra.Command, f apiFlags, which string, s b2bua.Said) error {
	if s == (b2bua.Said{}) {
		return usage("what is it? sipward confirm --equal, --different, or --code with what the other person has read out")
	}
	client, err := f.client()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	calls, err := client.Calls(ctx)
	if err != nil {
		return err
	}
	v, err := pickCall(calls, which)
	if err != nil {
		return err
	}
	a, err := client.SaySAS(ctx, v.ID, s)
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", clean(a.Trust), clean(a.Says))
	return nil
}

// pickCall finds the call that somebody means.
func pickCall(calls []b2bua.View, which string) (b2bua.View, error) {
	var found []b2bua.View
	for _, v := range calls {
		for _, name := range []string{v.ID, v.From, v.To} {
			user, _, _ := strings.Cut(strings.TrimPrefix(name, "sip:"), "@")
			if which == "" || which == name || "sip:"+which == name || which == user {
				found = append(found, v)
				break
			}
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(calls) == 0:
		return b2bua.View{}, errors.New("there is no call")
	case len(found) == 0:
		return b2bua.View{}, fmt.Errorf("no call is with %s; sipward calls shows them", clean(which))
	}
	return b2bua.View{}, fmt.Errorf("%d calls fit; name the other person, or the id that sipward calls --json shows", len(found))
}
