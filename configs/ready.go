package configs

import (
	_ "embed"
	"slices"
)

//go:embed workstation.yaml
var workstation []byte

//go:embed office.yaml
var office []byte

// Workstation returns workstation.yaml, the ready-made file for one person with
// a softphone.
func Workstation() []byte { return slices.Clone(workstation) }

// Office returns office.yaml, the ready-made file for an office with its own
// phones or PBX.
func Office() []byte { return slices.Clone(office) }

// WorkstationConfig returns the configuration of [Workstation].
func WorkstationConfig() *Config { return ready("workstation.yaml", workstation) }

// OfficeConfig returns the configuration of [Office].
func OfficeConfig() *Config { return ready("office.yaml", office) }

func ready(name string, text []byte) *Config {
	c, err := Parse(name, text)
	if err != nil {
		panic("configs: a ready-made file has faults: " + err.Error()) // a test keeps this from shipping
	}
	return c
}
