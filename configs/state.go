package configs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// StateOff is the value of Config.State that keeps nothing over a restart.
const StateOff = "off"

const stateFile = "state.db"

// StateFile returns the path of the file that state is kept in, "" where none is.
// What the configuration names is the file itself where it has an ending such as
// .db or is there already, and else the folder of a file state.db. Where it names
// nothing, that file stands in the folder that systemd hands to a service
// ($STATE_DIRECTORY), or in sipward within $XDG_STATE_HOME or ~/.local/state.
func (c *Config) StateFile() (string, error) { return c.stateFile(os.Getenv, os.UserHomeDir) }

func (c *Config) stateFile(getenv func(string) string, home func() (string, error)) (string, error) {
	if c.State == StateOff {
		return "", nil
	}
	if c.State != "" {
		info, err := os.Stat(c.State)
		switch {
		case err == nil && info.IsDir(), os.IsPathSeparator(c.State[len(c.State)-1]):
			return filepath.Join(c.State, stateFile), nil
		case err == nil, filepath.Ext(c.State) != "":
			return c.State, nil
		}
		return filepath.Join(c.State, stateFile), nil
	}
	// systemd separates several folders by colons.
	if dir, _, _ := strings.Cut(getenv("STATE_DIRECTORY"), ":"); filepath.IsAbs(dir) {
		return filepath.Join(dir, stateFile), nil
	}
	// The XDG base directory specification has relative paths ignored.
	if dir := getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "sipward", stateFile), nil
	}
	dir, err := home()
	if err != nil || !filepath.IsAbs(dir) {
		return "", errors.New("there is no home folder to keep state in; write state: FOLDER, or state: off")
	}
	return filepath.Join(dir, ".local", "state", "sipward", stateFile), nil
}

// KeysFolder returns the folder of sipward's identity keys: identity.keys, or keys
// beside the state file; "" where no state is kept.
func (c *Config) KeysFolder() (string, error) {
	if c.Identity.Keys != "" {
		return c.Identity.Keys, nil
	}
	file, err := c.StateFile()
	if err != nil || file == "" {
		return "", err
	}
	return filepath.Join(filepath.Dir(file), "keys"), nil
}
