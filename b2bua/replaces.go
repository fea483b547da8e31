package b2bua

import (
	"cmp"
	"net/netip"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

// replace takes an INVITE with Replaces (RFC 3891) of a phone inside: the user of
// a call takes it over with another of his phones. Other calls, and other users',
// nobody takes.
func (p *Proxy) replace(in *sip.Incoming, l *listener) {
	refuse := func(status int, why string) {
		p.counters.refused.Add(1)
		in.Reply(status, "", warning(why))
	}
	values := in.Values("Replaces")
	if len(values) != 1 {
		in.Reply(400, "Bad Request (one Replaces is needed)")
		return
	}
	replaces, err := sip.ParseReplaces(values[0])
	if err != nil {
		in.Reply(400, "Bad Request (Replaces)")
		return
	}
	user := ""
	if l.Accounts != AccountsElsewhere {
		var ok bool
		if user, ok = p.authenticate(in); !ok {
			return
		}
	}
	if !p.admitUser(in, userOf(in, user)) {
		return
	}
	c := p.withDialog(replaces.CallID)
	if c == nil {
		refuse(481, "the call that is to be taken over is none of this sipward's")
		return
	}
	offer, err := sdp.Parse(in.Body)
	if err != nil || in.ContentType() != sdpType {
		refuse(488, "a call is taken over with an offer")
		return
	}
	own := func(seat *Leg) bool {
		if p.o.Auth != nil && l.Accounts != AccountsElsewhere {
			return c.ownedBy(seat, user, netip.Addr{})
		}
		return c.party(seat).URI.AOR() == in.From().URI.AOR()
	}
	c.queue.Post(func() {
		seat, status, why := c.yields(replaces, nil, own)
		switch {
		case status != 0:
			refuse(status, cmp.Or(why, "this call cannot be taken over"))
		case replaces.EarlyOnly:
			refuse(486, "the call has been answered")
		default:
			c.takeOver(in, l, seat, offer)
		}
	})
}

// takeOver puts a phone of the same user in the place of a leg. Its INVITE is
// answered when the far end has agreed.
func (c *Call) takeOver(in *sip.Incoming, l *listener, seat *Leg, offer *sdp.Session) {
	x := &Leg{call: c, l: l, side: policy.Inside, end: seat.end, remote: in.Flow.Remote().String()}
	if x.dialog = in.Accept(c.queue, x, in.URI.User); x.dialog == nil {
		return
	}
	c.replacing = true
	c.queue.Post(func() { // behind the dialog's own beginning
		if c.state == Ended {
			x.dialog.Refuse(481, "")
			return
		}
		far := c.other(seat)
		far.moved = true
		pair := c.pairOf(x, far, seat == c.a)
		heard := far.heard
		out, err := pair.rewriteOffer(offer, x, far)
		if err == nil {
			err = far.withSDES(out)
		}
		if err == nil && (heard == nil || len(out.Media()) < heard.media) {
			err = errAnswerForm
		}
		back := func(status int) {
			far.heard, c.replacing = heard, false
			far.dropOffered()
			pair.closeMedia()
			x.dialog.Refuse(status, "")
		}
		if err != nil {
			back(488)
			return
		}
		far.dialog.Do("INVITE", sdpType, out.Bytes(), func(res *sip.Message, err error) {
			switch {
			case err == nil && res.Status < 200:
				return
			case err == sip.ErrPending:
				back(491)
				return
			case err != nil:
				back(408)
				c.lost(far)
				return
			case res.Status >= 300:
				back(res.Status)
				c.lost(far)
				return
			}
			far.dialog.Ack(res, "", nil)
			if c.state != Ended {
				c.refreshedBy(far, res)
			}
			c.tookOver(in, x, seat, pair, offer, res)
		}, c.asksToRefresh(far)...)
	})
}

// tookOver: the far end has agreed, so the new phone has the call.
func (c *Call) tookOver(in *sip.Incoming, x, seat *Leg, pair *Call, offer *sdp.Session, res *sip.Message) {
	far := c.other(seat)
	answer, err := sdp.Parse(res.Body)
	c.replacing = false
	if c.state == Ended || x.dialog.Ended() || err != nil || res.ContentType() != sdpType || len(answer.Media()) != len(offer.Media()) || c.rehouse(pair, far) != nil {
		// The far end has left the ports of the phone that had the call.
		pair.closeMedia()
		x.dialog.Refuse(488, "")
		c.end("another phone could not take the call over")
		return
	}
	if seat == c.a {
		c.a = x
	} else {
		c.b = x
	}
	seat.dropDigits()
	seat.dropKeys()
	c.branches = []*Leg{c.b}
	c.offer, c.offerer = offer, x
	out, err := c.rewriteAnswer(answer, far, x)
	if err != nil {
		x.dialog.Refuse(488, "")
		c.end("the answer of the far end does not fit the phone that takes the call over")
		return
	}
	fields := append(c.supported(x), sip.Field{Name: "Allow", Value: allowed})
	x.dialog.Answer(sdpType, out.Bytes(), append(fields, c.refreshed(x, in.Message)...)...)
	c.bye(seat, nil)
	c.reason = c.decision.Reason + "; another phone of " + c.party(x).URI.AOR() + " has taken the call over"
	c.apply(answer, far)
}

// pairOf is a call as it will be once a leg has come to the place of another one,
// for the ports of its media.
func (c *Call) pairOf(comes, far *Leg, first bool) *Call {
	pair := &Call{p: c.p, id: c.id, queue: c.queue, invite: c.invite, target: c.target, decision: c.decision, state: Established, a: comes, b: far}
	if !first {
		pair.a, pair.b = far, comes
	}
	return pair
}

// rehouse moves what a call's far end has of media, and its keys, to new ports.
func (c *Call) rehouse(pair *Call, far *Leg) error {
	for i, r := range c.relays {
		for i >= len(pair.relays) {
			pair.relays = append(pair.relays, &relay{})
		}
		n := pair.relays[i]
		if r.session == nil || n.session != nil {
			continue
		}
		s, err := pair.openMedia()
		if err != nil {
			return err
		}
		n.session = s
	}
	served := c.packetsOf(far) - far.rekey.packets
	for i, r := range c.relays {
		if r.session == nil {
			continue
		}
		pair.relays[i].session.Adopt(far.end, r.session, far.end)
		pair.relays[i].secured[far.end], r.secured[far.end] = r.secured[far.end], false
		r.session.Close()
	}
	c.relays = pair.relays
	far.rekey.packets = c.packetsOf(far) - served
	return nil
}
