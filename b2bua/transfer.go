package b2bua

import (
	"strings"
	"time"

	"github.com/sipward/sipward/b2bua/door"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

const (
	// maxTransfers bounds how often the parties of one call may ask for a transfer.
	maxTransfers = 8
	// lingers is how long a transferor that has heard of its transfer's end has for
	// its BYE.
	lingers = 4 * time.Second
	// maxChanges bounds how often the party that remains is asked to change its
	// session, where its own changes cross ours (RFC 3261 section 14.1).
	maxChanges = 4
)

// transfer is a REFER within a call (RFC 3515, 5589), which sipward carries out
// itself: the phone that asks leaves, the far end of its call stays, and speaks
// with the target in a new call. All calls that it concerns share one queue.
type transfer struct {
	call  *Call // in which it was asked for
	by    *Leg  // who asked
	stays *Leg  // who remains
	to    *Call // with the target; nil while an attended transfer looks for it
	seat  *Leg  // the place in that call which stays takes
	note  *notice

	over   bool // nothing of it changes a call any more
	joined bool // stays speaks with the target; by has not left yet
	gone   bool // by has hung up already
	status int  // why the target was not reached
	phrase string
	asked  int // changes of the session of stays
	timer  *time.Timer
}

// led says that a party of another call has led this one on.
type led struct {
	by       policy.Party // whose rights the call has
	as       sip.Address  // who calls, for those outside
	least    policy.Mode  // the protection that the call needs at least
	outside  bool         // its caller is outside, so the inside needs it too
	stranger bool         // somebody outside has named where it goes
	diverted sip.Address  // who has redirected it; the zero value: nobody
	sentence string       // what has happened
	before   string       // the call that this one continues
	transfer *transfer    // which waits for the target; nil: nobody does
}

// decision is a decision of policy, by the rights of who has led the call on.
func (d *led) decision(of policy.Decision, to policy.Side) policy.Decision {
	if of.Allow && (to == policy.Outside || d.outside) && d.least == policy.Require && of.Mode != policy.Require {
		of.Mode, of.Reason = policy.Require, "the call before had to be encrypted, and so does this one ("+of.Reason+")"
	}
	of.Reason += "; " + d.sentence
	return of
}

// waits returns the transfer for which a call looks for its target, or nil.
func (c *Call) waits() *transfer {
	if c.led == nil || c.led.transfer == nil || c.led.transfer.over {
		return nil
	}
	return c.led.transfer
}

// party is who is on a leg, as the far end of the call knows it.
func (c *Call) party(l *Leg) sip.Address {
	var a sip.Address
	switch {
	case l == c.a && c.sits[0] != nil:
		return *c.sits[0]
	case l != c.a && c.sits[1] != nil:
		return *c.sits[1]
	case l == c.a:
		a = c.invite.From()
	default:
		a = sip.Address{URI: c.invite.To().URI}
		if c.target.Rule == route.RuleRegistered || c.target.Rule == route.RuleElsewhere {
			if u, err := sip.ParseURI(c.target.URI); err == nil {
				a.URI = u
			}
		}
	}
	a.Params, a.URI.Params = "", ""
	return a
}

// refer takes a REFER of a party. Only phones inside, and listed peers that are
// trusted, have somebody called, and only whom they could call themselves.
func (c *Call) refer(l *Leg, tx *sip.ServerTx) {
	req := tx.Request
	refuse := func(status int, why string) {
		c.p.counters.refused.Add(1)
		tx.Reply(status, "", warning(why))
	}
	if !l.trusted() || l.side == policy.Outside && c.p.trunk(l.peer) != nil {
		refuse(603, "nobody outside has sipward call somebody")
		return
	}
	for _, tag := range req.Values("Require") {
		if !strings.EqualFold(tag, "norefersub") && !strings.EqualFold(tag, "replaces") {
			tx.Reply(420, "", sip.Field{Name: "Unsupported", Value: tag})
			return
		}
	}
	values := req.Values("Refer-To")
	if len(values) != 1 {
		tx.Reply(400, "Bad Request (one Refer-To is needed)")
		return
	}
	target, err := sip.ParseReferTo(values[0])
	if err != nil {
		tx.Reply(400, "Bad Request (Refer-To)")
		return
	}
	stays := c.other(l)
	switch {
	case target.Method != "INVITE":
		refuse(403, "only a call can be asked for: Refer-To with method INVITE, or none")
	case c.urgent:
		refuse(403, "an emergency call is not transferred")
	case c.passage.taken:
		refuse(403, notOurs)
	case c.state != Established, c.busy(), stays.described == nil, stays.exchange != nil && !stays.exchange.IsConfirmed():
		tx.Reply(491, "")
	case c.asked >= maxTransfers:
		refuse(403, "this call was transferred too often")
	default:
		user, ok := c.prover(l, tx)
		if !ok {
			return
		}
		in := c.onBehalf(l, req, target.URI)
		if l.side == policy.Inside && !c.p.door.CountUser(userOf(in, user), time.Now()) {
			tx.Reply(503, "", sip.Field{Name: "Retry-After", Value: "10"}, warning("more requests than sipward takes from one user"))
			return
		}
		c.asked++
		t := &transfer{call: c, by: l, stays: stays, note: c.notice(l, req)}
		if target.Replaces != nil {
			t.attended(tx, *target.Replaces, user)
		} else {
			t.blind(tx, in, user)
		}
	}
}

// busy says that something else changes the call.
func (c *Call) busy() bool {
	return c.changing() || c.a.occupied() || c.b.occupied()
}

// changing is busy, this side's own re-INVITEs apart.
func (c *Call) changing() bool {
	return c.change != nil || c.leading != nil || c.leaving != nil || c.replacing
}

// prover says which user has asked, where phones have passwords here. Where ok
// is false, the request has been answered.
func (c *Call) prover(l *Leg, tx *sip.ServerTx) (user string, ok bool) {
	if l.side != policy.Inside || l.l.Accounts == AccountsElsewhere {
		return "", true
	}
	in := &sip.Incoming{Message: tx.Request, Flow: tx.Flow}
	user, ok = c.p.authenticateAs(in, c.party(l).URI, tx.Reply)
	if !ok && !tx.Final() {
		tx.Reply(403, "")
	}
	return user, ok
}

// onBehalf is the INVITE that a party would send to call the target itself.
func (c *Call) onBehalf(l *Leg, refer *sip.Message, uri sip.URI) *sip.Incoming {
	as := c.party(l)
	m := &sip.Message{Method: "INVITE", URI: uri}
	m.Add("Via", refer.Values("Via")[0])
	m.Add("From", as.String())
	m.Add("To", sip.Address{URI: uri}.String())
	m.Add("Call-ID", l.dialog.CallID())
	m.Add("CSeq", "1 INVITE")
	m.Add("Referred-By", sip.Address{URI: as.URI}.String())
	return &sip.Incoming{Message: m, Flow: l.dialog.Flow()}
}

// place says where a call that was led on goes, by the rights of who has led it;
// why is "" or says why it may not go there.
func (p *Proxy) place(in *sip.Incoming, l *listener) (g goal, why string) {
	if p.o.Emergency.Called(in.URI.String(), in.URI.User) {
		return g, "help is called by a call of one's own"
	}
	if l.Accounts == AccountsElsewhere {
		g.target, g.routes, why = p.targetElsewhere(in)
		g.known = why == ""
	} else {
		g.target, g.meant, g.phones, g.known = p.target(in.URI, l)
		g.target, g.routes = p.alongServices(in, l, g.target)
	}
	if why == "" && g.known && p.trunk(g.target.Peer) != nil && !g.target.Transfer {
		return g, "calls that were led on leave by the account " + g.target.Peer + " only where the route says transfer: true"
	}
	return g, why
}

// blind calls the target for who stays (RFC 5589 section 6).
func (t *transfer) blind(tx *sip.ServerTx, in *sip.Incoming, user string) {
	c, p := t.call, t.call.p
	refuse := func(status int, why string) {
		p.counters.refused.Add(1)
		tx.Reply(status, "", warning(why))
	}
	g, why := p.place(in, t.by.l)
	if why != "" {
		refuse(403, why)
		return
	}
	if !g.known {
		tx.Reply(202, "", t.note.accepted()...)
		t.note.last(404, "")
		return
	}
	to := newCall(p, in, t.by.l, t.by.peer, g.target, 69)
	to.queue, to.phones, to.routes, to.user, to.meant, to.asked = c.queue, g.phones, g.routes, user, g.meant, c.asked
	as := c.party(t.by)
	to.led = &led{by: policy.Party{Side: t.by.side, Addr: t.by.dialog.Flow().Remote().Addr(), URI: as.URI.AOR(), Peer: t.by.peer}, as: as,
		sentence: "transferred by " + as.URI.AOR() + ": compare the words again", before: c.id, transfer: t}
	if t.stays.side == policy.Outside {
		to.led.least = c.decision.Mode
	}
	if to.decision = to.decide(addrOf(sip.URI{Host: g.target.Host})); !to.decision.Allow {
		refuse(403, to.decision.Reason)
		return
	}
	if why := t.clear(to.decision.Mode, to.b.side); why != "" {
		refuse(403, why)
		return
	}
	if p.tolls(t.stays) && to.b.side == policy.Outside {
		refuse(403, tolled)
		return
	}
	// Who remains is the caller now; it keeps waiting on its own dialog.
	in.Set("From", c.party(t.stays).String())
	to.a = &Leg{call: c, l: t.stays.l, side: t.by.side, peer: t.by.peer, end: to.a.end, dialog: t.stays.dialog, remote: t.stays.remote,
		standsFor: t.stays, moved: true, heard: t.stays.heard}
	t.to, t.seat = to, to.a
	to.offer, to.offerer = t.stays.described.Clone(), to.a
	to.offer.DropDH()
	to.offer.Resume()
	t.stays.withoutSDES(to.offer)
	payer := door.Who{}
	if t.by.side == policy.Inside {
		payer = userOf(in, user)
	}
	if full := p.add(to, door.Entry{Payer: payer, Continues: &c.place}); full != "" {
		refuse(503, full)
		return
	}
	tx.Reply(202, "", t.note.accepted()...)
	p.counters.total.Add(1)
	c.leading = t
	t.note.tell(100, "")
	to.reason = to.decision.Reason
	to.emit("call-started")
	to.knowPeers(to.seek)
}

// clear says why a transfer would let clear speech into a call that must be
// encrypted throughout; "" where it would not.
func (t *transfer) clear(mode policy.Mode, side policy.Side) string {
	if mode == policy.Require && side == policy.Outside && t.stays.side == policy.Outside && !t.stays.protect {
		return "the call to the target must be encrypted, and the one with who remains is not"
	}
	return ""
}

// tolled is why nobody but parties outside remains in a call that costs an account.
const tolled = "a call that leaves by an account stays with somebody inside, unless its route says transfer: true"

// tolls says whether a leg was called by a trunk, at its account's cost, and by a
// route that is closed to transfers.
func (p *Proxy) tolls(l *Leg) bool {
	return l.dialled && !l.open && l.side == policy.Outside && p.trunk(l.peer) != nil
}
