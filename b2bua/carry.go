package b2bua

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
	relayer "github.com/sipward/sipward/sip/relay"
)

// carried are the methods that begin no call and yet go on. REFER is none of
// them: outside a call, what asks this proxy to call somebody dials nothing.
var carried = map[string]bool{"MESSAGE": true, "SUBSCRIBE": true, "NOTIFY": true, "PUBLISH": true, "INFO": true}

// inClear is why such a request is refused where policy requires protection.
// Keys are agreed for the media of calls; a message has only what its transport
// gives it, and the next hop reads it.
const inClear = "This call must be encrypted, and so must what is sent beside calls: it goes over TLS to a listed peer, or not at all"

// carry sends a request that begins no call where an INVITE would go, by the
// same rules.
func (p *Proxy) carry(in *sip.Incoming, l *listener, peer string) {
	stranger := l.Side == policyOutside && peer == ""
	if !p.admit(in, l, peer) {
		return
	}
	if stranger && !p.mayReach(in) {
		p.refuseStranger(in, in.Flow.Remote().Addr())
		return
	}
	hops, ok := forwards(in, p.replier(in, stranger))
	if !ok {
		return
	}
	if l.Side == policyInside && p.o.Emergency.Called(in.URI.String(), in.URI.User) {
		in.Reply(403, "Forbidden", warning("help is called by a call: nothing else reaches an emergency number"))
		return
	}
	if s := in.URI.Scheme; s != "sip" && s != "sips" {
		in.Reply(416, "")
		return
	}
	if unknown := relayer.Unsupported(in.Message); len(unknown) > 0 {
		in.Reply(420, "", sip.Field{Name: "Unsupported", Value: strings.Join(unknown, ", ")})
		return
	}
	g, ok := p.goalOf(in, l)
	if !ok {
		return
	}
	if stranger && g.target.Rule != route.RuleElsewhere {
		p.refuseStranger(in, in.Flow.Remote().Addr())
		return
	}
	if !g.known {
		p.counters.refused.Add(1)
		if p.known(in.URI) {
			in.Reply(480, "")
		} else {
			in.Reply(404, "")
		}
		return
	}
	target, phones := g.target, g.phones
	if phones != nil {
		if phones = p.reached(in, target, phones); len(phones) == 0 {
			in.Reply(489, "", warning("sipward keeps no mailbox and no presence, and no phone of that user could answer"))
			return
		}
	}
	// Policy speaks about it as about the call that the same parties would have.
	c := newCall(p, in, l, peer, target, hops-1)
	c.phones, c.routes, c.meant = phones, g.routes, g.meant
	c.decision = c.decide(addrOf(sip.URI{Host: target.Host}))
	if sentence := c.refusal(); sentence != "" {
		p.counters.refused.Add(1)
		if stranger {
			p.refuseStranger(in, in.Flow.Remote().Addr())
		} else {
			in.Reply(403, "Forbidden", warning(sentence))
		}
		return
	}
	request := p.relay.Take(in)
	if request == nil {
		return
	}
	if phones != nil {
		c.onward(request, c.waysToPhones())
		return
	}
	go func() { // the relay bounds how many requests wait
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		found, err := route.Resolve(ctx, p.o.Lookup, target)
		if err != nil {
			p.log.Info("cannot route", "method", in.Method, "to", target.Host, "error", err)
			request.Reply(502, "Bad Gateway", warning("the next hop "+target.Host+" was not found"))
			return
		}
		ways, sentence := c.waysTo(found)
		if sentence != "" {
			p.counters.refused.Add(1)
			request.Reply(403, "Forbidden", warning(sentence))
			return
		}
		c.onward(request, ways)
	}()
}

// mayReach says whether a request from outside that no listed peer sent may
// come in: to a phone whose account is elsewhere, at the contact that only the
// registrar there was told, and nothing that would keep state for long.
func (p *Proxy) mayReach(in *sip.Incoming) bool {
	_, _, ok := p.up.find(in.URI.User, time.Now())
	return ok && (in.Method == "NOTIFY" || in.Method == "MESSAGE" || in.Method == "INFO")
}

// reached returns the phones of a user that get a request: all of them what is
// for the person, the one that was registered last what is for one phone.
func (p *Proxy) reached(in *sip.Incoming, t route.Target, phones []destination) []destination {
	switch in.Method {
	case "MESSAGE", "NOTIFY":
		return phones
	case "PUBLISH": // is for a server that keeps what was published; a phone is none
		return nil
	case "SUBSCRIBE":
		event, _, _ := strings.Cut(in.Get("Event"), ";")
		if t.Rule != route.RuleElsewhere && strings.EqualFold(strings.TrimSpace(event), "message-summary") {
			return nil
		}
		// A phone that watches its own address means somebody else's phone.
		phones = slices.DeleteFunc(slices.Clone(phones), func(d destination) bool { return d.flow.Remote() == in.Flow.Remote() })
	}
	return phones[:min(1, len(phones))]
}

// refusal is why a request that begins no call may not go on; "" if it may.
func (c *Call) refusal() string {
	switch {
	case !c.decision.Allow:
		return c.decision.Reason
	case c.decision.Mode != policy.Require:
		return ""
	case c.a.side == policy.Inside && c.b.side == policy.Inside:
		return "This must be encrypted, and what phones inside send each other never is"
	case c.a.side == policy.Outside && !(c.a.peer != "" && c.invite.Flow.Network() == "tls"):
		return inClear
	}
	return "" // towards the outside, each hop is looked at
}

// waysToPhones are the ways to the registered phones of the callee.
func (c *Call) waysToPhones() (ways []relayer.Way) {
	for _, d := range c.phones {
		leg := c.newLeg()
		uri, err := sip.ParseURI(d.URI)
		if leg.l = c.p.listenerOf(d.flow); leg.l == nil || err != nil {
			continue
		}
		from, to, _ := c.identities(leg)
		ways = append(ways, relayer.Way{Flow: d.flow, URI: uri, From: from, To: to, Routes: d.routes})
	}
	return ways
}

// waysTo are the ways to the hops that DNS or a route names, those left out
// that policy forbids; where it forbids all, with a sentence that says why.
func (c *Call) waysTo(hops []route.Hop) (ways []relayer.Way, sentence string) {
	for _, hop := range hops {
		leg := c.newLeg()
		if leg.l = c.p.pick(leg.side, hop.Network, hop.Addr.Addr()); leg.l == nil {
			continue
		}
		if leg.side == policy.Outside {
			if !literal(c.target.Host) {
				c.decision = c.decide(hop.Addr.Addr()) // now rules that name its network speak
			}
			if why := c.refusal(); why != "" {
				sentence = why
				continue
			}
			if c.decision.Mode == policy.Require && !(hop.Network == "tls" && leg.peer != "") {
				sentence = inClear
				continue
			}
		}
		leg.uri = c.uriFor(leg)
		from, to, _ := c.identities(leg)
		ways = append(ways, relayer.Way{Flow: leg.l.flowTo(hop, c.target.Host), URI: leg.uri, From: from, To: to, Routes: c.routes})
	}
	if len(ways) > 0 {
		sentence = ""
	}
	return ways, sentence
}

// onward hands the request over to be carried.
func (c *Call) onward(request *relayer.Request, ways []relayer.Way) {
	if len(ways) == 0 {
		request.Reply(502, "Bad Gateway", warning("no way to the next hop "+c.target.Host))
		return
	}
	o := relayer.Onward{Ways: ways, All: len(c.phones) > 0, Forwards: c.forwards}
	// Between the phone and the server that knows its password.
	o.Passwords = c.a.side == policy.Inside && !c.p.home(c.invite.From().URI)
	if c.a.side == policy.Inside && c.b.side == policy.Outside {
		o.Out = c.p.veil(ways[0].Flow)
	}
	if c.a.side == policy.Outside {
		o.Back = c.p.veil(c.invite.Flow)
	}
	if t := c.p.trunk(c.b.peer); t != nil {
		o.Passwords = false
		o.Answer = func(challenge, request *sip.Message) (sip.Field, bool) { return t.answer(request, challenge) }
	}
	request.Send(o)
}

// veil hides addresses of the inside from who is on a flow outside: those that
// are known to be, and private ones where the outside is none itself.
func (p *Proxy) veil(f sip.Flow) *relayer.Veil {
	shown := f.Listener().Advertised().Addr()
	return &relayer.Veil{By: shown, Hide: func(a netip.Addr) bool {
		return p.isInside(a) || (a.IsPrivate() || a.IsLinkLocalUnicast()) && !shown.IsPrivate() && !shown.IsLinkLocalUnicast()
	}}
}
