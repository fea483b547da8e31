package route

import (
	"strings"
	"testing"
)

func TestPatternMatches(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern, uri string
		want         bool
	}{
		{"*@b.example", "sip:bob@b.example", true},
		{"*@b.example", "sip:bob@B.Example", true},
		{"*@B.EXAMPLE.", "sip:bob@b.example", true},
		{"*@b.example", "sip:bob@b.example.:5070;transport=tcp", true},
		{"*@b.example", "sip:b.example", true},
		{"*@b.example", "sip:bob@sub.b.example", false},
		{"*@b.example", "sip:bob@b.example.evil.example", false},
		{"*@b.example", "sip:b.example@evil.example", false},
		{"*@b.example", "sip:bob;x=b.example@evil.example", false},
		{"*@*.b.example", "sip:bob@sub.b.example", true},
		{"*@*.b.example", "sip:bob@b.example", false},
		{"b.example", "sip:bob@b.example", true},
		{"b.example", "sip:b.example", true},
		{"b.example", "sip:b@example", false},
		{"bob", "sip:bob@b.example", true},
		{"bob", "sip:Bob@b.example", false},
		{"bob", "sip:bobby@b.example", false},
		{"bob", "sip:%62ob@b.example", true},
		{"bob", "sip:bob:secret@b.example", true},
		{"bob", "sip:bob;day=mon@b.example", false},
		{"%62ob@*", "sip:bob@b.example", true},
		{"%2A@*", "sip:*@b.example", true},
		{"%2A@*", "sip:bob@b.example", false},
		{"b*b@*", "sip:bob@b.example", true},
		{"b*b@*", "sip:b@b.example", false},
		{"b*b@*", "sip:b*b@b.example", true},
		{"*a*b*@*", "sip:xxaxxbxx@b.example", true},
		{"*a*b*@*", "sip:xxbxxaxx@b.example", false},
		{"+49*", "sip:+4930123@b.example", true},
		{"+49*", "tel:+49-30(123)", true},
		{"tel:+49-30*", "tel:+4930123;phone-context=x", true},
		{"tel:+49*", "sip:+4930123@b.example", false},
		{"sip:bob@b.example", "sip:bob@b.example", true},
		{"sip:bob@b.example", "sips:bob@b.example", true},
		{"sips:bob@b.example", "sip:bob@b.example", false},
		{"SIP:bob@b.example", "SIP:bob@b.example", true},
		{"*", "sip:b.example", true},
		{"*", "tel:110", true},
		{"*@*", "sips:x@y", true},
		{"*@localhost", "sip:bob@localhost", true},
		{"[2001:db8::1]", "sip:bob@[2001:DB8:0::1]:5070", true},
		{"*@[2001:db8::1]", "sip:bob@[2001:db8::2]", false},
		{"*@[2001:db8:*]", "sip:bob@[2001:db8::2]", true},
		{"*@192.0.2.*", "sip:bob@192.0.2.77", true},
		{"*@192.0.2.1", "sip:bob@[::ffff:192.0.2.1]", true},
		{"jürgen@*", "sip:j%C3%BCrgen@b.example", true},
	} {
		p, err := ParsePattern(tt.pattern)
		if err != nil {
			t.Errorf("%s: %v", tt.pattern, err)
			continue
		}
		got, err := p.Match(tt.uri)
		if err != nil || got != tt.want {
			t.Errorf("pattern %s, address %s: got %v, %v; want %v", tt.pattern, tt.uri, got, err, tt.want)
		}
		if p.String() != tt.pattern {
			t.Errorf("pattern %s prints as %s", tt.pattern, p)
		}
	}
}

func TestPatternsRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ pattern, want string }{
		{"", "write * for every address"},
		{"sip:", "write * for every address"},
		{"@b.example", "write *@"},
		{"bob@", "write @*"},
		{"a@b@c", "more than one @"},
		{"bob@b.example:5060", "leave it out"},
		{"b.example:5060", "leave it out"},
		{"*@*.example:5060", "ports and parameters"},
		{"bob@b.example;transport=tcp", "a host with ';'"},
		{"bob smith@*", "has ' ' in the user"},
		{"<sip:bob@b.example>", "has '<' in the user"},
		{"::1", "a domain stands there"},
		{"*@[::1", "a [ without ]"},
		{"*@[nonsense]", "not an IPv6 address"},
		{"*@[fe80::*%eth0]", "has '%' in the domain"},
		{"*@b..example", "empty label"},
		{"*@bücher.example", "a host with"},
		{"tel:1@b", "followed by a number only"},
		{"tel:--", "no number"},
		{strings.Repeat("x", maxPattern+1), "longer than"},
	} {
		_, err := ParsePattern(tt.pattern)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("pattern %q: got %v, want an error with %q", tt.pattern, err, tt.want)
		}
	}
}

func TestZeroPatternMatchesNothing(t *testing.T) {
	t.Parallel()
	if ok, err := (Pattern{}).Match("sip:bob@b.example"); ok || err != nil {
		t.Errorf("got %v, %v", ok, err)
	}
}

func TestMustPatternPanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("no panic for a faulty pattern")
		}
	}()
	MustPattern("")
}

// Backtracking matchers take a time that grows as a power of the number of
// stars here; one pass takes microseconds.
func BenchmarkMatchManyStars(b *testing.B) {
	p := MustPattern(strings.Repeat("a*", 200) + "b@*")
	uri := "sip:" + strings.Repeat("a", 1900) + "@b.example"
	for b.Loop() {
		if ok, _ := p.Match(uri); ok {
			b.Fatal("matched")
		}
	}
}

// naiveGlob is the definition of a star, one octet at a time.
func naiveGlob(pattern, s string) bool {
	if pattern == "" {
		return s == ""
	}
	if pattern[0] == '*' {
		return naiveGlob(pattern[1:], s) || s != "" && naiveGlob(pattern, s[1:])
	}
	return s != "" && s[0] == pattern[0] && naiveGlob(pattern[1:], s[1:])
}

func FuzzGlob(f *testing.F) {
	for _, seed := range [][2]string{{"*", ""}, {"a*a", "a"}, {"a*b*c", "abbc"}, {"**", "x"}, {"*ab*ab", "abab"}, {"", ""}, {"a*", "ba"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 12 || len(s) > 24 || strings.Count(pattern, "*") > 4 {
			return // the oracle takes exponential time
		}
		if got, want := newGlob(pattern).match(s), naiveGlob(pattern, s); got != want {
			t.Errorf("glob %q, subject %q: got %v, want %v", pattern, s, got, want)
		}
	})
}

// FuzzPattern holds whole patterns against the definition: user and domain cut
// at the @, each compared by naiveGlob.
func FuzzPattern(f *testing.F) {
	f.Add("b*@*.b.example", "bob", "sub.b.example")
	f.Add("bob", "bob", "b.example")
	f.Add("*@B.example", "x", "b.EXAMPLE")
	f.Fuzz(func(t *testing.T, pattern, user, host string) {
		p, err := ParsePattern(pattern)
		if err != nil || len(pattern) > 12 || len(user)+len(host) > 30 || strings.Count(pattern, "*") > 4 {
			return
		}
		u, err := ParseURI("sip:" + user + "@" + host)
		if err != nil || p.scheme != "" || strings.ContainsAny(pattern+user, "%:;?") || strings.ContainsAny(host, "[:;?") || strings.Contains(pattern, "[") {
			return
		}
		wantUser, wantHost, both := strings.Cut(pattern, "@")
		if !both {
			wantHost = "*"
			if strings.Contains(wantUser, ".") {
				wantUser, wantHost = "*", wantUser
			}
		}
		lower := func(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }
		want := naiveGlob(wantUser, user) && naiveGlob(lower(wantHost), lower(host))
		if got := p.MatchURI(u); got != want {
			t.Errorf("pattern %q, user %q, host %q: got %v, want %v", pattern, user, host, got, want)
		}
	})
}
