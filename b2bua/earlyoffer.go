package b2bua

import (
	"github.com/sipward/sipward/keyexchange"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

// An INVITE without SDP whose offer comes in a reliable 1xx: the answer is in the
// PRACK (RFC 3262 section 5), and 2xx and ACK need none.

// offeredEarly: the caller's INVITE had no SDP, and this reliable response holds
// the offer. The caller gets it in one too, and its PRACK will hold the answer.
func (c *Call) offeredEarly(l *Leg, res *sip.Message, offer *sdp.Session, fin string) {
	c.notPassed()
	c.offer, c.offerer = offer, l
	out, err := c.rewriteOffer(offer, l, c.a)
	if err != nil {
		c.prack(l, res, "", nil)
		c.end("nothing in the other side's offer can be relayed")
		return
	}
	c.early = &early{tag: res.To().Tag(), body: res.Body, firm: true, offer: res, fin: fin}
	if c.a.exchange != nil {
		withSignatures(out, "dh-resp", c.a.resp, c.a.sigs)
		c.early.resp = true
	}
	fields := append(c.supported(c.a), c.told(res, l, c.a)...)
	c.provisionReliably(res.Status, c.phrase(res, c.a), out.Bytes(), fields)
}

// answerFromPrack takes the answer of a delayed offer out of the PRACK and sends
// the PRACK that the B leg waits for.
func (c *Call) answerFromPrack(e *early, prack *sip.Message) {
	answer, err := sdp.Parse(prack.Body)
	if err != nil || prack.ContentType() != sdpType {
		c.prack(c.b, e.offer, "", nil)
		c.end("the caller's answer could not be read")
		return
	}
	out, err := c.rewriteAnswer(answer, c.a, c.b)
	if err != nil {
		c.prack(c.b, e.offer, "", nil)
		c.end("the caller's answer does not fit the offer")
		return
	}
	if e.resp { // the media waits for the answer that came with it
		c.takeEarlyFin(keyexchange.KindAckSDP, prack, func() { c.answeredInPrack(e, prack, answer, out) })
		return
	}
	c.answeredInPrack(e, prack, answer, out)
}

// answeredInPrack sends the answer on; what came with it is in order.
func (c *Call) answeredInPrack(e *early, prack *sip.Message, answer, out *sdp.Session) {
	e.sent = out.Clone()
	if e.fin != "" {
		withSignatures(out, "dh-fin", e.fin, c.b.sigs)
	}
	c.prack(c.b, e.offer, sdpType, out.Bytes())
	c.connect(answer, c.a)
	if e.passed != nil {
		c.passed(prack)
	}
	for _, l := range []*Leg{c.a, c.b} {
		if l == c.a && e.resp || l == c.b && e.fin != "" {
			if err := c.secure(l); err != nil {
				c.end("the media could not be encrypted: " + err.Error())
				return
			}
		}
	}
}

// answeredOffer takes the 2xx of a call whose offer was in a reliable response.
func (c *Call) answeredOffer(res *sip.Message, fin string) {
	e := c.early
	if e.sent == nil || e.tag != res.To().Tag() {
		c.b.dialog.Ack(res, "", nil)
		c.end("the other side answered before its offer was")
		return
	}
	c.state = Answered
	switch {
	case c.passage.res != nil: // the caller's ACK is awaited
	case fin == "" || c.b.protect:
		c.ackWith(res, fin)
	default:
		// dh-resp came in the 2xx only: dh-fin stands where the answer does.
		withSignatures(e.sent, "dh-fin", fin, c.b.sigs)
		c.b.dialog.Ack(res, sdpType, e.sent.Bytes())
		if err := c.secure(c.b); err != nil {
			c.end("the media could not be encrypted: " + err.Error())
			return
		}
	}
	c.answerCaller(res, nil)
}
