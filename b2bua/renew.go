package b2bua

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/sipward/sipward/media"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

const (
	// moveTime is how long a far end may stay unaware of a move.
	moveTime = 64 * sip.T1
	// ringWait is how long an INVITE that was sent before a move may stay without
	// a sign of life behind it; then it is sent anew.
	ringWait = 2 * time.Second
	// renewAgain is the wait where something else of the dialog is under way.
	renewAgain = 500 * time.Millisecond
)

// legMove is what a leg has to do since its listener moved.
type legMove struct {
	since     time.Time   // of the move that the far end does not know of; zero: it knows
	renewing  bool        // a re-INVITE of ours is under way
	unheard   bool        // nothing came for the INVITE since
	abandoned bool        // its INVITE was sent anew on another leg
	timer     *time.Timer // of the next try
	limit     *time.Timer // of all tries
}

// moved: a listener of the call, perhaps, has another address.
func (c *Call) moved(l *listener) {
	if c.state == Ended {
		return
	}
	legs := []*Leg{c.a, c.b}
	for _, b := range c.branches {
		if b != c.b {
			legs = append(legs, b)
		}
	}
	for _, leg := range legs {
		if leg.l != l || leg.dialog == nil || leg.dialog.Ended() {
			continue
		}
		leg.renewed++
		if leg != c.a || c.state == Answered || c.state == Established {
			leg.move.since = time.Now() // else the answer will name the new address
		}
		if !c.moveMedia(leg) {
			return
		}
		leg.dialog.Resend()
		if leg != c.a && (c.state == Calling || c.state == Ringing) {
			leg.move.unheard = true
			c.after(leg, ringWait, c.sendAnew)
		}
	}
	c.renewMoved()
	c.publishView()
}

// moveMedia takes a leg's ports to the listener's address, and lets the peer's
// side and NATs on the way learn of it at once where they can.
func (c *Call) moveMedia(l *Leg) bool {
	for _, r := range c.relays {
		for _, s := range []*media.Session{r.session, r.sealed} {
			if s == nil {
				continue
			}
			if err := s.Rebind(l.end, l.l.media()); err != nil {
				c.p.log.Warn("media cannot follow to the new address", "call", c.id, "address", l.l.media(), "error", err)
				c.end("the media could not follow to this machine's new address")
				return false
			}
		}
		if r.session != nil && l.side == policy.Outside && c.state == Established {
			r.session.Probe(l.end)
		}
	}
	return true
}

// after runs f for a leg, in the place of what waited to be run for it.
func (c *Call) after(l *Leg, wait time.Duration, f func(*Leg)) {
	if l.move.timer != nil {
		l.move.timer.Stop()
	}
	l.move.timer = time.AfterFunc(wait, func() {
		c.queue.Post(func() {
			if c.state != Ended {
				f(l)
			}
		})
	})
}

// sendAnew sends the INVITE of a candidate again, as another call: its answers go
// to an address that is no longer there.
func (c *Call) sendAnew(old *Leg) {
	if c.state != Calling && c.state != Ringing || !old.move.unheard || !slices.Contains(c.branches, old) {
		return
	}
	if !c.passesOn() {
		c.end("this machine has another address now, and the keys for early media were agreed from the old one: call again")
		return
	}
	old.move.abandoned = true
	c.branches = slices.DeleteFunc(c.branches, func(b *Leg) bool { return b == old })
	old.dialog.Cancel()
	c.eraseExchange(old)
	leg := c.newLeg()
	leg.l, leg.proved = old.l, old.proved
	c.b = leg
	err := c.dial(leg, old.flow, old.uri) // with a new share (protocol section 7)
	if err != nil && !c.cannotDial(err) && len(c.branches) == 0 {
		c.p.log.Error("cannot place the call anew", "call", c.id, "error", err)
		c.refuse(502, "Bad Gateway", "the call could not be placed anew from this machine's new address")
	}
}

// renewMoved tells the far ends that do not know of a move, once the call stands.
func (c *Call) renewMoved() {
	if c.state == Established {
		c.renew(c.a)
		c.renew(c.b)
	}
}

// renew tells a leg's far end the address that this side has now (RFC 3261
// section 14.1: a new Contact; RFC 3264 section 8.3.1: another address and port),
// with the description that the other leg gave last. Keys, rollover counters and
// replay windows stay (protocol section 3).
func (c *Call) renew(l *Leg) {
	other := c.other(l)
	if c.state != Established || l.move.since.IsZero() || l.call != c || l.dialog.Ended() {
		return // or a transfer has led it away, or it has left before its transfer's end
	}
	if l.move.limit == nil {
		l.move.limit = time.AfterFunc(moveTime, func() { c.queue.Post(func() { c.notTold(l) }) })
	}
	switch {
	case c.change != nil, c.leading != nil && !c.leading.seeks(), c.replacing, l.occupied():
		c.after(l, renewAgain, c.renew)
		return
	case other.described == nil:
		l.move.told()
		return
	}
	out, err := c.rewriteOffer(other.described, other, l)
	if err != nil {
		c.end("the call could not be described from this machine's new address: " + err.Error())
		return
	}
	out.DropDH() // of an exchange that passed through once
	l.move.renewing = true
	since, described := l.move.since, other.described
	l.dialog.Do("INVITE", sdpType, out.Bytes(), func(res *sip.Message, err error) {
		if c.state == Ended || err == nil && res.Status < 200 {
			return
		}
		l.move.renewing = false
		wait := c.renewed(l, described, res, err)
		if c.state == Ended {
			return
		}
		if wait == 0 && l.move.since == since {
			l.move.told()
		} else {
			c.after(l, wait, c.renew) // again, or for a move that came meanwhile
		}
		c.resumeChange()
	}, c.asksToRefresh(l)...)
}

// told: the far end knows the address.
func (m *legMove) told() {
	m.since = time.Time{}
	m.unlimited()
}

// unlimited: nothing ends the call for this move any more.
func (m *legMove) unlimited() {
	if m.limit != nil {
		m.limit.Stop()
		m.limit = nil
	}
}

// notTold ends the call where the far end has not heard of a move in time.
func (c *Call) notTold(l *Leg) {
	if c.state != Ended && !l.move.since.IsZero() {
		c.end("The other side could not be told this machine's new address")
	}
}

// renewed takes the answer to our re-INVITE. It returns when to try again, 0
// where the far end knows now.
func (c *Call) renewed(l *Leg, described *sdp.Session, res *sip.Message, err error) (wait time.Duration) {
	switch {
	case errors.Is(err, sip.ErrPending):
		return renewAgain
	case errors.Is(err, sip.ErrTransport):
		return time.Second // the network is not up yet
	case err != nil:
		c.notTold(l)
		return 0
	case res.Status < 300:
		l.dialog.Ack(res, "", nil)
		answer, err := sdp.Parse(res.Body)
		if err != nil || res.ContentType() != sdpType {
			c.end("the answer to this machine's new address could not be read")
			return 0
		}
		c.refreshedBy(l, res)
		c.offer, c.offerer = described, c.other(l)
		if len(answer.Media()) != len(described.Media()) {
			c.end("the answer to this machine's new address does not fit")
			return 0
		}
		for i, m := range answer.Media() {
			if err := l.takeSDES(m, i); err != nil {
				c.end("the answer to this machine's new address does not fit")
				return 0
			}
		}
		l.remote = l.dialog.Flow().Remote().String()
		c.apply(answer, l)
		return 0
	case res.Status == 491:
		return glareWait(l)
	case res.Status == 500 || res.Status == 503:
		if s, err := strconv.Atoi(res.Get("Retry-After")); err == nil && s > 0 {
			return min(time.Duration(s)*time.Second, moveTime)
		}
		return 2 * time.Second
	}
	if c.lost(l); c.state != Ended {
		// It does not like the question, but now it has heard from here.
		c.p.log.Warn("the other side refused to be told the new address", "call", c.id, "status", res.Status, "reason", res.Reason)
	}
	return 0
}

// glareWait is how long to wait where both ends sent a re-INVITE (RFC 3261
// section 14.1): longer for who made the Call-ID, which is this side on the B
// leg.
func glareWait(l *Leg) time.Duration {
	if l.end == media.B {
		return 2100*time.Millisecond + time.Duration(rand.Int64N(int64(1900*time.Millisecond)))
	}
	return time.Duration(1 + rand.Int64N(int64(2*time.Second)))
}
