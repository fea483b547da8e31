package b2bua

import (
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

// An exchange between others in a reliable 1xx and its PRACK: both cross as they
// came, and early media under the ends' keys with them. Reliability itself is
// each leg's own: the PRACK of the far leg leaves once the caller's has brought
// what it carries.

// passesEarly says whether a reliable response holds the answer to the exchange
// that passes: the first one does, and what the same fork says later. Another
// fork's does not; the caller has opened its commitment to the first.
func (c *Call) passesEarly(l *Leg, res *sip.Message) bool {
	switch {
	case l.readHere(), !carries(res, "dh-resp"), res.ContentType() != sdpType:
		return false
	case c.passage.begun:
		return len(c.branches) == 1
	}
	return c.passage.taken && l.opened != "" && l.opened == res.To().Tag()
}

// passEarly hands a reliable response with dh-resp to the caller, reliably.
func (c *Call) passEarly(l *Leg, res *sip.Message) {
	session, err := sdp.Parse(res.Body)
	if err != nil {
		c.prack(l, res, "", nil)
		c.end("the other side's early description could not be read")
		return
	}
	c.passTake()
	l.opened = res.To().Tag()
	e := &early{tag: l.opened, body: res.Body, firm: true, passed: res}
	var out *sdp.Session
	if c.offerer == c.a {
		e.answer = session
		out, err = c.rewriteAnswer(session, l, c.a)
	} else {
		e.offer = res
		c.offer, c.offerer = session, l
		out, err = c.rewriteOffer(session, l, c.a)
	}
	if err != nil {
		c.prack(l, res, "", nil)
		c.end("nothing in the other side's early description can be relayed")
		return
	}
	c.early = e
	if c.offerer == c.a {
		c.connect(session, l)
	}
	c.publishView()
	fields := append(append(c.supported(c.a), c.told(res, l, c.a)...), c.passTags(res)...)
	if !c.provisionReliably(res.Status, c.phrase(res, c.a), out.Bytes(), fields) {
		c.prack(l, res, "", nil)
		c.end("the caller has too many provisional responses to acknowledge")
	}
}

// passPrack sends the caller's dh-fin on, in the PRACK that the far leg waits
// for. One without is sent on too: who began the exchange has seen a fault, or a
// server on the way has taken it out, and the far end has to know.
func (c *Call) passPrack(e *early, prack *sip.Message) {
	if prack.ContentType() == fragmentType {
		c.prack(c.b, e.passed, "", prack.Body, fragmentFields...)
	} else {
		c.prack(c.b, e.passed, "", nil)
	}
	c.passed(prack)
}

// passedByAnother is the sentence that ends a call whose answer comes from another
// fork than the dh-resp that the caller has taken. The caller has one dialog with
// this side, in which a second share would read as an attack, and none at all as
// one under the keys of the first.
func (c *Call) passedByAnother(l *Leg, res *sip.Message) string {
	if !c.passage.taken || l.opened == "" || l.opened == res.To().Tag() {
		return ""
	}
	c.protection = "failed"
	return anotherPhone
}

// passesOn says whether requests may still go to another hop or contact: not with
// the share of an exchange that somebody has answered (protocol section 7).
func (c *Call) passesOn() bool { return !c.passage.taken }
