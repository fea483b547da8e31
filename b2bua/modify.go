package b2bua

import (
	"errors"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

// modification is a re-INVITE or UPDATE on its way through the call.
type modification struct {
	from, to *Leg
	tx       *sip.ServerTx // on the from leg
	late     *sip.Message  // 2xx of the to leg that holds an offer; its ACK waits
	keyed    *sip.Message  // 2xx with the dh-resp of an exchange that passes; likewise
	offer    *sdp.Session
}

// modify passes a re-INVITE or UPDATE through. Keys, rollover counters and
// replay windows stay as they are (protocol section 3).
func (c *Call) modify(from *Leg, tx *sip.ServerTx) {
	req := tx.Request
	if least, short := tooShort(req); short {
		tx.Reply(422, "", least)
		return
	}
	if req.Method == "UPDATE" && len(req.Body) == 0 { // it refreshes this leg's session, and no more
		from.dialog.AnswerTo(tx, "", nil, c.refreshed(from, req)...)
		return
	}
	if c.state != Established || c.changing() || from.occupied() {
		tx.Reply(491, "")
		return
	}
	if len(req.Body) > 0 && req.ContentType() != sdpType {
		tx.Reply(415, "", sip.Field{Name: "Accept", Value: sdpType})
		return
	}
	if keysRide(from, tx) && !c.passage.taken && c.offeredKeys(from, tx) {
		return
	}
	if !c.passage.taken && c.answerAlone(from, tx) || c.postpone(from, tx) {
		return
	}
	if c.other(from).occupied() {
		c.unchanged(from, tx)
		tx.Reply(491, "")
		return
	}
	m := &modification{from: from, to: c.other(from), tx: tx}
	var body []byte
	if len(req.Body) > 0 {
		offer, err := sdp.Parse(req.Body)
		if err != nil {
			c.unchanged(from, tx)
			tx.Reply(400, "Bad Request (SDP)")
			return
		}
		out, err := c.rewriteOffer(offer, m.from, m.to)
		if err != nil {
			c.unchanged(from, tx)
			tx.Reply(488, "Nothing in this offer can be relayed", append(c.supported(from), warning(err.Error()))...)
			return
		}
		m.offer, body = offer, out.Bytes()
	}
	c.change = m
	m.to.dialog.Do(req.Method, sdpType, body, func(res *sip.Message, err error) {
		if c.state == Ended {
			return
		}
		c.modificationAnswered(m, res, err)
	}, append(append(c.passChange(req), c.credentials(from, req)...), c.asksToRefresh(m.to)...)...)
}

// unchanged: a request has come to nothing, and so have the keys that it was to
// bring.
func (c *Call) unchanged(from *Leg, tx *sip.ServerTx) {
	c.change = nil
	if from.rekey.tx == tx {
		from.rekey.drop()
	}
}

func (c *Call) modificationAnswered(m *modification, res *sip.Message, err error) {
	invite := m.tx.Request.Method == "INVITE"
	switch {
	case err == sip.ErrPending:
		c.unchanged(m.from, m.tx)
		m.tx.Reply(491, "")
	case err != nil:
		c.unchanged(m.from, m.tx)
		unanswered(m.tx, err)
		c.lost(m.to)
	case res.Status < 200:
	case res.Status >= 300:
		c.unchanged(m.from, m.tx)
		c.passRefusal(m.from, m.tx, res)
		c.lost(m.to)
	case m.offer == nil && invite:
		c.lateOffer(m, res)
	default:
		if invite && c.passage.taken && carries(res, "dh-resp") {
			m.keyed = res
		} else if invite {
			m.to.dialog.Ack(res, "", nil)
		}
		c.refreshedBy(m.to, res)
		answer, err := sdp.Parse(res.Body)
		if err != nil || res.ContentType() != sdpType {
			c.end("the answer to a change of the call could not be read")
			return
		}
		c.offer, c.offerer = m.offer, m.from
		out, err := c.rewriteAnswer(answer, m.to, m.from)
		if err != nil {
			c.end("the answer to a change of the call does not fit")
			return
		}
		if !c.apply(answer, m.to) {
			return
		}
		if !invite {
			c.change = nil
		}
		c.answerChange(m.from, m.tx, out)
	}
}

// lateOffer: the re-INVITE had no SDP, so its 2xx holds the offer.
func (c *Call) lateOffer(m *modification, res *sip.Message) {
	offer, err := sdp.Parse(res.Body)
	if err != nil || res.ContentType() != sdpType {
		m.to.dialog.Ack(res, "", nil)
		c.end("the offer to change the call could not be read")
		return
	}
	out, err := c.rewriteOffer(offer, m.to, m.from)
	if err != nil {
		m.to.dialog.Ack(res, "", nil)
		c.end("nothing in the offer to change the call can be relayed")
		return
	}
	m.late, m.offer = res, offer
	c.refreshedBy(m.to, res)
	c.answerChange(m.from, m.tx, out)
}

// modificationAcked ends a re-INVITE's way.
func (c *Call) modificationAcked(m *modification, ack *sip.Message) {
	c.change = nil
	if m.keyed != nil {
		passAck(m.to, m.keyed, ack)
		if carries(ack, "dh-fin") {
			// The repetitions of who sent it end here, and whether it has arrived
			// the two ends alone can tell.
			c.ackMore(m.to, m.keyed, func() bool { return true })
		}
	}
	if m.late == nil {
		return
	}
	answer, err := sdp.Parse(ack.Body)
	if err != nil || ack.ContentType() != sdpType {
		m.to.dialog.Ack(m.late, "", nil)
		c.end("the answer to a change of the call could not be read")
		return
	}
	c.offer, c.offerer = m.offer, m.to
	out, err := c.rewriteAnswer(answer, m.from, m.to)
	if err != nil {
		m.to.dialog.Ack(m.late, "", nil)
		c.end("the answer to a change of the call does not fit")
		return
	}
	m.to.dialog.Ack(m.late, sdpType, out.Bytes())
	c.apply(answer, m.from)
}

// apply brings a new offer and answer into force and gives keys to m-lines
// that it added.
func (c *Call) apply(answer *sdp.Session, answerer *Leg) bool {
	c.connect(answer, answerer)
	for _, l := range []*Leg{c.a, c.b} {
		if l.protect {
			if err := c.secure(l); err != nil {
				c.end("the media could not be encrypted: " + err.Error())
				return false
			}
		}
	}
	c.packDescriptions()
	c.emit("call-changed")
	return true
}

// unanswered answers a request that has no answer from the other leg. A 408 ends
// the dialog that it comes in (RFC 3261 section 12.2.1.2), so it is not for a
// request that could not even leave, this machine being between two networks.
func unanswered(tx *sip.ServerTx, err error) {
	if errors.Is(err, sip.ErrTransport) {
		tx.Reply(500, "", sip.Field{Name: "Retry-After", Value: "5"})
	} else {
		tx.Reply(408, "")
	}
}

// relayRequest passes an INFO or MESSAGE of a dialog through.
func (c *Call) relayRequest(from *Leg, tx *sip.ServerTx) {
	if c.state != Established || c.leading != nil {
		tx.Reply(500, "", sip.Field{Name: "Retry-After", Value: "1"})
		return
	}
	req := tx.Request
	if trickles(req) {
		tx.Reply(469, "", sip.Field{Name: "Recv-Info"})
		return
	}
	if c.takesDigit(from, tx) {
		return
	}
	if c.tells(req) {
		tx.Reply(403, "Forbidden", warning(inClear))
		return
	}
	var fields []sip.Field
	for _, name := range []string{"Info-Package", "Content-Disposition"} {
		if v := req.Get(name); v != "" {
			fields = append(fields, sip.Field{Name: name, Value: v})
		}
	}
	c.other(from).dialog.Do(req.Method, req.Get("Content-Type"), req.Body, func(res *sip.Message, err error) {
		switch {
		case err != nil:
			unanswered(tx, err)
		case res.Status >= 300:
			c.passRefusal(from, tx, res)
		case res.Status >= 200:
			tx.Reply(res.Status, c.phrase(res, from))
		}
		c.lost(c.other(from))
	}, append(fields, c.credentials(from, req)...)...)
}

// tells says whether a request would carry something that people said or typed,
// digits of a password for example, in clear across the outside, where policy
// requires protection. What only asks for a picture may pass (RFC 5168).
func (c *Call) tells(req *sip.Message) bool {
	if c.decision.Mode != policy.Require || len(req.Body) == 0 || req.ContentType() == "application/media_control+xml" {
		return false
	}
	for _, l := range []*Leg{c.a, c.b} {
		if l.side == policy.Outside && !(l.peer != "" && l.dialog.Flow().Network() == "tls") {
			return true
		}
	}
	return false
}

// lost ends the call where a leg's far end has said that it does not know the
// call any more, or said nothing at all: the dialog has then released itself
// (RFC 3261 section 12.2.1.2). A transfer sees for itself whom it asks and who leaves.
func (c *Call) lost(l *Leg) {
	t := c.leading
	if c.state != Ended && l.dialog.Ended() && (t == nil || l == t.stays && t.seeks()) {
		c.p.counters.failed.Add(1)
		c.finish("the other side has lost the call")
	}
}
