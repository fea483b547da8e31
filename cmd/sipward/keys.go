package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/sipward/sipward/sas/attest"
)

func newKeys() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Look after the keys that sign calls",
		Long: `Each sipward has an ed25519 key of its own, made on the first start. It signs the
key exchange of calls, so that peers who know the key need not compare words in each
call. It speaks for all users, unless a user has a key of their own.

The keys are files that only their owner can read, in the folder keys beside the
state file. Keep a copy where you keep other secrets: without them every peer is
told that the key has changed.`,
		Example: "  sipward keys show\n  sipward keys rotate --user alice",
		Args:    noArgs("name what to do: sipward keys show, rotate or export"),
		RunE: verb(func(cmd *cobra.Command) error {
			return usage("what is to be done with the keys? sipward keys show, rotate or export")
		}),
	}
	cmd.AddCommand(newKeysShow(), newKeysRotate(), newKeysExport())
	return cmd
}

// newKeysOf completes a verb that works on the keys of a user.
func newKeysOf(cmd *cobra.Command, f func(w io.Writer, keys *attest.IdentityKeys, user string) error) *cobra.Command {
	var file, user string
	cmd.Args, cmd.DisableFlagsInUseLine = noArgs("a user is named by --user USER"), true
	cmd.RunE = verb(func(cmd *cobra.Command) error {
		cfg, err := loadConfig(file)
		if err != nil {
			return err
		}
		dir, err := cfg.KeysFolder()
		if err != nil {
			return err
		}
		if dir == "" {
			return usage("%s keeps no keys: state is off", cfg.File)
		}
		// Only the sipward that runs makes keys: it knows as whom it runs.
		if _, err := os.Stat(filepath.Join(dir, attest.IdentityKeyFile)); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no key in %s yet; sipward run makes one on its first start", dir)
		}
		keys, err := attest.OpenIdentityKeys(dir)
		if err != nil {
			return err
		}
		defer keys.Close()
		return f(cmd.OutOrStdout(), keys, user)
	})
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration `FILE`; without it the built-in one is used")
	cmd.Flags().StringVar(&user, "user", "", "the key that speaks for `USER`; without it sipward's own")
	return cmd
}

// keyView is a key as keys show prints it.
type keyView struct {
	Type   string     `json:"type"`
	Key    string     `json:"key"` // as it stands in calls
	User   string     `json:"user"`
	Shared bool       `json:"shared"` // it speaks for all users that have none
	File   string     `json:"file"`
	Before string     `json:"before"` // the one that it replaces, "": none signs any more
	Until  *time.Time `json:"until"`  // that before signs
}

func viewKey(keys *attest.IdentityKeys, user string) (keyView, error) {
	signers, err := keys.Signers(user)
	if err != nil {
		return keyView{}, err
	}
	v := keyView{Type: attest.TypeEd25519, Key: signers[0].Public(), User: user, Shared: user == "" || !keys.Own(user)}
	if v.File = keys.File(user); v.Shared {
		v.File = keys.File("")
	}
	if len(signers) > 1 {
		until := keys.Until(user)
		v.Before, v.Until = signers[1].Public(), &until
	}
	return v, nil
}

func newKeysShow() *cobra.Command {
	var asJSON bool
	cmd := newKeysOf(&cobra.Command{
		Use:   "show [--user USER] [--config FILE] [--json]",
		Short: "Show the key that signs calls",
		Long: `Shows the public part of the key, its first 16 characters as sipward calls it, the
file, and, after a rotation, the key before and until when that signs as well.`,
		Example: "  sipward keys show\n  sipward keys show --user alice --json",
	}, func(w io.Writer, keys *attest.IdentityKeys, user string) error {
		v, err := viewKey(keys, user)
		if err != nil {
			return err
		}
		if asJSON {
			return json.NewEncoder(w).Encode(v)
		}
		fmt.Fprintf(w, "key     %s\n        %s %s\n", attest.Short(attest.Value{Key: v.Key}), v.Type, v.Key)
		switch {
		case user != "" && v.Shared:
			fmt.Fprintf(w, "of      this sipward; %s has none of their own\n", clean(user))
		case user != "":
			fmt.Fprintf(w, "of      %s\n", clean(user))
		default:
			fmt.Fprintln(w, "of      this sipward")
		}
		fmt.Fprintf(w, "file    %s\n", v.File)
		if v.Before != "" {
			fmt.Fprintf(w, "before  %s, signs until %s\n", attest.Short(attest.Value{Key: v.Before}), v.Until.Format(time.DateOnly))
		}
		return nil
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object for programs")
	return cmd
}

func newKeysRotate() *cobra.Command {
	var stolen bool
	cmd := newKeysOf(&cobra.Command{
		Use:   "rotate [--user USER] [--stolen] [--config FILE]",
		Short: "Replace the key that signs calls by a new one",
		Long: fmt.Sprintf(`Makes a new key. For %d days the key before signs each call as well, which hands
over to the new one: peers that are in a call within that time take it without a
notice. A sipward that runs signs with the new key from the next call on.

With --user the user gets a new key, or a first one of their own, to which
sipward's hands over.

--stolen is for a key that others may have: it signs nothing any more, and peers
are told that the key has changed. Compare the words in the first call with each.`, attest.HandOver/(24*time.Hour)),
		Example: "  sipward keys rotate\n  sipward keys rotate --user alice\n  sipward keys rotate --stolen",
	}, func(w io.Writer, keys *attest.IdentityKeys, user string) error {
		handOver := attest.HandOver
		if stolen {
			handOver = 0
		}
		if err := keys.Rotate(user, handOver); err != nil {
			return err
		}
		v, err := viewKey(keys, user)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "new key  %s\n         %s %s\n", attest.Short(attest.Value{Key: v.Key}), v.Type, v.Key)
		if v.Before != "" {
			fmt.Fprintf(w, "before   %s, signs until %s\n", attest.Short(attest.Value{Key: v.Before}), v.Until.Format(time.DateOnly))
		}
		return nil
	})
	cmd.Flags().BoolVar(&stolen, "stolen", false, "the key before signs nothing any more")
	return cmd
}

func newKeysExport() *cobra.Command {
	return newKeysOf(&cobra.Command{
		Use:   "export [--user USER] [--config FILE]",
		Short: "Print the public key for others",
		Long: `Prints the public part of the key on one line, its type and the key as both stand in
calls. Nothing of it is secret. Hand it to others in a way in which it cannot be
exchanged for another, such as on paper.`,
		Example: "  sipward keys export --user alice",
	}, func(w io.Writer, keys *attest.IdentityKeys, user string) error {
		v, err := viewKey(keys, user)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(w, v.Type, v.Key)
		return err
	})
}
