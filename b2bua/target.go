package b2bua

import (
	"net/netip"
	"time"

	"github.com/sipward/sipward/b2bua/door"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

// destination is a registered phone: the URI that it gave, and the flow on
// which it was heard from, which is the only one that leads back through a NAT.
type destination struct {
	URI    string
	flow   sip.Flow
	routes []string // the proxies inside that lead to it; flow leads to the first
}

// target says where an INVITE goes. The second result holds the registered
// phones of the callee, where it has some.
func (p *Proxy) target(uri sip.URI, l *listener) (t route.Target, meant string, phones []destination, known bool) {
	w := phonesNow{p: p, now: time.Now()}
	f := p.ground.Load().plan.Find(string(l.Side), uri.String(), &w)
	if l.Side == policyOutside && f.Target.Side == route.Outside && p.trunk(f.Target.Peer) != nil {
		return route.Target{}, "", nil, false // whoever is outside would call at the account's cost
	}
	return f.Target, f.Meant, w.found, f.Kind != route.Nowhere
}

// goal is where a request that begins something goes.
type goal struct {
	target route.Target
	phones []destination // registered phones of the callee; nil: the target's hops are looked up
	routes []string      // Route set of the request
	meant  string        // who is called, behind an alias
	known  bool          // there is such a place
	user   string        // who asks, where a password has proved it
	payer  door.Who      // whose limits count; the zero value: nobody's
}

// goalOf says where a request goes, once its sender has proved who it is. Where
// it goes nowhere for the sender's sake it has been answered.
func (p *Proxy) goalOf(in *sip.Incoming, l *listener) (g goal, ok bool) {
	if l.Accounts == AccountsElsewhere {
		var why string
		if g.target, g.routes, why = p.targetElsewhere(in); why != "" {
			p.counters.refused.Add(1)
			in.Reply(403, "Forbidden", warning(why))
			return g, false
		}
		g.known, g.payer = true, userOf(in, "")
		return g, p.admitUser(in, g.payer)
	}
	switch {
	case l.Side == policyInside:
		if g.user, ok = p.authenticate(in); !ok {
			return g, false
		}
		if g.payer = userOf(in, g.user); !p.admitUser(in, g.payer) {
			return g, false
		}
	case p.peerOf(in, l) == "":
		g.payer = door.Stranger(in.Flow.Remote().Addr())
	}
	if t := p.trunk(p.peerOf(in, l)); t != nil {
		in.Message = t.led(in, l)
	}
	g.target, g.meant, g.phones, g.known = p.target(in.URI, l)
	g.target, g.routes = p.alongServices(in, l, g.target)
	return g, true
}

// phonesNow tells a plan which phones are there, and keeps what it found.
type phonesNow struct {
	p     *Proxy
	now   time.Time
	found []destination
}

func (w *phonesNow) Elsewhere(user string) (aor string, ok bool) {
	aor, phone, ok := w.p.up.find(user, w.now)
	if ok {
		w.found = []destination{phone}
	}
	return aor, ok
}

func (w *phonesNow) Registered(uri string) bool {
	if u, err := sip.ParseURI(uri); err == nil {
		w.found = w.p.phonesOf(u)
	}
	return len(w.found) > 0
}

// decide asks policy about the call, whose next hop is at addr (invalid while
// a name was not looked up). A caller outside is the peer that its address
// says; the domain of its From is only a claim.
func (c *Call) decide(addr netip.Addr) policy.Decision {
	if c.blocked() {
		return policy.Decision{Mode: policy.Refuse, Rule: ruleBlocked, Reason: "calls with the other end are blocked here"}
	}
	invite := c.invite.Message
	caller := invite.From().URI
	from := policy.Party{Side: c.a.side, Addr: c.invite.Flow.Remote().Addr(), URI: caller.AOR(), Peer: c.a.peer, Claimed: c.p.o.Peer(caller.Host, netip.Addr{})}
	if c.led != nil {
		from = c.led.by
	}
	to := policy.Party{Side: c.b.side, Addr: addr, URI: c.called(), Peer: c.target.Peer}
	d := c.p.o.Policy.Decide(policy.Facts{From: from, To: to})
	if c.led != nil {
		d = c.led.decision(d, to.Side)
	}
	return d
}

// called is who the caller asked for: the Request-URI, or the address of record
// that a registrar elsewhere knows it by.
func (c *Call) called() string {
	if c.target.Rule == route.RuleElsewhere {
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
