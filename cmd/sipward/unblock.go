package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func newUnblock() *cobra.Command {
	var f apiFlags
	var user string
	cmd := &cobra.Command{
		Use:   "unblock IP|all [--user NAME]",
		Short: "Let somebody who was shut out try again",
		Long: `Lets those whom a running sipward has shut out, after wrong passwords or too many
requests, try again at once. sipward status shows them.

IP is the address that they come from, all stands for every address. With --user
only those are freed who claim to be that user: without passwords it is written
as status shows it, such as alice@192.168.1.2.

The exit status is 1 where nobody was shut out who fits, or no sipward answers.`,
		Example: "  sipward unblock 192.168.1.20\n  sipward unblock 192.168.1.20 --user alice\n  sipward unblock all",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("who is to be freed? Write one IP address that sipward status shows, or all")
			}
			return nil
		},
		DisableFlagsInUseLine: true,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return verb(func(cmd *cobra.Command) error { return unblock(cmd, f, args[0], user) })(cmd, args)
	}
	cmd.Flags().StringVar(&user, "user", "", "only this `NAME`")
	f.bind(cmd)
	return cmd
}

func unblock(cmd *cobra.Command, f apiFlags, who, user string) error {
	var source netip.Addr
	if who != "all" {
		var err error
		if source, err = netip.ParseAddr(who); err != nil {
			return usage("%q is neither an IP address nor all", who)
		}
	}
	client, err := f.client()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	freed, err := client.Unblock(ctx, source, user)
	switch {
	case err != nil:
		return err
	case freed == 0:
		return errors.New("nobody was shut out who fits; sipward status shows who is")
	}
	fmt.Fprintf(cmd.OutOrStdout(), "freed: %d\n", freed)
	return nil
}
