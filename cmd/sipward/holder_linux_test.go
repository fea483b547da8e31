package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// kernelForm writes an address as /proc/net does on this machine.
func kernelForm(addr netip.Addr, port uint16) string {
	octets := addr.AsSlice()
	var b strings.Builder
	for i := 0; i < len(octets); i += 4 {
		fmt.Fprintf(&b, "%08X", binary.NativeEndian.Uint32(octets[i:]))
	}
	return fmt.Sprintf("%s:%04X", b.String(), port)
}

func TestKernelAddress(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"127.0.0.1:5062", "[2001:db8::1]:5060", "0.0.0.0:65535", "[::]:1"} {
		want := netip.MustParseAddrPort(s)
		if got, ok := kernelAddress(kernelForm(want.Addr(), want.Port())); !ok || got != want {
			t.Errorf("%s: got %v, %v", s, got, ok)
		}
	}
	mapped := netip.MustParseAddr("::ffff:192.0.2.1")
	if got, ok := kernelAddress(kernelForm(mapped, 5060)); !ok || got != netip.MustParseAddrPort("192.0.2.1:5060") {
		t.Errorf("IPv4 in IPv6: got %v, %v", got, ok)
	}
	for _, s := range []string{"", ":", "0100007F", "0100007F:", "0100007F:13C6F", "01007F:13C6", "zz00007F:13C6"} {
		if got, ok := kernelAddress(s); ok {
			t.Errorf("%q was read as %v", s, got)
		}
	}
}

func TestHolder(t *testing.T) {
	t.Parallel()
	addr := netip.MustParseAddr
	line := func(local string, state, uid, inode string) string {
		return fmt.Sprintf("  12: %s 00000000:0000 %s 00000000:00000000 00:00000000 00000000 %5s        0 %s 2 0000000000000000 0\n", local, state, uid, inode)
	}
	const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	proc := t.TempDir()
	write := func(path, text string) {
		file := filepath.Join(proc, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program := func(pid, name, inode string) {
		write(pid+"/comm", name+"\n")
		write(pid+"/fd/0", "")
		if err := os.Symlink("socket:["+inode+"]", filepath.Join(proc, pid, "fd", "7")); err != nil {
			t.Fatal(err)
		}
	}
	write("net/udp", head+
		line(kernelForm(addr("127.0.0.1"), 5062), "07", "1000", "501")+
		line(kernelForm(addr("127.0.0.1"), 5064), "07", "4294000001", "502")+
		line(kernelForm(addr("127.0.0.9"), 5066), "07", "0", "503"))
	write("net/udp6", head+line(kernelForm(addr("::"), 5068), "07", "0", "504")+
		line(kernelForm(addr("::ffff:127.0.0.1"), 5070), "07", "0", "505")+
		line(kernelForm(addr("2001:db8::1"), 5072), "07", "0", "506"))
	write("net/tcp", head+
		line(kernelForm(addr("127.0.0.1"), 5062), "06", "0", "0")+ // TIME_WAIT has no owner
		line(kernelForm(addr("127.0.0.1"), 5062), "01", "0", "601")+
		line(kernelForm(addr("127.0.0.1"), 5062), "0A", "0", "602"))
	program("1234", "baresip", "501")
	program("10000", "child", "501")
	program("77", "evil\x1b[2J", "504")
	program("505", "mapped", "505")
	program("506", "six", "506")
	program("601", "connected", "601")
	program("602", "listening", "602")
	for _, tc := range []struct{ network, addr, want string }{
		{"udp", "127.0.0.1:5062", "baresip (pid 1234)"},
		{"udp", "127.0.0.1:5064", "a program of user 4294000001"}, // its files are not to be seen
		{"udp", "127.0.0.1:5066", someProgram},                    // another address of this machine
		{"udp", "127.0.0.1:5068", "evil?[2J (pid 77)"},            // every address
		{"udp", "[::]:5062", someProgram},                         // sockets of IPv4 are not in its way
		{"udp", "[::]:5070", someProgram},                         // nor what stands for them
		{"udp", "127.0.0.1:5070", "mapped (pid 505)"},
		{"udp", "[2001:db8::1]:5072", "six (pid 506)"},
		{"udp", "0.0.0.0:5072", someProgram},
		{"tcp", "127.0.0.1:5062", "listening (pid 602)"},
		{"tcp", "127.0.0.1:5064", someProgram},
	} {
		if got := holderIn(proc, tc.network, netip.MustParseAddrPort(tc.addr)); got != tc.want {
			t.Errorf("%s %s: %q, want %q", tc.network, tc.addr, got, tc.want)
		}
	}
	if got := holderIn(filepath.Join(proc, "none"), "udp", netip.MustParseAddrPort("127.0.0.1:5062")); got != someProgram {
		t.Errorf("without /proc: %q", got)
	}
}

// The kernel's own tables are read as the made-up ones. Not in parallel, see
// script_test.go.
func TestHolderOfThisProcess(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "0.0.0.0", "::1", "::"} {
		for _, network := range []string{"udp", "tcp"} {
			s, err := open(network, netip.AddrPortFrom(netip.MustParseAddr(host), 0))
			if err != nil && strings.Contains(host, ":") {
				if _, v6 := net.Listen("tcp6", "[::1]:0"); v6 != nil {
					continue // no IPv6 here
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			if got, want := holderOf(network, s.addr), fmt.Sprintf("(pid %d)", os.Getpid()); !strings.Contains(got, want) {
				t.Errorf("%s %s: %q, want %q", network, s.addr, got, want)
			}
		}
	}
}
