package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/icholy/digest"
)

// Errors of answering. Of these, only ErrRefused says something about the
// password.
var (
	ErrNoChallenge = errors.New("auth: no digest challenge among these that can be answered")
	ErrRefused     = errors.New("auth: user or password was refused")
)

// Credentials are a client's account.
type Credentials struct {
	User       string
	Password   string      `json:"-"`
	Realm      string      // the only realm that is answered; "": any
	Algorithms []Algorithm // the only ones that are answered; nil: all
}

// Format keeps the password out of logs: whatever the verb, only the user is shown.
func (c Credentials) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "auth.Credentials(%s)", c.User) }

// Answer answers one request without remembering the challenge; see
// [Session.Answer].
func Answer(c Credentials, challenges []string, sent string, r Request) (string, error) {
	return NewSession(c).Answer(challenges, sent, r)
}

// Session is the client's side of one account at one server. It remembers the
// last challenge, so that later requests need none. It may be used from
// several goroutines at once.
type Session struct {
	credentials Credentials

	mu        sync.Mutex
	challenge *challenge // nil: none yet
	count     uint32     // the last nonce count used with it
}

// NewSession returns a Session without a challenge.
func NewSession(c Credentials) *Session { return &Session{credentials: c} }

// Format keeps the password out of logs.
func (s *Session) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "auth.Session(%s)", s.credentials.User) }

// Answer returns the value of the Authorization field (Proxy-Authorization
// after 407) for a request that was refused with these WWW-Authenticate (or
// Proxy-Authenticate) values, whole or split at their commas. The strongest
// algorithm among them is taken, the first of equals.
//
// sent is the Authorization value which the refused request carried, "" for
// none. If that one answered the first use of a nonce and was refused without
// stale, the password is wrong and the error is [ErrRefused]; asking again
// would never end. r is the request as it will be sent, with the URI as it
// stands on its first line.
func (s *Session) Answer(challenges []string, sent string, r Request) (string, error) {
	ch := choose(challenges, &s.credentials)
	if ch == nil {
		return "", ErrNoChallenge
	}
	if refused(sent, ch) {
		return "", ErrRefused
	}
	s.mu.Lock()
	if old := s.challenge; old != nil && old.nonce == ch.nonce && old.realm == ch.realm && old.algorithm == ch.algorithm {
		s.count++ // another request was given the same nonce
	} else {
		s.count = 1
	}
	s.challenge = ch
	count := s.count
	s.mu.Unlock()
	return s.credentials.answer(ch, count, r)
}

// Next returns an Authorization value for a request that was not challenged
// yet, made from the last challenge with the next nonce count. ok is false
// where there is none to use again: send without one.
func (s *Session) Next(r Request) (value string, ok bool) {
	s.mu.Lock()
	ch := s.challenge
	if ch == nil || ch.qop == "" || s.count == 1<<31-1 {
		s.mu.Unlock()
		return "", false
	}
	s.count++
	count := s.count
	s.mu.Unlock()
	value, err := s.credentials.answer(ch, count, r)
	return value, err == nil
}

// challenge is one that can be answered; texts as between their quotes.
type challenge struct {
	realm, nonce, opaque string
	hasOpaque, stale     bool
	named                string // the algorithm as the server wrote it, "" where it did not
	algorithm            Algorithm
	qop                  string // "auth", "auth-int" or "" (RFC 2069)
}

// choose returns the challenge to answer, or nil.
func choose(values []string, c *Credentials) *challenge {
	var best *challenge
	for _, e := range parse(values) {
		ch, ok := readChallenge(&e)
		if !ok || c.Realm != "" && unescaped(ch.realm) != c.Realm || c.Algorithms != nil && !slices.Contains(c.Algorithms, ch.algorithm) {
			continue
		}
		if best == nil || ch.algorithm.rank() > best.algorithm.rank() {
			best = ch
		}
	}
	return best
}

func readChallenge(e *entry) (*challenge, bool) {
	ch := &challenge{
		// Cloned, for a session keeps it longer than the response.
		realm:  strings.Clone(e.get("realm")),
		nonce:  strings.Clone(e.get("nonce")),
		named:  strings.Clone(e.get("algorithm")),
		stale:  strings.EqualFold(e.get("stale"), "true"),
		opaque: strings.Clone(e.get("opaque")),
	}
	_, ch.hasOpaque = e.lookup("opaque")
	var ok bool
	if ch.algorithm, ok = algorithmNamed(ch.named); !ok || ch.nonce == "" {
		return nil, false
	}
	_, hasRealm := e.lookup("realm")
	offered := strings.FieldsFunc(e.get("qop"), func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
	for _, q := range offered {
		if q = strings.ToLower(q); q == "auth" || q == "auth-int" && ch.qop == "" {
			ch.qop = q
		}
	}
	return ch, hasRealm && (ch.qop != "" || len(offered) == 0)
}

// refused says whether the answer that was sent is what the challenge turns
// down, and not only its nonce.
func refused(sent string, ch *challenge) bool {
	for _, e := range parse([]string{sent}) {
		if e.get("realm") != ch.realm {
			continue // a proxy passed it on, and now the next one asks
		}
		if e.get("nonce") == ch.nonce {
			return true
		}
		nc, err := strconv.ParseUint(e.get("nc"), 16, 32)
		return !ch.stale && (err != nil || nc <= 1)
	}
	return false
}

// answer computes and writes the answer.
func (c *Credentials) answer(ch *challenge, count uint32, r Request) (string, error) {
	if r.Method == "" || r.URI == "" || !isPlain(r.Method) || !isPlain(r.URI) || strings.ContainsAny(r.URI, "\"\\") {
		return "", errors.New("auth: method or URI cannot stand in an answer")
	}
	if c.User == "" || !isPlain(c.User) {
		return "", errors.New("auth: the user's name is empty or holds a control character")
	}
	dc := &digest.Challenge{Realm: ch.realm, Nonce: ch.nonce, Algorithm: string(ch.algorithm)}
	if ch.qop != "" {
		dc.QOP = []string{ch.qop}
	}
	o := digest.Options{
		Method: r.Method, URI: r.URI, Count: int(count),
		// A1 and not the password: the realm's text, not the library's
		// reading of it, enters the hash.
		A1: HA1(ch.algorithm, c.User, ch.realm, c.Password),
	}
	if ch.qop == "auth-int" {
		o.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.Body)), nil }
	}
	cr, err := digest.Digest(dc, o)
	if err != nil {
		return "", fmt.Errorf("auth: %w", err)
	}
	// Written here: the library's quotes follow Go's rules, which differ from
	// RFC 3261 section 25.1 outside of ASCII.
	e := entry{scheme: "Digest", params: []param{
		{"username", escapes.Replace(c.User), true},
		{"realm", ch.realm, true},
		{"nonce", ch.nonce, true},
		{"uri", r.URI, true},
		{"response", cr.Response, true},
	}}
	if ch.named != "" {
		e.params = append(e.params, param{"algorithm", ch.named, false})
	}
	if cr.QOP != "" {
		e.params = append(e.params,
			param{"cnonce", cr.Cnonce, true},
			param{"qop", cr.QOP, false},
			param{"nc", fmt.Sprintf("%08x", cr.Nc), false})
	}
	if ch.hasOpaque {
		e.params = append(e.params, param{"opaque", ch.opaque, true})
	}
	return e.write(), nil
}
