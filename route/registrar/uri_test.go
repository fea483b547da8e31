package registrar

import (
	"strings"
	"testing"

	"github.com/sipward/sipward/route"
)

func TestCanonical(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ aor, want string }{
		{"sip:alice@a.example", "sip:alice@a.example"},
		{"SIP:alice@A.Example.:5070;transport=tcp?x=y", "sip:alice@a.example"},
		{"sip:Alice@a.example", "sip:Alice@a.example"},
		{"sip:alice:secret@a.example", "sip:alice@a.example"},
		{"sip:%61l%69ce@a.example", "sip:alice@a.example"},
		{"sip:%2b4930@a.example", "sip:+4930@a.example"},
		{"sip:a%40b@a.example", "sip:a%40b@a.example"},
		{"sip:a%3ab@a.example", "sip:a%3Ab@a.example"},
		{"sip:a%2561@a.example", "sip:a%2561@a.example"},
		{"sip:100%@a.example", "sip:100%25@a.example"},
		{"sip:%zz%4@a.example", "sip:%25zz%254@a.example"},
		{"sip:jürgen@a.example", "sip:j%C3%BCrgen@a.example"},
		{"sip:j%c3%bcrgen@a.example", "sip:j%C3%BCrgen@a.example"},
		{"sip:%00%0d%0A@a.example", "sip:%00%0D%0A@a.example"},
		{"sip:alice@[2001:DB8:0::1]:5060", "sip:alice@[2001:db8::1]"},
		{"sip:alice@[::ffff:192.0.2.1]", "sip:alice@192.0.2.1"},
		{"sips:alice@a.example", "error: not registered here"},
		{"tel:110", "error: not registered here"},
		{"sip:a.example", "error: has no user"},
		{"alice", "error: begins with none"},
		{"sip:" + strings.Repeat("ü", 100) + "@a.example", "error: longer than"},
	} {
		got, err := Canonical(tt.aor)
		if text, bad := strings.CutPrefix(tt.want, "error: "); bad {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%s: got %s, %v; want an error with %q", tt.aor, got, err, text)
			}
		} else if err != nil || got != tt.want {
			t.Errorf("%s: got %s, %v; want %s", tt.aor, got, err, tt.want)
		}
	}
}

// The pairs of RFC 3261 section 19.1.4 that a contact can be, and others.
func TestContactsEqual(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", true},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;security=on", true},
		{"sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on", true},
		{"sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;newparam=6", false},
		{"sip:biloxi.com;transport=tcp;method=REGISTER", "sip:biloxi.com;method=REGISTER;transport=tcp", true},
		{"sip:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", false},
		{"sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false},
		{"sip:bob@biloxi.com;maddr=h", "sip:bob@biloxi.com", false},
		{"sip:bob@biloxi.com;ttl=1", "sip:bob@biloxi.com", false},
		{"sip:bob@biloxi.com;user=phone", "sip:bob@biloxi.com", false},
		{"sip:bob@biloxi.com;method=INVITE", "sip:bob@biloxi.com", false},
		{"sip:bob@biloxi.com;lr", "sip:bob@biloxi.com;lr", true},
		{"sip:bob@biloxi.com;lr", "sip:bob@biloxi.com;lr=on", false},
		{"sip:bob@biloxi.com;", "sip:bob@biloxi.com", true},
		{"sip:bob@biloxi.com;%6cr=%6Fn", "sip:bob@biloxi.com;LR=ON", true},
		{"sip:bob:x@biloxi.com", "sip:bob@biloxi.com", false},
		{"sip:bob:@biloxi.com", "sip:bob@biloxi.com", false},
		{"sip:bob:x@biloxi.com", "sip:bob:%78@biloxi.com", true},
		{"sip:bob:x@biloxi.com", "sip:bob:X@biloxi.com", false},
		{"sip:bob@[2001:db8::1]:5060", "sip:bob@[2001:0db8:0::1]:5060", true},
		{"sip:bob@biloxi.com;rinstance=1", "sip:bob@biloxi.com;rinstance=2", false},
		{"sip:biloxi.com", "sip:bob@biloxi.com", false},
	} {
		a, err := parseContact(tt.a)
		if err != nil {
			t.Fatal(err)
		}
		b, err := parseContact(tt.b)
		if err != nil {
			t.Fatal(err)
		}
		if a.equal(b) != tt.want || b.equal(a) != tt.want {
			t.Errorf("%s and %s: %v and %v, want %v", tt.a, tt.b, a.equal(b), b.equal(a), tt.want)
		}
	}
}

// A canonical form is an address that routing reads as the same, and its own.
func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{alice, "SIP:%61%zz%@[::1]:5;x", "sip:a:b@c.", "sip:\xff%00@x", "sip:a;b=%2C,c@d", "tel:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, aor string) {
		key, err := Canonical(aor)
		if err != nil {
			return
		}
		for i := range len(key) {
			if key[i] <= ' ' || key[i] >= 0x7f {
				t.Errorf("%q has %q in it", key, key[i])
			}
		}
		if again, err := Canonical(key); err != nil || again != key || len(key) > maxAOR {
			t.Errorf("%q becomes %q, and that %q, %v", aor, key, again, err)
		}
		before, err := route.ParseURI(aor)
		if err != nil {
			t.Fatal(err)
		}
		if after, err := route.ParseURI(key); err != nil || after.Host != before.Host || after.Port != 0 {
			t.Errorf("%q becomes %q, read as %+v, %v", aor, key, after, err)
		}
		// Routing takes both for the same user.
		pattern, err := route.ParsePattern(key)
		if err != nil {
			if len(key) < 400 && !strings.Contains(key, "*") {
				t.Errorf("%q is no pattern: %v", key, err)
			}
			return
		}
		if ok, err := pattern.Match(aor); !ok || err != nil {
			t.Errorf("%q does not match %q: %v", key, aor, err)
		}
	})
}

// A contact equals itself and its other spelling, and equality has no direction.
func FuzzContacts(f *testing.F) {
	f.Add("sip:a@h;x=1;transport=tcp", "sip:a@h;y")
	f.Add("sip:a:b@h:5060", "sip:%61@H.")
	f.Add("sip:[::1];;lr", "sip:[::1]")
	f.Add("sip:a@h;%3b=%25", "sip:a@h;%3B=%")
	f.Fuzz(func(t *testing.T, s, other string) {
		a, err := parseContact(s)
		if err != nil {
			return
		}
		if !a.equal(a) {
			t.Errorf("%q is not itself", s)
		}
		if scheme, rest, _ := strings.Cut(s, ":"); !strings.Contains(rest, "@") {
			if b, err := parseContact(strings.ToUpper(scheme) + ":" + upperASCII(rest)); err != nil || !a.equal(b) {
				t.Errorf("%q is not its spelling in capitals: %v", s, err)
			}
		}
		if b, err := parseContact(other); err == nil && a.equal(b) != b.equal(a) {
			t.Errorf("%q and %q: %v one way, %v the other", s, other, a.equal(b), b.equal(a))
		}
		if _, err := route.ParseNextHop(s); err != nil {
			t.Errorf("nothing can be sent to %q: %v", s, err)
		}
	})
}

func upperASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}, s)
}
