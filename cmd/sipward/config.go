package main

import (
	"net/netip"
	"time"

	"github.com/sipward/sipward/configs"
)

// builtIn is what messages call the configuration that needs no file.
const builtIn = "the built-in workstation.yaml"

// isBuiltIn says whether a configuration came from no file.
func isBuiltIn(cfg *configs.Config) bool { return cfg.File == builtIn }

// loadConfig reads the file, or the built-in configuration where path is "", and
// the files that it names.
func loadConfig(path string) (*configs.Config, error) {
	cfg, _, err := loadAll(path)
	return cfg, err
}

// loadAll is loadConfig with warnings about the files.
func loadAll(path string) (cfg *configs.Config, warnings configs.Errors, err error) {
	if path == "" {
		cfg = configs.WorkstationConfig()
		cfg.File = builtIn
		return cfg, nil, nil
	}
	if cfg, err = configs.Load(path); err != nil {
		return nil, nil, &exitError{statusUsage, err}
	}
	problems, warnings := checkFiles(cfg, time.Now())
	if len(problems) > 0 {
		return nil, nil, &exitError{statusUsage, problems}
	}
	return cfg, warnings, nil
}

// onFreePorts has a configuration listen on ports that are free, whichever they
// are.
func onFreePorts(cfg *configs.Config) {
	for i := range cfg.Listeners {
		cfg.Listeners[i].Address.Port = 0
	}
	if !cfg.API.Off {
		cfg.API.Listen = netip.AddrPortFrom(cfg.API.Listen.Addr(), 0)
	}
}
