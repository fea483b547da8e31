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
	trustBucket     = "trust"     // what is remembered of peers
)

// openState opens the state file; nil and "" where the configuration wants nothing
// kept.
//
// A file that the configuration does not name has to be there for own phones. A
// sipward without them runs without it, and says so.
func openState(cfg *configs.Config, log *slog.Logger) (store.Store, string, error) {
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
		log.Warn("what is learned of peers, and registrations at other registrars, will not survive a restart", "error", err, "to change it", toChange(cfg, "state"))
		return nil, "", nil
	}
	return nil, "", fmt.Errorf("%w; %s", err, toChange(cfg, "state"))
}
