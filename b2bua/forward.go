package b2bua

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

const (
	maxDetours = 5 // Contacts that are followed of one redirection
	maxTurns   = 2 // redirections of one call
)

// detours are the ways on that redirections of a call have named (RFC 3261
// section 8.1.3.4).
type detours struct {
	left  []detour
	turns int
	tried []string // addresses of record, the one that was called first
}

// detour is one address to try, and who has named it.
type detour struct {
	uri   sip.URI
	leg   *Leg        // whose party answered so
	party sip.Address // its address
}

// redirected takes a 3xx. True means that another address is being called.
func (c *Call) redirected(l *Leg, res *sip.Message) bool {
	if c.detours == nil {
		c.detours = &detours{}
	}
	d := c.detours
	if c.urgent || d.turns >= maxTurns {
		return false
	}
	d.turns++
	if len(d.tried) == 0 {
		d.tried = append(d.tried, c.invite.URI.AOR())
	}
	type contact struct {
		uri sip.URI
		q   float64
	}
	var found []contact
	for _, v := range res.Values("Contact") {
		a, err := sip.ParseAddress(v)
		if err != nil || !callable(a.URI) {
			continue
		}
		q := 1.0
		if text, ok := a.Param("q"); ok {
			if q, err = strconv.ParseFloat(text, 64); err != nil || !(q >= 0 && q <= 1) {
				q = 0
			}
		}
		found = append(found, contact{a.URI, q})
	}
	slices.SortStableFunc(found, func(a, b contact) int { return cmp.Compare(b.q, a.q) })
	var left []detour
	for _, f := range found[:min(len(found), maxDetours)] {
		left = append(left, detour{f.uri, l, c.party(l)})
	}
	d.left = append(left, d.left...)
	return c.detour()
}

// detour calls the next address that redirections have named and that the call
// may reach; false where none is left.
func (c *Call) detour() bool {
	for d := c.detours; d != nil && len(d.left) > 0 && c.forwards > 0; {
		next := d.left[0]
		d.left = d.left[1:]
		if aor := next.uri.AOR(); slices.Contains(d.tried, aor) {
			continue
		} else {
			d.tried = append(d.tried, aor)
		}
		if why := c.turn(next); why != "" {
			c.p.log.Info("redirection not followed", "call", c.id, "to", next.uri.AOR(), "why", why)
			continue
		}
		return true
	}
	return false
}

// turn calls another address in place of the one that was called; why is "" or
// says why it may not.
//
// A phone inside that redirects, call forwarding say, has the rights of its user.
// Somebody outside names nothing but other places outside, found by DNS: neither
// somebody here, nor a route, a number or an account.
func (c *Call) turn(to detour) (why string) {
	p, l := c.p, to.leg
	m := c.invite.Message.Clone()
	m.URI = to.uri
	m.Set("To", sip.Address{URI: to.uri}.String())
	in := &sip.Incoming{Message: m, Flow: c.invite.Flow}
	led := &led{least: c.decision.Mode, sentence: "forwarded by " + to.party.URI.AOR(), diverted: to.party, outside: c.a.side == policy.Outside}
	from := c.invite.Message.From()
	led.as = from
	led.as.Params = ""
	led.by = policy.Party{Side: c.a.side, Addr: c.invite.Flow.Remote().Addr(), URI: from.URI.AOR(), Peer: c.a.peer}
	if c.led != nil { // it may be led on already
		led.by, led.as, led.before, led.transfer, led.sentence = c.led.by, c.led.as, c.led.before, c.led.transfer, c.led.sentence+"; "+led.sentence
	}
	var g goal
	if l.side == policy.Inside {
		asked := m.Clone()
		asked.Set("From", to.party.String())
		if g, why = p.place(&sip.Incoming{Message: asked, Flow: l.dialog.Flow()}, l.l); why != "" {
			return why
		}
		led.by = policy.Party{Side: policy.Inside, Addr: l.dialog.Flow().Remote().Addr(), URI: to.party.URI.AOR()}
		if c.a.side == policy.Outside {
			led.as = to.party
		}
	} else if g, why = p.outsideOnly(to.uri); why != "" {
		return why
	} else {
		led.stranger = true
	}
	if !g.known {
		return "there is no such place"
	}
	invite, before, target, phones, routes, b := c.invite, c.led, c.target, c.phones, c.routes, c.b
	meant := c.meant
	c.invite, c.led, c.target, c.phones, c.routes = in, led, g.target, g.phones, g.routes
	if !led.stranger { // whoever is outside does not say who it is that was meant
		c.meant = g.meant
	}
	c.b = c.newLeg()
	decision := c.decide(addrOf(sip.URI{Host: g.target.Host}))
	switch {
	case !decision.Allow:
		why = decision.Reason
	case decision.Mode == policy.Require && c.a.side == policy.Inside && c.b.side == policy.Inside && c.a.standsFor == nil:
		why = "calls between phones inside are never encrypted"
	case decision.Mode == policy.Require && c.a.side == policy.Outside && c.b.side == policy.Outside && c.a.exchange == nil:
		why = "the call must be encrypted, and the caller's side offers no key exchange"
	}
	if why != "" {
		c.invite, c.led, c.target, c.phones, c.routes, c.b, c.meant = invite, before, target, phones, routes, b, meant
		return why
	}
	c.decision, c.reason, c.best, c.hops = decision, decision.Reason, nil, nil
	c.forwards--
	c.closeMedia() // the next hop may be reached from another address
	c.a.dialog.Provision(181, "", "", nil)
	c.emit("call-changed")
	c.unsign()
	c.knowPeers(c.seek)
	return ""
}

// outsideOnly is where a redirection from outside leads, outside again.
func (p *Proxy) outsideOnly(uri sip.URI) (g goal, why string) {
	addr, literal := uri.Addr()
	switch {
	case p.ground.Load().plan.Home.Has(uri.Host, uri.Port) || literal && p.isInside(addr):
		return g, "somebody outside names an address of the inside"
	case p.o.Emergency.Called(uri.String(), uri.User):
		return g, "somebody outside names an emergency number"
	}
	t, err := route.Direct(uri.String())
	if err != nil {
		return g, err.Error()
	}
	t.Peer = p.o.Peer(uri.Host, addr)
	if p.trunk(t.Peer) != nil {
		return g, "somebody outside names a number of the account " + t.Peer
	}
	return goal{target: t, known: true}, ""
}

// diversion says to a trusted far end who has led the call on (RFC 5806).
func (c *Call) diversion(l *Leg) []sip.Field {
	if c.led == nil || c.led.diverted.URI.Host == "" || !l.trusted() {
		return nil
	}
	v, ok := c.addressFor(sip.Address{URI: c.led.diverted.URI, Params: ";reason=unknown;counter=1"}.String(), c.invite.Message, l)
	if !ok {
		return nil
	}
	return []sip.Field{{Name: "Diversion", Value: v}}
}
