package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/sas/attest"
)

// openIdentity opens the identity keys, which it makes on the first start; nil
// where no state is kept. A folder that the configuration does not name need not
// be there: sipward runs without it, and says so. Keys that are there and cannot
// be used end the start: peers that know them would take the calls for forged.
func openIdentity(cfg *configs.Config, log *slog.Logger) (*attest.IdentityKeys, error) {
	dir, err := cfg.KeysFolder()
	if err == nil && dir == "" {
		return nil, nil
	}
	var keys *attest.IdentityKeys
	if err == nil {
		if keys, err = attest.OpenIdentityKeys(dir); err == nil {
			return keys, nil
		}
	}
	var noPlace *fs.PathError
	if cfg.State == "" && (dir == "" || errors.As(err, &noPlace)) {
		log.Warn("there is no place for an identity key, so no call can be signed", "error", err, "to change it", toChange(cfg, "state"))
		return nil, nil
	}
	return nil, fmt.Errorf("%w; %s", err, toChange(cfg, "state"))
}
