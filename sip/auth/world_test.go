package auth

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
	"sync"
	"testing"
	"time"
)

const realm = "example.com"

// passwords is a Lookup over passwords.
type passwords map[string]string

func (p passwords) HA1(user string, a Algorithm) (string, bool) {
	pw, ok := p[user]
	if !ok {
		return "", false
	}
	return HA1(a, user, realm, pw), true
}

func (p passwords) Serves(Algorithm) bool { return true }

// watch is a clock that tests move.
type watch struct {
	mu sync.Mutex
	t  time.Time
}

func newWatch() *watch { return &watch{t: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)} }

func (w *watch) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.t
}

func (w *watch) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.t = w.t.Add(d)
}

func newChallenger(t testing.TB, o Options) *Challenger {
	t.Helper()
	if o.Realm == "" {
		o.Realm = realm
	}
	if o.Users == nil {
		o.Users = passwords{"bob": "zanzibar"}
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// nonceOf returns the nonce of a challenge.
func nonceOf(t testing.TB, challenge string) string {
	t.Helper()
	_, rest, found := strings.Cut(challenge, `nonce="`)
	n, _, _ := strings.Cut(rest, `"`)
	if !found || n == "" {
		t.Fatalf("no nonce in %s", challenge)
	}
	return n
}

// plainResponse computes a response as the RFC's formulas read, by other
// means than the package: it is the oracle of the tests.
func plainResponse(algorithm, user, realm, password, method, uri, nonce, nc, cnonce, qop, body string) string {
	h := func(s string) string {
		var d hash.Hash
		switch algorithm {
		case "SHA-256":
			d = sha256.New()
		case "SHA-512-256":
			d = sha512.New512_256()
		default:
			d = md5.New()
		}
		fmt.Fprint(d, s)
		return hex.EncodeToString(d.Sum(nil))
	}
	ha1, ha2 := h(user+":"+realm+":"+password), h(method+":"+uri)
	if qop == "auth-int" {
		ha2 = h(method + ":" + uri + ":" + h(body))
	}
	if qop == "" {
		return h(ha1 + ":" + nonce + ":" + ha2)
	}
	return h(strings.Join([]string{ha1, nonce, nc, cnonce, qop, ha2}, ":"))
}

var register = Request{Method: "REGISTER", URI: "sip:example.com"}

// bobs returns bob's answer to the nonce with that count, right in all respects.
func bobs(nonce, nc string) string {
	return fmt.Sprintf(`Digest username="bob", realm="example.com", nonce="%s", uri="sip:example.com", response="%s", algorithm=SHA-256, cnonce="c", qop=auth, nc=%s`,
		nonce, plainResponse("SHA-256", "bob", realm, "zanzibar", "REGISTER", "sip:example.com", nonce, nc, "c", "auth", ""), nc)
}

func want(t testing.TB, c *Challenger, v Verdict, r Request, values ...string) Result {
	t.Helper()
	res := c.Verify(values, r)
	if res.Verdict != v {
		t.Errorf("verdict %v (%s), want %v, of\n%s", res.Verdict, res.Reason, v, strings.Join(values, "\n"))
	}
	if (res.User != "") != (v == OK) || (res.Reason == "") != (v == OK) {
		t.Errorf("%v with user %q and reason %q", v, res.User, res.Reason)
	}
	return res
}
