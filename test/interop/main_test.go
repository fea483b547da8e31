//go:build interop && linux

package interop

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// sipwardBin is the program under test.
var sipwardBin string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if !complete() {
		return 1
	}
	// The tests wait for speech most of the time: all of them at once, even on one
	// processor.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		return 1
	}
	if sipwardBin = os.Getenv("SIPWARD_BIN"); sipwardBin != "" {
		if _, err := os.Stat(sipwardBin); err != nil {
			fmt.Fprintln(os.Stderr, "interop: SIPWARD_BIN:", err)
			return 1
		}
		return tests(m)
	}
	dir, err := os.MkdirTemp("", "interop")
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	sipwardBin = filepath.Join(dir, "sipward")
	build := exec.Command("go", "build", "-o", sipwardBin, "github.com/sipward/sipward/cmd/sipward")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "interop: building sipward:", err)
		return 1
	}
	return tests(m)
}

// tests runs them, and holds the table of the documentation against the results.
func tests(m *testing.M) int {
	status := m.Run()
	if status != 0 || !whole() {
		return status
	}
	if err := judgeTable(); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		return 1
	}
	return 0
}

// complete says whether every program that the tests start is there and may do
// what it has to. A test that was left out would look like one that passed.
func complete() bool {
	ok := true
	for _, p := range []struct{ program, debian string }{
		{"baresip", "baresip-core"},
		{"linphonec", "linphone-cli"},
		{"sipp", "sip-tester"},
		{"kamailio", "kamailio"},
		{"rtpengine", "rtpengine-daemon"},
		{"dumpcap", "tshark"}, // through wireshark-common, which tshark depends on
		{"tshark", "tshark"},
		{"ip", "iproute2"},
		{"iptables", "iptables"},
		{"nsenter", "util-linux"},
	} {
		if _, err := exec.LookPath(p.program); err != nil {
			fmt.Fprintf(os.Stderr, "interop: %s is not in PATH; on Debian it comes with: apt-get install --no-install-recommends %s\n", p.program, p.debian)
			ok = false
		}
	}
	if !ok {
		return false
	}
	if _, err := ran("dumpcap", "-L", "-i", "lo"); err != nil {
		fmt.Fprintln(os.Stderr, "interop: capturing on the loopback interface is not allowed; run as root, or in Debian's group wireshark.", err)
		return false
	}
	if in, err := openSpace(); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		return false
	} else {
		in.Close()
	}
	return true
}
