package b2bua

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

// Timers say how a call whose far end has died is found. The zero value asks for
// nothing; what far ends ask for (RFC 4028) is granted in any case.
type Timers struct {
	// Session is how long a call lives without a sign of life in its signalling
	// (Session-Expires, RFC 4028 section 4); 0: not asked for. Half of it is when
	// the far end is asked, where that does not ask by itself.
	Session time.Duration
	// AskAfter is the silence after which a far end that should send media is
	// asked whether it is still there; 0: never.
	AskAfter time.Duration
	// EndAfter is the silence after which the call ends although its far end
	// answers; 0: never.
	EndAfter time.Duration
}

const (
	timerTag = "timer"
	// minSession is the shortest session that is granted (RFC 4028 section 5).
	minSession = 90 * time.Second
	// maxSession bounds what a far end may name.
	maxSession = 24 * time.Hour
	// maxAsks bounds how often the time doubles after which a quiet far end that has
	// answered is asked again.
	maxAsks = 4
)

// sessionTimer is the session timer of a leg.
type sessionTimer struct {
	interval time.Duration // agreed; 0: none
	least    time.Duration // that the far end grants (Min-SE)
	ours     bool          // this side refreshes
	updates  bool          // the far end takes UPDATE
	asking   bool          // a refresh of ours is under way
	till     time.Time
	timer    *time.Timer

	heard uint64    // packets of the far end
	quiet time.Time // since then nothing was heard that should have been
	asked time.Time // because of that
	asks  int       // how often since then: whoever is quiet for long is asked less often
}

// sessionExpires reads the field (RFC 4028 section 4).
func sessionExpires(m *sip.Message) (d time.Duration, refresher string, ok bool) {
	value := m.Get("Session-Expires")
	if value == "" {
		value = m.Get("x")
	}
	number, params, _ := strings.Cut(value, ";")
	n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 32)
	if err != nil {
		return 0, "", false
	}
	for _, p := range strings.Split(params, ";") {
		name, v, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(name), "refresher") {
			refresher = strings.ToLower(strings.TrimSpace(v))
		}
	}
	return min(time.Duration(n)*time.Second, maxSession), refresher, true
}

// knowsTimers says whether the sender of a request knows session timers.
func knowsTimers(req *sip.Message) bool {
	return req.HasToken("Supported", timerTag) || req.HasToken("Require", timerTag) || req.HasToken("k", timerTag)
}

// refreshes says whether a request within a dialog refreshes its session.
func refreshes(req *sip.Message) bool {
	_, _, ok := sessionExpires(req)
	return ok
}

// tooShort says whether a request asks for a session shorter than is granted, and
// with what it is refused.
func tooShort(req *sip.Message) (sip.Field, bool) {
	d, _, ok := sessionExpires(req)
	return sip.Field{Name: "Min-SE", Value: seconds(minSession)}, ok && d < minSession && knowsTimers(req)
}

// asksToRefresh returns the fields of an INVITE or UPDATE of this side's.
func (c *Call) asksToRefresh(l *Leg) []sip.Field {
	t := &l.session
	want := t.interval
	if want == 0 {
		want = c.p.o.Timers.Session
	}
	if want == 0 {
		return nil
	}
	value := seconds(max(want, t.least))
	if t.interval > 0 {
		if t.ours {
			value += ";refresher=uac"
		} else {
			value += ";refresher=uas"
		}
	}
	fields := []sip.Field{{Name: "Supported", Value: timerTag}, {Name: "Session-Expires", Value: value}}
	if t.least > minSession {
		fields = append(fields, sip.Field{Name: "Min-SE", Value: seconds(t.least)})
	}
	return fields
}

// refreshedBy takes the 2xx to an INVITE or UPDATE of this side's. A far end that
// does not know session timers is asked by this side all the same.
func (c *Call) refreshedBy(l *Leg, res *sip.Message) {
	t := &l.session
	t.learn(res)
	d, refresher, ok := sessionExpires(res)
	if ok && d > 0 {
		t.interval, t.ours = max(d, minSession), refresher != "uas"
	} else {
		t.interval, t.ours = max(c.p.o.Timers.Session, 0), true
	}
	c.arm(l)
}

// refreshed takes an INVITE or UPDATE of the far end, and returns the fields of
// its 2xx.
func (c *Call) refreshed(l *Leg, req *sip.Message) []sip.Field {
	t := &l.session
	t.learn(req)
	d, refresher, asked := sessionExpires(req)
	own := c.p.o.Timers.Session
	if !asked || own > 0 && own < d {
		least := minSession
		if n, err := strconv.ParseUint(strings.TrimSpace(req.Get("Min-SE")), 10, 32); err == nil {
			least = max(least, min(time.Duration(n)*time.Second, maxSession))
		}
		if own > 0 {
			d = max(own, least)
		}
	}
	knows := knowsTimers(req)
	if !knows || refresher == "" {
		refresher = "uas"
	}
	t.interval, t.ours = max(d, 0), refresher == "uas"
	if t.interval > 0 {
		t.interval = max(t.interval, minSession)
	}
	c.arm(l)
	if t.interval == 0 || !knows && !asked {
		return nil
	}
	fields := []sip.Field{{Name: "Session-Expires", Value: seconds(t.interval) + ";refresher=" + refresher}}
	if knows {
		fields = append(fields, sip.Field{Name: "Supported", Value: timerTag})
	}
	if refresher == "uac" {
		fields = append(fields, sip.Field{Name: "Require", Value: timerTag})
	}
	return fields
}

// learn notes which methods the far end takes.
func (t *sessionTimer) learn(m *sip.Message) {
	if m.Has("Allow") {
		t.updates = m.HasToken("Allow", "UPDATE")
	}
}

// arm starts a leg's session anew.
func (c *Call) arm(l *Leg) {
	t := &l.session
	t.stop()
	t.till = time.Now().Add(t.interval)
	switch {
	case t.interval == 0:
	case t.ours:
		c.refreshIn(l, t.interval/2)
	default:
		t.timer = c.later(t.interval-min(32*time.Second, t.interval/3), func() {
			c.dead("The other side has stopped to say that it is still there")
		})
	}
}

func (t *sessionTimer) stop() {
	if t.timer != nil {
		t.timer.Stop()
	}
}

// later runs f on the queue in a while, unless the call has ended.
func (c *Call) later(wait time.Duration, f func()) *time.Timer {
	return time.AfterFunc(wait, func() {
		c.queue.Post(func() {
			if c.state != Ended {
				f()
			}
		})
	})
}

func (c *Call) refreshIn(l *Leg, wait time.Duration) {
	l.session.stop()
	l.session.timer = c.later(wait, func() { c.refresh(l) })
}

// dead ends a call one of whose far ends is not there any more.
func (c *Call) dead(why string) {
	if c.state == Ended {
		return
	}
	c.p.counters.failed.Add(1)
	c.finish(why, reasonField(408, why))
}

// refresh asks a leg's far end whether it is still there: in an UPDATE without
// description where it takes one, else in a re-INVITE with the description that
// it was sent last (RFC 4028 section 7.4).
func (c *Call) refresh(l *Leg) {
	t, other := &l.session, c.other(l)
	switch {
	case t.asking || l.dialog.Ended():
		return
	case c.state != Established:
		c.refreshIn(l, renewAgain)
		return
	case t.updates:
		t.asking = true
		l.dialog.Do("UPDATE", "", nil, func(res *sip.Message, err error) { c.refreshAnswered(l, nil, res, err) }, c.asksToRefresh(l)...)
		return
	case c.change != nil || l.occupied() || other.described == nil:
		c.refreshIn(l, renewAgain)
		return
	}
	out, err := c.rewriteOffer(other.described, other, l)
	if err != nil {
		c.p.log.Warn("a call cannot be refreshed", "call", c.id, "error", err)
		return
	}
	t.asking, l.move.renewing = true, true
	described := other.described
	l.dialog.Do("INVITE", sdpType, out.Bytes(), func(res *sip.Message, err error) {
		if err != nil || res.Status >= 200 {
			l.move.renewing = false
		}
		if c.refreshAnswered(l, described, res, err); !l.move.renewing {
			c.resumeChange()
		}
	}, c.asksToRefresh(l)...)
}

// refreshAnswered takes the answer to a refresh. Whoever answers at all is there,
// unless it says that it does not know the call.
func (c *Call) refreshAnswered(l *Leg, described *sdp.Session, res *sip.Message, err error) {
	t := &l.session
	if c.state == Ended || err == nil && res.Status < 200 {
		return
	}
	t.asking = false
	wait := time.Duration(0)
	switch {
	case errors.Is(err, sip.ErrPending):
		wait = renewAgain
	case errors.Is(err, sip.ErrTransport):
		wait = time.Second
	case err != nil:
		c.dead("The other side does not answer any more")
		return
	case res.Status < 300:
		if described != nil && !c.refreshAgreed(l, described, res) {
			return
		}
		c.refreshedBy(l, res)
		return
	case res.Status == 491:
		wait = glareWait(l)
	case res.Status == 422:
		n, _ := strconv.ParseUint(strings.TrimSpace(res.Get("Min-SE")), 10, 32)
		if least := min(time.Duration(n)*time.Second, maxSession); least > max(t.least, t.interval) {
			t.least, t.interval = least, least
			wait = time.Millisecond
		}
	case described == nil && (res.Status == 405 || res.Status == 501):
		t.updates = false
		wait = time.Millisecond
	case res.Status == 500 || res.Status == 503:
		wait = 2 * time.Second
	}
	if c.lost(l); c.state == Ended {
		return
	}
	switch {
	case wait == 0:
		c.arm(l) // it does not like the question, but it is there
	case t.interval > 0 && time.Now().Add(wait).After(t.till):
		c.dead("The other side could not be asked in time whether it is still there")
	default:
		c.refreshIn(l, wait)
	}
}

// refreshAgreed takes the answer of a re-INVITE that refreshes.
func (c *Call) refreshAgreed(l *Leg, described *sdp.Session, res *sip.Message) bool {
	l.dialog.Ack(res, "", nil)
	answer, err := sdp.Parse(res.Body)
	if err != nil || res.ContentType() != sdpType || len(answer.Media()) != len(described.Media()) {
		c.end("the answer to a refresh of the call does not fit")
		return false
	}
	if l.described != nil && answer.SameButDirection(l.described) {
		return true
	}
	c.offer, c.offerer = described, c.other(l)
	return c.apply(answer, l)
}

// longerSession sends an INVITE again whose session the far end finds too short:
// once, with a new share as every INVITE has (protocol section 7).
func (c *Call) longerSession(l *Leg, res *sip.Message) bool {
	if res == nil || res.Status != 422 || l.session.least > 0 {
		return false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(res.Get("Min-SE")), 10, 32)
	if err != nil || n == 0 {
		return false
	}
	again := c.newLeg()
	again.l, again.routes, again.proved = l.l, l.routes, l.proved
	again.session.least = min(time.Duration(n)*time.Second, maxSession)
	c.b = again
	if err := c.dial(again, l.flow, l.uri); err != nil {
		c.p.log.Error("cannot ask for a longer session", "call", c.id, "error", err)
		return false
	}
	return true
}

// watchLegs looks for far ends that have fallen silent.
func (c *Call) watchLegs() {
	o := c.p.o.Timers
	shortest := o.AskAfter
	if shortest == 0 || o.EndAfter > 0 && o.EndAfter < shortest {
		shortest = o.EndAfter
	}
	if shortest <= 0 {
		return
	}
	every := min(max(shortest/6, time.Second), 10*time.Second)
	var look func()
	look = func() {
		for _, l := range []*Leg{c.a, c.b} {
			if c.listen(l, time.Now()); c.state == Ended {
				return
			}
		}
		c.watch = c.later(every, look)
	}
	look()
}

// listen acts upon the silence of one leg.
func (c *Call) listen(l *Leg, now time.Time) {
	t, o := &l.session, c.p.o.Timers
	var heard uint64
	for _, r := range c.relays {
		if r.session != nil {
			heard += r.session.Stats()[l.end].PacketsIn
		}
	}
	if heard != t.heard || t.quiet.IsZero() || !c.shouldSend(l) {
		t.heard, t.quiet, t.asked, t.asks = heard, now, now, 0
		return
	}
	switch {
	case o.EndAfter > 0 && now.Sub(t.quiet) >= o.EndAfter:
		c.dead("Nothing was heard of the other side for " + o.EndAfter.String())
	case o.AskAfter > 0 && now.Sub(t.asked) >= o.AskAfter<<min(t.asks, maxAsks):
		t.asked, t.asks = now, t.asks+1
		c.refresh(l)
	}
}

// shouldSend says whether some m-line lets a leg's far end send, and its other
// side listen. Who answered by tone-less silence still sends something now and
// then: RTCP counts as well.
func (c *Call) shouldSend(l *Leg) bool {
	other := c.other(l)
	if c.held || l.described == nil || other.described == nil {
		return false
	}
	theirs, others := l.described.Media(), other.described.Media()
	for i, m := range theirs {
		if i < len(others) && !m.Rejected && !others[i].Rejected && !m.Held() && !others[i].Held() &&
			(m.Direction == "sendrecv" || m.Direction == "sendonly") && (others[i].Direction == "sendrecv" || others[i].Direction == "recvonly") {
			return true
		}
	}
	return false
}
