package main

import (
	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/console"
)

// builtIn is what messages call the configuration that needs no file.
const builtIn = "the built-in workstation.yaml"

// isBuiltIn says whether a configuration came from no file.
func isBuiltIn(cfg *configs.Config) bool { return cfg.File == builtIn }

// loadConfig reads the file, or the built-in configuration where path is "".
// The token file belongs to the configuration: one that cannot be used is a
// problem of it as well.
func loadConfig(path string) (*configs.Config, error) {
	if path == "" {
		cfg := configs.WorkstationConfig()
		cfg.File = builtIn
		return cfg, nil
	}
	cfg, err := configs.Load(path)
	if err != nil {
		return nil, &exitError{statusUsage, err}
	}
	if file := cfg.API.TokenFile; file != "" && !cfg.API.Off {
		if _, err := console.ReadToken(file); err != nil {
			return nil, &exitError{statusUsage, configs.Errors{{File: cfg.File, Key: "api.token_file", Message: err.Error()}}}
		}
	}
	return cfg, nil
}
