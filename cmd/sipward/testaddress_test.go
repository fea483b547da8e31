package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/demo"
	"github.com/sipward/sipward/demo/audio"
	"github.com/sipward/sipward/policy"
)

// talker is a phone that talks and hears.
func talker(t *testing.T, proxy netip.AddrPort) *demo.Phone {
	t.Helper()
	p, err := demo.NewPhone(demo.PhoneOptions{Name: "me", Addr: netip.MustParseAddr("127.0.0.1"), Proxy: proxy, Play: audio.Alice(), Repeat: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func dial(t *testing.T, p *demo.Phone, uri string) *demo.Call {
	t.Helper()
	c, err := p.Call(uri)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// awaited waits for an event of a call, which may end instead.
func awaited(t *testing.T, c *demo.Call, event <-chan struct{}) {
	t.Helper()
	select {
	case <-event:
	case <-c.Ended():
		select {
		case <-event:
		default:
			t.Fatalf("the call has ended: %v", c.Err())
		}
	case <-time.After(patience):
		t.Fatal("it does not happen")
	}
}

// hears waits for that many packets of RTP.
func hears(t *testing.T, c *demo.Call, packets int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.WaitHeard(ctx, packets); err != nil {
		t.Fatalf("%d packets came, want %d: %v", c.PacketsHeard(), packets, err)
	}
}

// onceRead is how many packets it takes until the code was read out once, and not
// yet again.
const onceRead = 430

// hearsCode waits until the code was read out once, and wants the one that a
// sipward shows.
func hearsCode(t *testing.T, c *demo.Call, v b2bua.View) {
	t.Helper()
	hears(t, c, onceRead)
	heard := audio.HeardDigits(c.Heard())
	if code := strings.ReplaceAll(v.SASCode, " ", ""); len(code) != 6 || !strings.HasPrefix(heard, code) {
		t.Errorf("heard %s, shown %q", heard, v.SASCode)
	}
}

func onTestAddresses(t *testing.T) *configs.Config {
	t.Helper()
	cfg := onLoopback(t, configs.WorkstationConfig(), netip.MustParseAddrPort("127.0.0.1:5070"))
	cfg.StaticRoutes = nil
	return cfg
}

// Whatever the configuration is like, a call from inside to a test address takes
// the whole way.
func TestTestAddressesTakeTheWholeWay(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*configs.Config)
		group  string
	}{
		"as it comes": {func(*configs.Config) {}, "x25519"},
		"never encrypted otherwise": {func(c *configs.Config) {
			c.Rules = policy.Rules{ListedPeers: policy.Off, UnknownPeers: policy.Off, List: []policy.Rule{{Name: testPeer, Mode: policy.Off}}}
		}, "x25519"},
		"TCP alone":        {func(c *configs.Config) { c.Listeners[1].Transports = []string{"tcp"} }, "x25519mlkem768"},
		"the hybrid alone": {func(c *configs.Config) { c.Crypto.Groups = []string{"x25519mlkem768"} }, "x25519mlkem768"},
		"IPv6 outside":     {func(c *configs.Config) { c.Listeners[1].Address.IP = netip.IPv6Loopback() }, "x25519"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := onTestAddresses(t)
			tt.change(cfg)
			d := start(t, cfg)
			events, cancel := d.proxy.Subscribe(64)
			defer cancel()
			inside := at(t, d, policy.Inside, "udp")
			call := dial(t, talker(t, inside), fmt.Sprintf("sip:echo@%v", inside))
			v := secured(t, events)
			if v.Trust != "encrypted" || v.Group != tt.group || v.Direction != "outbound" || !strings.Contains(v.Reason, "must be protected") {
				t.Errorf("%+v", v)
			}
			if d.tests.far.Calls() != 1 || d.tests.desk.Calls() != 0 {
				t.Errorf("%d calls at the far end, %d at the desk", d.tests.far.Calls(), d.tests.desk.Calls())
			}
			hears(t, call, 40)
			if score, _ := audio.Correlate(call.Heard(), audio.Alice()); score < 0.9 {
				t.Errorf("what came back is %.3f like what was said", score)
			}
			if call.Noise() != 0 {
				t.Errorf("noise: %d packets", call.Noise())
			}
		})
	}
}

// A sipward that names its router's address, which cannot be reached from here,
// hears its far end all the same, also when that hangs up.
func TestFarEndBehindNAT(t *testing.T) {
	t.Parallel()
	cfg := onTestAddresses(t)
	cfg.Listeners[1].Transports = []string{"udp"}
	cfg.Listeners[1].Advertise = configs.Advertise{IP: netip.MustParseAddr("203.0.113.5"), Port: 5060}
	d := start(t, cfg)
	events, cancel := d.proxy.Subscribe(64)
	defer cancel()
	call := dial(t, talker(t, at(t, d, policy.Inside, "udp")), "sip:echo@203.0.113.5")
	secured(t, events)
	hears(t, call, 50)
	d.tests.far.Close()
	awaited(t, call, call.Ended())
	if call.Err() != nil {
		t.Error(call.Err())
	}
}

// Somebody else's sipward can call them as well: the way is a real one then.
func TestTestAddressesFromOutside(t *testing.T) {
	t.Parallel()
	elsewhere := onTestAddresses(t)
	elsewhere.Listeners[1].Address.IP = netip.MustParseAddr("127.0.0.3")
	elsewhere.Registrar.Domains = []string{"office.example"}
	office := start(t, elsewhere)
	home := start(t, onTestAddresses(t))
	events, cancel := home.proxy.Subscribe(64)
	defer cancel()
	call := dial(t, talker(t, at(t, home, policy.Inside, "udp")), fmt.Sprintf("sip:sas@%v", at(t, office, policy.Outside, "udp")))
	v := secured(t, events)
	if home.tests.far.Calls() != 0 || office.tests.far.Calls() != 0 || office.tests.desk.Calls() != 1 {
		t.Error("it is not the office's desk that answers")
	}
	hearsCode(t, call, v)
}

// Without an outside there is an echo and nothing more, and that is said.
func TestTestAddressesWithoutOutside(t *testing.T) {
	t.Parallel()
	cfg := onTestAddresses(t)
	cfg.Listeners = cfg.Listeners[:1]
	d := start(t, cfg)
	inside := at(t, d, policy.Inside, "udp")
	call := dial(t, talker(t, inside), fmt.Sprintf("sip:echo@%v", inside))
	hears(t, call, 50)
	call.Hangup()
	awaited(t, call, call.Ended())
	phone := talker(t, inside)
	call = dial(t, phone, fmt.Sprintf("sip:sas@%v", inside))
	awaited(t, call, call.Ended())
	if call.Err() == nil || !strings.Contains(call.Err().Error(), "404") {
		t.Errorf("sas: %v", call.Err())
	}
	var b strings.Builder
	d.announceTests(&b)
	if want := fmt.Sprintf("  To try it, call\n    sip:echo@%v  you hear yourself, a little later; nothing is encrypted, for there is no outside listener with UDP or TCP\n", inside); b.String() != want {
		t.Errorf("it says\n%s\nwant\n%s", b.String(), want)
	}
	e, err := explain(t.Context(), cfg, nil, question{from: "me", to: "echo"})
	if err != nil || e.Outcome != outcomePlain {
		t.Errorf("%+v, %v", e, err)
	}
	if e, err = explain(t.Context(), cfg, nil, question{from: "me", to: "sas"}); err != nil || slices.ContainsFunc(e.Steps, func(s step) bool { return s.What == "test" }) {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestTestRoutes(t *testing.T) {
	t.Parallel()
	uri := func(place string) func(string) string {
		return func(user string) string { return "sip:" + user + "@" + place }
	}
	for name, tt := range map[string]struct {
		far  func(string) string
		want []string
	}{
		"with a far end": {uri("127.0.0.1:2;transport=udp"), []string{
			"outside echo@h sip:echo@192.0.2.1:1 inside", "inside echo@h sip:echo@127.0.0.1:2;transport=udp outside test_addresses",
			"outside sas@h sip:sas@192.0.2.1:1 inside", "inside sas@h sip:sas@127.0.0.1:2;transport=udp outside test_addresses"}},
		"without one": {nil, []string{
			"outside echo@h sip:echo@192.0.2.1:1 inside", "inside echo@h sip:echo@192.0.2.1:1 inside", "outside sas@h sip:sas@192.0.2.1:1 inside"}},
	} {
		routes, err := testRoutes([]string{"h", "[2001:db8::1]", "h"}, uri("192.0.2.1:1"), tt.far)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range routes {
			if strings.HasSuffix(r.Match.String(), "@h") {
				got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s", r.From, r.Match, r.To, r.Side, r.Peer)))
			}
		}
		if !slices.Equal(got, tt.want) || len(routes) != 2*len(tt.want) {
			t.Errorf("%s: got %d routes, %q", name, len(routes), got)
		}
	}
}

func TestReaches(t *testing.T) {
	t.Parallel()
	addr := netip.MustParseAddr
	if !reaches(addr("127.0.0.2"), addr("127.0.0.1")) {
		t.Error("loopback does not reach loopback")
	}
	if reaches(addr("127.0.0.1"), netip.IPv6Loopback()) || reaches(addr("203.0.113.9"), addr("127.0.0.1")) {
		t.Error("what cannot be sent arrives")
	}
	if auto, err := configs.ResolveAddress(configs.Address{Auto: true, Port: 5060}); err == nil {
		t.Logf("from %v to loopback: %v", auto.Addr(), reaches(auto.Addr(), addr("127.0.0.1")))
	}
}

// The documents say what the catalogue says.
func TestCatalogueIsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/running.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range demo.TestAddresses() {
		if line := fmt.Sprintf("| `%s` | %s |\n", a.User, a.Does); !strings.Contains(string(text), line) {
			t.Errorf("docs/running.md has no line %q", line)
		}
	}
}
