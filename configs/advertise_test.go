package configs

import (
	"context"
	"net"
	"net/netip"
	"testing"
)

// names is a DNS of a few names.
type names map[string][]netip.Addr

func (n names) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for _, a := range n[host] {
		if a.Is4() == (network == "ip4") {
			addrs = append(addrs, a)
		}
	}
	if n[host] == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return addrs, nil
}

func TestAdvertise(t *testing.T) {
	t.Parallel()
	dns := names{"sip.a.example": {netip.MustParseAddr("2001:db8::9"), netip.MustParseAddr("203.0.113.9")}, "six.example": {netip.MustParseAddr("2001:db8::9")}}
	four, six := "192.168.1.2:5060", "[2001:db8::1]:5060"
	for _, tt := range []struct{ text, socket, canonical, want string }{
		{"auto", four, "auto", four},
		{"203.0.113.5", four, "203.0.113.5", "203.0.113.5:5060"},
		{"203.0.113.5:5080", four, "203.0.113.5:5080", "203.0.113.5:5080"},
		{"2001:db8::5", six, "2001:db8::5", "[2001:db8::5]:5060"},
		{"[2001:db8::5]", six, "2001:db8::5", "[2001:db8::5]:5060"},
		{"[2001:db8::5]:5080", six, "[2001:db8::5]:5080", "[2001:db8::5]:5080"},
		{"SIP.a.example.", four, "sip.a.example", "203.0.113.9:5060"},
		{"sip.a.example:5080", six, "sip.a.example:5080", "[2001:db8::9]:5080"},
		{"six.example", four, "six.example", "error: six.example has no IPv4 address"},
		{"none.example", four, "none.example", "error: lookup none.example: no such host"},
		{"2001:db8::5", four, "2001:db8::5", "error: 2001:db8::5 cannot be named for the IPv4 address 192.168.1.2; give IPv4 and IPv6 a listener each"},
	} {
		a, err := parseAdvertise(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if a.String() != tt.canonical || a.Auto() != (tt.text == "auto") {
			t.Errorf("%s: %s", tt.text, a)
		}
		addr, err := ResolveAdvertise(t.Context(), dns, a, netip.MustParseAddrPort(tt.socket))
		got := addr.String()
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != tt.want {
			t.Errorf("%s at %s: %s, want %s", tt.text, tt.socket, got, tt.want)
		}
	}
}

func TestTLSListener(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, want string }{
		{`address: "127.0.0.1:5062", transports: [udp, tls], tls: {certificate: c, key: k}`, "127.0.0.1:5061"},
		{`address: "127.0.0.1:0", transports: [udp, tls], tls: {certificate: c, key: k}`, "127.0.0.1:0"},
		{`address: "127.0.0.1:5062", transports: [tls], tls: {certificate: c, key: k}`, "127.0.0.1:5062"},
		{`address: auto:5062, networks: [192.0.2.0/24], transports: [tls, tcp], tls: {certificate: c, key: k, client_ca: ca, port: 5070}`, "auto:5070"},
	} {
		l := mustParse(t, "listeners:\n  - {name: a, side: inside, "+tt.text+"}\n").Listeners[0]
		if got := l.AddressOf("tls").String(); got != tt.want || l.AddressOf("udp") != l.Address {
			t.Errorf("%s: tls at %s, want %s", tt.text, got, tt.want)
		}
	}
}

// Calls are as many as the pairs of ports allow, two for each.
func TestMediaCalls(t *testing.T) {
	t.Parallel()
	for m, want := range map[Media]int{{20000, 29999}: 2500, {20000, 20003}: 1, {20001, 20005}: 1, {20001, 20004}: 0, {20000, 20006}: 1, {20000, 20007}: 2} {
		if got := m.Calls(); got != want {
			t.Errorf("%+v: %d calls, want %d", m, got, want)
		}
	}
}
