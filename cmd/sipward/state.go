package main

import (
	"fmt"
	"log/slog"

	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/store"
)

// What stands where in the state file.
const (
	bindingsBucket  = "bindings"  // registrations of own phones
	elsewhereBucket = "elsewhere" // those that phones have at other registrars
)

// openState opens the state file where there is something to keep; nil and ""
// where there is not, or the configuration wants nothing kept.
//
// A file that the configuration does not name has to be there for own phones. A
// sipward that only passes registrations on runs without it, and says so.
func openState(cfg *configs.Config, log *slog.Logger) (store.Store, string, error) {
	if !cfg.Registrar.On && !cfg.PassesAccounts() {
		return nil, "", nil
	}
	path, err := cfg.StateFile()
	if err == nil && path == "" {
		return nil, "", nil
	}
	var s store.Store
	if err == nil {
		if s, err = store.OpenFile(path); err == nil {
			return s, path, nil
		}
	}
	if !cfg.Registrar.On && cfg.State == "" {
		log.Warn("registrations at other registrars will not survive a restart", "error", err, "to change it", toChange(cfg, "state"))
		return nil, "", nil
	}
	return nil, "", fmt.Errorf("%w; %s", err, toChange(cfg, "state"))
}
