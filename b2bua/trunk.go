package b2bua

import (
	"crypto/subtle"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/auth"
)

// Trunk is an account at a provider that many phones use, or a peer of fixed
// address with which calls are exchanged: calls to the listed peer of its name
// leave as this account, and its calls are led by the number that was called.
// Calls from outside never leave by a trunk.
type Trunk struct {
	Peer        string           // the listed peer that the provider is
	From        sip.URI          // who calls, as the provider knows its customer; its host is that of the numbers called
	Credentials auth.Credentials // answer its challenges; without a user nothing is answered
	// Server is where the account registers: Host, Port and Network count. The
	// zero Target: nowhere.
	Server  route.Target
	Account sip.URI       // the address of record that is registered
	Expires time.Duration // asked for, at least a minute; 0: ten minutes
	// Identity says where the caller's number stands.
	Identity Identity
	Called   *route.Rewrites // numbers of calls to the provider, as it writes them
	Callers  *route.Rewrites // numbers of callers, by user; whom none fits calls as From
	Incoming *route.Rewrites // numbers that the provider's calls are for, before aliases
}

// Identity says in which field a provider looks for the caller's number.
type Identity string

// In From, or in the fields of RFC 3325 with the account itself in From.
const (
	IdentityFrom      Identity = "from" // the zero value is the same
	IdentityPreferred Identity = "ppi"  // P-Preferred-Identity
	IdentityAsserted  Identity = "pai"  // P-Asserted-Identity
)

// trunk returns the trunk of a listed peer, or nil.
func (p *Proxy) trunk(peer string) *trunk {
	for _, t := range p.trunks {
		if peer != "" && t.Peer == peer {
			return t
		}
	}
	return nil
}

// trunkOf returns the trunk that a request from outside is for: its Request-URI
// holds the token that this trunk alone has registered, and it comes from where
// the provider's registrar is, or from a network of this listed peer. A token
// alone says nothing, for everybody on its way reads it, and an address alone is
// shared by all customers of the provider.
func (p *Proxy) trunkOf(in *sip.Incoming) *trunk {
	for _, t := range p.trunks {
		if t.token == "" || subtle.ConstantTimeCompare([]byte(t.token), []byte(in.URI.User)) == 0 {
			continue
		}
		addr := in.Flow.Remote().Addr()
		if t.knows(addr) || p.o.Peer("", addr) == t.Peer {
			return t
		}
		t.foreign(addr)
	}
	return nil
}

// knows says whether an address is one of the registrar's.
func (t *trunk) knows(addr netip.Addr) bool {
	sources := t.sources.Load()
	return sources != nil && slices.Contains(*sources, addr.Unmap())
}

// foreign says, once a minute at most, that a request with the token comes from
// elsewhere.
func (t *trunk) foreign(addr netip.Addr) {
	now := time.Now().Unix()
	if last := t.warned.Load(); now-last >= 60 && t.warned.CompareAndSwap(last, now) {
		t.p.log.Warn("a call for this trunk comes from an address that is not its provider's; if it is, add it to the networks of the peer", "peer", t.Peer, "source", addr)
	}
}

// led returns the request with the number in its Request-URI that the provider's
// call is for: a registrar sends calls to the contact that it knows, and says
// otherwise who was called (RFC 3455 section 4.2).
func (t *trunk) led(in *sip.Incoming, l *listener) *sip.Message {
	m := in.Clone()
	if t.token != "" && m.URI.User == t.token {
		number := m.To().URI.User
		if called, err := sip.ParseAddress(m.Get("P-Called-Party-ID")); err == nil && called.URI.User != "" {
			number = called.URI.User
		}
		if number == "" || number == t.token {
			number = t.Account.User
		}
		m.URI = sip.URI{Scheme: "sip", User: number, Host: l.sip.Advertised().Addr().String()}
		if len(t.p.o.Domains) > 0 {
			m.URI.Host = t.p.o.Domains[0]
		}
	}
	m.URI.User, _ = t.Incoming.Apply(m.URI.User)
	return m
}

// called writes the Request-URI of a call as the provider wants it. What the
// phone dialled at its own domain is a number at the provider's.
func (t *trunk) called(c *Call, u sip.URI) sip.URI {
	if !c.urgent {
		u.User, _ = t.Called.Apply(u.User)
	}
	if t.p.home(u) {
		u.Host, u.Port, u.Params = t.From.Host, 0, ""
	}
	return u
}

// uriFor is the Request-URI of a leg, as its trunk wants it where it has one.
func (c *Call) uriFor(l *Leg) sip.URI {
	uri := c.calledURI()
	if t := c.p.trunk(l.peer); t != nil && l.side == policy.Outside {
		return t.called(c, uri)
	}
	return uri
}

// caller returns From of a call by the trunk, and the fields that name the caller
// beside it. Who wants to stay unknown is named to nobody but as the account,
// which the provider knows anyhow (RFC 3325 section 9.3).
func (t *trunk) caller(from sip.Address, private bool) (sip.Address, []sip.Field) {
	shown := t.From
	if number, ok := t.Callers.Apply(from.URI.User); ok && !private {
		shown.User = number
	}
	var fields []sip.Field
	switch t.Identity {
	case IdentityPreferred:
		fields = append(fields, sip.Field{Name: "P-Preferred-Identity", Value: "<" + shown.String() + ">"})
	case IdentityAsserted:
		fields = append(fields, sip.Field{Name: "P-Asserted-Identity", Value: "<" + shown.String() + ">"})
	default:
		from.URI = shown
	}
	if len(fields) > 0 {
		from.URI = t.From
	}
	if private {
		from = anonymous
		fields = append(fields, sip.Field{Name: "Privacy", Value: "id"})
	}
	return from, fields
}

// registeredFirst puts the server that holds the registration before the others
// of its provider: that one knows the account, and answers.
func (p *Proxy) registeredFirst(peer string, hops []route.Hop) []route.Hop {
	t := p.trunk(peer)
	if t == nil {
		return hops
	}
	if at := t.at.Load(); at != nil {
		return first(*at, hops)
	}
	return hops
}

// first returns the hops with one of them before the others.
func first(hop route.Hop, hops []route.Hop) []route.Hop {
	i := slices.IndexFunc(hops, func(h route.Hop) bool { return h.Network == hop.Network && h.Addr == hop.Addr })
	if i <= 0 {
		return hops
	}
	return append([]route.Hop{hops[i]}, slices.Delete(slices.Clone(hops), i, i+1)...)
}

// answerChallenge sends the INVITE again where the peer asked for the trunk's
// password: once, with a new share, as every INVITE has (protocol section 7).
func (c *Call) answerChallenge(l *Leg, res *sip.Message) bool {
	t := c.p.trunk(l.peer)
	if t == nil || l.proved {
		return false
	}
	proof, ok := t.answer(&sip.Message{Method: "INVITE", URI: l.uri}, res)
	if !ok {
		return false
	}
	again := c.newLeg()
	again.l, again.routes, again.proved = l.l, l.routes, true
	c.b = again
	if err := c.dial(again, l.flow, l.uri, proof); err != nil {
		c.p.log.Error("cannot answer the provider's challenge", "call", c.id, "error", err)
		return false
	}
	return true
}

// answer is the trunk's [sip.Prover].
func (t *trunk) answer(request, res *sip.Message) (sip.Field, bool) {
	if t.Credentials.User == "" {
		return sip.Field{}, false
	}
	challenges, field := challengesOf(res)
	value, err := t.calls.Answer(challenges, "", auth.Request{Method: request.Method, URI: request.URI.String(), Body: request.Body})
	if err != nil {
		t.p.log.Warn("the provider's question for the password cannot be answered", "peer", t.Peer, "method", request.Method, "error", err)
		return sip.Field{}, false
	}
	return sip.Field{Name: field, Value: value}, true
}

// challengesOf returns the challenges of a 401 or 407, and the field that their
// answer goes into.
func challengesOf(res *sip.Message) (challenges []string, field string) {
	name, field := "WWW-Authenticate", "Authorization"
	if res.Status == 407 {
		name, field = "Proxy-Authenticate", "Proxy-Authorization"
	}
	for _, f := range res.Fields {
		if strings.EqualFold(f.Name, name) {
			challenges = append(challenges, f.Value)
		}
	}
	return challenges, field
}

// prove lets the leg's trunk answer when the provider asks for the password
// within the dialog.
func (l *Leg) prove() {
	if t := l.call.p.trunk(l.peer); t != nil && l.side == policy.Outside {
		l.dialog.SetProver(t.answer)
	}
}

// isChallenge says whether a response asks for a password.
func isChallenge(res *sip.Message) bool {
	return res != nil && slices.Contains([]int{401, 407}, res.Status)
}
