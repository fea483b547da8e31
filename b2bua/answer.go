package b2bua

import (
	"errors"
	"time"

	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

// answered: the 2xx of a candidate came. The first one is the B leg; the others
// are cancelled, or released where they have answered as well. Its ACK leaves at once, with dh-fin
// where there is an exchange; only where the 2xx holds the offer does it wait
// for the caller's answer.
func (c *Call) answered(l *Leg, res *sip.Message) {
	if c.state != Calling && c.state != Ringing {
		l.dialog.Ack(res, "", nil)
		c.bye(l, nil)
		return
	}
	c.b = l
	for _, b := range c.branches {
		if b != l {
			b.dialog.Cancel()
			b.dropKeys()
		}
	}
	if l.readHere() {
		c.passage.begun = false // it was asked without
	}
	c.sdesWorks(l)
	if c.ringing != nil {
		c.ringing.Stop()
		c.ringing = nil
	}
	c.b.remote = c.b.dialog.Flow().Remote().String()
	c.p.proved(c, c.b)
	c.refreshedBy(c.b, res)
	c.noteFork(l, res)
	c.withoutEarly(res)
	c.pickedUp()
	fin, sentence := c.takeResp(c.b, res)
	if sentence != "" {
		c.b.dialog.Ack(res, "", nil)
		c.end(sentence)
		return
	}
	if fin == "" || c.b.protect { // the exchange was judged before the answer
		c.agreedOn(res, fin)
		return
	}
	c.state = Answered // no other phone answers while signatures are looked at
	c.vet(c.b, func(refusal string) {
		if refusal != "" {
			l.dialog.Ack(res, "", nil)
			c.end(refusal)
			return
		}
		c.agreedOn(res, fin)
	})
}

// agreedOn goes on with a 2xx whose exchange, if it has one, is in order.
func (c *Call) agreedOn(res *sip.Message, fin string) {
	c.passResp(res)
	if c.offerer != c.a {
		c.offeredByCallee(res, fin)
		return
	}
	if c.passage.res == nil {
		c.ackWith(res, fin)
	}
	var answer *sdp.Session
	if c.early != nil {
		answer = c.early.answer
	}
	if res.ContentType() == sdpType && len(res.Body) > 0 {
		parsed, err := sdp.Parse(res.Body)
		if err != nil {
			c.end("the other side's answer could not be read")
			return
		}
		answer = parsed
	}
	if answer == nil {
		c.end("the other side's answer has no session description")
		return
	}
	out, err := c.rewriteAnswer(answer, c.b, c.a)
	if err != nil {
		c.end(unfitting(err))
		return
	}
	c.state = Answered
	c.connect(answer, c.b)
	if fin != "" {
		if err := c.secure(c.b); err != nil {
			c.end("the media could not be encrypted: " + err.Error())
			return
		}
	}
	c.answerCaller(res, out)
}

// unfitting is the sentence for an answer that cannot be taken on.
func unfitting(err error) string {
	if errors.Is(err, errNoCrypto) {
		return err.Error()
	}
	return "the other side's answer does not fit the offer"
}

// answerCaller sends the 200 on the A leg, for that of the B leg.
func (c *Call) answerCaller(res *sip.Message, out *sdp.Session) {
	if t := c.waits(); t != nil {
		c.emit("call-changed")
		t.answered(out)
		return
	}
	if c.a.exchange != nil && (c.early == nil || !c.early.resp) {
		withSignatures(out, "dh-resp", c.a.resp, c.a.sigs)
	}
	fields := append(c.supported(c.a), sip.Field{Name: "Allow", Value: allowed})
	fields = append(append(fields, c.told(res, c.b, c.a)...), c.passTags(res)...)
	fields = append(fields, c.refreshed(c.a, c.invite.Message)...)
	c.a.dialog.Answer(sdpType, c.answerBody(res, out), fields...)
	c.emit("call-changed")
}

// ackWith acknowledges the 2xx, with dh-fin where there is one.
func (c *Call) ackWith(res *sip.Message, fin string) {
	if fin == "" {
		c.b.dialog.Ack(res, "", nil)
		return
	}
	c.b.dialog.Ack(res, "", finFragment(fin, c.b.sigs), fragmentFields...)
}

// offeredByCallee: the caller's INVITE had no SDP, so the 2xx holds the offer
// and the ACK the answer.
func (c *Call) offeredByCallee(res *sip.Message, fin string) {
	if c.early != nil && c.early.offer != nil {
		c.answeredOffer(res, fin)
		return
	}
	offer, err := sdp.Parse(res.Body)
	if err != nil || res.ContentType() != sdpType {
		c.b.dialog.Ack(res, "", nil)
		c.end("the other side's offer could not be read")
		return
	}
	c.offer, c.offerer = offer, c.b
	c.learnSDES(c.b, c.calledUser(), offer)
	out, err := c.rewriteOffer(offer, c.b, c.a)
	if err != nil {
		c.b.dialog.Ack(res, "", nil)
		c.end("nothing in the other side's offer can be relayed")
		return
	}
	c.pending, c.fin = res, fin
	c.state = Answered
	c.answerCaller(res, out)
}

// acked: the caller's ACK came; with it the call stands.
func (c *Call) acked(ack *sip.Message) {
	if c.state != Answered {
		return
	}
	if c.pending != nil && !c.answerFromAck(ack) {
		return
	}
	c.passFin(ack)
	if c.a.exchange != nil {
		if !c.takeFin(c.a, ack) {
			return
		}
		if c.a.finned { // judged behind the PRACK, or about to be
			c.a.behind(c.securedStands)
			return
		}
		c.vet(c.a, func(refusal string) {
			if refusal != "" {
				c.end(refusal)
				return
			}
			c.securedStands()
		})
		return
	}
	c.stands()
}

// securedStands gives the keys of the A leg to its media, and the call stands.
func (c *Call) securedStands() {
	if c.state != Answered {
		return
	}
	if err := c.secure(c.a); err != nil {
		c.end("the media could not be encrypted: " + err.Error())
		return
	}
	c.stands()
}

// stands: both dialogs are complete, and every share is in order.
func (c *Call) stands() {
	c.p.proved(c, c.a)
	c.stood = time.Now()
	c.packDescriptions()
	c.forgetSetUp()
	c.changed(Established)
	c.settle(c.a)
	c.settle(c.b)
	c.renewMoved()
}

// forgetSetUp lets go of what only led here: the INVITE but for who is who in it, the
// search for somebody who answers, and the transfer that began it with the call before.
func (c *Call) forgetSetUp() {
	c.invite = c.invite.Kept(setUpOnly)
	c.hops, c.phones, c.routes, c.best, c.detours = nil, nil, nil, nil, nil
	c.b.way = nil
	if c.led != nil {
		c.led.transfer = nil
	}
}

// setUpOnly are the fields of an INVITE that nobody asks for once the call stands: they
// are about the INVITE and its hop, not about its caller.
var setUpOnly = []string{"Via", "Route", "Record-Route", "Max-Forwards", "CSeq", "Contact", "Content-Type", "Allow", "Accept",
	"Supported", "Require", "Proxy-Require", "Session-Expires", "Min-SE", "Expires", "Authorization", "Proxy-Authorization", "DH-Init"}

// packDescriptions makes small what both far ends said: most calls never look at
// it again.
func (c *Call) packDescriptions() {
	c.a.described.Pack()
	c.b.described.Pack()
}

// answerFromAck takes the answer of a delayed offer out of the ACK and sends
// the ACK that the B leg waits for.
func (c *Call) answerFromAck(ack *sip.Message) bool {
	res := c.pending
	answer, err := sdp.Parse(ack.Body)
	if err != nil || ack.ContentType() != sdpType {
		c.b.dialog.Ack(res, "", nil)
		c.end("the caller's answer could not be read")
		return false
	}
	out, err := c.rewriteAnswer(answer, c.a, c.b)
	if err != nil {
		c.b.dialog.Ack(res, "", nil)
		c.end("the caller's answer does not fit the offer")
		return false
	}
	if c.fin != "" {
		withSignatures(out, "dh-fin", c.fin, c.b.sigs)
	}
	c.b.dialog.Ack(res, sdpType, out.Bytes())
	c.connect(answer, c.a)
	if c.fin != "" {
		if err := c.secure(c.b); err != nil {
			c.end("the media could not be encrypted: " + err.Error())
			return false
		}
	}
	return true
}
