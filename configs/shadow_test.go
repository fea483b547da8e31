package configs

import (
	"strings"
	"testing"

	"github.com/sipward/sipward/route"
)

func TestCovers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"*", "bob", true}, {"*", "*@b.example", true}, {"*", "tel:+49*", true}, {"*", "*", true}, {"**", "*", true}, {"*@*", "*", true},
		{"bob", "bob@b.example", true}, {"bob@*", "bob", true}, {"bob", "bobby", false}, {"bob", "*", false},
		{"b*", "bob", true}, {"b*", "bo*", true}, {"bo*", "b*", false}, {"q*", "*", false}, {"*q", "*", false}, {"x*z", "*", false},
		{"*b*", "bob", true}, {"*o*", "b*b", false}, {"0*", "00*", true}, {"00*", "0*", false},
		{"b.example", "*@b.example", true}, {"*@B.example.", "bob@b.EXAMPLE", true}, {"*.example", "*@b.example", true}, {"*@*.b.example", "*@b.example", false},
		{"*@*.example", "*@*.b.example", true}, {"*@*.b.example", "*@*.example", false},
		{"sip:*", "*", false}, {"*", "sip:*", true}, {"sip:*", "sips:bob", true}, {"sips:*", "sip:bob", false}, {"sip:*", "bob@b.example", true},
		{"tel:*", "+49*", false}, {"+49*", "tel:+49*", true}, {"tel:+49*", "tel:+4930", true}, {"tel:+4-9*", "tel:+49 *", false},
		{"*@[2001:db8::1]", "bob@[2001:db8:0::1]", true}, {"*@[2001:db8::*]", "*@[2001:db8::1]", true}, {"*@[2001:*]", "*@[2001:db8::*]", false},
		{"*@192.0.2.*", "*@192.0.2.7", true}, {"b%6Fb", "bob", true}, {"%71*", "*", false}, {"a*", "%61*", true},
		{"a%2A", "a*", false}, {"a*", "a%2A", true},
		{"abcdefghijklmnopqrstuvwxyz0123456789*", "*", false}, {"%*", "*", false},
	} {
		a, err := route.ParsePattern(tt.a)
		b, err2 := route.ParsePattern(tt.b)
		if err != nil || err2 != nil {
			if tt.want {
				t.Errorf("%v, %v", err, err2)
			}
			continue
		}
		if got := covers(a, b); got != tt.want {
			t.Errorf("%s covers %s: %v", tt.a, tt.b, got)
		}
	}
}

// What covers says is tried with addresses that the second pattern matches: the
// first one has to match them all.
func FuzzCovers(f *testing.F) {
	f.Add("b*", "bo*", "sip:bobby@b.example")
	f.Add("*@*.example", "*@b.example", "sips:bob@b.example:5061")
	f.Add("+49*", "tel:+4930*", "tel:+49-30-123")
	f.Add("*", "[2001:db8::*]", "sip:[2001:db8::1]")
	f.Add("q*z", "*", "sip:qz@x")
	f.Fuzz(func(t *testing.T, first, second, uri string) {
		a, err := route.ParsePattern(first)
		b, err2 := route.ParsePattern(second)
		if err != nil || err2 != nil || !covers(a, b) {
			return
		}
		if ok, err := b.Match(uri); err != nil || !ok {
			return
		}
		if ok, _ := a.Match(uri); !ok {
			t.Errorf("%s is said to cover %s, but does not match %s", first, second, uri)
		}
	})
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	const sides = `listeners:
  - {name: a, side: inside, address: "127.0.0.1:5062"}
  - {name: b, side: outside, address: "127.0.0.2:5060"}
`
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", sides + "routes:\n- {match: bob, to: \"sip:b@x\", side: outside}\n- {match: \"*\", to: \"sip:x\", side: outside}\n", ""},
		{"route", sides + "routes:\n- {match: \"*\", to: \"sip:x\", side: outside}\n- {match: bob, to: \"sip:b@x\", side: outside}\n",
			"x.yaml:6:11: routes[1].match: warning: never used: \"*\" in routes[0] (line 5) takes these calls first"},
		{"route of the other side", sides + "routes:\n- {match: \"*\", from: inside, to: \"sip:x\", side: outside}\n- {match: bob, from: outside, to: \"sip:b@x\", side: outside}\n", ""},
		{"route of both sides", sides + "routes:\n- {match: \"*\", from: inside, to: \"sip:x\", side: outside}\n- {match: \"b*\", from: outside, to: \"sip:b@x\", side: outside}\n- {match: bob, to: \"sip:b@x\", side: outside}\n",
			"x.yaml:7:11: routes[2].match: warning: never used: \"b*\" in routes[1] (line 6) takes these calls first"},
		{"one side only", minimal + "routes:\n- {match: \"*\", from: inside, to: \"sip:127.0.0.1\", side: inside}\n- {match: bob, to: \"sip:127.0.0.1\", side: inside}\n",
			"x.yaml:5:11: routes[1].match: warning: never used: \"*\" in routes[0] (line 4) takes these calls first"},
		{"alias", sides + "aliases:\n- {number: \"+49*\", to: \"sip:a@x\"}\n- {number: +4930, to: \"sip:b@x\"}\n",
			"x.yaml:6:12: aliases[1].number: warning: never used: aliases[0] (line 5) is for all of \"+4930\" already"},
		{"rule", sides + "policy:\n  rules:\n  - {name: a, from: {address: \"bob@*\"}, mode: off}\n  - {name: b, from: {address: \"bob@b.example\", network: 127.0.0.0/9}, mode: require}\n",
			"x.yaml:7:5: policy.rules[1]: warning: never used: rule \"a\" (line 6) decides these calls first"},
		{"rule that is narrower first", sides + "policy:\n  rules:\n  - {name: a, from: {network: 127.0.0.0/16}, mode: off}\n  - {name: b, from: {network: 127.0.0.0/8}, mode: require}\n", ""},
		{"rule with an address after one of a side", sides + "policy:\n  rules:\n  - {name: a, to: {side: outside}, mode: off}\n  - {name: b, to: {address: bob}, mode: require}\n", ""},
		{"rule for calls through", sides + "policy:\n  rules:\n  - {name: a, mode: off}\n  - {name: b, from: {side: outside}, to: {side: outside}, mode: require}\n", ""},
		{"rules for calls through", sides + "policy:\n  rules:\n  - {name: a, from: {side: outside}, to: {side: outside}, mode: off}\n  - {name: b, from: {side: outside, network: 192.0.2.0/24}, to: {side: outside}, mode: require}\n",
			"x.yaml:7:5: policy.rules[1]: warning: never used: rule \"a\" (line 6) decides these calls first"},
		{"rule without a listener", minimal + "policy:\n  rules:\n  - {name: a, to: {side: outside}, mode: off}\n",
			"x.yaml:5:26: policy.rules[0].to.side: warning: never used: there is no outside listener"},
		{"rule of a foreign network", sides + "policy:\n  rules:\n  - {name: a, from: {side: inside, network: 192.0.2.0/24}, mode: off}\n",
			"x.yaml:6:45: policy.rules[0].from.network: warning: never used: no inside listener has 192.0.2.0/24 among its networks"},
		{"in order of the places", sides + "policy:\n  rules:\n  - {name: a, from: {side: inside, network: 192.0.2.0/24}, mode: off}\naliases:\n- {number: 1, to: \"sip:a@x\"}\n- {number: \"1\", to: \"sip:b@x\"}\n",
			"x.yaml:6:45: policy.rules[0].from.network: warning: never used: no inside listener has 192.0.2.0/24 among its networks\n" +
				"x.yaml:9:12: aliases[1].number: warning: never used: aliases[0] (line 8) is for all of \"1\" already"},
	} {
		c, err := Parse("x.yaml", []byte(tt.text))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := c.Warnings().Error(); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// The ready-made files say nothing in vain, and neither does a file without places.
func TestNoWarnings(t *testing.T) {
	t.Parallel()
	for _, c := range []*Config{WorkstationConfig(), OfficeConfig(), {}} {
		if w := c.Warnings(); len(w) > 0 {
			t.Errorf("%s: %v", c.File, w)
		}
	}
	c := WorkstationConfig()
	c.places = nil
	c.StaticRoutes = []route.Route{{Match: route.MustPattern("*")}, {Match: route.MustPattern("bob")}}
	if got := c.Warnings().Error(); !strings.Contains(got, `"*" in routes[0] takes`) {
		t.Errorf("got %s", got)
	}
}
