package b2bua

import "github.com/sipward/sipward/sip"

// A Leg is the sip.User of its dialog. Every event goes to the call, which
// ignores what comes after its end: the dialog itself releases a 2xx that
// crosses a CANCEL.

// OnProvisional implements sip.User.
func (l *Leg) OnProvisional(res *sip.Message) {
	l.move.unheard = false
	if !l.move.abandoned {
		l.inOrder(func() { l.call.provisional(l, res) })
	}
}

// OnAnswer implements sip.User.
func (l *Leg) OnAnswer(res *sip.Message) {
	l.inOrder(func() { l.call.answered(l, res) })
}

// OnAnswerRepeated implements sip.User: a later dh-resp in the same dialog is
// the same octets or fails the exchange (protocol section 7).
func (l *Leg) OnAnswerRepeated(res *sip.Message) {
	if l.call.state != Ended {
		l.call.answeredAgain(l, res)
	}
}

// OnRefused implements sip.User.
func (l *Leg) OnRefused(res *sip.Message, err error) {
	if !l.move.abandoned {
		l.call.refusedBy(l, res, err)
	}
}

// OnRequest implements sip.User.
func (l *Leg) OnRequest(tx *sip.ServerTx) {
	c := l.call
	switch tx.Request.Method {
	case "BYE":
		c.byeFrom(l, tx)
	case "INVITE", "UPDATE":
		if c.state == Calling || c.state == Ringing {
			c.updateEarly(l, tx)
			return
		}
		c.modify(l, tx)
	case "REFER":
		c.refer(l, tx)
	case "INFO", "MESSAGE":
		c.relayRequest(l, tx)
	case "OPTIONS":
		tx.Reply(200, "", sip.Field{Name: "Allow", Value: allowed}, sip.Field{Name: "Accept", Value: sdpType})
	default:
		tx.Reply(405, "", sip.Field{Name: "Allow", Value: allowed})
	}
}

// OnAck implements sip.User.
func (l *Leg) OnAck(ack *sip.Message, tx *sip.ServerTx) {
	c := l.call
	if c.state == Ended {
		return
	}
	if m := c.change; m != nil && m.tx == tx {
		c.modificationAcked(m, ack)
	}
	if l.rekey.tx == tx && c.state != Ended {
		c.keysAcked(l, ack)
	}
	if c.state != Ended {
		c.resumeChange()
	}
	if l == c.a {
		c.acked(ack)
	}
}

// OnCancel implements sip.User.
func (l *Leg) OnCancel() {
	if l != l.call.a {
		return // a phone that wanted to take the call over
	}
	l.call.finish("the caller hung up before the answer")
}

// OnAckTimeout implements sip.User.
func (l *Leg) OnAckTimeout() { l.call.end("the acknowledgement of the answer never came") }
