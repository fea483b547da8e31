package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sipward/sipward/configs"
)

// Exit statuses.
const (
	statusOK      = 0
	statusFailure = 1
	statusUsage   = 2
)

// exitError is an error of a verb with the exit status that it stands for.
// Errors that are none come from the command line's parser.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usage makes the error of a command line that has to be changed.
func usage(format string, args ...any) error {
	return &exitError{statusUsage, fmt.Errorf(format, args...)}
}

// verb runs f; its errors are failures unless they say otherwise.
func verb(f func(cmd *cobra.Command) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		err := f(cmd)
		var e *exitError
		if err == nil || errors.As(err, &e) {
			return err
		}
		return &exitError{statusFailure, err}
	}
}

// execute runs a command line and returns the exit status.
func execute(args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteC()
	if err == nil {
		return statusOK
	}
	var problems configs.Errors
	var e *exitError
	switch {
	case errors.As(err, &problems):
		fmt.Fprintln(stderr, problems.Error()) // file:line:column first, where editors look for it
	case errors.As(err, &e):
		fmt.Fprintln(stderr, "sipward: "+err.Error())
	default:
		fmt.Fprintf(stderr, "sipward: %v\nTry: %s --help\n", err, cmd.CommandPath())
	}
	if e != nil || errors.As(err, &e) {
		return e.status
	}
	return statusUsage
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "sipward",
		Short: "Encrypts calls between phones that cannot do it themselves",
		Long: `sipward stands between your phones, which speak plain SIP and RTP, and the
network outside. Calls to another sipward are encrypted; three words that both
people read to each other prove that nobody sits in between.

Exit status: 0 all went well, 1 failure, 2 the command line or the configuration
has to be changed.`,
		Example:       "  sipward demo\n  sipward run",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newRun(), newCheck(), newExplain(), newStatus(), newUnblock(), newCalls(), newConfirm(), newRecords(), newKeys(), newTrust(), newDemo(), newVersion())
	return root
}

// noArgs refuses arguments; hint says what may have been meant.
func noArgs(hint string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		if hint == "" {
			return fmt.Errorf("%s takes no arguments, here %q", cmd.CommandPath(), args[0])
		}
		return fmt.Errorf("%s takes no arguments, here %q; %s", cmd.CommandPath(), args[0], hint)
	}
}

const fileIsFlag = "a configuration is named by --config FILE"
