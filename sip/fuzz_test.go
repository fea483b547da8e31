package sip

import (
	"bytes"
	"strings"
	"testing"
)

// checkRoundTrip is the oracle of Parse: what was read writes octets that are
// read as the same message, and these write the same octets.
func checkRoundTrip(t testing.TB, m *Message) {
	t.Helper()
	wire := m.Bytes()
	again, err := Parse(wire)
	if err != nil {
		if len(wire) > MaxMessage {
			return // Content-Length was added, or a name got its long form
		}
		t.Fatalf("%v in what was written:\n%q", err, wire)
	}
	if !same(m, again) {
		t.Fatalf("read as\n%+v\nwritten and read again as\n%+v", m, again)
	}
	if !bytes.Equal(wire, again.Bytes()) {
		t.Fatalf("written as\n%q\nthen as\n%q", wire, again.Bytes())
	}
	// Nobody else may see more lines in it than we do.
	head, _, _ := bytes.Cut(wire, []byte("\r\n\r\n"))
	if n := bytes.Count(head, []byte("\n")); n != len(m.Fields)+1 {
		t.Fatalf("%d fields make %d lines:\n%q", len(m.Fields), n, wire)
	}
}

func FuzzParse(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if (m == nil) && err == nil {
			t.Fatal("neither message nor error")
		}
		if m == nil {
			return
		}
		if m.IsRequest() {
			m = m.Clone()
			res := NewResponse(m, 400, "", "t")
			if again, err := Parse(res.Bytes()); err != nil || !same(res, again) {
				t.Fatalf("response %q: %v", res.Bytes(), err)
			}
			stampVia(m, carolAddr)
		}
		if err == nil {
			checkRoundTrip(t, m)
			if validate(m) == nil {
				// What the code takes for granted behind validate.
				if v, err := ParseVia(m.Values("Via")[0]); err != nil || v.Branch() == "" {
					t.Fatalf("Via %q: %v", m.Values("Via"), err)
				}
				if _, _, ok := m.CSeq(); !ok || m.CallID() == "" {
					t.Fatal("CSeq or Call-ID")
				}
			}
		}
		// A stream is cut where the datagram is cut.
		var whole, split framer
		whole.write(b)
		fromWhole, wholeErr := whole.next()
		for i := range b {
			split.write(b[i : i+1])
			if got, splitErr := split.next(); got != nil || splitErr != nil {
				if (got == nil) != (fromWhole == nil) || (splitErr == nil) != (wholeErr == nil) || got != nil && !same(got, fromWhole) {
					t.Fatalf("in one piece %+v (%v), octet by octet %+v (%v)", fromWhole, wholeErr, got, splitErr)
				}
				return
			}
		}
		if fromWhole != nil {
			t.Fatalf("in one piece %+v, octet by octet nothing", fromWhole)
		}
	})
}

func FuzzParseURI(f *testing.F) {
	for _, s := range []string{"sip:a:b@[::1]:5060;lr;x=y?h=v", "sips:h", "tel:+1;x", "sip:a;b?c/d@h", "sip://h", "sip:h:0", "sip:////@0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURI(s)
		if err != nil {
			return
		}
		text := u.String()
		if again, err := ParseURI(text); err != nil || again != u || again.String() != text {
			t.Fatalf("%q read as %+v, written as %q, read as %+v (%v)", s, u, text, again, err)
		}
		if strings.ContainsAny(text, " \r\n<>\"\x00") || text == "" {
			t.Fatalf("%q written as %q", s, text)
		}
		if u.Host != "" { // the AOR of a SIP URI is a URI of the same user and host
			if aor, err := ParseURI(u.AOR()); err != nil || aor.User != u.User || aor.Host != u.Host || aor.Params != "" {
				t.Fatalf("AOR %q: %v", u.AOR(), err)
			}
		}
	})
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{`"A \"x\" <y>" <sip:a@h;lr>;tag=1;x="a;b"`, "sip:a@h;tag=1", "A B <tel:1>", "<sip:h> ; a = b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		text := a.String()
		again, err := ParseAddress(text)
		if err != nil || again != a || again.Tag() != a.Tag() {
			t.Fatalf("%q read as %+v, written as %q, read as %+v (%v)", s, a, text, again, err)
		}
		// Inside a message it is one value still, and the URI is the same.
		m := &Message{Status: 200, Fields: []Field{{"From", text}}}
		got, err := Parse(m.Bytes())
		if err != nil || got.From() != a {
			t.Fatalf("%q in a message: %+v (%v)", text, got, err)
		}
		if tagged := a.WithTag("x"); tagged.Tag() != "x" {
			t.Fatalf("tag %q", tagged.Tag())
		}
	})
}

func FuzzParseVia(f *testing.F) {
	for _, s := range []string{"SIP/2.0/UDP h:5060;branch=z9hG4bK1;rport", `SIP / 2.0 / tcp [::1] : 1 ;a="x;y"`, "SIP/2.0/UDP h;received=x;rport=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseVia(s)
		if err != nil {
			return
		}
		text := "SIP/2.0/" + v.Transport + " " + bracket(v.Host)
		if v.Port != 0 {
			text += ":" + itoa(v.Port)
		}
		text += v.Params
		again, err := ParseVia(text)
		if err != nil || again != v {
			t.Fatalf("%q read as %+v, written as %q, read as %+v (%v)", s, v, text, again, err)
		}
		// Stamping adds what it must and changes nothing else.
		m := &Message{Fields: []Field{{"Via", text}}}
		if len(splitList(text)) != 1 {
			return
		}
		stampVia(m, carolAddr)
		got, err := ParseVia(m.Get("Via"))
		if err != nil || got.Host != v.Host || got.Port != v.Port || got.Branch() != v.Branch() {
			t.Fatalf("%q stamped to %q (%v)", text, m.Get("Via"), err)
		}
		if _, asked := param(v.Params, "rport"); asked {
			if port, _ := param(got.Params, "rport"); port != "5060" {
				t.Fatalf("%q stamped to %q", text, m.Get("Via"))
			}
		}
		if r, ok := param(got.Params, "received"); ok && r != carolAddr.Addr().String() {
			t.Fatalf("%q stamped to %q", text, m.Get("Via"))
		}
	})
}
