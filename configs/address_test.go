package configs

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// fakeConn is a socket of which only the local address is asked.
type fakeConn struct {
	net.Conn
	local string
}

func (c fakeConn) LocalAddr() net.Addr {
	return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(c.local))
}
func (c fakeConn) Close() error { return nil }

func TestResolveAddress(t *testing.T) {
	t.Parallel()
	auto := Address{Auto: true, Port: 5060}
	for _, tt := range []struct {
		name       string
		addr       Address
		udp4, udp6 string // local address of the route, "" for none
		want       string
	}{
		{"literal", Address{IP: netip.MustParseAddr("2001:db8::1"), Port: 5060}, "", "", "[2001:db8::1]:5060"},
		{"IPv4 first", auto, "192.168.1.2:40000", "[2001:db8::2]:40000", "192.168.1.2:5060"},
		{"IPv6 alone", auto, "", "[2001:db8::2]:40000", "[2001:db8::2]:5060"},
		{"link-local does not do", auto, "", "[fe80::1%eth0]:40000", "error: auto:5060: this machine has no default route"},
		{"none", auto, "", "", "error: auto:5060: this machine has no default route"},
		{"zero", Address{}, "", "", "error: configs: an address without IP"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := resolveAddress(tt.addr, routeProbes[:], func(network, to string) (net.Conn, error) {
				local := map[string]string{"udp4": tt.udp4, "udp6": tt.udp6}[network]
				if local == "" {
					return nil, errors.New("network is unreachable")
				}
				return fakeConn{local: local}, nil
			})
			text := got.String()
			if err != nil {
				text = "error: " + err.Error()
			}
			if !strings.HasPrefix(text, tt.want) {
				t.Errorf("got %s, want %s", text, tt.want)
			}
		})
	}
}

// What the machine at hand answers is an address of its own, or a sentence.
func TestResolveAddressHere(t *testing.T) {
	t.Parallel()
	got, err := ResolveAddress(Address{Auto: true, Port: 5060})
	if err != nil {
		if !strings.Contains(err.Error(), "write the address itself") {
			t.Error(err)
		}
		return
	}
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(got.Addr(), 0)))
	if err != nil {
		t.Fatalf("%s is not an address of this machine: %v", got, err)
	}
	conn.Close()
	if got.Port() != 5060 {
		t.Errorf("port %d", got.Port())
	}
}

// The family stays: an IPv6 address is followed by IPv6 alone.
func TestCurrentAddressHere(t *testing.T) {
	t.Parallel()
	auto := Address{Auto: true, Port: 5060}
	for _, before := range []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")} {
		got, err := CurrentAddress(auto, before)
		if err == nil && (got.Addr().Is4() != before.Is4() || got.Port() != 5060) {
			t.Errorf("behind %v: %v", before, got)
		}
		if err != nil && !strings.Contains(err.Error(), "no default route") {
			t.Error(err)
		}
	}
	fixed := Address{IP: netip.MustParseAddr("192.0.2.9"), Port: 5060}
	if got, err := CurrentAddress(fixed, netip.MustParseAddr("2001:db8::1")); err != nil || got != netip.MustParseAddrPort("192.0.2.9:5060") {
		t.Errorf("%v, %v", got, err)
	}
}
