package b2bua

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

// seeks says whether the target has not answered yet. The call of who stays goes on
// as before meanwhile, and may take minutes of it.
func (t *transfer) seeks() bool {
	return t.to != nil && t.seat.standsFor != nil && (t.to.state == Routing || t.to.state == Calling || t.to.state == Ringing)
}

// progress: the target rings.
func (t *transfer) progress(status int, phrase string) { t.note.tell(status, phrase) }

// answered: the target has answered, and out is its answer as an offer for who
// stays.
func (t *transfer) answered(out *sdp.Session) {
	if err := t.stays.withSDES(out); err != nil {
		t.status, t.phrase = 500, ""
		t.to.finish("the media of the transferred call could not be joined: " + err.Error())
		return
	}
	t.change("INVITE", out.Bytes(), func(res *sip.Message) {
		answer, err := sdp.Parse(res.Body)
		t.stays.dialog.Ack(res, "", nil)
		if t.over {
			return
		}
		to := t.to
		if err != nil || res.ContentType() != sdpType || len(answer.Media()) != len(out.Media()) || t.stays.takeAllSDES(answer) != nil {
			t.status, t.phrase = 488, ""
			to.finish("the party that was transferred has answered in a way that does not fit")
			return
		}
		to.offer, to.offerer = to.b.described, to.b
		if err := to.sit(t.stays, t.seat, t.call); err != nil {
			t.status = 500
			to.finish("the media of the transferred call could not be joined: " + err.Error())
			return
		}
		t.join(answer, t.stays)
	})
}

// change sends an INVITE within the dialog of who stays, again where it crosses
// another one. A refusal ends the transfer.
func (t *transfer) change(method string, body []byte, taken func(*sip.Message)) {
	stays := t.stays
	stays.dialog.Do(method, sdpType, body, func(res *sip.Message, err error) {
		switch {
		case err == nil && res.Status < 200:
		case err == nil && res.Status < 300:
			if !t.over {
				t.call.refreshedBy(stays, res)
			}
			taken(res)
		case t.over:
		case stays.dialog.Ended():
			t.call.lostParty(stays)
		case (err == sip.ErrPending || err == nil && (res.Status == 491 || res.Status == 500)) && t.asked < maxChanges:
			t.asked++
			// Between 2.1 and 4 s: the other end, where it owns the Call-ID, tries
			// before or after.
			t.timer = time.AfterFunc(2100*time.Millisecond+rand.N(1900*time.Millisecond), func() {
				t.call.queue.Post(func() {
					if !t.over {
						t.change(method, body, taken)
					}
				})
			})
		default:
			t.refused(err, res)
		}
	}, t.call.asksToRefresh(stays)...)
}

// refused: who stays does not change its session.
func (t *transfer) refused(err error, res *sip.Message) {
	t.status, t.phrase = 488, ""
	if err == nil {
		t.status = res.Status
	}
	if t.seat != nil && t.seat.standsFor != nil {
		t.to.finish("the party that was transferred refuses the change")
		return
	}
	t.failed(t.status, "")
}

// sit puts the leg of another call in the place of one of this call. Its keys
// move with it, whatever sessions of media it had.
func (c *Call) sit(l, place *Leg, from *Call) error {
	for i, r := range from.relays {
		if i >= len(c.relays) {
			c.relays = append(c.relays, &relay{})
		}
		if r.session == nil || c.relays[i].session != nil {
			continue
		}
		s, err := c.openMedia()
		if err != nil {
			return err
		}
		c.relays[i].session = s
	}
	for i, r := range from.relays {
		if r.session == nil {
			continue
		}
		c.relays[i].session.Adopt(place.end, r.session, l.end)
		c.relays[i].secured[place.end], r.secured[l.end] = r.secured[l.end], false
	}
	c.seatAssured(place.end, from.assured[l.end])
	served := from.packetsOf(l) - l.rekey.packets
	l.call, l.end, l.moved = c, place.end, true
	place.dropDigits()
	place.dropKeys()
	if place.standsFor != nil {
		l.heard = place.heard // what went to it in this call's name
	}
	if place == c.a {
		c.a = l
	} else {
		c.b = l
	}
	c.branches = []*Leg{c.b}
	l.rekey.packets = c.packetsOf(l) - served
	c.resumeTimers(l)
	return nil
}

// resumeTimers lets what a leg's timers are for go on in the call that it has come
// to: those of the one before do nothing any more.
func (c *Call) resumeTimers(l *Leg) {
	if l.session.interval > 0 {
		c.arm(l) // its far end has just answered
	}
	l.move.unlimited() // join begins anew
	if o := c.p.o.Rekey; l.exchange != nil && (o.Every > 0 || o.Packets > 0) {
		c.rekeyIn(l, max(c.untilRekey(l)-time.Since(l.rekey.since), 0))
	}
}

// join brings the new call into force: who stays sits in it, and the last answer
// has come from answerer.
func (t *transfer) join(answer *sdp.Session, answerer *Leg) {
	before, c := t.call, t.to
	t.over, t.joined = true, true
	c.leading = nil
	if before.decision.Mode == policy.Require && t.stays.side == policy.Outside {
		c.decision.Mode = policy.Require
	}
	if c.a == t.stays {
		c.user = ""
	}
	c.connect(answer, answerer)
	c.early = nil
	if c.stood.IsZero() {
		c.stood = time.Now()
	}
	c.packDescriptions()
	c.forgetSetUp()
	if c.state == Established {
		c.keepOpen() // towards who has come
	}
	c.changed(Established)
	c.settle(c.a)
	c.settle(c.b)
	c.protection, c.trust = "none", "none"
	outside := c.a.side == policy.Outside || c.b.side == policy.Outside
	switch {
	case outside && c.protectedThroughout():
		c.protection = "srtp"
		c.p.counters.protected.Add(1)
		c.reassure()
	case outside && (c.a.exchange != nil && !c.a.exchange.IsConfirmed() || c.b.exchange != nil && !c.b.exchange.IsConfirmed()):
		c.protection = "negotiating"
	}
	c.reason = c.decision.Reason
	c.emit("call-changed")
	if answerer == t.stays && holds(answer) {
		// Who stays was asked by an offer of the target's and answered that with its
		// hold, of which the target has not heard.
		c.other(t.stays).move.since = time.Now()
	}
	c.renewMoved()

	// The transferor hears of it, and then leaves, or is sent away.
	before.reason = "transferred to " + c.party(c.other(t.stays)).URI.AOR()
	before.publishView()
	before.p.hub.publish("call-changed", before.View)
	end := func() { before.finish(before.reason) }
	if t.gone {
		end()
		return
	}
	t.note.done = func() {
		if before.state != Ended {
			t.timer = time.AfterFunc(lingers, func() { before.queue.Post(end) })
		}
	}
	t.note.last(200, "")
}

// holds says whether a description wants less than speech both ways.
func holds(s *sdp.Session) bool {
	return slices.ContainsFunc(s.Media(), func(m sdp.Media) bool { return m.Port != 0 && (m.Direction != "sendrecv" || m.Held()) })
}

// failed ends a transfer that has not come about: the call goes on as before.
func (t *transfer) failed(status int, phrase string) {
	if t.over {
		return
	}
	t.over = true
	t.stop()
	c := t.call
	c.leading = nil
	t.stays.dropOffered()
	if t.to != nil {
		t.to.leading = nil
		if t.seat.standsFor != nil {
			c.p.door.PassOn(&t.to.place, &c.place)
		}
	}
	if status < 300 {
		status, phrase = 500, ""
	}
	t.note.last(status, phrase)
	if t.gone || t.stays.call != c {
		c.finish("a transfer of the call has failed")
	}
}

func (t *transfer) stop() {
	if t.timer != nil {
		t.timer.Stop()
	}
}

// callEnded: one of the calls that a transfer concerns has ended.
func (t *transfer) callEnded(c *Call) {
	switch {
	case t.joined:
		t.stop()
	case t.over:
	case c == t.call:
		t.over = true
		t.stop()
		if t.to == nil {
			return
		}
		t.to.leading = nil
		if t.seat.standsFor != nil {
			t.to.finish("the party that was transferred has hung up")
		}
	default:
		t.failed(t.status, t.phrase)
	}
}

// left takes the BYE of a transferor, who may leave before its transfer has come
// about. It returns false where the BYE is another party's.
func (t *transfer) left(l *Leg, tx *sip.ServerTx) bool {
	switch {
	case l == t.by:
		t.gone = true
		l.move.told()
	case t.seat == nil || l != t.seat || l.standsFor != nil:
		return false
	}
	tx.Reply(200, "")
	l.dialog.Closed()
	if t.joined {
		t.call.finish(t.call.reason)
	}
	return true
}

// lostParty ends a call one of whose parties has lost its dialog.
func (c *Call) lostParty(l *Leg) {
	if c.state != Ended && l.dialog.Ended() {
		c.p.counters.failed.Add(1)
		c.finish("the other side has lost the call")
	}
}
