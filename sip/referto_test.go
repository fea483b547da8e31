package sip

import (
	"net/url"
	"strings"
	"testing"
)

var referTos = []struct {
	in                    string
	uri, method, replaces string // uri "": refused
}{
	{"<sip:carol@c.example>", "sip:carol@c.example", "INVITE", ""},
	{"sip:carol@c.example", "sip:carol@c.example", "INVITE", ""},
	{"sip:carol@c.example;x=y", "sip:carol@c.example", "INVITE", ""}, // a parameter of the field
	{`"Carol <x>" <sip:carol@c.example;method=invite;transport=tcp>`, "sip:carol@c.example;transport=tcp", "INVITE", ""},
	{"<sip:carol@c.example;method=BYE>", "sip:carol@c.example", "BYE", ""},
	{"<sip:carol@c.example?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2>", "sip:carol@c.example", "INVITE", "a@b;to-tag=1;from-tag=2"},
	{`"a \"<q" <sip:c?l@c.example;lr?Subject=x&replaces=a%3bfrom-tag%3d2%3bto-tag%3d1%3bearly-only&Route=%3Csip:x%3E>`, "sip:c?l@c.example;lr", "INVITE", "a;to-tag=1;from-tag=2;early-only"},
	{"sip:carol@c.example?Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D2", "sip:carol@c.example", "INVITE", "a;to-tag=1;from-tag=2"},
	{"<sip:carol@c.example?Replaces=a%3Bto-tag%3D1>", "", "", ""},
	{"<sip:carol@c.example?Replaces=a%3Bto-tag%3D1%3Bto-tag%3D1%3Bfrom-tag%3D2>", "", "", ""},
	{"<sip:carol@c.example?Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D2&Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D2>", "", "", ""},
	{"<sip:carol@c.example?Replaces=a%0d%0aX:%20y%3Bto-tag%3D1%3Bfrom-tag%3D2>", "", "", ""},
	{"<sip:carol@c.example?Replaces=%zz>", "", "", ""},
	{"<tel:+4930123>", "", "", ""},
	{"<http://c.example>", "", "", ""},
	{"", "", "", ""},
	{"<sip:carol@c.example" + strings.Repeat("x", maxReferTo) + ">", "", "", ""},
}

func TestParseReferTo(t *testing.T) {
	t.Parallel()
	for _, c := range referTos {
		r, err := ParseReferTo(c.in)
		if (err != nil) != (c.uri == "") {
			t.Errorf("%q: %v", c.in, err)
			continue
		}
		replaces := ""
		if r.Replaces != nil {
			replaces = r.Replaces.String()
		}
		if err == nil && (r.URI.String() != c.uri || r.Method != c.method || replaces != c.replaces) {
			t.Errorf("%q: %q %q %q", c.in, r.URI, r.Method, replaces)
		}
	}
}

// What is read can be written and read again, and holds nothing that would be
// another line or header.
func FuzzReferTo(f *testing.F) {
	for _, c := range referTos {
		f.Add(c.in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReferTo(s)
		if err != nil {
			return
		}
		text := r.URI.String()
		if r.Replaces != nil {
			text += "?Replaces=" + strings.ReplaceAll(url.QueryEscape(r.Replaces.String()), "+", "%20")
			if again, err := ParseReplaces(r.Replaces.String()); err != nil || again != *r.Replaces {
				t.Fatalf("%q: %+v, then %+v: %v", s, *r.Replaces, again, err)
			}
		}
		again, err := ParseReferTo("<" + text + ">")
		if err != nil || again.URI != r.URI {
			t.Fatalf("%q: %q, then %+v: %v", s, text, again, err)
		}
		if strings.ContainsAny(text, "\r\n") {
			t.Fatalf("%q: %q", s, text)
		}
	})
}
