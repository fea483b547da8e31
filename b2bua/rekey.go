package b2bua

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/sipward/sipward/keyexchange"
	"github.com/sipward/sipward/media"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

// Rekey says when the keys of a call are replaced in a re-INVITE (protocol
// section 7, Rekeying). The zero value asks for no new keys by itself.
type Rekey struct {
	Every   time.Duration // after that time; 0: never by time. The callee's side waits a little longer
	Packets uint64        // after so many packets of both directions; 0: never by count
	// MinInterval is what a peer has to wait after new keys before it may ask for
	// others; 0: 2 s.
	MinInterval time.Duration
}

const (
	defaultMinInterval = 2 * time.Second
	// countEvery is how often packets are counted where their number matters.
	countEvery = time.Second
	// rekeyRefused is how long a peer that wants no new keys is left alone at least.
	rekeyRefused = time.Minute
)

// ackAgain is when the ACK with dh-fin is sent again where it may get lost: this
// end sends under the new keys already, and without it the peer hears nothing
// until it repeats its 2xx, half a second later.
var ackAgain = [...]time.Duration{20 * time.Millisecond, 60 * time.Millisecond, 140 * time.Millisecond}

// noShare: somebody who does not know the exchange has answered for the peer.
const noShare = "The other side has answered without its share of new keys: it is another party now, or this is an attack"

// rekeying is what a leg has to do with the replacement of its keys.
type rekeying struct {
	next   *keyexchange.Exchange // under way, not in force yet
	resp   string                // responder: the value of its dh-resp
	tx     *sip.ServerTx         // responder: the re-INVITE whose ACK brings dh-fin
	before *keyexchange.Exchange // replaced; kept until the one in force is confirmed

	first   bool    // keys were replaced, and sas is that of the dialog's first exchange,
	sas     [4]byte // the only one that counts (protocol section 4)
	since   time.Time
	packets uint64 // of the leg when the keys in force came
	done    int    // how often they were replaced
	timer   *time.Timer
}

// erase forgets all secrets but those of the exchange in force.
func (r *rekeying) erase() {
	r.drop()
	if r.before != nil {
		r.before.Erase()
		r.before = nil
	}
	clear(r.sas[:])
	r.first = false
	if r.timer != nil {
		r.timer.Stop()
	}
}

// drop gives up the exchange under way; the keys in force stay.
func (r *rekeying) drop() {
	if r.next != nil {
		r.next.Erase()
	}
	r.next, r.tx, r.resp = nil, nil, ""
}

// ourSAS is the SAS of the leg's first exchange, once it is confirmed.
func (l *Leg) ourSAS() (octets [4]byte, ok bool) {
	if l.rekey.first {
		return l.rekey.sas, true
	}
	octets, ok = l.exchange.SAS()
	return octets, ok && l.exchange.IsConfirmed()
}

// occupied says whether a re-INVITE of this side's own is under way on a leg, or
// one of the peer's that the other leg has no part in.
func (l *Leg) occupied() bool { return l.move.renewing || l.rekey.tx != nil }

// scheduleRekey waits for the time at which the keys in force have served long
// enough. Only one side has to ask: the one that called does so first.
func (c *Call) scheduleRekey(l *Leg) {
	o := c.p.o.Rekey
	l.rekey.since, l.rekey.packets = time.Now(), c.packetsOf(l)
	if o.Every <= 0 && o.Packets == 0 {
		return
	}
	c.rekeyIn(l, c.untilRekey(l))
}

// untilRekey is when to look again whether keys have served long enough.
func (c *Call) untilRekey(l *Leg) time.Duration {
	o := c.p.o.Rekey
	wait := o.Every - rand.N(o.Every/10+1)
	if l.end == media.A {
		wait = o.Every + o.Every/10 + rand.N(o.Every/10+1)
	}
	if o.Packets > 0 && (o.Every <= 0 || wait > countEvery) {
		wait = countEvery
	}
	return wait
}

// packetsOf counts the packets of a leg, of both directions.
func (c *Call) packetsOf(l *Leg) (n uint64) {
	for _, r := range c.relays {
		if r.session != nil {
			s := r.session.Stats()[l.end]
			n += s.PacketsIn + s.PacketsOut
		}
	}
	return n
}

// rekeyIn looks after the keys of a leg in a while.
func (c *Call) rekeyIn(l *Leg, wait time.Duration) {
	if l.rekey.timer != nil {
		l.rekey.timer.Stop()
	}
	l.rekey.timer = time.AfterFunc(wait, func() {
		c.queue.Post(func() {
			if c.state == Established && l.exchange != nil {
				c.rekeyDue(l)
			}
		})
	})
}

// rekeyDue replaces keys that have served long enough, as soon as nothing else of
// the dialog is under way. Whoever holds with the address 0.0.0.0 could not
// confirm new ones.
func (c *Call) rekeyDue(l *Leg) {
	o := c.p.o.Rekey
	aged := o.Every > 0 && time.Since(l.rekey.since) >= o.Every-o.Every/10
	worn := o.Packets > 0 && c.packetsOf(l)-l.rekey.packets >= o.Packets
	switch {
	case !aged && !worn:
		c.rekeyIn(l, countEvery)
	case !l.exchange.IsConfirmed(), c.held, c.busy(), l.occupied(), l.rekey.next != nil, !l.move.since.IsZero(), c.other(l).described == nil:
		c.rekeyIn(l, renewAgain)
	default:
		c.rekey(l)
	}
}

// rekey asks the peer of a leg for new keys, with the description that it was
// sent last.
func (c *Call) rekey(l *Leg) {
	other := c.other(l)
	groups := c.p.groups(l.dialog.Flow().Network() != "udp")
	if len(groups) == 0 {
		c.rekeyIn(l, rekeyRefused) // the way is another than at first
		return
	}
	chain := l.exchange.Chain()
	next, err := keyexchange.NewInitiator(keyexchange.Config{Groups: groups, Suites: c.p.o.Suites}, chain)
	clear(chain)
	if err != nil {
		c.p.log.Error("no new keys", "call", c.id, "error", err)
		c.rekeyIn(l, rekeyRefused)
		return
	}
	l.renewed++ // the attribute makes it another description
	out, err := c.rewriteOffer(other.described, other, l)
	if err != nil {
		next.Erase()
		c.p.log.Warn("no new keys: the call cannot be described", "call", c.id, "error", err)
		c.rekeyIn(l, rekeyRefused)
		return
	}
	out.AddSessionAttribute("dh-init", next.Init())
	l.move.renewing, l.rekey.next = true, next
	described := other.described
	l.dialog.Do("INVITE", sdpType, out.Bytes(), func(res *sip.Message, err error) {
		if c.state == Ended || err == nil && res.Status < 200 {
			return
		}
		l.move.renewing = false
		if wait := c.rekeyAnswered(l, next, described, res, err); c.state != Ended {
			if l.exchange != next {
				l.rekey.drop()
				c.rekeyIn(l, wait)
			}
			c.resumeChange()
		}
	}, append(c.supported(l), c.asksToRefresh(l)...)...)
}

// rekeyAnswered takes the answer to our re-INVITE. Where there are no new keys it
// returns when to ask again.
func (c *Call) rekeyAnswered(l *Leg, next *keyexchange.Exchange, described *sdp.Session, res *sip.Message, err error) (wait time.Duration) {
	switch {
	case errors.Is(err, sip.ErrPending):
		return renewAgain
	case errors.Is(err, sip.ErrTransport):
		return time.Second // the network is not up
	case err != nil:
		c.end("The other side does not answer any more")
		return 0
	case res.Status < 300:
		c.takeKeys(l, next, described, res)
		return 0
	case res.Status == 491:
		return glareWait(l)
	case res.Status == 500 || res.Status == 503:
		if s, err := strconv.Atoi(res.Get("Retry-After")); err == nil && s > 0 {
			return min(time.Duration(s)*time.Second, time.Hour)
		}
		return moveTime
	}
	if c.lost(l); c.state != Ended {
		c.p.log.Info("the other side wants no new keys", "call", c.id, "status", res.Status, "reason", res.Reason)
	}
	return max(rekeyRefused, c.p.o.Rekey.Every)
}

// takeKeys judges the 2xx to our dh-init, opens the commitment in the ACK and
// goes over to the new keys.
func (c *Call) takeKeys(l *Leg, next *keyexchange.Exchange, described *sdp.Session, res *sip.Message) {
	c.refreshedBy(l, res)
	fin, refusal := c.takeShare(next, res)
	if refusal != "" {
		l.dialog.Ack(res, "", nil)
		c.end(refusal)
		return
	}
	answer, err := sdp.Parse(res.Body)
	if err != nil || res.ContentType() != sdpType || len(answer.Media()) != len(described.Media()) {
		l.dialog.Ack(res, "", nil)
		c.end("the answer to new keys does not fit")
		return
	}
	// The peer may speak under the new keys before this machine has got that far.
	c.expect(l, true)
	l.dialog.Ack(res, "", sdp.Fragment([]sdp.Attribute{{Name: "dh-fin", Value: fin}}), fragmentFields...)
	c.ackMore(l, res, func() bool { return l.exchange == next && !next.IsConfirmed() })
	if l.described == nil || !answer.SameButDirection(l.described) {
		c.offer, c.offerer = described, c.other(l)
		c.connect(answer, l)
	}
	c.goOver(l, next)
}

// takeShare takes the dh-resp of the 2xx to our dh-init and gives the dh-fin for the
// ACK, or the sentence that ends the call: without a share it is not the peer who
// has answered.
func (c *Call) takeShare(next *keyexchange.Exchange, res *sip.Message) (fin, refusal string) {
	attrs, err := keyexchange.Read(keyexchange.KindAnswer, found(res))
	if err == nil && attrs.Present {
		fin, err = next.TakeResp(attrs)
	}
	switch {
	case err != nil:
		return "", c.attacked(err)
	case !attrs.Present:
		c.trust, c.protection = "mismatch", "failed"
		c.p.log.Warn("key exchange failed", "call", c.id, "error", noShare)
		return "", noShare
	}
	return fin, ""
}

// ackMore repeats the ACK with dh-fin over UDP while that is needed.
func (c *Call) ackMore(l *Leg, res *sip.Message, needed func() bool) {
	if l.dialog.Flow().Network() != "udp" {
		return
	}
	for _, after := range ackAgain {
		time.AfterFunc(after, func() {
			c.queue.Post(func() {
				if c.state == Established && !l.dialog.Ended() && needed() {
					l.dialog.Ack(res, "", nil) // the same octets
				}
			})
		})
	}
}

// goOver puts new keys in force. The exchange before lasts until these are
// confirmed.
func (c *Call) goOver(l *Leg, next *keyexchange.Exchange) {
	r := &l.rekey
	if !r.first {
		r.sas, r.first = l.exchange.SAS()
	}
	if r.before != nil {
		r.before.Erase()
	}
	r.before, l.exchange = l.exchange, next
	r.next, r.tx, r.resp = nil, nil, ""
	r.since = time.Now()
	c.stopPatience()
	if l.ticker != nil {
		l.ticker.Stop()
	}
	for _, relay := range c.relays {
		relay.secured[l.end] = false
	}
	if err := c.secure(l); err != nil {
		c.end("the media could not be encrypted with new keys: " + err.Error())
		return
	}
	c.closeRejected(l)
	now := time.Now()
	next.Started(now)
	next.Held(now, c.held)
	c.tick(l, next)
	c.scheduleRekey(l)
}

// closeRejected closes the m-lines that carry nothing, which their new keys have
// opened.
func (c *Call) closeRejected(l *Leg) {
	for _, d := range []*sdp.Session{c.a.described, c.b.described} {
		if d == nil {
			continue
		}
		for i, m := range d.Media() {
			if m.Rejected && i < len(c.relays) && c.relays[i].session != nil {
				c.relays[i].session.SetMode(l.end, media.Closed)
			}
		}
	}
}

// turnedOver: the keys in force are confirmed. It returns false where they are
// the first ones.
func (c *Call) turnedOver(l *Leg) bool {
	x := l.exchange
	if l.rekey.before == nil {
		c.scheduleRekey(l)
		return false
	}
	l.rekey.before.Erase()
	l.rekey.before = nil
	l.rekey.done++
	c.p.log.Debug("new keys", "call", c.id, "group", x.Group(), "suite", x.Suite().Name)
	c.publishView()
	return true
}

// waitingChange is a re-INVITE that waits until one of this side's own is through.
type waitingChange struct {
	from *Leg
	tx   *sip.ServerTx
}

// postpone keeps a phone's re-INVITE while this side is speaking with the other
// leg about its own affairs: the phone need not know. False: it cannot wait.
func (c *Call) postpone(from *Leg, tx *sip.ServerTx) bool {
	if !c.other(from).occupied() || from.occupied() || c.waiting.tx != nil || tx.Request.Method != "INVITE" {
		return false
	}
	c.waiting = waitingChange{from, tx}
	return true
}

// resumeChange goes on with what waited.
func (c *Call) resumeChange() {
	if c.state == Ended || c.waiting.tx == nil || c.other(c.waiting.from).occupied() {
		return
	}
	w := c.waiting
	c.waiting = waitingChange{}
	if !w.tx.Final() {
		c.modify(w.from, w.tx)
	}
}

// keysRide says whether a request of a leg outside may bring new keys.
func keysRide(l *Leg, tx *sip.ServerTx) bool {
	return l.side == policy.Outside && tx.Request.Method == "INVITE"
}
