package b2bua

import (
	"bytes"
	"strings"
	"time"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

// Early media (protocol section 7): what a callee sends before it answers. Keys
// for it are agreed in a reliable 183 and its PRACK (RFC 3262), which the two
// proxies speak with each other whether or not their phones know them. Without
// keys it crosses an outside leg only where policy allows unprotected media.

// option100rel is the option tag of reliable provisional responses.
const option100rel = "100rel"

// early is the session that a provisional response of the B leg has begun.
type early struct {
	tag    string // To tag of that response: a fork of the INVITE
	body   []byte
	answer *sdp.Session // nil where the caller's INVITE had no SDP
	firm   bool         // the caller has it in a reliable response: its answer or offer
	resp   bool         // and dh-resp with it
	passed *sip.Message // it holds the dh-resp of an exchange between others: its PRACK waits for the caller's

	// The caller's INVITE had no SDP, and this response holds the offer.
	offer *sip.Message
	fin   string       // dh-fin that its PRACK will carry
	sent  *sdp.Session // the answer that the PRACK has carried
}

// offers100rel says whether the INVITE of a candidate asks for reliable
// provisional responses: the leg outside for the sake of the exchange, another
// where the caller asked. Not where several phones ring, or the path is known to
// fork: the first of them that rang would have the only dh-fin.
func (c *Call) offers100rel(l *Leg, exchange bool) bool {
	switch {
	case c.waits() != nil:
		return false // a transfer has no caller who rings
	case len(c.phones) > 1, (exchange || c.passage.begun) && c.p.forking.has(l.uri.AOR(), time.Now()):
		return false
	case exchange && c.a.exchange != nil && !c.mayShow():
		return false // keys on this leg before the other's would serve nobody
	case c.offer == nil && c.a.exchange != nil:
		// Its 183 will hold the offer, which only a reliable one may, and
		// dh-resp with it.
		return c.a.dialog.Takes100rel() && c.mayShow()
	case c.offer == nil:
		return c.a.dialog.Takes100rel()
	}
	return exchange || c.a.dialog.Takes100rel()
}

// extensions is the field Supported of a candidate's INVITE; own says that this
// side's exchange may be in it, exchange that it is.
func (c *Call) extensions(l *Leg, own, exchange bool) []sip.Field {
	var tags []string
	switch {
	case l.side == policy.Inside:
		tags = append(tags, forPhones)
	case own:
		tags = append(tags, optionTag)
	}
	if c.offers100rel(l, exchange) {
		tags = append(tags, option100rel)
	}
	if len(tags) == 0 {
		return nil
	}
	return []sip.Field{{Name: "Supported", Value: strings.Join(tags, ", ")}}
}

// mayShow says whether dh-resp may leave before the callee answers: to a caller
// that takes it reliably, and not once more where too many callers have gone
// before the answer. It counts the call when it first says so.
func (c *Call) mayShow() bool {
	if c.a.exchange == nil || !c.a.dialog.Takes100rel() || len(c.phones) > 1 {
		return false
	}
	if c.shown.IsZero() {
		now := time.Now()
		if !c.p.door.BeginExchange(c.callee(), now) {
			return false
		}
		c.shown = now
	}
	return true
}

// callee names whom the caller wants, for the count of unanswered exchanges.
func (c *Call) callee() string { return c.calledURI().AOR() }

// pickedUp: the callee has answered, or has seen no dh-resp.
func (c *Call) pickedUp() {
	if !c.shown.IsZero() {
		c.p.door.Answered(c.callee(), c.shown)
		c.shown = time.Time{}
	}
}

// provisional: a response between 101 and 199 came from a candidate.
func (c *Call) provisional(l *Leg, res *sip.Message) {
	if c.state != Calling && c.state != Ringing {
		return
	}
	c.changed(Ringing)
	c.noteFork(l, res)
	if t := c.waits(); t != nil {
		if res.Status > 100 {
			t.progress(res.Status, c.phrase(res, c.a))
		}
		return
	}
	reliable := l.dialog.Reliable(res)
	if reliable && c.passesEarly(l, res) {
		c.passEarly(l, res)
		return
	}
	fin, refusal := "", ""
	if reliable {
		fin, refusal = c.takeEarlyResp(l, res)
	}
	goOn := func(refusal string) {
		if c.state == Ended {
			return
		}
		if refusal != "" {
			c.prack(l, res, "", nil)
			c.end(refusal)
			return
		}
		c.progressed(l, res, reliable, fin)
	}
	if refusal != "" || fin == "" || l.protect {
		goOn(refusal)
		return
	}
	c.vet(l, goOn)
}

// progressed goes on with a provisional response whose exchange, if it has one, is
// in order.
func (c *Call) progressed(l *Leg, res *sip.Message, reliable bool, fin string) {
	session := c.described(l, res)
	if reliable {
		if c.offerer == nil && session != nil && len(c.phones) <= 1 {
			c.offeredEarly(l, res, session, fin)
			return
		}
		c.prackWith(l, res, session, fin)
	}
	if fin != "" && session == nil {
		c.end("the other side's early answer could not be read")
		return
	}
	out := c.earlyAnswer(l, res, session, fin)
	if c.state == Ended {
		return
	}
	c.ring(l, res, out, reliable)
}

// described reads the description that a provisional response carries, nil
// where there is none that counts: behind an exchange, that of another fork.
func (c *Call) described(l *Leg, res *sip.Message) *sdp.Session {
	if res.ContentType() != sdpType || len(res.Body) == 0 || l.opened != "" && l.opened != res.To().Tag() {
		return nil
	}
	s, err := sdp.Parse(res.Body)
	if err != nil {
		return nil
	}
	return s
}

// earlyAnswer brings the answer of a provisional response into force and returns
// what the caller may see of it; nil where no early media crosses.
func (c *Call) earlyAnswer(l *Leg, res *sip.Message, answer *sdp.Session, fin string) *sdp.Session {
	if answer == nil || len(c.invite.Body) == 0 || len(c.branches) > 1 {
		return nil // one phone's tones must not be heard for another's
	}
	if c.overheard(l, res.To().Tag()) {
		return nil
	}
	if l.side == policy.Outside && c.decision.Mode == policy.Require && fin == "" && !l.protect {
		return nil
	}
	again := c.early != nil && c.early.firm
	resp := again && c.early.resp
	if c.a.exchange != nil && !again {
		if resp = c.mayShow(); !resp && c.decision.Mode == policy.Require {
			return nil
		}
		if resp {
			c.passage.begun = false // this side answers: its dh-resp leaves now
		}
	}
	out, err := c.rewriteAnswer(answer, l, c.a)
	if err != nil {
		if fin != "" {
			c.end("the other side's early answer does not fit the offer")
		}
		return nil
	}
	if again {
		// The caller has its answer: what has changed it learns from the 2xx.
		c.early.tag, c.early.answer = res.To().Tag(), answer
		c.connect(answer, l)
		return nil
	}
	c.early = &early{tag: res.To().Tag(), body: res.Body, answer: answer, resp: resp}
	c.connect(answer, l)
	if fin != "" {
		if err := c.secure(l); err != nil {
			c.end("the media could not be encrypted: " + err.Error())
			return nil
		}
	}
	if resp {
		withSignatures(out, "dh-resp", c.a.resp, c.a.sigs)
	}
	return out
}

// ring passes a provisional response on, with what the caller may see of its
// description.
func (c *Call) ring(l *Leg, res *sip.Message, out *sdp.Session, reliable bool) {
	status, reason := res.Status, c.phrase(res, c.a)
	if out == nil && c.early == nil && status == 183 {
		status, reason = 180, "" // no early media crosses: the caller's phone rings by itself
	}
	var body []byte
	if out != nil {
		body = out.Bytes()
	}
	fields := append(c.supported(c.a), c.told(res, l, c.a)...)
	firm := out != nil && (c.early.resp || reliable && c.a.dialog.Takes100rel()) || c.a.dialog.Wants100rel()
	if !firm {
		c.a.dialog.Provision(status, reason, sdpType, body, fields...)
		return
	}
	sent := c.provisionReliably(status, reason, body, fields)
	if out != nil {
		c.early.firm, c.early.resp = sent, sent && c.early.resp
	}
}

// provisionReliably answers the caller so that a PRACK must follow.
func (c *Call) provisionReliably(status int, reason string, body []byte, fields []sip.Field) bool {
	e := c.early
	if body == nil {
		e = nil
	}
	return c.a.dialog.ProvisionReliably(status, reason, sdpType, body, func(prack *sip.ServerTx) {
		switch {
		case c.state == Ended && prack != nil:
			prack.Reply(200, "")
		case c.state == Ended:
		case prack == nil:
			c.refuse(504, "", "the caller did not acknowledge a provisional response") // RFC 3262 section 3: a 5xx
		default:
			c.pracked(e, prack)
		}
	}, fields...)
}

// bound says whether the caller was promised a session that another hop could
// not keep.
func (c *Call) bound(l *Leg) bool { return l.protect || c.early != nil && c.early.firm }

// withoutEarly forgets the session of a fork that is not the one that answered.
func (c *Call) withoutEarly(res *sip.Message) {
	if c.early != nil && c.early.tag != res.To().Tag() && c.early.answer != nil {
		c.early.answer, c.early.body = nil, nil
	}
}

// answerBody is the description that the 2xx for the caller carries: none where
// a reliable response has brought the same already.
func (c *Call) answerBody(res *sip.Message, out *sdp.Session) []byte {
	e := c.early
	switch {
	case e != nil && e.sent != nil:
		return nil
	case e == nil || !e.firm || c.a.exchange != nil && !e.resp:
		return out.Bytes()
	case len(res.Body) == 0 || bytes.Equal(res.Body, e.body):
		return nil
	}
	return out.Bytes()
}

// updateEarly answers an UPDATE before the call stands. One without an offer
// changes nothing but the sender's Contact; an offer is refused as RFC 3311
// section 5.2 has it, to be tried again.
func (c *Call) updateEarly(l *Leg, tx *sip.ServerTx) {
	switch {
	case len(tx.Request.Body) == 0:
		l.dialog.AnswerTo(tx, "", nil)
	case l == c.a && c.offerer == c.a && (c.early == nil || !c.early.firm):
		tx.Reply(500, "", sip.Field{Name: "Retry-After", Value: "3"}) // its first offer has no answer yet
	default:
		tx.Reply(491, "")
	}
}
