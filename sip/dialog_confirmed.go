package sip

import (
	"errors"
	"slices"
)

// Do sends a request within the dialog. handle gets provisional responses and
// one final response or error; for an INVITE that was accepted, Ack must
// follow. An INVITE while another one is pending fails with ErrPending.
func (d *Dialog) Do(method, contentType string, body []byte, handle func(*Message, error), fields ...Field) {
	d.do(false, method, contentType, body, handle, fields...)
}

// do is Do; proved says that the request answers a question for a password.
func (d *Dialog) do(proved bool, method, contentType string, body []byte, handle func(*Message, error), fields ...Field) {
	if d.ended {
		handle(nil, ErrTransport)
		return
	}
	if method == "INVITE" && (d.inviting() || d.invited()) {
		handle(nil, ErrPending)
		return
	}
	d.localSeq++
	flow := d.hop(&d.peer)
	req, branch := d.request(method, d.localSeq, &d.peer, flow)
	if method == "INVITE" || method == "UPDATE" || method == "SUBSCRIBE" || method == "NOTIFY" || method == "REFER" {
		req.Add("Contact", "<"+d.contact().String()+">")
	}
	req.Fields = append(req.Fields, fields...)
	req.SetBody(contentType, body)
	over := false
	var t *clientTx
	t = d.newClientTx(req, branch, flow, func(res *Message, err error) {
		if !proved && !over && !d.ended {
			if f, ok := d.proof(req, res); ok {
				over = true
				d.do(true, method, contentType, body, handle, append(slices.Clone(fields), f)...)
				return
			}
		}
		accepted := res != nil && res.Status >= 200 && res.Status < 300
		if accepted && method == "INVITE" {
			if a := t.ackTo(d.peer.tag); a != nil {
				a.flow.send(a.wire, nil)
				return
			}
			if over {
				if t.state == txCompleted { // late: the user was told of a failure
					d.ack(t, &d.peer, "", nil, nil)
				}
				return // a repetition before the user gave the ACK
			}
		}
		over = over || err != nil || res.Status >= 200
		if accepted && (method == "INVITE" || method == "UPDATE") {
			d.peer.target = contactOf(res, d.peer.target)
		}
		lost := res != nil && (res.Status == 481 || res.Status == 408) || method == "INVITE" && errors.Is(err, ErrTimeout)
		if lost && method != "BYE" && method != "NOTIFY" && !d.ended {
			// RFC 3261 section 12.2.1.2: the far end has lost the dialog, which
			// the handler sees by Ended. Of a NOTIFY that is said of the
			// subscription alone (RFC 5057 section 5.1). Who has not answered an
			// INVITE is left too: a 2xx that comes late could not be answered.
			d.Bye(nil)
		}
		handle(res, err)
		if accepted && d.ended {
			d.ackAccepted() // nobody may be left to do it
		}
	})
}

// ackAccepted acknowledges, without body, what the user has not: every 2xx to an
// INVITE gets an ACK (RFC 3261 section 13.2.2.4), also where the call is over.
func (d *Dialog) ackAccepted() {
	for _, t := range d.clients {
		if t.invite() && t.state == txAccepted && t.ackTo(d.peer.tag) == nil {
			d.ack(t, &d.peer, "", nil, nil)
		}
	}
}

// Bye ends a confirmed dialog; done, where given, is called when the far end
// has answered or will not. A callee that still waits for the ACK says BYE
// behind it (RFC 3261 section 15), or 64*T1 after its 2xx; a caller that has
// not given the ACK yet sends one without body first.
func (d *Dialog) Bye(done func(), fields ...Field) {
	if done == nil {
		done = func() {}
	}
	if d.ended || !d.confirmed {
		done()
		return
	}
	var send func(proved bool, fields []Field)
	send = func(proved bool, fields []Field) {
		d.localSeq++
		flow := d.hop(&d.peer)
		req, branch := d.request("BYE", d.localSeq, &d.peer, flow)
		req.Fields = append(req.Fields, fields...)
		d.newClientTx(req, branch, flow, func(res *Message, err error) {
			if !proved {
				if f, ok := d.proof(req, res); ok {
					send(true, append(slices.Clone(fields), f))
					return
				}
			}
			if err != nil || res.Status >= 200 {
				done()
			}
		})
	}
	d.ackAccepted()
	d.ended = true
	d.bound()
	d.byeDue = func() { send(false, fields) }
	if t := d.initial; t == nil || t.state != txAccepted || t.acked {
		d.sendDueBye()
	}
}

// sendDueBye sends the BYE that waited for the ACK, if there is one.
func (d *Dialog) sendDueBye() bool {
	due := d.byeDue
	if due == nil {
		return false
	}
	d.byeDue = nil
	if t := d.initial; t != nil && t.state == txAccepted {
		t.settle()
	}
	due()
	return true
}

// Closed marks the dialog over after the far end's BYE, which the user
// answers by itself. INVITEs that wait for their final response get 487, 2xx that
// wait for the user's ACK one without body.
func (d *Dialog) Closed() {
	d.ackAccepted()
	for _, t := range d.servers {
		if t.state == txAccepted {
			t.settle()
		}
	}
	d.end()
}

// Provision answers the INVITE of the caller with a 101 to 199.
func (d *Dialog) Provision(status int, reason, contentType string, body []byte, fields ...Field) {
	if d.initial == nil || d.initial.Final() {
		return
	}
	d.initial.Respond(d.answer(d.initial, status, reason, contentType, body, fields))
}

// Answer answers the INVITE of the caller with 200, repeated until the ACK.
func (d *Dialog) Answer(contentType string, body []byte, fields ...Field) {
	if d.initial == nil || d.initial.Final() || d.waitsForPrack(func() { d.Answer(contentType, body, fields...) }) {
		return
	}
	d.dropProvisionals()
	d.confirmed = true
	d.initial.Respond(d.answer(d.initial, 200, "", contentType, body, fields))
}

// AnswerTo answers another INVITE or an UPDATE of the far end with 200.
func (d *Dialog) AnswerTo(t *ServerTx, contentType string, body []byte, fields ...Field) {
	t.Respond(d.answer(t, 200, "", contentType, body, fields))
}

func (d *Dialog) answer(t *ServerTx, status int, reason, contentType string, body []byte, fields []Field) *Message {
	res := NewResponse(t.Request, status, reason, d.local.tag)
	res.Add("Contact", "<"+d.contact().String()+">")
	res.addAll(fields)
	res.SetBody(contentType, body)
	return res
}

// Refuse answers the INVITE of the caller with a failure and ends the dialog.
func (d *Dialog) Refuse(status int, reason string, fields ...Field) {
	if d.initial == nil || d.initial.Final() {
		return
	}
	d.initial.Reply(status, reason, fields...)
	d.end()
}
