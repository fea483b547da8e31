package b2bua

import (
	"errors"
	"net/netip"
	"time"

	"github.com/sipward/sipward/media"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

// passed are the header fields that an INVITE keeps from one leg to the
// other: none of them tells an address of the inside.
var passed = []string{"Subject", "Priority", "Accept-Language"}

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
		l := c.p.pick(c.b.side, hop.Network, hop.Addr.Addr())
		if l == nil {
			c.p.log.Warn("no listener for this hop", "call", c.id, "side", c.b.side, "network", hop.Network, "address", hop.Addr)
			continue
		}
		if c.b.l != nil && c.b.l.media != l.media {
			c.closeMedia() // the ports of the last try were another address's
		}
		if c.a.side == policy.Inside && !literal(c.target.Host) {
			// Now the address is known, rules that name its network speak.
			if c.decision = c.decide(hop.Addr.Addr()); !c.decision.Allow {
				c.refuse(403, "Forbidden", c.decision.Reason)
				return
			}
			c.reason = c.decision.Reason
		}
		c.b.l = l
		c.b.remote = hop.Addr.String()
		switch err := c.dial(hop.Addr); {
		case err == nil:
			return
		case errors.Is(err, errNoMedia):
			c.refuse(488, "Nothing in this offer can be relayed: plain RTP is needed", err.Error())
			return
		case errors.Is(err, errNoGroup):
			sentence := "This call must be encrypted, and the only key exchange that is allowed does not fit into UDP"
			c.refuse(488, sentence, sentence)
			return
		case errors.Is(err, media.ErrNoPorts):
			c.p.log.Error("out of media ports", "call", c.id, "error", err)
			c.refuse(503, "", "no free media ports", sip.Field{Name: "Retry-After", Value: "10"})
			return
		default:
			c.p.log.Error("cannot place the call", "call", c.id, "hop", hop.Addr, "error", err)
		}
	}
	c.refuse(502, "Bad Gateway", "no way to the next hop "+c.target.Host)
}

func (c *Call) dial(addr netip.AddrPort) error {
	flow := c.b.l.sip.Flow(addr)
	var require []sip.Field
	fields := make([]sip.Field, 0, 8)
	fields = append(fields, sip.Field{Name: "Allow", Value: allowed})
	for _, name := range passed {
		if v := c.invite.Get(name); v != "" {
			fields = append(fields, sip.Field{Name: name, Value: v})
		}
	}
	c.eraseExchange(c.b) // of an earlier try: each has a share of its own
	init := ""
	c.b.require, c.protection = false, "none"
	if c.b.side == policy.Outside && c.decision.Mode != policy.Off {
		var err error
		init, err = c.begin(c.b, flow.Network() != "udp")
		switch {
		case err == nil:
			c.protection = "negotiating"
		case errors.Is(err, errNoGroup) && c.decision.Mode == policy.Prefer:
			c.reason = "unprotected: the only group that is allowed does not fit into UDP (" + c.decision.Reason + ")"
		default:
			return err
		}
	}
	if c.b.side == policy.Outside && c.decision.Mode != policy.Off {
		fields = append(fields, sip.Field{Name: "Supported", Value: optionTag})
		if c.b.require = c.decision.Mode == policy.Require; c.b.require {
			require = []sip.Field{{Name: "Require", Value: optionTag}}
			fields = append(fields, require...)
		}
	}
	var body []byte
	if c.offer != nil {
		out, err := c.rewriteOffer(c.offer, c.a, c.b)
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
	from, to := c.identities()
	d, err := c.p.stack.Dial(sip.Dial{Flow: flow, URI: c.calledURI(), From: from, To: to, ContactUser: from.URI.User, MaxForwards: c.forwards,
		Fields: fields, AckFields: require, ContentType: sdpType, Body: body, Queue: &c.queue, User: c.b})
	if err != nil {
		return err
	}
	c.b.dialog = d
	c.waitForAnswer()
	c.changed(Calling)
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
// of the listener, the callee's that of the Request-URI.
func (c *Call) identities() (from, to sip.Address) {
	from, to = c.invite.From(), c.invite.To()
	from.Params, to.Params = "", ""
	from.URI.Params, to.URI.Params = "", ""
	if c.b.side != policy.Outside {
		return from, to
	}
	if _, isAddr := from.URI.Addr(); isAddr {
		from.URI.Host, from.URI.Port = c.b.l.sip.Advertised().Addr().String(), 0
	}
	if _, isAddr := to.URI.Addr(); isAddr {
		called := c.calledURI()
		to.URI.User, to.URI.Host, to.URI.Port = called.User, called.Host, 0
	}
	return from, to
}

// provisional: a response between 101 and 199 came on the B leg.
func (c *Call) provisional(res *sip.Message) {
	if c.state != Calling && c.state != Ringing {
		return
	}
	c.changed(Ringing)
	status, reason := res.Status, res.Reason
	if status == 100 {
		return
	}
	early := c.earlyMedia(res)
	if early == nil && status == 183 {
		status, reason = 180, "" // no early media crosses: the caller's phone rings by itself
	}
	var body []byte
	if early != nil {
		body = early.Bytes()
	}
	c.a.dialog.Provision(status, reason, sdpType, body, c.supported(c.a)...)
}

// earlyMedia returns the answer that may go to the caller with a provisional
// response, or nil. Early media crosses an outside leg only where policy
// allows unprotected media and no exchange was taken (protocol section 7).
func (c *Call) earlyMedia(res *sip.Message) *sdp.Session {
	if c.offer == nil || res.ContentType() != sdpType || len(res.Body) == 0 {
		return nil
	}
	if c.a.exchange != nil || (c.b.side == policy.Outside && c.decision.Mode == policy.Require) {
		return nil
	}
	answer, err := sdp.Parse(res.Body)
	if err != nil {
		return nil
	}
	out, err := c.rewriteAnswer(answer, c.b, c.a)
	if err != nil {
		return nil
	}
	c.early = answer
	c.connect(answer, c.b)
	return out
}

// supported names the extension to a caller who may know it.
func (c *Call) supported(l *Leg) []sip.Field {
	if l.side == policy.Outside && c.decision.Mode != policy.Off {
		return []sip.Field{{Name: "Supported", Value: optionTag}}
	}
	return nil
}

// refusedBy: the INVITE of the B leg has failed.
func (c *Call) refusedBy(res *sip.Message, err error) {
	if c.state == Ended {
		return
	}
	c.b.dialog = nil
	if err != nil || res.Status == 503 {
		if len(c.hops) > 0 {
			c.p.log.Info("next hop", "call", c.id, "after", c.b.remote, "error", err)
			c.dialNext() // with a new share (protocol section 7)
			return
		}
	}
	switch {
	case errors.Is(err, sip.ErrTimeout):
		c.refuse(408, "", "the other side did not answer")
	case err != nil:
		c.refuse(502, "Bad Gateway", "the other side could not be reached")
	case c.b.require && (res.Status == 420 || res.Status == 488) && !res.HasToken("Supported", optionTag):
		c.protection = "failed"
		sentence := "This call must be encrypted, and the other side offers no key exchange"
		c.refuse(488, sentence, sentence)
	case res.Status == 503:
		c.refuse(500, "", "the other side is out of service") // RFC 3261 section 16.7: a 503 is about one hop
	case res.Status == 401 || res.Status == 407:
		c.refuse(403, "Forbidden (the other side asks for a password)", "the other side asks for a password")
	case res.Status >= 300 && res.Status < 400:
		c.refuse(480, "", "the other side is elsewhere, and redirections are not followed")
	default:
		c.refuse(res.Status, res.Reason, "refused by the other side: "+res.Reason)
	}
}
