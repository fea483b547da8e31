package b2bua

import (
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

// withDialog returns the live call one of whose legs has this Call-ID.
func (p *Proxy) withDialog(callID string) *Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.calls {
		if c.hasDialog(callID) {
			return c
		}
	}
	return nil
}

// attended joins who stays with the far end of another call of the transferor's
// (RFC 5589 section 7).
func (t *transfer) attended(tx *sip.ServerTx, replaces sip.Replaces, user string) {
	c := t.call
	to := c.p.withDialog(replaces.CallID)
	if to == nil || to == c {
		c.p.counters.refused.Add(1)
		tx.Reply(403, "", warning("the call that is to be replaced is none of this sipward's"))
		return
	}
	if t.by.side != policy.Inside {
		c.p.counters.refused.Add(1)
		tx.Reply(403, "", warning("only a phone inside joins two of its calls"))
		return
	}
	c.leading = t
	tx.Reply(202, "", t.note.accepted()...)
	t.note.tell(100, "")
	by := t.by.dialog.Flow().Remote().Addr()
	require, tolls := c.decision.Mode == policy.Require, c.p.tolls(t.stays)
	protected, side := t.stays.protect, t.stays.side
	to.queue.Post(func() {
		seat, status, why := to.yields(replaces, c.queue, func(seat *Leg) bool {
			return to.ownedBy(seat, user, by) && to.joins(seat, side, protected, require, tolls)
		})
		if status == 0 {
			to.leading, t.to, t.seat = t, to, seat
			to.queue.Join(c.queue)
		}
		c.queue.Post(func() {
			switch {
			case t.over:
				if seat != nil {
					to.leading = nil
				}
			case status != 0:
				t.failed(status, why)
			default:
				t.renegotiate()
			}
		})
	})
}

// yields says which leg of a call is the dialog that somebody wants to replace, and
// whether he may; status is 0 or why not, and why a sentence where that says little.
func (c *Call) yields(replaces sip.Replaces, own *sip.Queue, may func(*Leg) bool) (seat *Leg, status int, why string) {
	for _, l := range []*Leg{c.a, c.b} {
		if l.call == c && l.side == policy.Inside && l.dialog != nil && l.dialog.Is(replaces) {
			seat = l
		}
	}
	switch {
	case seat == nil || c.state == Ended:
		return nil, 481, ""
	case c.urgent || !may(seat):
		return nil, 403, ""
	case c.passage.taken:
		return nil, 403, notOurs
	case c.state != Established || c.busy() || c.queue == own:
		return nil, 491, ""
	}
	for _, l := range []*Leg{c.a, c.b} {
		if l.exchange != nil && !l.exchange.IsConfirmed() {
			return nil, 491, ""
		}
	}
	return seat, 0, ""
}

// ownedBy says whether a leg belongs to the phone of who asks: to the same user
// where phones have passwords here, and to the same address where they have none.
func (c *Call) ownedBy(l *Leg, user string, addr interface{ String() string }) bool {
	if c.p.o.Auth != nil && l.l.Accounts != AccountsElsewhere {
		return user != "" && c.party(l).URI.User == user && c.p.home(c.party(l).URI)
	}
	return l.dialog.Flow().Remote().Addr().String() == addr.String()
}

// joins says whether policy lets the far end of a leg's call speak with who stays
// in another one.
func (c *Call) joins(seat *Leg, side policy.Side, protected, require, tolls bool) bool {
	far := c.other(seat)
	if side != policy.Outside || far.side != policy.Outside {
		return true
	}
	switch {
	case tolls, c.p.tolls(far):
		return false // nobody inside would remain in a call that costs an account
	case require && !far.protect, c.decision.Mode == policy.Require && !protected:
		return false // clear speech would enter a call that must be encrypted
	}
	return true
}

// renegotiate asks who stays for an offer, and takes it to the far end of the
// call that it enters: both learn of codecs, directions and ports anew.
func (t *transfer) renegotiate() {
	t.stays.moved = true
	t.change("INVITE", nil, func(res *sip.Message) {
		offer, err := sdp.Parse(res.Body)
		if err != nil || res.ContentType() != sdpType || t.over {
			t.restore(res)
			t.failed(488, "")
			return
		}
		t.offerTo(res, offer)
	})
}

// offerTo sends the offer of who stays to the far end of the call that it enters.
// The ports are new ones; the old ones serve until both have agreed.
func (t *transfer) offerTo(res *sip.Message, offer *sdp.Session) {
	c, stays, far := t.to, t.stays, t.to.other(t.seat)
	pair := c.pairOf(stays, far, t.seat == c.a)
	far.moved = true
	heard := far.heard
	out, err := pair.rewriteOffer(offer, stays, far)
	if err == nil {
		err = far.withSDES(out)
	}
	if err == nil && (heard == nil || len(out.Media()) < heard.media) {
		err = errAnswerForm // RFC 3264 section 8: no m-line of a session goes away
	}
	back := func(status int) {
		far.heard = heard
		far.dropOffered()
		pair.closeMedia()
		t.restore(res)
		t.failed(status, "")
	}
	if err != nil {
		back(488)
		return
	}
	far.dialog.Do("INVITE", sdpType, out.Bytes(), func(answered *sip.Message, err error) {
		switch {
		case err == nil && answered.Status < 200:
			return
		case err != nil || answered.Status >= 300:
			status := 408
			switch {
			case err == nil:
				status = answered.Status
			case err == sip.ErrPending:
				status = 491
			}
			if t.over {
				pair.closeMedia()
				t.restore(res)
				return
			}
			back(status)
			c.lostParty(far)
			return
		}
		far.dialog.Ack(answered, "", nil)
		if c.state != Ended {
			c.refreshedBy(far, answered)
		}
		answer, err := sdp.Parse(answered.Body)
		if t.over || err != nil || answered.ContentType() != sdpType || len(answer.Media()) != len(offer.Media()) {
			pair.closeMedia()
			t.restore(res)
			if !t.over {
				c.end("the answer of the party that a call was transferred to could not be read")
			}
			return
		}
		t.enter(pair, res, offer, answer)
	}, c.asksToRefresh(far)...)
}

// enter moves both legs to the new ports, and who stays into the call.
func (t *transfer) enter(pair *Call, res *sip.Message, offer, answer *sdp.Session) {
	c, far := t.to, t.to.other(t.seat)
	place := t.seat
	err := c.rehouse(pair, far)
	if err != nil {
		pair.closeMedia()
	} else {
		err = c.sit(t.stays, place, t.call)
	}
	if err != nil {
		t.restore(res)
		c.end("no free media ports")
		return
	}
	c.offer, c.offerer = offer, t.stays
	out, err := c.rewriteAnswer(answer, far, t.stays)
	if err != nil {
		t.stays.dialog.Ack(res, "", nil)
		c.end("the answer of the party that a call was transferred to does not fit")
		return
	}
	t.stays.dialog.Ack(res, sdpType, out.Bytes())
	c.led = &led{by: policy.Party{}, as: t.call.party(t.by), before: t.call.id, sentence: "transferred by " + t.call.party(t.by).URI.AOR() + ": compare the words again"}
	c.decision.Reason += "; " + c.led.sentence
	stays := t.call.party(t.stays)
	if c.a == t.stays {
		c.sits[0] = &stays
	} else {
		c.sits[1] = &stays
	}
	c.bye(place, nil) // as the target of such a transfer would (RFC 3891 section 3)
	t.join(answer, far)
	for _, l := range []*Leg{c.a, c.b} {
		if l.protect {
			if err := c.secure(l); err != nil {
				c.end("the media could not be encrypted: " + err.Error())
				return
			}
		}
	}
}

// restore answers the offer of who stays with what it had before, so that its
// call goes on. Where there is no answer the call ends: an offer has one in the ACK
// (RFC 3261 section 13.2.1), or a BYE behind it.
func (t *transfer) restore(res *sip.Message) {
	c := t.call
	offer, err := sdp.Parse(res.Body)
	if err == nil && t.by.described != nil && !t.gone && c.state != Ended && t.stays.call == c {
		was, by := c.offer, c.offerer
		c.offer, c.offerer = offer, t.stays
		if out, err := c.repeatAnswer(t.by.described, t.by, t.stays); err == nil {
			t.stays.dialog.Ack(res, sdpType, out.Bytes())
			c.connect(t.by.described, t.by)
			return
		}
		c.offer, c.offerer = was, by
	}
	t.stays.dialog.Ack(res, "", nil)
	if len(res.Body) > 0 && t.stays.call == c {
		c.end("the offer of a party that was to be transferred cannot be answered")
	}
}
