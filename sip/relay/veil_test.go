package relay

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/sipward/sipward/sip"
)

var inside = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")}

func hidden(a netip.Addr) bool {
	for _, p := range inside {
		if p.Contains(a) {
			return true
		}
	}
	return a.IsLoopback()
}

func TestVeil(t *testing.T) {
	t.Parallel()
	four := &Veil{Hide: hidden, By: netip.MustParseAddr("192.0.2.1")}
	six := &Veil{Hide: hidden, By: netip.MustParseAddr("2001:db8::1")}
	for _, c := range []struct {
		veil     *Veil
		in, want string
	}{
		{nil, "sip:201@10.1.0.5", "sip:201@10.1.0.5"},
		{four, "", ""},
		{four, "Messages-Waiting: yes\r\nVoice-Message: 2/8 (0/2)\r\n", "Messages-Waiting: yes\r\nVoice-Message: 2/8 (0/2)\r\n"},
		{four, "Message-Account: sip:201@10.1.0.5\r\n", "Message-Account: sip:201@192.0.2.1\r\n"},
		{four, "sip:201@10.1.0.5:5060;x=10.1.0.6", "sip:201@192.0.2.1:5060;x=192.0.2.1"},
		{four, `<target uri="sip:a@10.1.0.55"/>10.1.0.5`, `<target uri="sip:a@192.0.2.1"/>192.0.2.1`},
		{four, "sip:face10.1.0.5", "sip:face192.0.2.1"},
		{four, "sip:10.1.0.5.", "sip:192.0.2.1."},
		{four, "sip:110.1.0.5 10.1.0.555 10.2.0.5 198.51.100.7", "sip:110.1.0.5 10.1.0.555 10.2.0.5 198.51.100.7"},
		{four, "[fd00::5]:5060", "192.0.2.1:5060"},
		{four, "fd00::5", "192.0.2.1"},
		{six, "sip:a@10.1.0.5:5060", "sip:a@[2001:db8::1]:5060"},
		{six, "sip:a@[fd00::5]:5060", "sip:a@[2001:db8::1]:5060"},
		{six, "::ffff:10.1.0.5", "[2001:db8::1]"},
		{four, "at 10:20:30, 00:11:22:33:44:55", "at 10:20:30, 00:11:22:33:44:55"},
	} {
		if got := c.veil.text(c.in); got != c.want {
			t.Errorf("%q became %q, want %q", c.in, got, c.want)
		}
	}
}

func TestVeilOfBodies(t *testing.T) {
	t.Parallel()
	v := &Veil{Hide: hidden, By: netip.MustParseAddr("192.0.2.1")}
	m := &sip.Message{Method: "NOTIFY", Body: []byte("sip:201@10.1.0.5")}
	if b, ok := v.body(m, "NOTIFY"); !ok || string(b) != "sip:201@192.0.2.1" {
		t.Errorf("NOTIFY: %q %v", b, ok)
	}
	if b, ok := v.body(m, "MESSAGE"); !ok || string(b) != "sip:201@10.1.0.5" {
		t.Errorf("what a person wrote became %q", b)
	}
	m.Add("Content-Encoding", "gzip")
	if _, ok := v.body(m, "NOTIFY"); ok {
		t.Error("an encoded body was let out unseen")
	}
	if b, ok := (*Veil)(nil).body(m, "NOTIFY"); !ok || string(b) != "sip:201@10.1.0.5" {
		t.Errorf("without a veil: %q %v", b, ok)
	}
}

var adjoined = regexp.MustCompile(`[0-9.]192\.0\.2\.1|192\.0\.2\.1[0-9.]`)

// Whatever the text, no IPv4 address of the inside stands by itself in what
// leaves, and what holds none is not touched.
func FuzzVeil(f *testing.F) {
	for _, s := range []string{"sip:201@10.1.0.5:5060", "[fd00::5]", "10.1.0.5.10.1.0.6", "1.10.1.0.5", "a10.1.0.5b", "::ffff:10.1.0.5", "10.1.0.255.3", "::1", "127.0.0.1", ":::10.1.0.5", "010.1.0.5", "127.0::1"} {
		f.Add(s)
	}
	v := &Veil{Hide: hidden, By: netip.MustParseAddr("192.0.2.1")}
	f.Fuzz(func(t *testing.T, s string) {
		out := v.text(s)
		// Where nothing but digits and dots count, split at everything else.
		for _, w := range strings.FieldsFunc(out, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }) {
			if a, err := netip.ParseAddr(strings.Trim(w, ".")); err == nil && hidden(a) {
				t.Errorf("%q became %q, which tells %v", s, out, a)
			}
		}
		// What stands instead makes no address of its own, unless digits of no address
		// adjoin it, as behind "127." in "127.0::1".
		if !adjoined.MatchString(out) && v.text(out) != out {
			t.Errorf("%q became %q, then %q", s, out, v.text(out))
		}
		if !strings.ContainsAny(s, ".:") && out != s {
			t.Errorf("%q became %q", s, out)
		}
	})
}
