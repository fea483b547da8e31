package relay

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/sip"
)

// What goes on is what the table names: nothing that tells where a phone is,
// and no password that is between others.
func TestFieldsThatGoOn(t *testing.T) {
	t.Parallel()
	veil := &Veil{Hide: hidden, By: netip.MustParseAddr("192.0.2.1")}
	in := &sip.Message{Method: "SUBSCRIBE", Fields: []sip.Field{{Name: "Via", Value: "SIP/2.0/UDP 10.1.0.5;branch=z9hG4bK1"}, {Name: "Contact", Value: "<sip:a@10.1.0.5>"}, {Name: "Event", Value: "dialog"},
		{Name: "EXPIRES", Value: "60"}, {Name: "Authorization", Value: `Digest uri="sip:10.1.0.5"`}, {Name: "User-Agent", Value: "desk"}, {Name: "X-Location", Value: "cellar"},
		{Name: "Warning", Value: "399 10.1.0.5 \"x\""}, {Name: "Subject", Value: "at 10.1.0.5"}, {Name: "WWW-Authenticate", Value: "Digest"}}}
	for name, c := range map[string]struct {
		table, asIs map[string]bool
		want        string
	}{
		"request":               {onward, nil, "Event: dialog|EXPIRES: 60|Subject: at 192.0.2.1"},
		"request with password": {onward, credentials, `Event: dialog|EXPIRES: 60|Authorization: Digest uri="sip:10.1.0.5"|Subject: at 192.0.2.1`},
		"answer":                {back, challenges, `EXPIRES: 60|Warning: 399 192.0.2.1 "x"|WWW-Authenticate: Digest`},
	} {
		out := &sip.Message{}
		copyFields(out, in, c.table, c.asIs, veil)
		var got []string
		for _, f := range out.Fields {
			got = append(got, f.Name+": "+f.Value)
		}
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("%s: %s\nwant %s", name, s, c.want)
		}
	}
}

func TestUnsupported(t *testing.T) {
	t.Parallel()
	m := &sip.Message{Method: "SUBSCRIBE"}
	m.Add("Require", "eventlist, teleport")
	m.Add("Proxy-Require", "sec-agree")
	if got := Unsupported(m); !slices.Equal(got, []string{"teleport", "sec-agree"}) {
		t.Errorf("got %v", got)
	}
}

func TestBound(t *testing.T) {
	t.Parallel()
	b := newBound(3, 2)
	one, two := netip.MustParsePrefix("10.1.0.1/32"), netip.MustParsePrefix("10.1.0.2/32")
	for i, c := range []struct {
		source netip.Prefix
		want   bool
	}{{one, true}, {one, true}, {one, false}, {two, true}, {two, false}} {
		if got := b.take(c.source); got != c.want {
			t.Errorf("%d: %v", i, got)
		}
	}
	b.give(one)
	if !b.take(two) || b.take(one) {
		t.Error("what was given back is not there for others")
	}
	for range 9 {
		b.give(one)
		b.give(two)
	}
	if b.all != 0 || len(b.by) != 0 {
		t.Errorf("%+v is left", b)
	}
}

func TestExpires(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"0": "0", "60": "60", "86368": "86368", "86369": "86368", "4294967295": "86368", "soon": "soon", "-1": "-1"} {
		m := &sip.Message{Method: "SUBSCRIBE"}
		m.Add("Expires", in)
		if capExpires(m); m.Get("Expires") != want {
			t.Errorf("%s became %s, want %s", in, m.Get("Expires"), want)
		}
	}
	for in, want := range map[string]time.Duration{"60": time.Minute, " 0 ": 0, "": -1, "60s": -1, "99999999999": -1} {
		if d, ok := delta(in); ok != (want >= 0) || ok && d != want {
			t.Errorf("%q: %v %v", in, d, ok)
		}
	}
}

// The refusal that tells most is the one that comes back.
func TestWorth(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ more, less int }{{603, 486}, {486, 480}, {415, 503}, {404, 408}, {401, 302}} {
		if worth(&sip.Message{Status: c.more}) <= worth(&sip.Message{Status: c.less}) {
			t.Errorf("%d is worth no more than %d", c.more, c.less)
		}
	}
}

// A response of the far end becomes one that the sender may have.
func TestAnswer(t *testing.T) {
	t.Parallel()
	req := &sip.Message{Method: "MESSAGE", Fields: []sip.Field{{Name: "Via", Value: "SIP/2.0/UDP 10.1.0.5;branch=z9hG4bK1"}, {Name: "From", Value: "<sip:a@x>;tag=1"}, {Name: "To", Value: "<sip:b@x>"}, {Name: "Call-ID", Value: "c"}, {Name: "CSeq", Value: "1 MESSAGE"}}}
	for _, c := range []struct {
		status    int
		passwords bool
		want      string
		asks      bool
	}{
		{200, false, "200 OK", false}, {302, false, "480 Temporarily Unavailable", false}, {503, false, "500 Server Internal Error", false},
		{401, true, "401 Unauthorized", true}, {407, false, "403 Forbidden (the other side asks for a password)", false}, {489, false, "489 Bad Event", false},
	} {
		res := &sip.Message{Status: c.status, Reason: sip.ReasonPhrase(c.status), Body: []byte("x")}
		for _, name := range []string{"WWW-Authenticate", "Proxy-Authenticate", "Contact", "Content-Type"} {
			res.Add(name, "x")
		}
		out := answer(&sip.ServerTx{Request: req}, res, "t", &Onward{Passwords: c.passwords})
		if got := fmt.Sprint(out.Status, " ", out.Reason); got != c.want || out.Has("WWW-Authenticate") != c.asks || out.Has("Contact") || out.To().Tag() != "t" {
			t.Errorf("%d became %s", c.status, out.Bytes())
		}
	}
}
