package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// TestMain lets this program be sipward-bench for those that the tests start.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && portableVerbs()[os.Args[1]].run != nil {
		os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args   string
		status int
		says   string
	}{
		{"", 2, "sipward-bench VERB"},
		{"dance", 2, "sipward-bench VERB"},
		{"serve", 2, "--plan FILE"},
		{"serve --plan /nonexistent/plan.json", 1, "no such file"},
		{"serve --plan x y", 2, `"y"`},
		{"serve --tune", 2, "tune"},
	} {
		var out, log bytes.Buffer
		if status := execute(strings.Fields(test.args), &out, &log); status != test.status || !strings.Contains(log.String(), test.says) || out.Len() > 0 {
			t.Errorf("%q: status %d, %q, %q", test.args, status, out.String(), log.String())
		}
	}
}
