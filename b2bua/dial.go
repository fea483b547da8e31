package b2bua

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/sipward/sipward/media"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

// readOffer reads what the caller offers. It returns true where the INVITE
// was refused for it.
func (c *Call) readOffer() (refused bool) {
	if len(c.invite.Body) > 0 {
		offer, err := sdp.Parse(c.invite.Body)
		if err != nil {
			c.refuse(400, "Bad Request (SDP)", "the session description could not be read")
			return true
		}
		c.offer, c.offerer = offer, c.a
		c.learnSDES(c.a, c.invite.From().URI.User, offer)
	}
	if c.a.side != policy.Outside {
		return false
	}
	if sentence := c.respond(c.a, c.invite.Message); sentence != "" {
		c.refuse(488, sentence, sentence)
		return true
	}
	if c.a.exchange == nil && c.invite.HasToken("Require", optionTag) {
		// The caller would end the call after the phone has rung.
		c.a.dialog.Refuse(420, "", sip.Field{Name: "Unsupported", Value: optionTag})
		c.p.counters.refused.Add(1)
		c.finish("the caller requires a key exchange, and there is none: " + c.reason)
		return true
	}
	return false
}

// dialNext sends the INVITE to the next hop that has a listener.
func (c *Call) dialNext() {
	for len(c.hops) > 0 {
		hop := c.hops[0]
		c.hops = c.hops[1:]
		if c.led != nil && c.led.stranger && c.p.isInside(hop.Addr.Addr()) {
			continue // a name that somebody outside has given
		}
		l := c.p.pick(c.b.side, hop.Network, hop.Addr.Addr())
		if l == nil {
			c.p.log.Warn("no listener for this hop", "call", c.id, "side", c.b.side, "network", hop.Network, "address", hop.Addr)
			continue
		}
		if c.b.l != nil && c.b.l.media() != l.media() {
			c.closeMedia() // the ports of the last try were another address's
		}
		c.b = c.newLeg()
		if c.a.side == policy.Inside && !literal(c.target.Host) && !c.urgent {
			// Now the address is known, rules that name its network speak.
			if c.decision = c.decide(hop.Addr.Addr()); !c.decision.Allow {
				c.refuse(403, "Forbidden", c.decision.Reason)
				return
			}
			if sentence := c.keyless(); sentence != "" {
				c.refuse(488, sentence, sentence)
				return
			}
			c.reason = c.decision.Reason
		}
		c.b.l, c.b.routes = l, c.routes
		err := c.dial(c.b, l.flowTo(hop, c.target.Host), c.uriFor(c.b))
		if err == nil || c.cannotDial(err) {
			return
		}
		c.p.log.Error("cannot place the call", "call", c.id, "hop", hop.Addr, "error", err)
	}
	if c.detour() {
		return
	}
	c.refuse(502, "Bad Gateway", "no way to the next hop "+c.target.Host)
}

// ringAll sends an INVITE to each phone that is registered for the callee.
// The first that answers has the call.
func (c *Call) ringAll(phones []destination) {
	var first *listener
	for _, d := range phones {
		leg := c.newLeg()
		leg.routes = d.routes
		if leg.l = c.p.listenerOf(d.flow); leg.l == nil || first != nil && leg.l.media() != first.media() {
			continue // one session of media has one address towards the phones
		}
		uri, err := sip.ParseURI(d.URI)
		if err != nil {
			continue
		}
		c.b = leg
		if err := c.dial(leg, d.flow, uri); err != nil {
			if c.cannotDial(err) {
				return
			}
			c.p.log.Error("cannot ring a phone", "call", c.id, "phone", d.flow.Remote(), "error", err)
			continue
		}
		first = leg.l
	}
	if len(c.branches) == 0 {
		c.refuse(480, "", "none of the callee's phones can be reached")
	}
}

// cannotDial refuses the call for a reason that no other hop or phone mends.
func (c *Call) cannotDial(err error) bool {
	switch {
	case errors.Is(err, errNoMedia):
		c.refuse(488, c.nothingToRelay(), c.nothingToRelay())
	case errors.Is(err, errNoGroup):
		sentence := "This call must be encrypted, and the only key exchange that is allowed does not fit into UDP"
		c.refuse(488, sentence, sentence)
	case errors.Is(err, errNotVouched):
		c.refuse(488, notVouched, notVouched, passTag)
	case errors.Is(err, media.ErrNoPorts):
		c.p.log.Error("out of media ports", "call", c.id, "error", err)
		c.refuse(503, "", "no free media ports", sip.Field{Name: "Retry-After", Value: "10"})
	default:
		return false
	}
	return true
}

// dial sends the INVITE of one candidate for the B leg.
func (c *Call) dial(l *Leg, flow sip.Flow, uri sip.URI, extra ...sip.Field) error {
	l.remote, l.flow, l.uri = flow.Remote().String(), flow, uri
	c.chooseProfile(l)
	fields := append(make([]sip.Field, 0, 8), extra...)
	fields = append(fields, sip.Field{Name: "Allow", Value: allowed})
	for _, name := range passed {
		if v := c.invite.Get(name); v != "" && !c.reveals(v, c.invite.Message, l) {
			fields = append(fields, sip.Field{Name: name, Value: v})
		}
	}
	fields = append(fields, c.told(c.invite.Message, c.a, l)...)
	fields = append(fields, c.asksToRefresh(l)...)
	fields = append(fields, c.diversion(l)...)
	proof := c.credentialsOf(l)
	fields = append(fields, proof...)
	init := ""
	if c.a.exchange == nil {
		c.protection = "none"
	}
	onward, require, err := c.passInit(l)
	if err != nil {
		return err
	}
	fields = append(fields, onward...)
	own := l.side == policy.Outside && c.decision.Mode != policy.Off && !c.passage.begun && c.offersRTP()
	if own {
		init, err = c.begin(l, flow.Network() != "udp")
		switch {
		case err == nil:
			c.protection = "negotiating"
		case errors.Is(err, errNoGroup) && c.decision.Mode == policy.Prefer:
			c.reason = "unprotected: the only group that is allowed does not fit into UDP (" + c.decision.Reason + ")"
		default:
			return err
		}
	}
	if own {
		if l.require = c.decision.Mode == policy.Require; l.require {
			require = []sip.Field{{Name: "Require", Value: optionTag}}
			fields = append(fields, require...)
		}
	}
	fields = append(fields, c.extensions(l, own, init != "")...)
	var body []byte
	if c.offer != nil {
		out, err := c.rewriteOffer(c.offer, c.a, l)
		if err != nil {
			return err
		}
		if init != "" {
			out.AddSessionAttribute("dh-init", init)
		}
		body = out.Bytes()
	} else if init != "" {
		fields = append(fields, sip.Field{Name: "DH-Init", Value: init})
	}
	from, to, named := c.identities(l)
	fields = append(fields, named...)
	d, err := c.p.stack.Dial(sip.Dial{Flow: flow, URI: uri, Routes: l.routes, From: from, To: to, ContactUser: from.URI.User, MaxForwards: c.forwards,
		Fields: fields, AckFields: append(require, proof...), ContentType: sdpType, Body: body, Queue: c.queue, User: l})
	if err != nil {
		return err
	}
	l.dialog = d
	l.prove()
	c.branches = append(c.branches, l)
	c.waitForAnswer()
	c.changed(Calling)
	c.signAnswer()
	return nil
}

// waitForAnswer bounds how long this try may take: a peer that says 100 and
// nothing more has stopped the transaction's own timer.
func (c *Call) waitForAnswer() {
	if c.ringing != nil {
		c.ringing.Stop()
	}
	c.ringing = time.AfterFunc(noAnswer, func() {
		c.queue.Post(func() {
			if c.state == Calling || c.state == Ringing {
				c.refuse(480, "", "nobody answered")
			}
		})
	})
}

// identities returns From and To of the B leg. An address of the inside that
// stands there for want of a domain does not leave: the caller's becomes that
// of the listener, the callee's that of the Request-URI. A trunk has its own
// names for both, and fields that name the caller beside From.
func (c *Call) identities(l *Leg) (from, to sip.Address, named []sip.Field) {
	from, to = c.invite.From(), c.invite.To()
	from.Params, to.Params = "", ""
	from.URI.Params, to.URI.Params = "", ""
	if l.side != policy.Outside {
		return from, to, nil
	}
	if c.led != nil {
		from = c.led.as // who has led the call on answers for it
	}
	if t := c.p.trunk(l.peer); t != nil {
		from, named = t.caller(from, c.private())
		to = sip.Address{URI: l.uri}
		to.URI.Port, to.URI.Params = 0, ""
	} else if c.private() {
		from = anonymous
	}
	if addr, isAddr := from.URI.Addr(); isAddr && c.p.isInside(addr) {
		from.URI.Host, from.URI.Port = l.l.sip.Advertised().Addr().String(), 0
	}
	for _, a := range []*sip.Address{&from, &to} {
		if c.reveals(a.Display, c.invite.Message, l) {
			a.Display = ""
		}
	}
	if addr, isAddr := to.URI.Addr(); isAddr && c.p.isInside(addr) {
		called := c.calledURI()
		to.URI.User, to.URI.Host, to.URI.Port = called.User, called.Host, 0
	}
	return from, to, named
}

// supported names the extensions to a caller who may know them.
func (c *Call) supported(l *Leg) []sip.Field {
	if l.side == policy.Inside {
		return []sip.Field{{Name: "Supported", Value: forPhones}}
	}
	if l.side == policy.Outside && c.decision.Mode != policy.Off {
		return []sip.Field{{Name: "Supported", Value: optionTag}}
	}
	return nil
}

// refusedBy: the INVITE of a candidate has failed. The caller hears of it when
// none is left.
func (c *Call) refusedBy(l *Leg, res *sip.Message, err error) {
	c.branches = slices.DeleteFunc(c.branches, func(b *Leg) bool { return b == l })
	if c.state != Calling && c.state != Ringing {
		return
	}
	c.eraseExchange(l)
	l.dropKeys()
	if c.longerSession(l, res) || c.otherProfile(l, res) {
		return
	}
	if l.firstRefusal != nil && res != nil && res.Status == l.firstRefusal.Status {
		res = l.firstRefusal
	}
	if len(c.branches) > 0 {
		if res != nil && (res.Status >= 600 || c.best == nil || worth(res) > worth(c.best)) {
			c.best = res
		}
		if res != nil && res.Status >= 600 { // RFC 3261 section 16.7: nobody else either
			for _, b := range c.branches {
				b.dialog.Cancel()
			}
		}
		return
	}
	if c.best != nil && (res == nil || worth(c.best) > worth(res)) {
		res, err = c.best, nil
	}
	if !c.bound(l) && isChallenge(res) && c.answerChallenge(l, res) {
		return
	}
	if err != nil || res.Status == 503 {
		if len(c.hops) > 0 && !c.bound(l) {
			c.p.log.Info("next hop", "call", c.id, "after", l.remote, "error", err)
			c.dialNext() // with a new share (protocol section 7)
			return
		}
	}
	if c.passesOn() && (res != nil && res.Status/100 == 3 && c.redirected(l, res) || (res == nil || res.Status < 600) && c.detour()) {
		return
	}
	switch {
	case errors.Is(err, sip.ErrTimeout):
		c.refuse(408, "", "the other side did not answer")
	case err != nil:
		c.refuse(502, "Bad Gateway", "the other side could not be reached: "+strings.TrimPrefix(err.Error(), "sip: "))
	case l.require && (res.Status == 420 || res.Status == 488) && !res.HasToken("Supported", optionTag):
		c.protection = "failed"
		sentence := "This call must be encrypted, and the other side offers no key exchange"
		c.refuse(488, sentence, sentence)
	case res.Status == 503:
		c.refuse(500, "", "the other side is out of service") // RFC 3261 section 16.7: a 503 is about one hop
	case isChallenge(res):
		c.passChallenge(res)
	case res.Status >= 300 && res.Status < 400:
		c.refuse(480, "", "the other side is elsewhere, at no address that this call may follow it to")
	default:
		phrase := c.phrase(res, c.a)
		c.refuse(res.Status, phrase, "refused by the other side: "+phrase, append(c.told(res, l, c.a), c.passTags(res)...)...)
	}
}

// passChallenge hands the far end's question for a password to the phone, which
// alone knows the answer. Its next INVITE has a new share.
//
// A phone with an account here is not asked: it would answer a stranger with
// what its password for this proxy can be guessed from. Nor is one that calls by a
// trunk: the question is for the account's password.
func (c *Call) passChallenge(res *sip.Message) {
	if c.a.side != policy.Inside || c.p.home(c.invite.From().URI) || c.p.trunk(c.target.Peer) != nil {
		c.refuse(403, "Forbidden (the other side asks for a password)", "the other side asks for a password")
		return
	}
	c.refuse(res.Status, res.Reason, "the other side asks for a password", fieldsNamed(res, "WWW-Authenticate", "Proxy-Authenticate")...)
}

// worth orders refusals: what tells the caller most about the callee wins.
func worth(res *sip.Message) int {
	switch {
	case res.Status >= 600:
		return 4
	case res.Status == 486:
		return 3
	case res.Status == 408 || res.Status == 480 || res.Status >= 500:
		return 1
	}
	return 2
}
