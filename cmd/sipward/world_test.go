package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/configs"
)

// fakeDNS knows a few names. A lookup below slow.example waits for the context.
type fakeDNS map[string]string

func (d fakeDNS) LookupSRV(ctx context.Context, _, _, name string) (string, []*net.SRV, error) {
	if strings.HasSuffix(name, ".slow.example") {
		<-ctx.Done()
		return "", nil, &net.DNSError{Err: ctx.Err().Error(), Name: name, IsTimeout: true}
	}
	return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (d fakeDNS) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	addr, err := netip.ParseAddr(d[host])
	if err != nil || network == "ip6" && addr.Is4() {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return []netip.Addr{addr}, nil
}

func parse(t *testing.T, text string) *configs.Config {
	t.Helper()
	cfg, err := configs.Parse("f.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

const namesInUse = `listeners:
  - {name: a, side: inside, address: "127.0.0.1:5062", advertise: nat.example}
  - {name: b, side: outside, address: "127.0.0.2:5060"}
registrar: {domains: [office.example, 203.0.113.5], users: u}
routes:
  - {match: "*@b.example", to: "sip:sipward.b.example;transport=tcp", side: outside}
  - {match: bob, to: "sip:known.example", side: outside}
  - {match: eve, to: "sip:eve@known.example", side: outside}
  - {match: carol, to: "sip:192.0.2.1", side: outside}
aliases:
  - {number: 1, to: sip:alice@office.example}
  - {number: 2, to: sip:bob@c.example}
  - {number: 3, to: sip:dave@d.example}
peers:
  - {name: b, domains: [b.example, "*.b.example"]}
  - {name: e, domains: [e.example]}
emergency: {numbers: [112], to: "sip:help.example:5070"}
`

func TestNames(t *testing.T) {
	t.Parallel()
	w := &world{cfg: parse(t, namesInUse)}
	w.names(t.Context(), fakeDNS{"known.example": "192.0.2.1", "c.example": "192.0.2.2"})
	w.found.Sort()
	want := `f.yaml:2:67: listeners[0].advertise: warning: nat.example was not found (DNS does not know it): sipward would not start
f.yaml:4:23: registrar.domains[0]: warning: office.example was not found (DNS does not know it): nobody outside can call the phones by it
f.yaml:6:32: routes[0].to: warning: sipward.b.example was not found (DNS does not know it): calls that take this route fail
f.yaml:13:21: aliases[2].to: warning: d.example was not found (DNS does not know it): calls to this number fail
f.yaml:16:25: peers[1].domains[0]: warning: e.example was not found (DNS does not know it): calls to this peer fail, unless a route leads there
f.yaml:17:33: emergency.to: warning: help.example was not found (DNS does not know it): calls for help fail`
	if got := w.found.Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A DNS that does not answer holds up a check for seconds only, however many names
// there are.
func TestNamesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b strings.Builder
		b.WriteString("listeners:\n  - {name: a, side: inside, address: \"127.0.0.1:0\"}\n  - {name: b, side: outside, address: \"127.0.0.2:0\"}\nroutes:\n")
		for i := range maxLookups + 50 {
			fmt.Fprintf(&b, "  - {match: bob, to: \"sip:n%d.slow.example\", side: outside}\n", i)
		}
		w := &world{cfg: parse(t, b.String())}
		begun := time.Now()
		w.names(t.Context(), fakeDNS{})
		if took := time.Since(begun); took > lookupWithin {
			t.Errorf("it took %v", took)
		}
		if len(w.found) != maxLookups+1 || !strings.Contains(w.found.Error(), "only the first 200 names were looked up") || !strings.Contains(w.found.Error(), "DNS does not answer") {
			t.Errorf("%d warnings", len(w.found))
		}
	})
}

func TestLookupFault(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"DNS does not answer":  context.DeadlineExceeded,
		"DNS does not know it": &net.DNSError{IsNotFound: true},
		"says so?[2J":          errors.New("says so\x1b[2J"),
	} {
		if got := lookupFault(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	built := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		now, built time.Time
		want       string
	}{
		{built.Add(time.Hour), built, ""},
		{built.Add(-time.Hour), built, ""}, // another machine's clock, a little ahead
		{built.AddDate(0, 0, -3), built, "warning: the clock of this machine says 2027-02-26, but this program was built later, 2027-03-01; set it"},
		{time.Unix(0, 0), time.Time{}, "warning: the clock of this machine says 1970-01-01, but no sipward is that old; set it"},
		{built, time.Time{}, ""},
		{built.AddDate(30, 0, 0), built, "warning: the clock of this machine says 2057-03-01, but this program would be more than 20 years old; set it"},
	} {
		w := &world{cfg: &configs.Config{File: "f.yaml"}}
		w.clock(tt.now, tt.built)
		if got := w.found.Error(); got != tt.want {
			t.Errorf("at %v: %q, want %q", tt.now, got, tt.want)
		}
	}
	if time.Now().Before(earliest) {
		t.Error("the lower bound is in the future")
	}
}

func TestCapacity(t *testing.T) {
	t.Parallel()
	users := filepath.Join(t.TempDir(), "users.txt")
	if err := os.WriteFile(users, []byte("a:one\nb:two\nc:three\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		ports, calls int
		want         string // "" for nothing, part of the message
		warning      bool
	}{
		{12, 0, "", false}, {8, 0, "has 3 users", true}, {8, 2, "", false}, {8, 3, "enough for 2 calls at once, not for 3", false}, {4000, 1000, "", false},
	} {
		cfg := &configs.Config{Media: configs.Media{PortMin: 20000, PortMax: 20000 + tt.ports - 1}, Registrar: configs.Registrar{On: true, Domains: []string{"x"}, Users: users}}
		got := checkCapacity(cfg, tt.calls)
		if (tt.want == "") != (len(got) == 0) || len(got) > 0 && (got[0].Warning != tt.warning || !strings.Contains(got[0].Message, tt.want)) {
			t.Errorf("%d ports, %d calls: %v", tt.ports, tt.calls, got)
		}
	}
}

// The address of auto is looked at too, and every transport by itself. Not in
// parallel, see script_test.go.
func TestPorts(t *testing.T) {
	taken, err := open("udp", netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.close()
	cfg := configs.WorkstationConfig()
	cfg.API.Off = true
	cfg.Listeners = cfg.Listeners[:1]
	cfg.Listeners[0].Address.Port = taken.addr.Port()
	w := &world{cfg: cfg}
	w.ports()
	if len(w.found) != 1 || w.found[0].Key != "listeners[0].address" || w.found[0].Line == 0 || !strings.Contains(w.found[0].Message, "(udp)") {
		t.Errorf("%v", w.found)
	}
	if s, err := open("tcp", taken.addr); err != nil {
		t.Errorf("a socket was left open: %v", err)
	} else {
		s.close()
	}
}

func TestPortGroups(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		transports []string
		want       string
	}{
		{[]string{"udp", "tcp"}, "listeners[2].address udp tcp"},
		{[]string{"tls", "udp"}, "listeners[2].address udp, listeners[2].tls.port tls"},
		{[]string{"tls"}, "listeners[2].address tls"},
	} {
		var got []string
		for _, g := range portGroups(configs.Listener{Transports: tt.transports}) {
			got = append(got, g.key(2)+" "+strings.Join(g.transports, " "))
		}
		if s := strings.Join(got, ", "); s != tt.want {
			t.Errorf("%v: %s", tt.transports, s)
		}
	}
	if !slices.Equal([]string{carrier("udp"), carrier("tcp"), carrier("tls")}, []string{"udp", "tcp", "tcp"}) {
		t.Error("carriers")
	}
}
