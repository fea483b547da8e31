package route

import (
	"net/netip"
	"strings"
	"testing"
)

// known are phones that have registered, in a world that stands still.
type known struct {
	here      string            // user registered here
	elsewhere map[string]string // token to address of record
}

func (k known) Elsewhere(user string) (string, bool) { aor, ok := k.elsewhere[user]; return aor, ok }
func (k known) Registered(uri string) bool           { return strings.HasPrefix(uri, "sip:"+k.here+"@") }

func TestPlanFind(t *testing.T) {
	t.Parallel()
	aliases, err := NewAliases([]Alias{{MustPattern("999"), "sip:x@y.example"}, {MustPattern("100"), "sip:alice@home.example"}, {MustPattern("200"), "sip:carol@pbx.example"}})
	if err != nil {
		t.Fatal(err)
	}
	table, err := NewTable([]Route{
		{Match: MustPattern("*@pbx.example"), From: Inside, To: "sip:192.0.2.1", Side: Outside, Peer: "pbx"},
		{Match: MustPattern("reception"), To: "sip:1@192.168.0.9", Side: Inside},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := Plan{Aliases: aliases, Routes: table,
		Home: Home{Domains: []string{"home.example"}, Addresses: []netip.AddrPort{netip.MustParseAddrPort("192.168.0.1:5062")}, Registrar: true},
		Peer: func(host string, addr netip.Addr) string {
			if host == "partner.example" || addr == netip.MustParseAddr("198.51.100.1") {
				return "partner"
			}
			return ""
		}}
	phones := known{here: "alice", elsewhere: map[string]string{"stoken": "sip:dave@provider.example"}}
	for _, test := range []struct {
		name, side, uri string
		kind            Kind
		target          string // its URI
		host, peer      string
		alias, route    int
	}{
		{"a static route", Inside, "sip:bob@pbx.example", Static, "sip:bob@pbx.example", "192.0.2.1", "pbx", -1, 0},
		{"a route for the other side", Outside, "sip:bob@pbx.example", Nowhere, "", "", "", -1, -1},
		{"a route before a phone", Outside, "sip:reception@home.example", Static, "sip:1@192.168.0.9", "192.168.0.9", "", -1, 1},
		{"a phone here", Outside, "sip:alice@home.example", Registered, "sip:alice@home.example", "home.example", "", -1, -1},
		{"a phone here by the address", Inside, "sip:alice@192.168.0.1", Registered, "sip:alice@192.168.0.1", "192.168.0.1", "", -1, -1},
		{"another port is somebody else", Inside, "sip:alice@192.168.0.1:5080", Domain, "sip:alice@192.168.0.1:5080", "192.168.0.1", "", -1, -1},
		{"nobody of this domain", Inside, "sip:eve@home.example", Nowhere, "", "", "", -1, -1},
		{"no user", Inside, "sip:home.example", Nowhere, "", "", "", -1, -1},
		{"a number for a phone", Outside, "sip:100@home.example", Registered, "sip:alice@home.example", "home.example", "", 1, -1},
		{"a number for a route", Inside, "sip:200@home.example", Static, "sip:carol@pbx.example", "192.0.2.1", "pbx", 2, 0},
		{"an account elsewhere", Outside, "sip:stoken@198.51.100.9", Elsewhere, "sip:dave@provider.example", "198.51.100.9", "", -1, -1},
		{"a token is for those outside", Inside, "sip:stoken@203.0.113.9", Domain, "sip:stoken@203.0.113.9", "203.0.113.9", "", -1, -1},
		{"DNS", Inside, "sip:bob@partner.example;transport=tcp", Domain, "sip:bob@partner.example;transport=tcp", "partner.example", "partner", -1, -1},
		{"a listed address", Inside, "sip:bob@198.51.100.1", Domain, "sip:bob@198.51.100.1", "198.51.100.1", "partner", -1, -1},
		{"nothing leads through", Outside, "sip:bob@partner.example", Nowhere, "", "", "", -1, -1},
		{"no address", Inside, "nonsense", Nowhere, "", "", "", -1, -1},
		{"a number of no route", Inside, "tel:+49301", Nowhere, "", "", "", -1, -1},
	} {
		f := p.Find(test.side, test.uri, phones)
		if f.Kind != test.kind || f.Target.URI != test.target || f.Target.Host != test.host || f.Target.Peer != test.peer || f.Alias != test.alias || f.Route != test.route {
			t.Errorf("%s: %s from %s leads to %+v", test.name, test.uri, test.side, f)
		}
	}
}

func TestHome(t *testing.T) {
	t.Parallel()
	own := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:5062"), netip.MustParseAddrPort("[2001:db8::1]:5060")}
	for _, test := range []struct {
		host      string
		port      int
		registrar bool
		want      bool
	}{
		{"home.example", 0, true, true}, {"HOME.example.", 5999, false, true}, {"home.example.org", 0, true, false},
		{"192.0.2.1", 5062, false, true}, {"192.0.2.1", 0, true, true}, {"192.0.2.1", 0, false, false}, {"192.0.2.1", 5061, true, false},
		{"::ffff:192.0.2.1", 5062, false, true}, {"[2001:db8::1]", 0, false, true}, {"2001:db8::1", 5060, false, true}, {"", 0, true, false},
	} {
		h := Home{Domains: []string{"home.example"}, Addresses: own, Registrar: test.registrar}
		if got := h.Has(test.host, test.port); got != test.want {
			t.Errorf("%q port %d, registrar %v: %v", test.host, test.port, test.registrar, got)
		}
	}
}

func TestEmergencyCalled(t *testing.T) {
	t.Parallel()
	e := Emergency{Numbers: []string{"112"}, Target: Target{Host: "192.0.2.1"}}
	for uri, user := range map[string]string{"sip:112@x": "112", "urn:service:sos": "", "URN:Service:SOS.fire": "", "tel:112": "112"} {
		if !e.Called(uri, user) {
			t.Errorf("%s is no call for help", uri)
		}
		if (Emergency{Numbers: e.Numbers}).Called(uri, user) {
			t.Errorf("%s is a call for help where none leads anywhere", uri)
		}
	}
	for uri, user := range map[string]string{"sip:1120@x": "1120", "urn:service:info": "", "sip:sos@x": "sos"} {
		if e.Called(uri, user) {
			t.Errorf("%s is a call for help", uri)
		}
	}
}
