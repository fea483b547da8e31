package main

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/sipward/sipward/configs"
)

// Not in parallel, see script_test.go.
func TestOpenTransports(t *testing.T) {
	loopback := netip.MustParseAddrPort("127.0.0.1:0")
	for _, transports := range [][]string{{"udp", "tcp"}, {"tcp", "udp"}, {"tcp"}} {
		sockets, _, err := openTransports(7, transports, loopback)
		if err != nil {
			t.Fatal(err)
		}
		if len(sockets) != len(transports) {
			t.Errorf("%v: %d sockets", transports, len(sockets))
		}
		for i, s := range sockets {
			if s.listener != 7 || s.network != transports[i] || s.addr != sockets[0].addr || s.addr.Port() == 0 {
				t.Errorf("%v: %+v", transports, s)
			}
			s.close()
		}
	}

	// One transport that cannot be opened leaves none.
	taken, err := open("tcp", loopback)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.close()
	sockets, network, err := openTransports(0, []string{"udp", "tcp"}, taken.addr)
	if len(sockets) != 0 || network != "tcp" || !inUse(err) {
		t.Errorf("sockets %v, transport %s, %v", sockets, network, err)
	}
	again, err := open("udp", taken.addr)
	if err != nil {
		t.Fatalf("a socket was left open: %v", err)
	}
	again.close()
}

func TestCannotListen(t *testing.T) {
	t.Parallel()
	file := &configs.Config{File: "f.yaml"}
	addr := netip.MustParseAddrPort("127.0.0.1:99")
	for _, tc := range []struct {
		cfg  *configs.Config
		err  error
		want string
	}{
		{file, os.NewSyscallError("bind", syscall.EACCES), "cannot listen on 127.0.0.1:99 (udp): the system keeps port 99 for itself; take one above 1023: change listeners[0].address in f.yaml"},
		{file, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL), "cannot listen on 127.0.0.1:99 (udp): 127.0.0.1 is no address of this machine; change listeners[0].address in f.yaml"},
		{file, errors.New("out of luck"), "cannot listen on 127.0.0.1:99 (udp): out of luck; change listeners[0].address in f.yaml"},
		{&configs.Config{File: builtIn}, errors.New("out of luck"), "cannot listen on 127.0.0.1:99 (udp): out of luck; write a configuration with another listeners[0].address and name it: sipward run --config FILE"},
	} {
		if got := cannotListen(tc.cfg, "listeners[0].address", "udp", addr, tc.err).Error(); got != tc.want {
			t.Errorf("got  %s\nwant %s", got, tc.want)
		}
	}
	got := cannotListen(file, "listeners[0].address", "udp", addr, os.NewSyscallError("bind", syscall.EADDRINUSE)).Error()
	if !strings.HasSuffix(got, "; change listeners[0].address in f.yaml, or stop that program") {
		t.Errorf("got %s", got)
	}
	// Who has no configuration is told what to do without one.
	got = cannotListen(&configs.Config{File: builtIn}, "listeners[0].address", "udp", addr, os.NewSyscallError("bind", syscall.EADDRINUSE)).Error()
	if !strings.Contains(got, "; stop that program, or take other ports: sipward run --free-ports; or choose them: write a configuration with another listeners[0].address and name it: sipward run --config FILE") {
		t.Errorf("got %s", got)
	}
}
