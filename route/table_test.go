package route

import (
	"strings"
	"testing"
)

func officeTable(t *testing.T) *Table {
	t.Helper()
	table, err := NewTable([]Route{
		{Match: MustPattern("*@b.example"), To: "sip:sipward.b.example;transport=tcp", Side: Outside, Peer: "b"},
		{Match: MustPattern("reception"), To: "sip:100@192.0.2.10:5062;transport=udp", Side: Inside},
		{Match: MustPattern("*"), From: Outside, To: "sip:*@[2001:db8::10]:5060", Side: Inside},
	})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestLookup(t *testing.T) {
	t.Parallel()
	table := officeTable(t)
	for _, tt := range []struct {
		name, from, uri string
		want            Target
		ok              bool
	}{
		{"only the next hop changes", Inside, "sip:bob@b.example;x=y",
			Target{"sip:bob@b.example;x=y", "tcp", "sipward.b.example", 0, Outside, "b", "*@b.example", false}, true},
		{"the address is replaced", Inside, "sip:reception@a.example",
			Target{"sip:100@192.0.2.10:5062;transport=udp", "udp", "192.0.2.10", 5062, Inside, "", "reception", false}, true},
		{"the user called is kept", Outside, "sip:a%20b:pw@203.0.113.1",
			Target{"sip:a%20b@[2001:db8::10]:5060", "", "2001:db8::10", 5060, Inside, "", "*", false}, true},
		{"a number becomes the user", Outside, "tel:+49-30",
			Target{"sip:+4930@[2001:db8::10]:5060", "", "2001:db8::10", 5060, Inside, "", "*", false}, true},
		{"no user called, none to keep", Outside, "sip:203.0.113.1",
			Target{"sip:[2001:db8::10]:5060", "", "2001:db8::10", 5060, Inside, "", "*", false}, true},
		{"file order decides", Outside, "sip:reception@b.example",
			Target{"sip:reception@b.example", "tcp", "sipward.b.example", 0, Outside, "b", "*@b.example", false}, true},
		{"a route of the other side", Inside, "sip:carol@c.example", Target{}, false},
		{"a side not known", "", "sip:carol@c.example", Target{}, false},
		{"an address that cannot be read", Outside, "sip:a@b@c", Target{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, ok := table.LookupFrom(tt.from, tt.uri)
			if got != tt.want || ok != tt.ok {
				t.Errorf("got %+v, %v\nwant %+v, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
	if got, ok := table.Lookup("sip:reception@a.example"); !ok || got.Rule != "reception" {
		t.Errorf("Lookup: got %+v, %v", got, ok)
	}
	if _, ok := (*Table)(nil).Lookup("sip:bob@b.example"); ok {
		t.Error("a nil table matched")
	}
}

func TestNewTableRefuses(t *testing.T) {
	t.Parallel()
	bob := MustPattern("bob")
	for _, tt := range []struct {
		route Route
		want  string
	}{
		{Route{To: "sip:192.0.2.1", Side: Inside}, "without a pattern"},
		{Route{Match: bob, To: "sip:192.0.2.1"}, `side "" is neither`},
		{Route{Match: bob, To: "sip:192.0.2.1", Side: Inside, From: "left"}, `from "left" is neither`},
		{Route{Match: bob, To: "192.0.2.1", Side: Inside}, "none of sip:"},
		{Route{Match: bob, To: "sips:192.0.2.1", Side: Inside}, "only sip:"},
		{Route{Match: bob, To: "sip:192.0.2.1;transport=ws", Side: Inside}, "not udp, tcp or tls"},
	} {
		_, err := NewTable([]Route{tt.route})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: got %v, want an error with %q", tt.route, err, tt.want)
		}
	}
}

func TestDirect(t *testing.T) {
	t.Parallel()
	got, err := Direct("sip:bob@b.example:5070;transport=tcp")
	want := Target{URI: "sip:bob@b.example:5070;transport=tcp", Network: "tcp", Host: "b.example", Port: 5070, Side: Outside}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, uri := range []string{"tel:110", "sips:bob@b.example", "sip:bob@b.example;transport=ws", "bob"} {
		if got, err := Direct(uri); err == nil {
			t.Errorf("%s: got %+v", uri, got)
		}
	}
}
