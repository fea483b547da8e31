package b2bua

import (
	"strings"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

// target says where an INVITE goes. From inside, what no static route names
// goes to the domain that the Request-URI names, unless that is this proxy
// itself; from outside, only static routes lead inside.
func (p *Proxy) target(in *sip.Incoming, l *listener) (route.Target, bool) {
	if t, ok := p.o.Routes.LookupFrom(string(l.Side), in.URI.AOR()); ok {
		return t, true
	}
	if l.Side != policyInside || p.own(in.URI) {
		return route.Target{}, false
	}
	network, _ := in.URI.Param("transport")
	t := route.Target{URI: in.URI.String(), Network: strings.ToLower(network), Host: in.URI.Host, Port: in.URI.Port, Side: string(policy.Outside)}
	t.Peer = p.o.Peer(in.URI.Host, addrOf(in.URI))
	return t, true
}

// decide asks policy about the call.
func (c *Call) decide() policy.Decision {
	invite := c.invite.Message
	from := policy.Party{Side: c.a.side, Addr: c.invite.Flow.Remote().Addr(), URI: invite.From().URI.AOR(), Peer: c.a.peer}
	to := policy.Party{Side: c.b.side, Addr: addrOf(sip.URI{Host: c.target.Host}), URI: c.invite.URI.AOR(), Peer: c.target.Peer}
	return c.p.o.Policy.Decide(policy.Facts{From: from, To: to})
}

// calledURI is the Request-URI of the B leg: the route's, or the caller's.
func (c *Call) calledURI() sip.URI {
	if c.target.URI != "" {
		if u, err := sip.ParseURI(c.target.URI); err == nil {
			if u.User == "" {
				u.User = c.invite.URI.User
			}
			return u
		}
	}
	return c.invite.URI
}
