package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sipward/sipward/record"
)

func newRecords() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "records",
		Short: "Look after the record of calls",
		Long: `The record says of each call who called whom and when, how the call was protected
and why. It is kept where the configuration names a folder under "records".`,
		Example: "  sipward records verify /var/lib/sipward/records",
		Args:    noArgs("name what to do: sipward records verify"),
		RunE: verb(func(cmd *cobra.Command) error {
			return usage("what is to be done with the record? sipward records verify FOLDER")
		}),
	}
	cmd.AddCommand(newRecordsVerify())
	return cmd
}

func newRecordsVerify() *cobra.Command {
	var file, head string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify [FOLDER] [--head HASH] [--config FILE] [--json]",
		Short: "Say whether the record of calls was changed",
		Long: `Reads the record and checks each line against the hash that the line behind it
keeps. A line that was changed, taken out, put in or moved is named with its place.

Nothing stands behind the last line. Who notes the hash that verify prints, and
gives it with --head later, learns whether lines of that time were taken off the end.

The exit status is 1 where the record was changed.`,
		Example:               "  sipward records verify /var/lib/sipward/records\n  sipward records verify --config sipward.yaml --json",
		Args:                  cobra.MaximumNArgs(1),
		DisableFlagsInUseLine: true,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return verb(func(cmd *cobra.Command) error {
			dir := ""
			switch {
			case len(args) == 1:
				dir = args[0]
			case file != "":
				cfg, err := loadConfig(file)
				if err != nil {
					return err
				}
				if dir = cfg.Records; dir == "" {
					return usage("%s keeps no record: it has no key records", file)
				}
			default:
				return usage("which record? Name its folder, or the configuration: --config FILE")
			}
			r, seen, err := verifyRecord(dir, head)
			if asJSON {
				out := struct {
					record.Report
					OK    bool   `json:"ok"`
					Fault string `json:"fault"`
				}{Report: r, OK: err == nil}
				if err != nil {
					out.Fault = err.Error()
				}
				if e := json.NewEncoder(cmd.OutOrStdout()).Encode(out); e != nil {
					return e
				}
			}
			if err != nil {
				return err
			}
			if head != "" && !seen {
				return fmt.Errorf("no line has the hash %s: lines were taken off the end, or it is of another record", clean(head))
			}
			if !asJSON {
				fmt.Fprintf(cmd.OutOrStdout(), "unchanged: %d lines in %d files\nhash of the last line: %s\n", r.Lines, r.Files, r.Head)
				if r.First > 1 {
					fmt.Fprintf(cmd.OutOrStdout(), "the first line is number %d: older files were removed\n", r.First)
				}
				if r.Missing > 0 {
					fmt.Fprintf(cmd.OutOrStdout(), "%d calls could not be written at their time\n", r.Missing)
				}
			}
			return nil
		})(cmd, args)
	}
	cmd.Flags().StringVar(&head, "head", "", "`HASH` that an earlier verify has printed")
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration `FILE` that names the folder")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object for programs")
	return cmd
}

// verifyRecord also says whether a line of that hash was seen.
func verifyRecord(dir, head string) (r record.Report, seen bool, err error) {
	r, err = record.Verify(dir, func(hash string) { seen = seen || hash == head })
	var f *record.Fault
	if errors.As(err, &f) {
		err = fmt.Errorf("the record was changed: %w", f)
	}
	return r, seen, err
}
