package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExitStatus(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	good := write("good.yaml", "listeners:\n  - {name: a, side: inside, address: \"127.0.0.1:0\"}\napi: {listen: off}\n", 0o600)
	bad := write("bad.yaml", "listeners: {}\n", 0o600)
	open := write("open.yaml", "listeners:\n  - {name: a, side: inside, address: \"127.0.0.1:0\"}\napi: {listen: \"127.0.0.1:0\"}\n", 0o600)
	elsewhere := write("elsewhere.yaml", "listeners:\n  - {name: a, side: inside, address: \"198.51.100.7:0\", networks: [198.51.100.0/24]}\napi: {listen: off}\n", 0o600)
	early := write("early.yaml", "listeners:\n  - {name: a, side: inside, address: \"127.0.0.1:0\", transports: [tls], tls: {certificate: c, key: k}}\napi: {listen: off}\n", 0o600)
	short := write("short", "too-short\n", 0o600)
	public := write("public", strings.Repeat("x", 32)+"\n", 0o600)
	if err := os.Chmod(public, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args   string
		status int
		stderr string // part of it; "" where nothing is expected
	}{
		{"", statusOK, ""},
		{"--help", statusOK, ""},
		{"help run", statusOK, ""},
		{"version", statusOK, ""},
		{"check --config " + good, statusOK, ""},
		{"nonsense", statusUsage, "unknown command"},
		{"run --nonsense", statusUsage, "unknown flag"},
		{"run --config", statusUsage, "needs an argument"},
		{"check", statusUsage, "--config FILE"},
		{"check " + good, statusUsage, "--config FILE"},
		{"check --config " + bad, statusUsage, bad + ":1:12: listeners: "},
		{"check --config " + dir + "/none", statusUsage, "no such file"},
		{"check --config " + good + " --offline", statusOK, ""},
		{"check --config " + good + " --calls -1", statusUsage, "--calls -1"},
		{"check --config " + good + " --calls 100000", statusUsage, "enough for 2500 calls"},
		{"check --config " + elsewhere, statusUsage, "is no address of this machine"},
		{"check --config " + early, statusUsage, "listeners[0].tls: "},
		{"run --config " + early, statusUsage, "listeners[0].tls: "},
		{"explain", statusUsage, "--from A --to B"},
		{"explain --from a --to b --config " + bad, statusUsage, bad + ":1:12: listeners: "},
		{"explain --from a --to b --config " + good, statusOK, ""},
		{"explain a b", statusUsage, "--from A --to B"},
		{"status --api http://127.0.0.1:1", statusFailure, "`sipward run`"},
		{"status --config " + good, statusUsage, "api.listen is off in " + good},
		{"run --config " + bad, statusUsage, bad + ":1:12: listeners: "},
		{"run --config " + dir + "/none", statusUsage, "no such file"},
		{"run --config " + elsewhere, statusFailure, "cannot listen"},
		{"calls --config " + bad, statusUsage, bad + ":1:12: listeners: "},
		{"calls --config " + good, statusUsage, "api.listen is off in " + good},
		{"calls --config " + open, statusUsage, "leaves the port open"},
		{"calls --config " + open + " --api http://127.0.0.1:1", statusUsage, "give one of them"},
		{"calls --token-file " + short, statusUsage, "too few"},
		{"calls --token-file " + public, statusUsage, "chmod 600"},
		{"calls --api http://127.0.0.1:1", statusFailure, "`sipward run`"},
		{"demo --transport sctp", statusUsage, `--transport is udp or tcp, not "sctp"`},
		{"demo --json --dir " + good, statusFailure, "not a directory"},
		{"version now", statusUsage, `takes no arguments, here "now"`},
	} {
		t.Run(strings.ReplaceAll(tc.args, dir, ""), func(t *testing.T) {
			t.Parallel()
			var stdout, stderr strings.Builder
			status := execute(strings.Fields(tc.args), &stdout, &stderr)
			if status != tc.status {
				t.Errorf("status %d, want %d", status, tc.status)
			}
			if (tc.stderr == "") != (stderr.Len() == 0) || !strings.Contains(stderr.String(), tc.stderr) {
				t.Errorf("standard error %q, want %q", stderr.String(), tc.stderr)
			}
			if (status == statusOK) != (stdout.Len() > 0) {
				t.Errorf("status %d with standard output %q", status, stdout.String())
			}
			if strings.Contains(stderr.String(), "too-short") || strings.Contains(stderr.String(), "xxxx") {
				t.Errorf("the error tells the token: %q", stderr.String())
			}
		})
	}
}
