package sip

// onInitial handles what comes back for the initial INVITE.
func (d *Dialog) onInitial(res *Message, err error) {
	switch {
	case err != nil:
		if d.cancelled {
			err = ErrCancelled
		}
		already := d.ended
		d.end()
		if !already {
			d.user.OnRefused(nil, err)
		}
	case res.Status < 200:
		if d.cancelDue {
			d.cancelDue = false
			d.sendCancel()
		}
		if res.Status > 100 && !d.cancelled && d.inOrder(res) {
			d.user.OnProvisional(res)
		}
	case res.Status < 300:
		d.onInitial2xx(res)
	default:
		already := d.ended
		d.end()
		if already {
			return
		}
		if d.cancelled {
			d.user.OnRefused(nil, ErrCancelled)
		} else {
			d.user.OnRefused(res, nil)
		}
	}
}

// onInitial2xx takes the first 2xx; the same one again gets the same ACK, one
// of another fork is acknowledged and released (RFC 3261 section 13.2.2.4),
// and one that crossed our CANCEL as well (section 15).
func (d *Dialog) onInitial2xx(res *Message) {
	tag := res.To().Tag()
	if a := d.invite.ackTo(tag); a != nil {
		a.flow.send(a.wire, nil)
		if !d.ended && tag == d.peer.tag {
			d.user.OnAnswerRepeated(res)
		}
		return
	}
	if d.confirmed && d.peer.tag == tag {
		return // a repetition before the user gave the ACK
	}
	p := peerOf(res, d.peer)
	if d.confirmed || d.ended { // another fork, or one that is late
		d.release(d.invite, p)
		return
	}
	d.confirmed = true
	d.peer = p
	if e := d.earlyOf(tag); e != nil {
		d.remoteSeq = e.remoteSeq
	}
	if d.cancelled {
		d.release(d.invite, p)
		d.end()
		d.user.OnRefused(nil, ErrCancelled)
		return
	}
	d.user.OnAnswer(res)
}

func peerOf(res *Message, old peer) peer {
	p := old
	p.party = partyOf(res.To())
	p.target = contactOf(res, old.target)
	p.routes = nil
	rr := res.Values("Record-Route")
	for i := len(rr) - 1; i >= 0; i-- {
		p.routes = append(p.routes, rr[i])
	}
	return p
}

// maxForks bounds the forks of one INVITE that are acknowledged.
const maxForks = 16

// release acknowledges a 2xx that nobody wants and says BYE to its sender.
func (d *Dialog) release(t *clientTx, p peer) {
	if len(t.acks) >= maxForks {
		return
	}
	d.ack(t, &p, "", nil, nil)
	flow := d.hop(&p)
	d.localSeq++
	bye, branch := d.request("BYE", d.localSeq, &p, flow)
	d.newClientTx(bye, branch, flow, func(*Message, error) {})
}

// ack builds and sends the ACK of a 2xx; t keeps it for repetitions.
func (d *Dialog) ack(t *clientTx, p *peer, contentType string, body []byte, fields []Field) {
	seq, _, _ := t.req.CSeq()
	flow := d.hop(p)
	ack, _ := d.request("ACK", seq, p, flow)
	if t == d.invite {
		ack.Fields = append(ack.Fields, d.ackFields...)
	}
	ack.Fields = append(ack.Fields, fields...)
	ack.SetBody(contentType, body)
	wire := ack.Bytes()
	t.acks = append(t.acks, sentAck{p.tag, wire, flow})
	if tcp, ok := flow.large(wire); ok {
		d.ackLarge(t, len(t.acks)-1, ack, tcp)
		return
	}
	flow.send(wire, nil)
}

// Ack acknowledges a 2xx to an INVITE of this side. The same ACK answers each
// repetition of that 2xx, and a second call.
func (d *Dialog) Ack(res *Message, contentType string, body []byte, fields ...Field) {
	seq, _, _ := res.CSeq()
	for _, t := range d.clients {
		if n, _, _ := t.req.CSeq(); !t.invite() || n != seq {
			continue
		}
		if a := t.ackTo(d.peer.tag); a != nil {
			a.flow.send(a.wire, nil)
		} else {
			d.ack(t, &d.peer, contentType, body, fields)
		}
		return
	}
	// 64*T1 have passed: nobody can ask for it again.
	d.ack(&clientTx{req: &Message{Fields: []Field{{"CSeq", cseq(seq, "INVITE")}}}}, &d.peer, contentType, body, fields)
}

// Cancel gives the INVITE up (RFC 3261 section 9.1): at once where a
// provisional response has come, else after the first one. OnRefused follows,
// also where a 2xx crosses the CANCEL.
func (d *Dialog) Cancel() {
	if d.cancelled || d.ended || d.confirmed || d.invite == nil {
		return
	}
	d.cancelled = true
	if d.invite.state == txProceeding {
		d.sendCancel()
	} else {
		d.cancelDue = true
	}
}

func (d *Dialog) sendCancel() {
	inv := d.invite
	req := &Message{Method: "CANCEL", URI: inv.req.URI}
	for _, f := range inv.req.Fields {
		switch f.Name {
		case "Via", "From", "To", "Call-ID", "Route", "Max-Forwards":
			req.Fields = append(req.Fields, f)
		}
	}
	seq, _, _ := inv.req.CSeq()
	req.Add("CSeq", cseq(seq, "CANCEL"))
	d.newClientTx(req, inv.branch, inv.flow, func(*Message, error) {})
	// A peer that never sends the final response must not hold the call.
	inv.timeout = d.after(64*T1, func() {
		if inv.state == txProceeding {
			inv.fail(ErrCancelled)
		}
	})
}
