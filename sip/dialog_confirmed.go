package sip

import "slices"

// Do sends a request within the dialog. handle gets provisional responses and
// one final response or error; for an INVITE that was accepted, Ack must
// follow. An INVITE while another one is pending fails with ErrPending.
func (d *Dialog) Do(method, contentType string, body []byte, handle func(*Message, error), fields ...Field) {
	if d.ended {
		handle(nil, ErrTransport)
		return
	}
	if method == "INVITE" && (d.inviting() || slices.ContainsFunc(d.servers, func(t *ServerTx) bool { return t.invite() && !t.Final() })) {
		handle(nil, ErrPending)
		return
	}
	d.localSeq++
	flow := d.hop(&d.peer)
	req, branch := d.request(method, d.localSeq, &d.peer, flow)
	if method == "INVITE" || method == "UPDATE" || method == "SUBSCRIBE" {
		req.Add("Contact", "<"+d.contact.String()+">")
	}
	req.Fields = append(req.Fields, fields...)
	req.SetBody(contentType, body)
	seq := d.localSeq
	d.newClientTx(req, branch, flow, func(res *Message, err error) {
		if res != nil && method == "INVITE" && res.Status >= 200 && res.Status < 300 {
			if a, ok := d.acks[seq]; ok {
				a.flow.send(a.wire, nil)
				return
			}
			d.peer.target = contactOf(res, d.peer.target)
		}
		if res != nil && (res.Status == 481 || res.Status == 408) && !d.ended {
			// RFC 3261 section 12.2.1.2: the far end has lost the dialog.
			defer d.Bye(nil)
		}
		handle(res, err)
	})
}

// Bye ends a confirmed dialog; done, where given, is called when the far end
// has answered or will not. A callee that still waits for the ACK says BYE
// behind it (RFC 3261 section 15).
func (d *Dialog) Bye(done func(), fields ...Field) {
	if done == nil {
		done = func() {}
	}
	if d.ended || !d.confirmed {
		done()
		return
	}
	send := func() {
		d.localSeq++
		flow := d.hop(&d.peer)
		req, branch := d.request("BYE", d.localSeq, &d.peer, flow)
		req.Fields = append(req.Fields, fields...)
		d.newClientTx(req, branch, flow, func(res *Message, err error) {
			if err != nil || res.Status >= 200 {
				done()
			}
		})
	}
	d.ended = true
	if t := d.initial; t != nil && t.state == txAccepted && !t.acked {
		d.byeDue = send
		t.timeout.stop()
		t.timeout = d.after(64*T1, func() {
			t.resend.stop()
			if due := d.byeDue; due != nil {
				d.byeDue = nil
				due()
			}
		})
		return
	}
	send()
}

// Closed marks the dialog over after the far end's BYE, which the user
// answers by itself.
func (d *Dialog) Closed() {
	if t := d.initial; t != nil {
		t.resend.stop()
		t.timeout.stop()
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
	if d.initial == nil || d.initial.Final() {
		return
	}
	d.confirmed = true
	d.initial.Respond(d.answer(d.initial, 200, "", contentType, body, fields))
}

// AnswerTo answers another INVITE or an UPDATE of the far end with 200.
func (d *Dialog) AnswerTo(t *ServerTx, contentType string, body []byte, fields ...Field) {
	t.Respond(d.answer(t, 200, "", contentType, body, fields))
}

func (d *Dialog) answer(t *ServerTx, status int, reason, contentType string, body []byte, fields []Field) *Message {
	res := NewResponse(t.Request, status, reason, d.localTag)
	res.Add("Contact", "<"+d.contact.String()+">")
	res.Fields = append(res.Fields, fields...)
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
