package policy

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// suffix is a pattern for these tests: what an address must end in. Addresses
// that hold a space cannot be read.
type suffix string

func (s suffix) Match(uri string) (bool, error) {
	if strings.Contains(uri, " ") {
		return false, errors.New("the address holds a space")
	}
	return strings.HasSuffix(uri, string(s)), nil
}

func (s suffix) String() string { return "sip:*" + string(s) }

func party(side Side, addr, uri, peer string) Party {
	p := Party{Side: side, URI: uri, Peer: peer}
	if addr != "" {
		p.Addr = netip.MustParseAddr(addr)
	}
	return p
}

func mustNew(t *testing.T, r Rules) *Policy {
	t.Helper()
	p, err := New(r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var (
	alice    = party(Inside, "10.0.0.5", "sip:alice@a.example", "")
	albert   = party(Inside, "10.0.0.6", "sip:albert@a.example", "")
	bob      = party(Outside, "192.0.2.7", "sip:bob@b.example", "b")
	stranger = party(Outside, "198.51.100.9", "sip:carol@c.example", "")
)

// said is a decision without what it asks of trust.
func said(d Decision) Decision {
	d.Trust, d.OnMismatch, d.OnDowngrade = "", "", ""
	return d
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	p := mustNew(t, Rules{})
	for _, tt := range []struct {
		name     string
		from, to Party
		want     Decision
	}{
		{"inside to inside", alice, albert, Decision{Allow: true, Mode: Off, Rule: "inside", Reason: "inside: calls from inside to inside stay plain"}},
		{"to a listed peer", alice, bob, Decision{Allow: true, Mode: Require, Rule: "listed_peers", Reason: `listed_peers: calls with the listed peer "b" must be protected`}},
		{"from a listed peer", bob, alice, Decision{Allow: true, Mode: Require, Rule: "listed_peers", Reason: `listed_peers: calls with the listed peer "b" must be protected`}},
		{"to a stranger", alice, stranger, Decision{Allow: true, Mode: Prefer, Rule: "unknown_peers", Reason: "unknown_peers: calls with peers that are not listed are protected where the other end can"}},
		{"from a stranger", stranger, alice, Decision{Allow: true, Mode: Prefer, Rule: "unknown_peers", Reason: "unknown_peers: calls with peers that are not listed are protected where the other end can"}},
		{"outside to outside", stranger, bob, Decision{Allow: false, Mode: Refuse, Rule: "outside", Reason: "calls from outside to outside are refused"}},
		{"listed to listed, both outside", bob, bob, Decision{Allow: false, Mode: Refuse, Rule: "outside", Reason: "calls from outside to outside are refused"}},
		{"side not known", Party{}, alice, Decision{Allow: false, Mode: Refuse, Rule: "", Reason: "the call is refused: it is not known on which side a party stands"}},
		{"side of another name", alice, Party{Side: "left"}, Decision{Allow: false, Mode: Refuse, Rule: "", Reason: "the call is refused: it is not known on which side a party stands"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := said(p.Decide(Facts{tt.from, tt.to})); got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestDefaultsSet(t *testing.T) {
	t.Parallel()
	p := mustNew(t, Rules{Inside: Refuse, ListedPeers: Prefer, UnknownPeers: Off})
	for _, tt := range []struct {
		from, to Party
		mode     Mode
		allow    bool
	}{
		{alice, albert, Refuse, false},
		{alice, bob, Prefer, true},
		{stranger, alice, Off, true},
	} {
		if got := p.Decide(Facts{tt.from, tt.to}); got.Mode != tt.mode || got.Allow != tt.allow {
			t.Errorf("%s to %s: %+v", tt.from.URI, tt.to.URI, got)
		}
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	net10 := netip.MustParsePrefix("10.0.0.0/8")
	for _, tt := range []struct {
		name     string
		rule     Rule
		from, to Party
		want     Decision
	}{
		{"address of the callee", Rule{Name: "partners", To: Match{Address: suffix("@b.example")}, Mode: Require}, alice, bob,
			Decision{Allow: true, Mode: Require, Rule: "partners", Reason: `rule "partners": calls to sip:*@b.example must be protected`}},
		{"address of the caller", Rule{Name: "noise", From: Match{Address: suffix("@c.example")}, Mode: Refuse}, stranger, alice,
			Decision{Allow: false, Mode: Refuse, Rule: "noise", Reason: `rule "noise": calls from sip:*@c.example are refused`}},
		{"sides", Rule{Name: "in", From: Match{Side: Outside}, To: Match{Side: Inside}, Mode: Off}, bob, alice,
			Decision{Allow: true, Mode: Off, Rule: "in", Reason: `rule "in": calls from outside to inside stay plain`}},
		{"network", Rule{Name: "lan", From: Match{Network: net10}, Mode: Require}, alice, stranger,
			Decision{Allow: true, Mode: Require, Rule: "lan", Reason: `rule "lan": calls from 10.0.0.0/8 must be protected`}},
		{"all three", Rule{Name: "boss", From: Match{Inside, net10, suffix("alice@a.example")}, To: Match{Side: Outside, Address: suffix("@b.example")}, Mode: Prefer}, alice, bob,
			Decision{Allow: true, Mode: Prefer, Rule: "boss", Reason: `rule "boss": calls from sip:*alice@a.example (inside, 10.0.0.0/8) to sip:*@b.example (outside) are protected where the other end can`}},
		{"nothing set", Rule{Name: "all", Mode: Require}, alice, albert,
			Decision{Allow: true, Mode: Require, Rule: "all", Reason: `rule "all": all calls must be protected`}},
		{"IPv4 in IPv6 party", Rule{Name: "lan", From: Match{Network: net10}, Mode: Require}, party(Inside, "::ffff:10.0.0.5", "", ""), stranger,
			Decision{Allow: true, Mode: Require, Rule: "lan", Reason: `rule "lan": calls from 10.0.0.0/8 must be protected`}},
		{"IPv4 in IPv6 network", Rule{Name: "lan", From: Match{Network: netip.MustParsePrefix("::ffff:10.0.0.0/104")}, Mode: Require}, alice, stranger,
			Decision{Allow: true, Mode: Require, Rule: "lan", Reason: `rule "lan": calls from 10.0.0.0/8 must be protected`}},
		{"zone", Rule{Name: "link", From: Match{Network: netip.MustParsePrefix("fe80::/10")}, Mode: Require}, party(Inside, "fe80::1%eth0", "", ""), stranger,
			Decision{Allow: true, Mode: Require, Rule: "link", Reason: `rule "link": calls from fe80::/10 must be protected`}},
		{"host bits in the network", Rule{Name: "lan", From: Match{Network: netip.MustParsePrefix("10.1.2.3/8")}, Mode: Off}, alice, stranger,
			Decision{Allow: true, Mode: Off, Rule: "lan", Reason: `rule "lan": calls from 10.0.0.0/8 stay plain`}},
		{"both outside, said so", Rule{Name: "relay", From: Match{Side: Outside}, To: Match{Side: Outside}, Mode: Require}, stranger, bob,
			Decision{Allow: true, Mode: Require, Rule: "relay", Reason: `rule "relay": calls from outside to outside must be protected`}},
		{"address that cannot be read", Rule{Name: "partners", To: Match{Address: suffix("@b.example")}, Mode: Require}, alice, party(Outside, "", "sip:b ob@x", ""),
			Decision{Allow: false, Mode: Refuse, Rule: "partners", Reason: `rule "partners" cannot be applied, so the call is refused: the address holds a space`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := mustNew(t, Rules{List: []Rule{tt.rule}})
			if got := said(p.Decide(Facts{tt.from, tt.to})); got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// Each rule here misses its call by one fact only, so that the default decides.
func TestRulesThatDoNotMatch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		rule     Rule
		from, to Party
		decides  string
	}{
		{"other side", Rule{From: Match{Side: Outside}}, alice, bob, "listed_peers"},
		{"other network", Rule{From: Match{Network: netip.MustParsePrefix("10.0.1.0/24")}}, alice, bob, "listed_peers"},
		{"address of the network not known", Rule{To: Match{Network: netip.MustParsePrefix("0.0.0.0/0")}}, alice, party(Outside, "", "sip:x@y", ""), "unknown_peers"},
		{"other address", Rule{To: Match{Address: suffix("@c.example")}}, alice, bob, "listed_peers"},
		{"no address", Rule{From: Match{Address: suffix("")}}, party(Outside, "192.0.2.1", "", ""), alice, "unknown_peers"},
		{"unreadable address, other side", Rule{From: Match{Side: Inside, Address: suffix("")}}, party(Outside, "192.0.2.1", "a b", ""), alice, "unknown_peers"},
		{"caller fits, callee does not", Rule{From: Match{Side: Inside}, To: Match{Side: Inside}}, alice, bob, "listed_peers"},
		{"both outside, sides left open", Rule{}, stranger, bob, "outside"},
		{"both outside, one side left open", Rule{From: Match{Side: Outside}}, stranger, bob, "outside"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.rule.Name, tt.rule.Mode = "r", Off
			got := mustNew(t, Rules{List: []Rule{tt.rule}}).Decide(Facts{tt.from, tt.to})
			if got.Rule != tt.decides {
				t.Errorf("decided by %q: %s", got.Rule, got.Reason)
			}
		})
	}
}

func TestFirstMatchWins(t *testing.T) {
	t.Parallel()
	list := []Rule{
		{Name: "bob", To: Match{Address: suffix("bob@b.example")}, Mode: Refuse},
		{Name: "b", To: Match{Address: suffix("@b.example")}, Mode: Off},
		{Name: "rest", Mode: Require},
	}
	p := mustNew(t, Rules{List: list})
	list[0].Mode = Off // the policy keeps its own copy
	carol := party(Outside, "", "sip:carol@b.example", "")
	for _, tt := range []struct {
		to   Party
		want string
	}{{bob, "bob refuse"}, {carol, "b off"}, {stranger, "rest require"}} {
		d := p.Decide(Facts{alice, tt.to})
		if got := d.Rule + " " + string(d.Mode); got != tt.want {
			t.Errorf("to %s: got %q, want %q", tt.to.URI, got, tt.want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		rules Rules
		want  string
	}{
		{Rules{Inside: "on"}, `inside: mode "on"`},
		{Rules{ListedPeers: "on"}, `listed_peers: mode "on"`},
		{Rules{UnknownPeers: "on"}, `unknown_peers: mode "on"`},
		{Rules{List: []Rule{{Mode: Off}}}, "rule 1 has no name"},
		{Rules{List: []Rule{{Name: "inside", Mode: Off}}}, "name of a default"},
		{Rules{List: []Rule{{Name: "x", Mode: Off}, {Name: "x", Mode: Off}}}, `two rules are named "x"`},
		{Rules{List: []Rule{{Name: "x"}}}, `rule "x": mode ""`},
		{Rules{List: []Rule{{Name: "x", Mode: Off, To: Match{Side: "left"}}}}, `side "left"`},
	} {
		_, err := New(tt.rules)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want an error with %q", err, tt.want)
		}
	}
}

// A name that a caller claims makes a decision stricter, never milder.
func TestClaimedPeer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		listed, unknown Mode
		proved, claimed string
		want            Mode
	}{
		{Require, Prefer, "", "b", Require},
		{Require, Prefer, "", "", Prefer},
		{Off, Prefer, "", "b", Prefer},
		{Off, Require, "", "b", Require},
		{Refuse, Prefer, "", "b", Refuse},
		{Prefer, Require, "a", "b", Prefer}, // the address has spoken
	} {
		p, err := New(Rules{ListedPeers: test.listed, UnknownPeers: test.unknown})
		if err != nil {
			t.Fatal(err)
		}
		d := p.Decide(Facts{From: Party{Side: Outside, Peer: test.proved, Claimed: test.claimed}, To: Party{Side: Inside}})
		if d.Mode != test.want {
			t.Errorf("listed %s, unknown %s, proved %q, claimed %q: %s", test.listed, test.unknown, test.proved, test.claimed, d.Mode)
		}
		if d := p.Decide(Facts{From: Party{Side: Inside, Claimed: "b"}, To: Party{Side: Outside}}); d.Mode != test.unknown {
			t.Errorf("a claim from inside counts: %s", d.Mode)
		}
	}
}
