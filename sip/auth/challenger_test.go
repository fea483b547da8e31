package auth

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestChallenge(t *testing.T) {
	t.Parallel()
	c := newChallenger(t, Options{})
	got := c.Challenge(false)
	if len(got) != 2 {
		t.Fatalf("%d challenges, want SHA-256 and MD5", len(got))
	}
	n := nonceOf(t, got[0])
	for i, a := range []string{"SHA-256", "MD5"} {
		if w := `Digest realm="example.com", nonce="` + n + `", algorithm=` + a + `, qop="auth"`; got[i] != w {
			t.Errorf("challenge %d is\n%s, want\n%s", i, got[i], w)
		}
	}
	again := c.Challenge(true)
	if !strings.HasSuffix(again[1], ", stale=true") {
		t.Errorf("no stale in %s", again[1])
	}
	if nonceOf(t, again[0]) == n {
		t.Error("the same nonce twice")
	}
	only := newChallenger(t, Options{Algorithms: []Algorithm{SHA512256, SHA256, MD5}, Users: fixed{"bob", MD5, "x"}})
	if got := only.Challenge(false); len(got) != 1 || !strings.Contains(got[0], "algorithm=MD5,") {
		t.Errorf("users with MD5 alone are offered %q", got)
	}
	none := newChallenger(t, Options{Users: fixed{"bob", SHA512256, "x"}})
	if got := none.Challenge(false); len(got) != 1 || !strings.Contains(got[0], "algorithm=SHA-256,") {
		t.Errorf("where nothing serves, %q is offered", got)
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	good := Options{Realm: realm, Users: passwords{}}
	for name, change := range map[string]func(*Options){
		"no realm":          func(o *Options) { o.Realm = "" },
		"quote in realm":    func(o *Options) { o.Realm = `a"b` },
		"line in realm":     func(o *Options) { o.Realm = "a\r\nVia: b" },
		"colon in realm":    func(o *Options) { o.Realm = "a:b" },
		"no users":          func(o *Options) { o.Users = nil },
		"negative lifetime": func(o *Options) { o.Lifetime = -1 },
		"unknown algorithm": func(o *Options) { o.Algorithms = []Algorithm{"SHA-1"} },
		"algorithm twice":   func(o *Options) { o.Algorithms = []Algorithm{MD5, MD5} },
		"no algorithm":      func(o *Options) { o.Algorithms = []Algorithm{} },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
}

// What phones send, written by hand: NONCE and the responses are filled in.
func TestVerifyForms(t *testing.T) {
	t.Parallel()
	const uri = "sip:alice@example.com"
	invite := Request{Method: "INVITE", URI: uri, Body: []byte("v=0\r\n")}
	tests := []struct {
		name    string
		verdict Verdict
		value   string
	}{
		{"as RFC 8760", OK, `Digest username="bob",realm="example.com",nonce="NONCE",uri="URI",response="SHA",algorithm=SHA-256,cnonce="c",qop=auth,nc=00000001`},
		{"MD5", OK, `Digest username="bob", realm="example.com", nonce="NONCE", uri="URI", response="MD5", algorithm=MD5, cnonce="c", qop=auth, nc=00000001`},
		{"no algorithm means MD5", OK, `Digest username="bob", realm="example.com", nonce="NONCE", uri="URI", response="MD5", cnonce="c", qop=auth, nc=00000001`},
		{"no algorithm, but SHA-256", Wrong, `Digest username="bob", realm="example.com", nonce="NONCE", uri="URI", response="SHA", cnonce="c", qop=auth, nc=00000001`},
		{"all quoted", OK, `Digest username="bob", realm="example.com", nonce="NONCE", uri="URI", response="SHA", algorithm="SHA-256", cnonce="c", qop="auth", nc="00000001"`},
		{"nothing quoted", OK, `Digest username=bob, realm=example.com, nonce=NONCE, uri=URI, response=SHA, algorithm=SHA-256, cnonce=c, qop=auth, nc=00000001`},
		{"other cases", OK, `DIGEST Username="bob", REALM="example.com", Nonce="NONCE", URI="URI", Response="UPPER", Algorithm=sha-256, CNonce="c", QOP=auth, NC=00000001`},
		{"another order", OK, `Digest response="SHA", nc=00000001, qop=auth, cnonce="c", algorithm=SHA-256, uri="URI", nonce="NONCE", realm="example.com", username="bob"`},
		{"blanks and commas", OK, "Digest   ,username = \"bob\" ,, realm=\t\"example.com\"\r\n ,nonce= \"NONCE\" uri=\"URI\",response=\"SHA\",algorithm=SHA-256,cnonce=\"c\",qop=auth,nc=00000001,"},
		{"escapes", OK, `Digest username="\b\ob", realm="exa\mple.com", nonce="NONCE", uri="URI", response="SHA", algorithm=SHA-256, cnonce="c", qop=auth, nc=00000001`},
		{"opaque and strangers", OK, `Digest username="bob", realm="example.com", nonce="NONCE", uri="URI", response="SHA", algorithm=SHA-256, cnonce="c", qop=auth, nc=00000001, opaque="", auth-param="x, y=z"`},
		{"the same said twice", OK, `Digest username="bob", username="bob", realm="example.com", nonce="NONCE", uri="URI", response="SHA", algorithm=SHA-256, cnonce="c", qop=auth, nc=00000001`},
		{"short count", OK, `Digest username="bob", realm="example.com", nonce="NONCE", uri="URI", response="SHORT", algorithm=SHA-256, cnonce="c", qop=auth, nc=1`},
		{"RFC 2069", OK, `Digest username="bob", realm="example.com", nonce="NONCE", uri="URI", response="OLD"`},
		{"RFC 2069 with empty qop", OK, `Digest username="bob", realm="example.com", nonce="NONCE", uri="URI", response="OLD", qop=""`},
		{"auth-int", OK, `Digest username="bob", realm="example.com", nonce="NONCE", uri="URI", response="INT", algorithm=SHA-256, cnonce="c", qop=auth-int, nc=00000001`},
		{"URI without port and parameters", OK, `Digest username="bob", realm="example.com", nonce="NONCE", uri="URI", response="SHA", algorithm=SHA-256, cnonce="c", qop=auth, nc=00000001`},

		{"nothing", Missing, ``},
		{"Basic", Missing, `Basic Ym9iOnphbnppYmFy`},
		{"another realm", Missing, `Digest username="bob", realm="example.org", nonce="NONCE", uri="URI", response="SHA", algorithm=SHA-256, cnonce="c", qop=auth, nc=00000001`},
		{"no realm", Missing, `Digest username="bob", nonce="NONCE", uri="URI", response="SHA", algorithm=SHA-256, cnonce="c", qop=auth, nc=00000001`},
		{"open quote", Missing, `Digest username="bob", realm="example.com", nonce="NONCE", uri="URI", response="SHA`},
		{"two users", Missing, `Digest username="bob", username="alice", realm="example.com", nonce="NONCE", uri="URI", response="SHA", algorithm=SHA-256, cnonce="c", qop=auth, nc=00000001`},
		{"no scheme", Missing, `username="bob", realm="example.com", nonce="NONCE", uri="URI", response="SHA", algorithm=SHA-256, cnonce="c", qop=auth, nc=00000001`},

		{"no user", Wrong, `Digest realm="example.com", nonce="NONCE", uri="URI", response="SHA", algorithm=SHA-256, cnonce="c", qop=auth, nc=00000001`},
		{"unknown user", Wrong, `Digest username="bib", realm="example.com", nonce="NONCE", uri="URI", response="SHA", algorithm=SHA-256, cnonce="c", qop=auth, nc=00000001`},
		{"no nonce", Wrong, `Digest username="bob", realm="example.com", uri="URI", response="SHA", algorithm=SHA-256, cnonce="c", qop=auth, nc=00000001`},
		{"no uri", Wrong, `Digest username="bob", realm="example.com", nonce="NONCE", response="SHA", algorithm=SHA-256, cnonce="c", qop=auth, nc=00000001`},
		{"another callee", Wrong, `Digest username="bob", realm="example.com", nonce="NONCE", uri="sip:900@example.com", response="SHA", algorithm=SHA-256, cnonce="c", qop=auth, nc=00000001`},
		{"another cnonce", Wrong, `Digest username="bob", realm="example.com", nonce="NONCE", uri="URI", response="SHA", algorithm=SHA-256, cnonce="d", qop=auth, nc=00000001`},
		{"another count", Wrong, `Digest username="bob", realm="example.com", nonce="NONCE", uri="URI", response="SHA", algorithm=SHA-256, cnonce="c", qop=auth, nc=00000002`},
		{"count that is none", Wrong, `Digest username="bob", realm="example.com", nonce="NONCE", uri="URI", response="SHA", algorithm=SHA-256, cnonce="c", qop=auth, nc=x`},
		{"qop and no count", Wrong, `Digest username="bob", realm="example.com", nonce="NONCE", uri="URI", response="SHA", algorithm=SHA-256, qop=auth`},
		{"unknown qop", Wrong, `Digest username="bob", realm="example.com", nonce="NONCE", uri="URI", response="SHA", algorithm=SHA-256, cnonce="c", qop=auth-conf, nc=00000001`},
		{"algorithm not offered", Wrong, `Digest username="bob", realm="example.com", nonce="NONCE", uri="URI", response="S512", algorithm=SHA-512-256, cnonce="c", qop=auth, nc=00000001`},
		{"empty response", Wrong, `Digest username="bob", realm="example.com", nonce="NONCE", uri="URI", response="", algorithm=SHA-256, cnonce="c", qop=auth, nc=00000001`},
		{"short response", Wrong, `Digest username="bob", realm="example.com", nonce="NONCE", uri="URI", response="MD5", algorithm=SHA-256, cnonce="c", qop=auth, nc=00000001`},
		{"auth for auth-int", Wrong, `Digest username="bob", realm="example.com", nonce="NONCE", uri="URI", response="SHA", algorithm=SHA-256, cnonce="c", qop=auth-int, nc=00000001`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newChallenger(t, Options{})
			n := nonceOf(t, c.Challenge(false)[0])
			resp := func(a, nc, qop string) string {
				return plainResponse(a, "bob", realm, "zanzibar", "INVITE", uri, n, nc, "c", qop, "v=0\r\n")
			}
			value := strings.NewReplacer("NONCE", n, "URI=\"URI\"", `URI="`+uri+`"`, "\"URI\"", `"`+uri+`"`, "=URI,", "="+uri+",",
				`"SHA"`, `"`+resp("SHA-256", "00000001", "auth")+`"`, "=SHA,", "="+resp("SHA-256", "00000001", "auth")+",",
				"UPPER", strings.ToUpper(resp("SHA-256", "00000001", "auth")),
				"SHORT", resp("SHA-256", "1", "auth"), `"MD5"`, `"`+resp("MD5", "00000001", "auth")+`"`,
				"S512", resp("SHA-512-256", "00000001", "auth"), "OLD", resp("MD5", "", ""), `"INT"`, `"`+resp("SHA-256", "00000001", "auth-int")+`"`,
			).Replace(tt.value)
			r := invite
			if strings.HasPrefix(tt.name, "URI without") {
				r.URI += ":5060;transport=udp;user=phone"
			}
			res := want(t, c, tt.verdict, r, value)
			if tt.verdict == OK && res.User != "bob" {
				t.Errorf("user %q", res.User)
			}
			if tt.verdict == OK { // whatever its form, it is good once
				want(t, c, Stale, r, value)
			}
		})
	}
}

func TestVerifySeveral(t *testing.T) {
	t.Parallel()
	c := newChallenger(t, Options{})
	good := bobs(nonceOf(t, c.Challenge(false)[0]), "00000001")
	other := strings.Replace(good, realm, "example.org", 1)
	bad := strings.Replace(good, "response=\"", "response=\"0", 1)

	want(t, c, Wrong, register, bad, bad, good) // the third guess is not tried
	want(t, c, OK, register, other, other, bad, good)
	good = bobs(nonceOf(t, c.Challenge(false)[0]), "00000001")
	want(t, c, OK, register, "Basic x=, "+other+", "+good) // in one field
	good = bobs(nonceOf(t, c.Challenge(false)[0]), "00000001")
	want(t, c, OK, register, strings.Split(good, ", ")...) // split at the commas

	// One who turns the answer to another callee changes nothing that is hashed.
	good = bobs(nonceOf(t, c.Challenge(false)[0]), "00000001")
	want(t, c, Wrong, Request{Method: "REGISTER", URI: "sip:900@example.com"}, good)

	// The method is part of the proof.
	good = bobs(nonceOf(t, c.Challenge(false)[0]), "00000001")
	want(t, c, Wrong, Request{Method: "INVITE", URI: register.URI}, good)

	// Beyond the bounds nothing is read.
	want(t, c, Missing, register, strings.Repeat("a, ", maxOctets/3), good)
	want(t, c, Missing, register, good, strings.Repeat("a, ", maxOctets/3))
	want(t, c, Missing, register, strings.Repeat("Basic a=, ", maxEntries+1), good)
	many := good
	for i := range maxParams {
		many += fmt.Sprintf(", x%d=1", i)
	}
	want(t, c, Missing, register, many)
	want(t, c, OK, register, good)
}

func TestReplay(t *testing.T) {
	t.Parallel()
	c := newChallenger(t, Options{})
	n := nonceOf(t, c.Challenge(false)[0])
	for _, step := range []struct {
		nc string
		v  Verdict
	}{
		{"00000001", OK}, {"00000001", Stale}, {"00000002", OK}, {"00000005", OK}, {"00000004", OK}, {"00000004", Stale},
		{"00000003", OK}, {"00000002", Stale}, {"00000050", OK}, {"00000010", Stale}, {"00000011", OK}, {"ffffffff", OK},
		{"00000051", Stale}, {"ffffffff", Stale}, {"fffffffe", OK},
	} {
		t.Log(step.nc)
		want(t, c, step.v, register, bobs(n, step.nc))
	}
	// An answer without a count uses the nonce up, and comes too late for one in use.
	old := func(n string) string {
		return fmt.Sprintf(`Digest username="bob", realm="example.com", nonce="%s", uri="sip:example.com", response="%s"`,
			n, plainResponse("MD5", "bob", realm, "zanzibar", "REGISTER", "sip:example.com", n, "", "", "", ""))
	}
	want(t, c, Stale, register, old(n))
	n = nonceOf(t, c.Challenge(false)[0])
	want(t, c, OK, register, bobs(n, "00000001"))
	want(t, c, Stale, register, old(n))
	n = nonceOf(t, c.Challenge(false)[0])
	want(t, c, OK, register, old(n))
	want(t, c, Stale, register, old(n))
	want(t, c, Stale, register, bobs(n, "00000001"))
}

func TestNonceAge(t *testing.T) {
	t.Parallel()
	w := newWatch()
	c := newChallenger(t, Options{Now: w.now, Lifetime: time.Minute})
	n := nonceOf(t, c.Challenge(false)[0])
	w.pass(time.Minute)
	want(t, c, OK, register, bobs(n, "00000001"))
	w.pass(1)
	want(t, c, Stale, register, bobs(n, "00000002"))
	want(t, c, Wrong, register, strings.Replace(bobs(n, "00000002"), `"c"`, `"d"`, 1))
	w.pass(-time.Hour) // nor does a clock that is set back bring it to life
	want(t, c, Stale, register, bobs(n, "00000003"))
	w.pass(time.Hour)

	// A nonce of another process, one that was changed, and one spelled anew.
	n = nonceOf(t, newChallenger(t, Options{Now: w.now}).Challenge(false)[0])
	want(t, c, Stale, register, bobs(n, "00000001"))
	n = nonceOf(t, c.Challenge(false)[0])
	for i := range n {
		b := []byte(n)
		b[i] ^= 1
		want(t, c, Stale, register, bobs(string(b), "00000001"))
	}
	for _, last := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
		if spelled := n[:len(n)-1] + string(last); spelled != n {
			want(t, c, Stale, register, bobs(spelled, "00000001"))
		}
	}
	want(t, c, Stale, register, bobs(n+"=", "00000001"), bobs("x", "00000001"))
	want(t, c, OK, register, bobs(n, "00000001"))
}

// Under the real clock, as synctest tells it.
func TestLifetime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newChallenger(t, Options{})
		n := nonceOf(t, c.Challenge(false)[0])
		time.Sleep(5*time.Minute - time.Second)
		want(t, c, OK, register, bobs(n, "00000001"))
		time.Sleep(2 * time.Second)
		want(t, c, Stale, register, bobs(n, "00000002"))
	})
}

// 100 000 strangers who ask, and as many who guess, leave nothing behind.
func TestStrangersKeepNothing(t *testing.T) {
	t.Parallel()
	c := newChallenger(t, Options{})
	for i := range 100_000 {
		n := nonceOf(t, c.Challenge(false)[0])
		if i%10 == 0 {
			c.Verify([]string{strings.Replace(bobs(n, "00000001"), "bob", fmt.Sprint("u", i), 1)}, register)
		}
	}
	if len(c.counts.users) != 0 {
		t.Errorf("%d entries", len(c.counts.users))
	}
}

// A user has so many nonces and no more; one that is forgotten stays refused,
// and what is forgotten by age leaves no room taken.
func TestUserKeepsLittle(t *testing.T) {
	t.Parallel()
	w := newWatch()
	c := newChallenger(t, Options{Now: w.now, Users: passwords{"bob": "zanzibar", "eve": "e"}})
	var used []string
	for range 3 * maxNonces {
		w.pass(time.Millisecond)
		n := nonceOf(t, c.Challenge(false)[0])
		want(t, c, OK, register, bobs(n, "00000001"))
		used = append(used, n)
	}
	if l := len(c.counts.users["bob"].list); l != maxNonces {
		t.Errorf("%d nonces, want %d", l, maxNonces)
	}
	for i, n := range used {
		want(t, c, Stale, register, bobs(n, "00000001"))
		next := Stale
		if i >= 2*maxNonces {
			next = OK
		}
		want(t, c, next, register, bobs(n, "00000002"))
	}
	// Another user's nonces have nothing to do with it.
	n := used[0]
	eve := fmt.Sprintf(`Digest username="eve", realm="example.com", nonce="%s", uri="sip:example.com", response="%s"`,
		n, plainResponse("MD5", "eve", realm, "e", "REGISTER", "sip:example.com", n, "", "", "", ""))
	want(t, c, OK, register, eve)

	w.pass(11 * time.Minute)
	n = nonceOf(t, c.Challenge(false)[0])
	want(t, c, OK, register, bobs(n, "00000001"))
	if l := len(c.counts.users); l != 1 {
		t.Errorf("%d users are remembered, want bob", l)
	}
	if l := len(c.counts.users["bob"].list); l != 1 {
		t.Errorf("%d of bob's nonces are remembered, want one", l)
	}
}

// One who read the clock before a sweep forgot the nonce must not revive it.
func TestSweepCannotRevive(t *testing.T) {
	t.Parallel()
	c := newCounts(100)
	n := nonce{made: 1000, tail: 1}
	if !c.take("bob", n, 1, true, 1050) {
		t.Fatal("refused")
	}
	c.take("eve", nonce{made: 1200}, 1, true, 1201) // sweeps
	if c.take("bob", n, 1, true, 1100) {
		t.Error("a forgotten nonce came back")
	}
}

// Under many goroutines a count is still good once.
func TestReplayRace(t *testing.T) {
	t.Parallel()
	c := newChallenger(t, Options{})
	n := nonceOf(t, c.Challenge(false)[0])
	var ok, all atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := 1; i <= 40; i++ {
				all.Add(1)
				if c.Verify([]string{bobs(n, fmt.Sprintf("%08x", i))}, register).Verdict == OK {
					ok.Add(1)
				}
				c.Challenge(false)
			}
		})
	}
	wg.Wait()
	if ok.Load() != 40 || all.Load() != 320 {
		t.Errorf("%d of %d answers were taken, want 40", ok.Load(), all.Load())
	}
}

// A name that does not exist costs what a wrong password costs. Not parallel:
// it counts allocations; BenchmarkVerify shows the times.
func TestUnknownCostsTheSame(t *testing.T) {
	users := &counting{passwords: passwords{"bob": "zanzibar"}}
	c := newChallenger(t, Options{Users: users})
	n := nonceOf(t, c.Challenge(false)[0])
	wrong := strings.Replace(bobs(n, "00000001"), `"c"`, `"d"`, 1)
	unknown := strings.Replace(wrong, `"bob"`, `"bib"`, 1)
	if a, b := c.Verify([]string{wrong}, register), c.Verify([]string{unknown}, register); a != b || a.Verdict != Wrong {
		t.Errorf("%+v and %+v", a, b)
	}
	cost := func(v string) float64 {
		return testing.AllocsPerRun(100, func() { c.Verify([]string{v}, register) })
	}
	users.ha1 = HA1(SHA256, "bob", realm, "zanzibar") // a table has it ready
	if a, b := cost(wrong), cost(unknown); a != b {
		t.Errorf("%v allocations for a wrong password, %v for an unknown user", a, b)
	}
	if users.asked < 200 {
		t.Errorf("asked %d times", users.asked)
	}
}

type counting struct {
	passwords
	ha1   string
	asked int
}

func (u *counting) HA1(user string, a Algorithm) (string, bool) {
	u.asked++
	if u.ha1 == "" {
		return u.passwords.HA1(user, a)
	}
	_, ok := u.passwords[user]
	return u.ha1, ok
}

// A hash that the Lookup hands out beside ok=false opens nothing.
func TestLookupSaysNo(t *testing.T) {
	t.Parallel()
	c := newChallenger(t, Options{Users: no{}})
	want(t, c, Wrong, register, bobs(nonceOf(t, c.Challenge(false)[0]), "00000001"))
	// Nor does the hash that stands in for it.
	c.dummies[SHA256] = HA1(SHA256, "bob", realm, "zanzibar")
	want(t, c, Wrong, register, bobs(nonceOf(t, c.Challenge(false)[0]), "00000001"))
}

type no struct{}

func (no) HA1(_ string, a Algorithm) (string, bool) { return HA1(a, "bob", realm, "zanzibar"), false }
func (no) Serves(Algorithm) bool                    { return true }

func TestNothingSecretIsPrinted(t *testing.T) {
	t.Parallel()
	cred := Credentials{User: "bob", Password: "zanzibar"}
	s := NewSession(cred)
	c := newChallenger(t, Options{})
	js, _ := json.Marshal(map[string]any{"a": cred, "b": s, "c": c})
	text := string(js) + fmt.Sprintf("%v %+v %#v %s %d|%v %+v %#v %v|%v %+v %#v", cred, cred, cred, cred, cred, s, s, s, &cred, c, c, c)
	for _, secret := range []string{"zanzibar", fmt.Sprint(c.mint.key), c.dummies[MD5]} {
		if strings.Contains(text, secret) {
			t.Errorf("%q shows in %s", secret, text)
		}
	}
	if !strings.Contains(text, "bob") || !slices.Contains(strings.Fields(text), "auth.Credentials(bob)") {
		t.Error(text)
	}
}

func TestSameURI(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		hashed, request string
		same            bool
	}{
		{"sip:bob@example.com", "sip:bob@example.com", true},
		{"SIP:bob@EXAMPLE.com", "sip:bob@example.com", true},
		{"<sip:bob@example.com>", "sip:bob@example.com", true},
		{"sip:bob@example.com", "sip:bob@example.com:5080;transport=tcp", true},
		{"sip:bob@example.com;user=phone", "sip:bob@example.com", true},
		{"sip:bob@example.com:5080", "sip:bob@example.com", true},
		{"sip:bob@example.com?Subject=x", "sip:bob@example.com", true},
		{"sip://bob@example.com", "sip:bob@example.com", true},
		{"sip:bob@[2001:db8::1]", "sip:bob@[2001:DB8::1]:5060", true},
		{"sip:example.com", "sip:example.com", true},
		{"tel:+15550100", "tel:+15550100", true},
		{"/dir", "/dir", true},
		{"", "", false},
		{"<>", "", false},
		{"sip:bob@example.com:5080", "sip:bob@example.com:5060", false},
		{"sip:Bob@example.com", "sip:bob@example.com", false},
		{"sip:bob@example.com", "sips:bob@example.com", false},
		{"sip:bob@example.com", "sip:bob@example.org", false},
		{"sip:bob@example.com", "sip:example.com", false},
		{"sip:bob@[2001:db8::1]", "sip:bob@[2001:db8::2]", false},
		{"sip:bob@example.com", "sip:bob@example.com;maddr=192.0.2.1", false},
		{"sip:bob@example.com;method=INVITE", "sip:bob@example.com;method=REGISTER", false},
		{"sip:bob@example.com", "sip:eve@example.net;x=sip:bob@example.com", false},
		{"sip:bob@example.com", "sip:bob@example.net@example.com", false},
		{"sip:bob;day=tuesday@example.com", "sip:bob;day=monday@example.com", false},
		{"tel:+15550100", "tel:+15550101", false},
		{"sip:", "sip:;x", false},
	} {
		if got := sameURI(tt.hashed, tt.request); got != tt.same {
			t.Errorf("sameURI(%q, %q) = %v", tt.hashed, tt.request, got)
		}
	}
}
