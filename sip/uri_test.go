package sip

import (
	"strings"
	"testing"
)

func TestParseURI(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want URI
		text string // as written; "": as it was read
	}{
		{"sip:example.com", URI{Scheme: "sip", Host: "example.com"}, ""},
		{"sip:alice@example.com", URI{Scheme: "sip", User: "alice", Host: "example.com"}, ""},
		{"SIPS:alice:secret@example.com:5061", URI{Scheme: "sips", User: "alice:secret", Host: "example.com", Port: 5061}, "sips:alice:secret@example.com:5061"},
		{"sip:a%40b;x=y/?,&=+$@h", URI{Scheme: "sip", User: "a%40b;x=y/?,&=+$", Host: "h"}, ""},
		{"sip:#31#0301@h", URI{Scheme: "sip", User: "#31#0301", Host: "h"}, ""},
		{"sip:[2001:db8::1]", URI{Scheme: "sip", Host: "2001:db8::1"}, ""},
		{"sip:a@[::1]:5060;lr", URI{Scheme: "sip", User: "a", Host: "::1", Port: 5060, Params: ";lr"}, ""},
		{"sip:h;transport=tcp;lr;x=%22", URI{Scheme: "sip", Host: "h", Params: ";transport=tcp;lr;x=%22"}, ""},
		{"sip:a@h;lr?Subject=x&Replaces=1%40b", URI{Scheme: "sip", User: "a", Host: "h", Params: ";lr"}, "sip:a@h;lr"},
		{"sip:a@h?Replaces=1@b;to-tag=2", URI{Scheme: "sip", User: "a", Host: "h"}, "sip:a@h"},
		{"sip:h:0", URI{Scheme: "sip", Host: "h"}, "sip:h"},
		{"sip://a@h", URI{Scheme: "sip", User: "a", Host: "h"}, "sip:a@h"},
		{"sip:a_b.example.com", URI{Scheme: "sip", Host: "a_b.example.com"}, ""},
		{"tel:+49-30-1;phone-context=x", URI{Scheme: "tel", opaque: "tel:+49-30-1;phone-context=x"}, ""},
		{"URN:service:sos", URI{Scheme: "urn", opaque: "URN:service:sos"}, ""},
	}
	for _, tt := range tests {
		got, err := ParseURI(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("%q read as %+v (%v), want %+v", tt.in, got, err, tt.want)
			continue
		}
		text := tt.text
		if text == "" {
			text = tt.in
		}
		if got.String() != text {
			t.Errorf("%q written as %q, want %q", tt.in, got.String(), text)
		}
	}
}

func TestMalformedURIs(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", ":", "sip", "sip:", ":h", "*", "1sip:h", "192.0.2.1:5060", "s p:h", "sip:a b@h", "sip:a@h\r\nVia: x", "sip:a@h\x00", "sip:<h>", `sip:"a"@h`,
		"sip:@h", "sip:a@", "sip:a@:5060", "sip:a@b@c", "sip:h;x=a@b;c@d", "sip:h:", "sip:h:+5060", "sip:h:-1", "sip:h:65536", "sip:h:5060x", "sip:h:1:2",
		"sip:::1", "sip:[::1", "sip:[]", "sip:[host]", "sip:[127.0.0.1]", "sip:[::1]x", "sip:x[::1]", "sip:evil[::1]:5060", "sip:a@h/path", "sip:h,i", "sip:höst", "sip:h%00",
	} {
		if u, err := ParseURI(in); err == nil {
			t.Errorf("%q read as %+v", in, u)
		}
	}
}

func TestURIParts(t *testing.T) {
	t.Parallel()
	u, err := ParseURI("sips:a:b@[::ffff:192.0.2.1]:99;Transport=TCP;lr;x=1;x=2")
	if err != nil {
		t.Fatal(err)
	}
	if got := u.AOR(); got != "sip:a:b@[::ffff:192.0.2.1]" {
		t.Errorf("AOR %q", got)
	}
	for name, want := range map[string]string{"transport": "TCP", "LR": "", "x": "1"} {
		if got, ok := u.Param(name); !ok || got != want {
			t.Errorf("parameter %s: %q %v", name, got, ok)
		}
	}
	if _, ok := u.Param("l"); ok {
		t.Error("a parameter that is not there")
	}
	if a, ok := u.Addr(); !ok || a.String() != "192.0.2.1" {
		t.Errorf("address %v %v", a, ok)
	}
	if _, ok := (URI{Scheme: "sip", Host: "h"}).Addr(); ok {
		t.Error("a name is no address")
	}
	if got := (URI{}).String(); got != "" {
		t.Errorf("the zero URI is written as %q", got)
	}
	if got := (URI{Scheme: "sip", Host: "h"}).AOR(); got != "sip:h" {
		t.Errorf("AOR %q", got)
	}
	if got := (URI{Scheme: "tel", opaque: "tel:1"}).AOR(); got != "tel:1" {
		t.Errorf("AOR %q", got)
	}
}

func TestParseAddress(t *testing.T) {
	t.Parallel()
	uri := URI{Scheme: "sip", User: "a", Host: "h"}
	tests := []struct {
		in   string
		want Address
		tag  string
		text string
	}{
		{"<sip:a@h>", Address{URI: uri}, "", "<sip:a@h>"},
		{"sip:a@h", Address{URI: uri}, "", "<sip:a@h>"},
		{"sip:a@h;tag=1", Address{URI: uri, Params: ";tag=1"}, "1", "<sip:a@h>;tag=1"},
		{" <sip:a@h> ; tag = 1 ", Address{URI: uri, Params: "; tag = 1"}, "1", "<sip:a@h>; tag = 1"},
		{"Alice  A. <sip:a@h>;TAG=1", Address{Display: "Alice  A.", URI: uri, Params: ";TAG=1"}, "1", "Alice  A. <sip:a@h>;TAG=1"},
		{`"A \"<sip:x@y>\" \\" <sip:a@h>`, Address{Display: `"A \"<sip:x@y>\" \\"`, URI: uri}, "", `"A \"<sip:x@y>\" \\" <sip:a@h>`},
		{`""<sip:a@h>`, Address{Display: `""`, URI: uri}, "", `"" <sip:a@h>`},
		{`<sip:a@h>;x=";tag=2\";tag=3";tag=1`, Address{URI: uri, Params: `;x=";tag=2\";tag=3";tag=1`}, "1", `<sip:a@h>;x=";tag=2\";tag=3";tag=1`},
		{"<sip:a@h;tag=2>;tag=1", Address{URI: URI{Scheme: "sip", User: "a", Host: "h", Params: ";tag=2"}, Params: ";tag=1"}, "1", "<sip:a@h;tag=2>;tag=1"},
		{"<tel:+1;x=y>;tag=1", Address{URI: URI{Scheme: "tel", opaque: "tel:+1;x=y"}, Params: ";tag=1"}, "1", "<tel:+1;x=y>;tag=1"},
	}
	for _, tt := range tests {
		got, err := ParseAddress(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("%q read as %+v (%v), want %+v", tt.in, got, err, tt.want)
			continue
		}
		if got.Tag() != tt.tag || got.String() != tt.text {
			t.Errorf("%q: tag %q, written as %q", tt.in, got.Tag(), got.String())
		}
	}
	for _, in := range []string{"", "*", "<>", "<sip:a@h", "sip:a@h>", `"A <sip:a@h>`, "<sip:a@h>x", "<sip:a@h>,<sip:b@h>", "A sip:a@h", "<sip:a@h>;x=\ny", "A\x00 <sip:a@h>"} {
		if a, err := ParseAddress(in); err == nil {
			t.Errorf("%q read as %+v", in, a)
		}
	}
	if got := (Address{URI: uri, Params: ";x"}).WithTag("9").String(); got != "<sip:a@h>;tag=9" {
		t.Errorf("with a tag: %q", got)
	}
	if got := (Address{URI: uri, Params: ";tag=1"}).WithTag("").String(); got != "<sip:a@h>" {
		t.Errorf("without a tag: %q", got)
	}
}

func TestParseVia(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in     string
		want   Via
		branch string
	}{
		{"SIP/2.0/UDP h", Via{"UDP", "h", 0, ""}, ""},
		{"sip/2.0/tcp h:5060;branch=z9hG4bK1", Via{"TCP", "h", 5060, ";branch=z9hG4bK1"}, "z9hG4bK1"},
		{"SIP/2.0/UDP [2001:db8::1]:5062;rport;branch=1", Via{"UDP", "2001:db8::1", 5062, ";rport;branch=1"}, "1"},
		{"SIP/2.0/UDP [2001:db8::1];branch=1", Via{"UDP", "2001:db8::1", 0, ";branch=1"}, "1"},
		{"SIP  / 2.0\t/  TLS-SCTP   h : 4000 ; branch = 1 ;ttl=16", Via{"TLS-SCTP", "h", 4000, "; branch = 1 ;ttl=16"}, "1"},
		{`SIP/2.0/UDP h;a=";branch=2";branch=1`, Via{"UDP", "h", 0, `;a=";branch=2";branch=1`}, "1"},
	}
	for _, tt := range tests {
		got, err := ParseVia(tt.in)
		if err != nil || got != tt.want || got.Branch() != tt.branch {
			t.Errorf("%q read as %+v (%v), want %+v", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{"", "SIP/2.0/UDP", "SIP/2.0/UDP ", "SIP/2.0/ h", "SIP/2.0 h", "SIP/2.0/UDPh", "HTTP/2.0/UDP h", "SIP/2.1/UDP h", "SIP/2.0/UDP u@h",
		"SIP/2.0/UDP h:x", "SIP/2.0/UDP h:70000", "SIP/2.0/UDP //h", "SIP/2.0/UDP h?x", "SIP/2.0/UDP h h", "SIP/2.0/UDP ::1", "SIP/2.0/U@P h", "SIP/2.0/UDP h\n;branch=1", "SIP/2.0/UDP ;branch=1"} {
		if v, err := ParseVia(in); err == nil {
			t.Errorf("%q read as %+v", in, v)
		}
	}
}

func TestQuotedParametersDoNotPose(t *testing.T) {
	t.Parallel()
	const params = `;a="x;b=1";;c;b = 2 ;d="\";e=3";e=4`
	for name, want := range map[string]string{"a": `"x;b=1"`, "b": "2", "c": "", "e": "4"} {
		if got, ok := param(params, name); !ok || got != want {
			t.Errorf("%s is %q %v, want %q", name, got, ok, want)
		}
	}
	if got, ok := param(params, strings.Repeat("x", 3)); ok {
		t.Errorf("found %q", got)
	}
}
