package auth

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

var invite = Request{Method: "INVITE", URI: "sip:alice@example.com;transport=tcp", Body: []byte("v=0\r\n")}

func answer(t testing.TB, s *Session, challenges []string, sent string, r Request) string {
	t.Helper()
	v, err := s.Answer(challenges, sent, r)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Client and server against each other, with each algorithm.
func TestSessionAgainstChallenger(t *testing.T) {
	t.Parallel()
	for _, user := range []string{"bob", "J\u00e4s\u00f8n Doe", "+15550100", "a\u00a0b"} {
		for _, a := range byStrength {
			c := newChallenger(t, Options{Algorithms: []Algorithm{a}, Users: passwords{user: "p:\"w"}})
			s := NewSession(Credentials{User: user, Password: "p:\"w"})
			if _, ok := s.Next(register); ok {
				t.Error("an answer without a challenge")
			}
			first := answer(t, s, c.Challenge(false), "", register)
			if res := want(t, c, OK, register, first); res.User != user || res.Algorithm != a {
				t.Errorf("user %q by %s", res.User, res.Algorithm)
			}
			for i := 2; i < 20; i++ {
				v, ok := s.Next(invite)
				if !ok || !strings.Contains(v, fmt.Sprintf("nc=%08x", i)) {
					t.Fatalf("%v %s", ok, v)
				}
				want(t, c, OK, invite, v)
			}
			bad := NewSession(Credentials{User: user, Password: "p"})
			want(t, c, Wrong, register, answer(t, bad, c.Challenge(false), "", register))
		}
	}
}

func TestAnswerIsSentAs(t *testing.T) {
	t.Parallel()
	v, err := Answer(Credentials{User: `b"\b`, Password: "x"}, []string{`Digest realm="a \"b\"", nonce="n/+=", opaque="", algorithm=sha-256, qop="auth-int , auth"`}, "", invite)
	if err != nil {
		t.Fatal(err)
	}
	e := parse([]string{v})
	if len(e) != 1 {
		t.Fatal(v)
	}
	p, cnonce := e[0], e[0].get("cnonce")
	resp := plainResponse("SHA-256", `b"\b`, `a \"b\"`, "x", "INVITE", invite.URI, "n/+=", "00000001", cnonce, "auth", "")
	exp := `Digest username="b\"\\b", realm="a \"b\"", nonce="n/+=", uri="sip:alice@example.com;transport=tcp", response="` + resp +
		`", algorithm=sha-256, cnonce="` + cnonce + `", qop=auth, nc=00000001, opaque=""`
	if v != exp || len(cnonce) < 16 {
		t.Errorf("sent\n%s, want\n%s", v, exp)
	}
	if unescaped(p.get("username")) != `b"\b` {
		t.Error(p.get("username"))
	}
	// RFC 2069: no qop, no count, and no algorithm where none was named.
	v, err = Answer(Credentials{User: "bob", Password: "x"}, []string{`Digest realm=r,nonce=n`}, "", register)
	exp = `Digest username="bob", realm="r", nonce="n", uri="sip:example.com", response="` +
		plainResponse("MD5", "bob", "r", "x", "REGISTER", "sip:example.com", "n", "", "", "", "") + `"`
	if err != nil || v != exp {
		t.Errorf("sent\n%s, %v, want\n%s", v, err, exp)
	}
	// auth-int where nothing else is offered.
	v, err = Answer(Credentials{User: "bob", Password: "x"}, []string{`Digest realm=r,nonce=n,qop=auth-int`}, "", invite)
	if err != nil || !strings.Contains(v, plainResponse("MD5", "bob", "r", "x", "INVITE", invite.URI, "n", "00000001", parse([]string{v})[0].get("cnonce"), "auth-int", "v=0\r\n")) {
		t.Errorf("%s %v", v, err)
	}
}

func TestChoice(t *testing.T) {
	t.Parallel()
	md5 := `Digest realm="r", nonce="m", algorithm=MD5, qop="auth"`
	sha := `Digest realm="r", nonce="s", algorithm=SHA-256, qop="auth"`
	s512 := `Digest realm="r", nonce="t", algorithm=SHA-512-256, qop="auth"`
	other := `Digest realm="q", nonce="q", algorithm=SHA-256, qop="auth"`
	tests := []struct {
		name  string
		c     Credentials
		in    []string
		nonce string // "": none
	}{
		{"strongest", Credentials{}, []string{md5, sha}, "s"},
		{"strongest, whatever the order", Credentials{}, []string{s512, sha, md5}, "t"},
		{"in one field", Credentials{}, []string{md5 + ", " + sha}, "s"},
		{"split at the commas", Credentials{}, strings.Split(md5+", "+sha, ", "), "s"},
		{"first of equals", Credentials{}, []string{other, sha}, "q"},
		{"realm", Credentials{Realm: "r"}, []string{other, md5}, "m"},
		{"algorithms", Credentials{Algorithms: []Algorithm{MD5}}, []string{sha, md5}, "m"},
		{"no MD5", Credentials{Algorithms: []Algorithm{SHA256, SHA512256}}, []string{md5}, ""},
		{"another realm", Credentials{Realm: "example.com"}, []string{md5, sha}, ""},
		{"beside what is not known", Credentials{}, []string{`Digest realm="r", nonce="x", algorithm=SHA-1`, `Digest realm="r", nonce="x", algorithm=MD5-sess`, `NTLM`, md5}, "m"},
		{"unknown qop", Credentials{}, []string{`Digest realm="r", nonce="x", algorithm=SHA-256, qop="auth-conf"`, md5}, "m"},
		{"no realm", Credentials{}, []string{`Digest nonce="x"`}, ""},
		{"no nonce", Credentials{}, []string{`Digest realm="r"`}, ""},
		{"broken", Credentials{}, []string{`Digest realm="r", nonce="x`}, ""},
		{"nonce with a line end", Credentials{}, []string{"Digest realm=\"r\", nonce=\"x\r\nVia: y\""}, ""},
		{"nonce that would end its quotes", Credentials{}, []string{`Digest realm="r", nonce=x\`}, ""},
		{"none", Credentials{}, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.c.User, tt.c.Password = "bob", "x"
			v, err := Answer(tt.c, tt.in, "", register)
			switch {
			case tt.nonce == "" && !errors.Is(err, ErrNoChallenge):
				t.Errorf("%s %v", v, err)
			case tt.nonce != "" && (err != nil || nonceOf(t, v) != tt.nonce):
				t.Errorf("%s %v, want nonce %s", v, err, tt.nonce)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	c := newChallenger(t, Options{})
	s := NewSession(Credentials{User: "bob", Password: "wrong"})
	one := answer(t, s, c.Challenge(false), "", register)
	if _, err := s.Answer(c.Challenge(false), one, register); !errors.Is(err, ErrRefused) {
		t.Errorf("asked again after a wrong password: %v", err)
	}
	two := answer(t, s, c.Challenge(true), one, register) // stale: the password was right
	same := []string{`Digest realm="example.com", nonce="` + nonceOf(t, two) + `", qop="auth", stale=true`}
	if _, err := s.Answer(same, two, register); !errors.Is(err, ErrRefused) {
		t.Errorf("the same nonce that is stale: %v", err)
	}
	// A nonce that was used again and is turned down may have been forgotten...
	next, _ := s.Next(register)
	three := answer(t, s, c.Challenge(false), next, register)
	// ...but then that is the last word.
	if _, err := s.Answer(c.Challenge(false), three, register); !errors.Is(err, ErrRefused) {
		t.Errorf("asked again: %v", err)
	}
	// Without a count every answer is a first one.
	old, err := Answer(s.credentials, []string{`Digest realm="example.com", nonce="a"`}, "", register)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Answer([]string{`Digest realm="example.com", nonce="b"`}, old, register); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
	// Another realm asks: a proxy on the way.
	if _, err := s.Answer([]string{`Digest realm="example.org", nonce="b"`}, old, register); err != nil {
		t.Error(err)
	}
	// RFC 2069 challenges are not used again.
	if v, ok := s.Next(register); ok {
		t.Error(v)
	}
}

// Requests in parallel that get one nonce, or use it again, have counts of their own.
func TestSessionRace(t *testing.T) {
	t.Parallel()
	c := newChallenger(t, Options{})
	s := NewSession(Credentials{User: "bob", Password: "zanzibar"})
	ch := c.Challenge(false)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			want(t, c, OK, register, answer(t, s, ch, "", register))
			for range 10 {
				if v, ok := s.Next(register); !ok || c.Verify([]string{v}, register).Verdict != OK {
					t.Error(v)
				}
			}
		})
	}
	wg.Wait()
}

func TestAnswerRefusesWhatCannotStand(t *testing.T) {
	t.Parallel()
	ch := []string{`Digest realm="r", nonce="n"`}
	for _, tt := range []struct {
		user string
		r    Request
	}{
		{"", register},
		{"b\r\nob", register},
		{"bob", Request{"REGISTER", "sip:a\"b", nil}},
		{"bob", Request{"REGISTER", "sip:a\r\nb", nil}},
		{"bob", Request{"REGISTER", "", nil}},
		{"bob", Request{"", "sip:a", nil}},
	} {
		if v, err := Answer(Credentials{User: tt.user, Password: "zanzibar"}, ch, "", tt.r); err == nil {
			t.Errorf("%q", v)
		} else if strings.Contains(err.Error(), "zanzibar") {
			t.Error(err)
		}
	}
}
