package route

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// zone is a DNS for tests: SRV records by "udp name", addresses by name. asked
// lists the questions in order.
type zone struct {
	srv   map[string][]*net.SRV
	addrs map[string][]string
	fails map[string]bool // names whose lookup ends in SERVFAIL
	asked []string
}

func (z *zone) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	q := fmt.Sprintf("SRV _%s._%s.%s", service, proto, name)
	z.asked = append(z.asked, q)
	return "", z.srv[proto+" "+name], z.outcome(ctx, q, len(z.srv[proto+" "+name]))
}

func (z *zone) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	q := "A " + host
	z.asked = append(z.asked, q)
	var addrs []netip.Addr
	for _, a := range z.addrs[host] {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	return addrs, z.outcome(ctx, q, len(addrs))
}

func (z *zone) outcome(ctx context.Context, question string, found int) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case z.fails[question]:
		return &net.DNSError{Err: "server misbehaving", Name: question, IsTemporary: true}
	case found == 0:
		return &net.DNSError{Err: "no such host", Name: question, IsNotFound: true}
	}
	return nil
}

func hopsText(hops []Hop) string {
	var texts []string
	for _, h := range hops {
		texts = append(texts, fmt.Sprintf("%s %s %s", h.Network, h.Addr, h.Host))
	}
	return strings.Join(texts, ", ")
}

func TestResolve(t *testing.T) {
	t.Parallel()
	z := func() *zone {
		return &zone{
			srv: map[string][]*net.SRV{
				"udp b.example": {
					{Target: "second.b.example.", Port: 5062, Priority: 20},
					{Target: "first.b.example.", Port: 5061, Priority: 10},
					{Target: "gone.b.example.", Port: 5063, Priority: 15},
				},
				"tcp b.example":     {{Target: "first.b.example.", Port: 5061, Priority: 10}},
				"udp no.example":    {{Target: ".", Port: 0}},
				"tcp no.example":    {{Target: ".", Port: 0}},
				"udp half.example":  {{Target: ".", Port: 0}},
				"tcp half.example":  {{Target: "first.b.example.", Port: 5061}},
				"udp zero.example":  {{Target: "first.b.example.", Port: 0}},
				"udp ip.example":    {{Target: "192.0.2.9.", Port: 5070}},
				"udp dead.example":  {{Target: "gone.b.example.", Port: 5060}},
				"tcp later.example": {{Target: "first.b.example.", Port: 5061}},
			},
			addrs: map[string][]string{
				"first.b.example":  {"192.0.2.1", "2001:db8::1"},
				"second.b.example": {"192.0.2.2", "192.0.2.2", "::ffff:192.0.2.2"},
				"plain.example":    {"2001:db8::7", "192.0.2.7"},
				"odd.example":      {"0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1"},
			},
			fails: map[string]bool{
				"SRV _sip._udp.broken.example": true,
				"SRV _sip._udp.later.example":  true,
				"A broken2.example":            true,
			},
		}
	}
	for _, tt := range []struct {
		name   string
		target Target
		want   string // hops, or the error
	}{
		{"IPv4", Target{Host: "192.0.2.5"}, "udp 192.0.2.5:5060 192.0.2.5"},
		{"IPv4, port and transport", Target{Host: "192.0.2.5", Port: 5070, Network: "tcp"}, "tcp 192.0.2.5:5070 192.0.2.5"},
		{"IPv6", Target{Host: "2001:db8::5", Port: 5070}, "udp [2001:db8::5]:5070 2001:db8::5"},
		{"IPv6 in brackets", Target{Host: "[2001:db8::5]"}, "udp [2001:db8::5]:5060 [2001:db8::5]"},
		{"no host's address", Target{Host: "0.0.0.0"}, "error: 0.0.0.0 is not the address of one host"},
		{"every record in order of priority, then tcp", Target{Host: "b.example"},
			"udp 192.0.2.1:5061 first.b.example, udp [2001:db8::1]:5061 first.b.example, udp 192.0.2.2:5062 second.b.example, " +
				"tcp 192.0.2.1:5061 first.b.example, tcp [2001:db8::1]:5061 first.b.example"},
		{"transport given", Target{Host: "b.example", Network: "tcp"},
			"tcp 192.0.2.1:5061 first.b.example, tcp [2001:db8::1]:5061 first.b.example"},
		{"port given: no SRV", Target{Host: "first.b.example", Port: 5080},
			"udp 192.0.2.1:5080 first.b.example, udp [2001:db8::1]:5080 first.b.example"},
		{"no SRV", Target{Host: "plain.example"}, "udp [2001:db8::7]:5060 plain.example, udp 192.0.2.7:5060 plain.example"},
		{"no SRV, tcp", Target{Host: "plain.example", Network: "tcp"}, "tcp [2001:db8::7]:5060 plain.example, tcp 192.0.2.7:5060 plain.example"},
		{"service refused", Target{Host: "no.example"}, "error: no.example says in its SRV records that it takes no SIP calls"},
		{"one transport refused", Target{Host: "half.example"}, "tcp 192.0.2.1:5061 first.b.example, tcp [2001:db8::1]:5061 first.b.example"},
		{"one SRV lookup failed, the other served", Target{Host: "later.example"}, "tcp 192.0.2.1:5061 first.b.example, tcp [2001:db8::1]:5061 first.b.example"},
		{"port 0 in SRV", Target{Host: "zero.example"}, "error: SRV _sip._udp.zero.example names port 0"},
		{"IP address in SRV", Target{Host: "ip.example"}, "udp 192.0.2.9:5070 192.0.2.9"},
		{"records without addresses", Target{Host: "dead.example"}, "error: looking up the address of gone.b.example: lookup A gone.b.example: no such host"},
		{"nothing there", Target{Host: "nowhere.example"}, "error: looking up the address of nowhere.example: lookup A nowhere.example: no such host"},
		{"SRV fails: not taken for none", Target{Host: "broken.example"}, "error: looking up SRV _sip._udp.broken.example: lookup SRV _sip._udp.broken.example: server misbehaving"},
		{"address lookup fails", Target{Host: "broken2.example", Port: 5060}, "error: looking up the address of broken2.example: lookup A broken2.example: server misbehaving"},
		{"addresses of no host", Target{Host: "odd.example"}, "error: looking up the address of odd.example: no further address that calls can be sent to"},
		{"no host", Target{URI: "tel:110"}, `error: "tel:110" has no host to send to`},
		{"transport unknown", Target{Host: "b.example", Network: "ws"}, `error: "b.example": transport "ws" is not udp, tcp or tls`},
		{"port out of range", Target{Host: "b.example", Port: 70000}, `error: "b.example": port 70000 is not from 1 to 65535`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			hops, err := Resolve(t.Context(), z(), tt.target)
			got := hopsText(hops)
			if err != nil {
				got = "error: " + err.Error()
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if err != nil && len(hops) != 0 {
				t.Errorf("hops beside an error: %v", hops)
			}
		})
	}
}

func TestResolveAsksOnlyWhatItNeeds(t *testing.T) {
	t.Parallel()
	z := &zone{addrs: map[string][]string{"b.example": {"192.0.2.1"}}}
	if _, err := Resolve(t.Context(), z, Target{Host: "b.example"}); err != nil {
		t.Fatal(err)
	}
	want := []string{"SRV _sip._udp.b.example", "SRV _sip._tcp.b.example", "A b.example"}
	if !slices.Equal(z.asked, want) {
		t.Errorf("asked %v, want %v", z.asked, want)
	}
	z.asked = nil
	if _, err := Resolve(t.Context(), z, Target{Host: "192.0.2.1"}); err != nil || len(z.asked) != 0 {
		t.Errorf("for an IP address: asked %v, %v", z.asked, err)
	}
}

func TestResolveIsBounded(t *testing.T) {
	t.Parallel()
	z := &zone{srv: map[string][]*net.SRV{}, addrs: map[string][]string{}}
	for i := range 200 {
		host := fmt.Sprintf("h%d.b.example", i)
		z.srv["udp b.example"] = append(z.srv["udp b.example"], &net.SRV{Target: host + ".", Port: 5060})
		if i < 100 {
			continue // the first hundred names have no address
		}
		z.addrs[host] = []string{"192.0.2.1"}
	}
	if _, err := Resolve(t.Context(), z, Target{Host: "b.example", Network: "udp"}); err == nil {
		t.Error("names without addresses resolved")
	}
	if len(z.asked) > 1+maxRecords {
		t.Errorf("%d questions for one target", len(z.asked))
	}
	for i := range 100 {
		z.addrs["many.example"] = append(z.addrs["many.example"], fmt.Sprintf("10.0.0.%d", i+1))
	}
	hops, err := Resolve(t.Context(), z, Target{Host: "many.example", Port: 5060})
	if err != nil || len(hops) != maxHops {
		t.Errorf("%d hops, %v; want %d", len(hops), err, maxHops)
	}
}

func TestResolveEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Resolve(ctx, &zone{addrs: map[string][]string{"b.example": {"192.0.2.1"}}}, Target{Host: "b.example"})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "b.example") {
		t.Errorf("got %v", err)
	}
}

// The resolver of the standard library is a Lookup.
var _ Lookup = (*net.Resolver)(nil)
