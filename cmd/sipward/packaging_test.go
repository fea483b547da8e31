package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sipward/sipward/configs"
)

// unit reads a unit file: the values of each setting by section and name.
func unit(t *testing.T, file string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string][]string{}
	section := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		name, value, ok := strings.Cut(line, "=")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]"):
			section = strings.Trim(line, "[]")
		case ok && section != "":
			settings[section+"."+name] = append(settings[section+"."+name], value)
		default:
			t.Fatalf("%s: %q is no line of a unit", file, line)
		}
	}
	return settings
}

const unitFile = "../../packaging/sipward.service"

// The command lines of the unit are ones that this program takes, with a
// configuration in the place of the specifiers.
func TestUnitCommandLines(t *testing.T) {
	t.Parallel()
	u := unit(t, unitFile)
	file := filepath.Join(t.TempDir(), "sipward.yaml")
	if err := os.WriteFile(file, configs.Workstation(), 0o600); err != nil {
		t.Fatal(err)
	}
	verbs := map[string]string{}
	for _, setting := range []string{"Service.ExecStart", "Service.ExecStartPre"} {
		if len(u[setting]) != 1 {
			t.Fatalf("%s is %q", setting, u[setting])
		}
		words := strings.Fields(u[setting][0])
		if words[0] != "%h/.local/bin/sipward" {
			t.Errorf("%s starts %s", setting, words[0])
		}
		root := newRoot()
		cmd, rest, err := root.Find(words[1:])
		if err != nil || cmd == root {
			t.Fatalf("%s: %v", setting, err)
		}
		if err := cmd.ParseFlags(rest); err != nil {
			t.Errorf("%s: %v", setting, err)
		}
		if args := cmd.Flags().Args(); len(args) != 0 {
			t.Errorf("%s: arguments %q", setting, args)
		}
		if got := cmd.Flags().Lookup("config").Value.String(); got != "%E/sipward/sipward.yaml" {
			t.Errorf("%s: configuration %s", setting, got)
		}
		verbs[cmd.Name()] = strings.ReplaceAll(strings.Join(words[1:], " "), "%E/sipward/sipward.yaml", file)
	}
	if verbs["run"] == "" || verbs["check"] == "" {
		t.Fatalf("%q", verbs)
	}
	// What is run before has to be right for the ready-made file.
	var stdout, stderr strings.Builder
	if status := execute(strings.Fields(verbs["check"]), &stdout, &stderr); status != statusOK {
		t.Errorf("%s: status %d, %s", verbs["check"], status, stderr.String())
	}
}

// The unit is shut in as far as one of a user can be, and starts again after
// failures but not with a configuration that is wrong.
func TestUnitSettings(t *testing.T) {
	t.Parallel()
	u := unit(t, unitFile)
	for setting, want := range map[string]string{
		"Service.NoNewPrivileges":          "yes",
		"Service.ProtectSystem":            "strict",
		"Service.ProtectHome":              "read-only",
		"Service.MemoryDenyWriteExecute":   "yes",
		"Service.StateDirectory":           "sipward", // StateFile takes it from $STATE_DIRECTORY
		"Service.Restart":                  "on-failure",
		"Service.RestartPreventExitStatus": "2",
		"Install.WantedBy":                 "default.target",
	} {
		if !slices.Equal(u[setting], []string{want}) {
			t.Errorf("%s is %q, want %q", setting, u[setting], want)
		}
	}
	// These have a service of a user fail (218/CAPABILITIES).
	for _, setting := range []string{"CapabilityBoundingSet", "AmbientCapabilities", "PrivateDevices", "ProtectKernelModules", "ProtectKernelLogs", "ProtectClock", "User", "DynamicUser"} {
		if u["Service."+setting] != nil {
			t.Errorf("%s is set", setting)
		}
	}
}

// systemd itself reads the unit where it is there.
func TestUnitVerifies(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze here")
	}
	text, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "sipward.service")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), "%h/.local/bin/sipward", self)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "verify", "--man=no", file)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "sipward.service:") {
		t.Errorf("%v: %s", err, out)
	}
}
