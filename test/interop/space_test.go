//go:build interop && linux

package interop

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// space is a network namespace: interfaces, addresses, ports and routes of its own.
// It has no name, so nothing of it is left once this process and what it started in
// there are gone, however they end. nil stands for the namespace of this process.
type space struct {
	t    *testing.T
	name string
	file *os.File
}

// newSpace makes a namespace in which only the loopback interface is up.
func newSpace(t *testing.T, name string) *space {
	t.Helper()
	file, err := openSpace()
	if err != nil {
		t.Fatal(err)
	}
	s := &space{t, name, file}
	t.Cleanup(func() { file.Close() })
	s.do("ip", "link", "set", "lo", "up")
	return s
}

// openSpace makes a namespace that lives as long as the file is open.
func openSpace() (file *os.File, err error) {
	err = abroad(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("a network namespace cannot be made (%w); run as root, in a container with --privileged", err)
		}
		file, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return file, err
}

// abroad runs f, which may change the namespace of its thread, and brings the thread
// back. The thread may not end instead: processes that were started from it would be
// told that their parent has died.
func abroad(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer here.Close()
	err = f()
	if back := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); back != nil {
		panic("a thread stays in a foreign network namespace: " + back.Error())
	}
	return err
}

// path leads to the namespace, for other processes.
func (s *space) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), s.file.Fd()) }

// command is how a program is started in the namespace, as the same process.
func (s *space) command(program string, args ...string) []string {
	if s == nil {
		return append([]string{program}, args...)
	}
	return append([]string{"nsenter", "--net=" + s.path(), program}, args...)
}

// do runs a program in the namespace to its end.
func (s *space) do(program string, args ...string) {
	s.t.Helper()
	words := s.command(program, args...)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %s: %v: %s", s.name, strings.Join(args, " "), err, out)
	}
}

// inside runs f on a thread in the namespace. Sockets stay in the namespace that
// they were made in, whoever uses them.
func (s *space) inside(f func() error) error {
	if s == nil {
		return f()
	}
	return abroad(func() error {
		if err := unix.Setns(int(s.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return f()
	})
}

// dial opens a TCP connection within the namespace.
func (s *space) dial(address string) (conn net.Conn, err error) {
	err = s.inside(func() error {
		conn, err = net.DialTimeout("tcp4", address, patience)
		return err
	})
	return conn, err
}

// link joins two namespaces by a cable: an interface in each, with an address.
func link(a *space, interfaceA, addressA string, b *space, interfaceB, addressB string) {
	a.t.Helper()
	a.do("ip", "link", "add", interfaceA, "type", "veth", "peer", "name", interfaceB, "netns", b.path())
	for _, end := range []struct {
		s             *space
		name, address string
	}{{a, interfaceA, addressA}, {b, interfaceB, addressB}} {
		end.s.do("ip", "addr", "add", end.address, "dev", end.name)
		end.s.do("ip", "link", "set", end.name, "up")
	}
}

// home is a computer behind a router, and the Internet in front of it. The router
// translates addresses, lets nothing in that was not asked for, and forgets who
// asked after forgets without a packet.
type home struct {
	computer, router, internet *space
}

const (
	computerHost = "10.66.0.2"
	routerInside = "10.66.0.1"
	routerHost   = "203.0.113.1" // what the Internet sees of the computer
	providerHost = "203.0.113.10"
	officeHost   = "203.0.113.20"
	internetPort = "eth0" // the interface of the Internet
)

func newHome(t *testing.T, forgets time.Duration) home {
	t.Helper()
	h := home{newSpace(t, "the computer"), newSpace(t, "the router"), newSpace(t, "the Internet")}
	link(h.computer, "eth0", computerHost+"/24", h.router, "lan", routerInside+"/24")
	link(h.internet, internetPort, providerHost+"/24", h.router, "wan", routerHost+"/24")
	h.internet.do("ip", "addr", "add", officeHost+"/24", "dev", internetPort)
	h.computer.do("ip", "route", "add", "default", "via", routerInside)
	// Nobody on the Internet knows the way to the addresses of a home.
	h.router.do("iptables", "-t", "nat", "-A", "POSTROUTING", "-o", "wan", "-j", "MASQUERADE", "--random-fully")
	h.router.do("iptables", "-A", "FORWARD", "-i", "wan", "-m", "conntrack", "!", "--ctstate", "ESTABLISHED,RELATED", "-j", "DROP")
	for setting, value := range map[string]int{
		"net/ipv4/ip_forward":                           1,
		"net/netfilter/nf_conntrack_udp_timeout":        int(forgets.Seconds()),
		"net/netfilter/nf_conntrack_udp_timeout_stream": int(forgets.Seconds()),
	} {
		if err := h.router.inside(func() error {
			return os.WriteFile("/proc/sys/"+setting, []byte(strconv.Itoa(value)), 0)
		}); err != nil {
			t.Fatalf("the router: %v", err)
		}
	}
	return h
}
