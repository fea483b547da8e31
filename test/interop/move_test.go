//go:build interop && linux

package interop

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// namespace is a machine of its own as far as the network goes: only loopback,
// which has the addresses that the test gives it.
type namespace struct {
	t    *testing.T
	name string
}

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a network namespace of its own needs root")
	}
	n := &namespace{t, fmt.Sprintf("sipward-%d", os.Getpid())}
	n.run("ip", "netns", "add", n.name)
	t.Cleanup(func() { n.run("ip", "netns", "del", n.name) })
	n.run("ip", "-n", n.name, "link", "set", "lo", "up")
	return n
}

func (n *namespace) run(program string, args ...string) {
	n.t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		n.t.Errorf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
}

// joins gives the machine an address of another network and leads the default
// route through it.
func (n *namespace) joins(addr string) {
	n.t.Helper()
	n.run("ip", "-n", n.name, "addr", "add", addr+"/32", "dev", "lo")
	n.run("ip", "-n", n.name, "route", "replace", "default", "dev", "lo", "src", addr)
}

func (n *namespace) leaves(addr string) {
	n.t.Helper()
	n.run("ip", "-n", n.name, "addr", "del", addr+"/32", "dev", "lo")
}

// A laptop goes from one network to another, stays without one for a while, and
// comes back: sipward hears of it from the system, listens there, and says so.
func TestLaptopChangesNetworks(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.joins("10.77.1.2")
	p := start(t, "laptop", t.TempDir(), "ip", "netns", "exec", n.name, sipwardBin, "run")
	p.says("sip:NAME@10.77.1.2:5060")
	n.joins("10.77.2.2")
	n.leaves("10.77.1.2")
	p.says("the address has changed from 10.77.1.2:5060 to 10.77.2.2:5060")
	status, err := exec.Command("ip", "netns", "exec", n.name, sipwardBin, "status").CombinedOutput()
	if err != nil || !strings.Contains(string(status), "outside 10.77.2.2:5060 udp, since ") {
		t.Errorf("status: %v\n%s", err, status)
	}
	n.leaves("10.77.2.2")
	p.says("this machine has no default route")
	n.joins("10.77.1.2")
	p.says("the address has changed from 10.77.2.2:5060 to 10.77.1.2:5060")
}
