package route

import (
	"net/url"
	"strconv"
	"strings"
	"testing"
)

func TestParseURI(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   string
		want URI
	}{
		{"sip:bob@b.example", URI{"sip", "bob", "b.example", 0, ""}},
		{"SIPS:bob@B.Example.:5061", URI{"sips", "bob", "b.example", 5061, ""}},
		{"sip:b.example", URI{"sip", "", "b.example", 0, ""}},
		{"sip:bob:secret@b.example;lr;transport=UDP?Subject=x", URI{"sip", "bob", "b.example", 0, "udp"}},
		{"sip:a;b=c?d@b.example", URI{"sip", "a;b=c?d", "b.example", 0, ""}},
		{"sip:bob@[2001:DB8::1]:5070;transport=tcp", URI{"sip", "bob", "2001:db8::1", 5070, "tcp"}},
		{"sip:[::1]", URI{"sip", "", "::1", 0, ""}},
		{"sip:bob@127.0.0.1:5070", URI{"sip", "bob", "127.0.0.1", 5070, ""}},
		{"tel:+1-201-555-0123;ext=1", URI{"tel", "+12015550123", "", 0, ""}},
	} {
		got, err := ParseURI(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("%s: got %+v, %v; want %+v", tt.in, got, err, tt.want)
		}
	}
}

func TestParseURIRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{"", "none of sip:"},
		{"bob@b.example", "none of sip:"},
		{"http://b.example", "none of sip:"},
		{"sip:", "has no host"},
		{"sip:bob@", "has no host"},
		{"sip:@b.example", "no user"},
		{"sip:bob@a.example@b.example", "more than one @"},
		{"sip:bob@b.example:0", "no port"},
		{"sip:bob@b.example:65536", "no port"},
		{"sip:bob@b.example:+80", "no port"},
		{"sip:bob@b.example:", "no port"},
		{"sip:bob@[::1]5060", "no port"},
		{"sip:bob@[::1", "a [ without ]"},
		{"sip:bob@[fe80::1%25eth0]", "not an IPv6 address"},
		{"sip:bob@[127.0.0.1]", "not an IPv6 address"},
		{"sip:bob@b_ä", "a host with"},
		{"sip:bob@a..b", "empty label"},
		{"sip:bob@b.example..", "empty label"},
		{"sip:bob@b.example;transport=udp;transport=tcp", "transport"},
		{"sip:bob@b.example;transport", "transport"},
		{"sip:bob smith@b.example", "' '"},
		{"sip:bob\r\n@b.example", `'\r'`},
		{"<sip:bob@b.example>", "'<'"},
		{"tel:", "not a telephone number"},
		{"sip:" + strings.Repeat("a", maxURI), "longer than"},
		{"sip:bob@" + strings.Repeat("a", maxHost+1), "longer than"},
	} {
		_, err := ParseURI(tt.in)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got %v, want an error with %q", tt.in, err, tt.want)
		}
		if err != nil && (len(err.Error()) > 250 || strings.ContainsAny(err.Error(), "\r\n")) {
			t.Errorf("%q: the error is no short line: %q", tt.in, err)
		}
	}
}

// FuzzParseURI writes what was read in canonical form again: reading that must
// give the same, and net/url must see the same host and port.
func FuzzParseURI(f *testing.F) {
	for _, seed := range []string{
		"sip:bob@b.example", "sips:b.example:5061;transport=tcp", "sip:a%40b:pw@[2001:db8::1]:5070?x=y",
		"tel:+49-30", "sip:a@b@c", "sip:@", "sip:[::ffff:1.2.3.4]", "sip:x@y.;lr",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		u, err := ParseURI(in)
		if err != nil {
			if u != (URI{}) {
				t.Errorf("%q: %+v beside an error", in, u)
			}
			return
		}
		if u.Scheme == "tel" {
			if again, err := ParseURI("tel:" + u.User); err != nil || again != u {
				t.Errorf("%q: %+v, again %+v, %v", in, u, again, err)
			}
			return
		}
		host := u.Host
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		if u.Port != 0 {
			host += ":" + strconv.Itoa(u.Port)
		}
		text := u.Scheme + ":"
		if u.User != "" {
			text += u.User + "@"
		}
		text += host
		if u.Transport != "" {
			text += ";transport=" + u.Transport
		}
		again, err := ParseURI(text)
		if err != nil || again != u {
			t.Fatalf("%q: %+v; written as %q and read again: %+v, %v", in, u, text, again, err)
		}
		other, err := url.Parse("sip://" + host)
		if err != nil || other.Hostname() != u.Host || u.Port != 0 && other.Port() != strconv.Itoa(u.Port) {
			t.Errorf("%q: host %q port %d; net/url sees %v, %v", in, u.Host, u.Port, other, err)
		}
	})
}
