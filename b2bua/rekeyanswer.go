package b2bua

import (
	"errors"
	"time"

	"github.com/sipward/sipward/keyexchange"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

// The other half of rekeying: the peer asks for new keys, and this side answers.

// offeredKeys takes the dh-init of a re-INVITE from outside, where there is one,
// and makes the answer to it. It returns true where the request was refused.
func (c *Call) offeredKeys(l *Leg, tx *sip.ServerTx) (refused bool) {
	req := tx.Request
	kind := keyexchange.KindInvite
	if len(req.Body) == 0 {
		kind = keyexchange.KindInviteNoSDP
	}
	refuse := func(sentence string) bool {
		tx.Reply(488, sentence, append(c.supported(l), warning(sentence))...)
		return true
	}
	attrs, err := keyexchange.Read(kind, found(req))
	switch {
	case err == nil && !attrs.Present:
		return false
	case l.exchange == nil:
		return refuse("No key exchange can begin within this call")
	case !l.exchange.IsConfirmed() || l.rekey.next != nil:
		tx.Reply(491, "")
		return true
	}
	if wait := time.Until(l.rekey.since.Add(c.p.o.Rekey.MinInterval)); wait > 0 {
		tx.Reply(500, "", sip.Field{Name: "Retry-After", Value: seconds(wait)})
		return true
	}
	chain := l.exchange.Chain()
	var next *keyexchange.Exchange
	var resp string
	if err == nil {
		next, resp, err = c.p.responder(streamPath(req), attrs, chain)
	}
	clear(chain)
	if err != nil {
		// The old keys stay: whoever sent this cannot take them away.
		c.p.log.Warn("new keys refused", "call", c.id, "error", err)
		if errors.Is(err, keyexchange.ErrNoCommon) {
			return refuse("There is no group or suite in common for new keys")
		}
		return refuse("The offer of new keys is faulty")
	}
	l.rekey.next, l.rekey.resp, l.rekey.tx = next, resp, tx
	return false
}

// answerAlone answers a re-INVITE that only brings new keys or only refreshes the
// session: its description is the one that the phone has agreed to already. It
// returns false where the phone has to be asked.
func (c *Call) answerAlone(l *Leg, tx *sip.ServerTx) bool {
	req, other := tx.Request, c.other(l)
	if req.Method != "INVITE" || l.rekey.tx != tx && !refreshes(req) || l.described == nil || other.described == nil {
		return false
	}
	offer, err := sdp.Parse(req.Body)
	if err != nil || !offer.Same(l.described) || len(other.described.Media()) != len(offer.Media()) {
		return false
	}
	c.offer, c.offerer = offer, l
	if l.rekey.tx == tx {
		l.renewed++
	}
	out, err := c.repeatAnswer(other.described, other, l)
	if err != nil {
		return false
	}
	out.AnswerDirections(offer)
	c.answerChange(l, tx, out)
	return true
}

// answerChange answers a re-INVITE or UPDATE, with dh-resp where it has asked for
// new keys.
func (c *Call) answerChange(l *Leg, tx *sip.ServerTx, out *sdp.Session) {
	fields := c.refreshed(l, tx.Request)
	if l.rekey.tx == tx {
		out.AddSessionAttribute("dh-resp", l.rekey.resp)
		fields = append(fields, c.supported(l)...)
		c.expect(l, true)
	}
	l.dialog.AnswerTo(tx, sdpType, out.Bytes(), fields...)
}

// expect says to the media of a leg whether its peer may be ahead with new keys.
func (c *Call) expect(l *Leg, expected bool) {
	for _, r := range c.relays {
		if r.session != nil && r.secured[l.end] {
			r.session.Expect(l.end, expected)
		}
	}
}

// keysAcked takes the dh-fin of the ACK to our dh-resp and goes over to the new
// keys.
func (c *Call) keysAcked(l *Leg, ack *sip.Message) {
	next := l.rekey.next
	kind := keyexchange.KindAck
	if len(l.rekey.tx.Request.Body) == 0 {
		kind = keyexchange.KindAckSDP
	}
	attrs, err := keyexchange.Read(kind, found(ack))
	if err == nil && attrs.Present {
		err = next.TakeFin(attrs)
	}
	switch {
	case err != nil:
		c.end(c.attacked(err))
	case !attrs.Present:
		l.rekey.drop()
		c.expect(l, false)
		c.waitForKeys(func() {})
	default:
		c.goOver(l, next)
	}
}

// waitForKeys ends the call unless a re-INVITE with dh-init comes soon, now that
// an ACK has come without dh-fin (protocol section 7, Lost ACK); gone is called
// before that.
func (c *Call) waitForKeys(gone func()) {
	c.stopPatience()
	c.patience = time.AfterFunc(ackPatience, func() {
		c.queue.Post(func() {
			if c.state != Ended {
				gone()
				c.protection = "failed"
				c.disproved()
				c.end("The other side's key did not arrive: a server on the way removes it from the ACK")
			}
		})
	})
}

func (c *Call) stopPatience() {
	if c.patience != nil {
		c.patience.Stop()
		c.patience = nil
	}
}
