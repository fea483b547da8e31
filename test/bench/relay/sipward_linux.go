package relay

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sipward/sipward/test/bench/plan"
)

// StartSipward runs the command, with "--plan FILE" after it, for calls
// sessions at the address at, and returns when they are open.
func StartSipward(ctx context.Context, command []string, cpu int, at netip.Addr, calls int, suite string, local [2]netip.AddrPort) (*Process, *plan.Plan, error) {
	p := &plan.Plan{PlainLocal: local[0], SecureLocal: local[1]}
	const portsEach = 4 // RTP and RTCP, twice
	port := 16384 - portsEach
	for range calls {
		for port += portsEach; !free(at, port, portsEach); port += portsEach {
			if port+2*portsEach > 65535 {
				return nil, nil, fmt.Errorf("relay: there are no ports for %d calls at one address", calls)
			}
		}
		s := plan.Session{Suite: suite, Plain: netip.AddrPortFrom(at, uint16(port)), Secure: netip.AddrPortFrom(at, uint16(port+2))}
		for _, key := range []*string{&s.ToProxy, &s.FromProxy} {
			var err error
			if *key, err = plan.NewKey(suite); err != nil {
				return nil, nil, err
			}
		}
		p.Sessions = append(p.Sessions, s)
	}
	dir, err := os.MkdirTemp("", "sipward-bench-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir) // the relay has read it when it is ready
	file := filepath.Join(dir, "plan.json")
	if err := p.Write(file); err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, command[0], append(command[1:], "--plan", file)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	process, err := Launch(cmd, cpu)
	if err != nil {
		return nil, nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		process.Close()
		return nil, nil, fmt.Errorf("relay: sipward's engine did not start: %s", strings.TrimSpace(line+process.Said()))
	}
	return process, p, nil
}

// free tells whether nobody has these ports: somebody may at all addresses.
func free(at netip.Addr, first, count int) bool {
	for port := first; port < first+count; port++ {
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, uint16(port))))
		if err != nil {
			return false
		}
		c.Close()
	}
	return true
}
