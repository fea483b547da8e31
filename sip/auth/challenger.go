package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Lookup knows the accounts of a realm; [Users] is one. It must take as long
// for a name it does not know as for one it does, as nearly as it can.
type Lookup interface {
	// HA1 returns the user's hash, as the function [HA1] gives it. ok is
	// false where there is no such user, or none with a hash of that kind.
	HA1(user string, a Algorithm) (ha1 string, ok bool)
	// Serves says whether the algorithm may be offered. A client answers the
	// strongest algorithm it knows: offering one for which some user has no
	// hash would lock that user out.
	Serves(a Algorithm) bool
}

// Options of a [Challenger].
type Options struct {
	Realm      string        // what the password is for, usually the domain
	Algorithms []Algorithm   // offered, in this order; nil: SHA-256, then MD5
	Lifetime   time.Duration // of a nonce; 0: 5 minutes
	Users      Lookup
	Now        func() time.Time // nil: time.Now; must not go back, else what it issues is stale
}

// Request is what an answer speaks for.
type Request struct {
	Method string
	URI    string // the Request-URI
	Body   []byte // only read for qop "auth-int"
}

// Verdict is what an answer is worth. The zero value is [Missing].
type Verdict int

// Only OK lets a request pass.
const (
	Missing Verdict = iota // nothing that speaks of this realm: challenge
	Wrong                  // false or unusable: challenge, and count a failure
	Stale                  // the password is right, the nonce too old or used: challenge with stale
	OK                     // this is the user
)

// String names the verdict.
func (v Verdict) String() string {
	switch v {
	case Missing:
		return "missing"
	case Wrong:
		return "wrong"
	case Stale:
		return "stale"
	case OK:
		return "ok"
	}
	return "Verdict(" + strconv.Itoa(int(v)) + ")"
}

// Result of [Challenger.Verify].
type Result struct {
	Verdict   Verdict
	User      string    // who it is; "" unless the verdict is OK
	Algorithm Algorithm // what proved it; "" unless the verdict is OK
	// Reason says for one's own log why the verdict is not OK. It holds
	// nothing that was sent. Never answer with it.
	Reason string
}

// Challenger is the server's side of one realm. It may be used from several
// goroutines at once.
type Challenger struct {
	realm      string
	algorithms []Algorithm
	lifetime   time.Duration
	users      Lookup
	now        func() time.Time
	mint       *mint
	counts     *counts
	dummies    map[Algorithm]string // stand in for users that do not exist
}

// maxAnswers is how many answers for the realm are tried in one request:
// some phones add the new answer behind the old one. Few, for each is a guess.
const maxAnswers = 2

// New returns a Challenger with a key of its own; nonces of another one, one
// before a restart for instance, are stale.
func New(o Options) (*Challenger, error) {
	if err := checkRealm(o.Realm); err != nil {
		return nil, err
	}
	if o.Users == nil {
		return nil, errors.New("auth: no users given")
	}
	if u, ok := o.Users.(interface{ Realm() string }); ok && u.Realm() != o.Realm {
		return nil, fmt.Errorf("auth: the users are of realm %q and not of %q: none of their hashes would fit", u.Realm(), o.Realm)
	}
	if o.Lifetime < 0 {
		return nil, errors.New("auth: the lifetime of a nonce is negative")
	}
	if o.Lifetime == 0 {
		o.Lifetime = 5 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Algorithms == nil {
		o.Algorithms = []Algorithm{SHA256, MD5}
	}
	if len(o.Algorithms) == 0 {
		return nil, errors.New("auth: no algorithm to offer")
	}
	c := &Challenger{
		realm:    o.Realm,
		lifetime: o.Lifetime,
		users:    o.Users,
		now:      o.Now,
		mint:     newMint(o.Now()),
		counts:   newCounts(int64(o.Lifetime)),
		dummies:  make(map[Algorithm]string),
	}
	for _, a := range o.Algorithms {
		if a.rank() < 0 {
			return nil, fmt.Errorf("auth: algorithm %q; known are MD5, SHA-256 and SHA-512-256", string(a))
		}
		if slices.Contains(c.algorithms, a) {
			return nil, fmt.Errorf("auth: algorithm %s is given twice", a)
		}
		c.algorithms = append(c.algorithms, a)
		dummy := make([]byte, a.size())
		rand.Read(dummy)
		c.dummies[a] = hex.EncodeToString(dummy)
	}
	return c, nil
}

// Challenge returns the values of as many WWW-Authenticate (401) or
// Proxy-Authenticate (407) fields, to be sent in this order (RFC 8760 section
// 2.3), with one fresh nonce. stale tells the client that its password was
// right, so that it asks nobody for another one. Nothing is kept.
func (c *Challenger) Challenge(stale bool) []string {
	nonce := c.mint.issue(c.now())
	out := make([]string, 0, len(c.algorithms))
	for _, a := range c.algorithms {
		if c.users.Serves(a) {
			out = append(out, c.challenge(a, nonce, stale))
		}
	}
	if len(out) == 0 { // a 401 needs one, even where nobody can answer it
		out = append(out, c.challenge(c.algorithms[0], nonce, stale))
	}
	return out
}

func (c *Challenger) challenge(a Algorithm, nonce string, stale bool) string {
	s := `Digest realm="` + c.realm + `", nonce="` + nonce + `", algorithm=` + string(a) + `, qop="auth"`
	if stale {
		s += ", stale=true"
	}
	return s
}

// Verify judges the answers in a request: values are those of its
// Authorization fields (or Proxy-Authorization, after 407), whole or split at
// their commas. Each answer is good once; a nonce may be used again with a
// higher count until it is too old.
//
// Whether the user may do what the request asks is another question.
func (c *Challenger) Verify(values []string, r Request) Result {
	best := Result{Reason: "the request carries no answer for this realm"}
	tried := 0
	for _, e := range parse(values) {
		if unescaped(e.get("realm")) != c.realm {
			continue
		}
		if tried++; tried > maxAnswers {
			break
		}
		if res := c.verify(&e, r); res.Verdict > best.Verdict {
			best = res
		}
		if best.Verdict == OK {
			break
		}
	}
	return best
}

// verify judges one answer. Nothing before the comparison depends on whether
// the user exists, and nothing after it is reached without the password.
func (c *Challenger) verify(e *entry, r Request) Result {
	a, ok := algorithmNamed(e.get("algorithm"))
	if !ok || !slices.Contains(c.algorithms, a) {
		return Result{Verdict: Wrong, Reason: "the algorithm was not offered"}
	}
	p := proof{nonce: e.get("nonce"), nc: e.get("nc"), cnonce: e.get("cnonce"), qop: e.get("qop"), uri: e.get("uri")}
	user := strings.Clone(unescaped(e.get("username"))) // outlives the message it was cut from
	if user == "" || p.nonce == "" {
		return Result{Verdict: Wrong, Reason: "username or nonce is absent"}
	}
	count, counted := uint64(0), p.qop != ""
	if counted {
		if !strings.EqualFold(p.qop, "auth") && !strings.EqualFold(p.qop, "auth-int") {
			return Result{Verdict: Wrong, Reason: "qop is neither auth nor auth-int"}
		}
		var err error
		if count, err = strconv.ParseUint(p.nc, 16, 32); err != nil {
			return Result{Verdict: Wrong, Reason: "the nonce count is not a hexadecimal number"}
		}
	}
	if !sameURI(p.uri, r.URI) {
		return Result{Verdict: Wrong, Reason: "the answer was made for another URI"}
	}
	var space [64]byte
	got, err := hex.AppendDecode(space[:0], []byte(e.get("response")))
	if err != nil || len(got) != a.size() {
		return Result{Verdict: Wrong, Reason: "the response is no hash of the algorithm"}
	}

	ha1, known := c.users.HA1(user, a)
	if !known {
		ha1 = c.dummies[a]
	}
	var room [64]byte
	want := a.response(room[:0], ha1, p, r.Method, r.Body)
	match := subtle.ConstantTimeCompare(want, got)
	if !known { // whoever guessed the dummy is nobody all the same
		match = 0
	}
	if match != 1 {
		return Result{Verdict: Wrong, Reason: "user or password is wrong"}
	}

	// The password is right. RFC 7616 section 3.3: only now may one say stale.
	n, ours := c.mint.open(p.nonce)
	if !ours {
		return Result{Verdict: Stale, Reason: "the nonce is not one of this process"}
	}
	now := c.mint.clock(c.now())
	if now-n.made > int64(c.lifetime) || n.made > now {
		return Result{Verdict: Stale, Reason: "the nonce is too old"}
	}
	if !c.counts.take(user, n, uint32(count), counted, now) {
		return Result{Verdict: Stale, Reason: "the nonce count was used before"}
	}
	return Result{Verdict: OK, User: user, Algorithm: a}
}

// Format keeps keys out of logs: whatever the verb, only the realm is shown.
func (c *Challenger) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "auth.Challenger(%s)", c.realm) }

// checkRealm refuses what would need escapes on the wire or would be
// ambiguous in a hash or in the users file.
func checkRealm(realm string) error {
	if realm == "" || len(realm) > 255 || !isPlain(realm) || strings.ContainsAny(realm, `":\`) || strings.TrimSpace(realm) != realm {
		return fmt.Errorf("auth: realm %q; it has 1 to 255 octets, no colon, quote or backslash, and no blanks around it", realm)
	}
	return nil
}
