package b2bua

import (
	"net/netip"
	"strings"
	"time"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

// destination is a registered phone: the URI that it gave, and the flow on
// which it was heard from, which is the only one that leads back through a NAT.
type destination struct {
	URI  string
	flow sip.Flow
}

// target says where an INVITE goes. From inside, what no static route names
// goes to the domain that the Request-URI names, unless that is this proxy
// itself; from outside, only static routes lead inside.
//
// The second result holds the registered phones of the callee, where it is one
// of this proxy's users.
func (p *Proxy) target(uri sip.URI, l *listener) (t route.Target, phones []destination, known bool) {
	if meant := p.o.Aliases.Resolve(uri.AOR()); meant != uri.AOR() {
		if u, err := sip.ParseURI(meant); err == nil {
			uri = u
		}
	}
	if t, ok := p.o.Routes.LookupFrom(string(l.Side), uri.AOR()); ok {
		return t, nil, true
	}
	if aor, phone, ok := p.up.find(uri.User, time.Now()); ok && l.Side == policyOutside {
		return route.Target{URI: aor, Host: uri.Host, Side: string(policy.Inside), Rule: "registered elsewhere"}, []destination{phone}, true
	}
	if phones := p.phonesOf(uri); len(phones) > 0 {
		return route.Target{URI: uri.AOR(), Host: uri.Host, Side: string(policy.Inside), Rule: "registered"}, phones, true
	}
	if l.Side != policyInside || p.own(uri) || p.home(uri) {
		return route.Target{}, nil, false
	}
	network, _ := uri.Param("transport")
	t = route.Target{URI: uri.String(), Network: strings.ToLower(network), Host: uri.Host, Port: uri.Port, Side: string(policy.Outside)}
	t.Peer = p.o.Peer(uri.Host, addrOf(uri))
	return t, nil, true
}

// decide asks policy about the call, whose next hop is at addr (invalid while
// a name was not looked up). A caller outside is the peer that its address
// says. The domain of its From is only a claim, so a peer that is claimed can
// make the decision stricter and never milder.
func (c *Call) decide(addr netip.Addr) policy.Decision {
	invite := c.invite.Message
	caller := invite.From().URI
	from := policy.Party{Side: c.a.side, Addr: c.invite.Flow.Remote().Addr(), URI: caller.AOR(), Peer: c.a.peer}
	to := policy.Party{Side: c.b.side, Addr: addr, URI: c.called(), Peer: c.target.Peer}
	d := c.p.o.Policy.Decide(policy.Facts{From: from, To: to})
	if c.a.side == policy.Outside && from.Peer == "" {
		if from.Peer = c.p.o.Peer(caller.Host, netip.Addr{}); from.Peer != "" {
			if claimed := c.p.o.Policy.Decide(policy.Facts{From: from, To: to}); strictness(claimed) > strictness(d) {
				return claimed
			}
		}
	}
	return d
}

func strictness(d policy.Decision) int {
	switch {
	case !d.Allow:
		return 3
	case d.Mode == policy.Require:
		return 2
	case d.Mode == policy.Prefer:
		return 1
	}
	return 0
}

// called is who the caller asked for: the Request-URI, or the address of record
// that a registrar elsewhere knows it by.
func (c *Call) called() string {
	if c.target.Rule == "registered elsewhere" {
		return c.target.URI
	}
	return c.invite.URI.AOR()
}

// calledURI is the Request-URI of the B leg: the route's, or the caller's.
func (c *Call) calledURI() sip.URI {
	if c.target.URI != "" {
		if u, err := sip.ParseURI(c.target.URI); err == nil {
			if u.User == "" {
				u.User = c.invite.URI.User
			}
			if u.AOR() == c.invite.URI.AOR() {
				return c.invite.URI // to the octet, as a digest speaks for it
			}
			return u
		}
	}
	return c.invite.URI
}
