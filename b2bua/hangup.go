package b2bua

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/sipward/sipward/sip"
)

// warning is RFC 3261 section 20.43's field with free text.
func warning(text string) sip.Field {
	return sip.Field{Name: "Warning", Value: `399 sipward "` + strings.NewReplacer(`\`, ``, `"`, `'`, "\r", " ", "\n", " ").Replace(text) + `"`}
}

// reasonField is RFC 3326's.
func reasonField(cause int, text string) sip.Field {
	return sip.Field{Name: "Reason", Value: "SIP;cause=" + strconv.Itoa(cause) + `;text="` + strings.NewReplacer(`\`, ``, `"`, `'`, "\r", " ", "\n", " ").Replace(text) + `"`}
}

// refuse ends a call that the caller has no answer to yet: status and phrase
// go to the caller, why into the events.
func (c *Call) refuse(status int, phrase, why string, fields ...sip.Field) {
	if c.state == Ended {
		return
	}
	if status == 488 {
		fields = append(fields, warning(why))
	}
	fields = append(append(fields, c.supported(c.a)...), c.knowsTag(fields)...)
	if t := c.waits(); t != nil {
		t.status, t.phrase = status, phrase
	}
	c.a.dialog.Refuse(status, phrase, fields...)
	c.p.counters.refused.Add(1)
	c.finish(why, reasonField(status, why))
}

// end ends a call in whatever state it is, because of a fault.
func (c *Call) end(why string) {
	if c.state == Ended {
		return
	}
	if !c.a.dialog.Confirmed() {
		c.refuse(488, why, why)
		return
	}
	c.p.counters.failed.Add(1)
	c.finish(why, reasonField(488, why))
}

// hangup ends a call that is in order, for a reason of this side's.
func (c *Call) hangup(why string) {
	if c.state != Ended && !c.a.dialog.Confirmed() {
		c.refuse(503, "", why)
		return
	}
	c.finish(why)
}

// byeFrom: a far end has hung up.
func (c *Call) byeFrom(l *Leg, tx *sip.ServerTx) {
	if t := c.leading; t != nil && t.left(l, tx) {
		return
	}
	if c.takeLeave(l, tx) {
		return
	}
	tx.Reply(200, "")
	l.dialog.Closed()
	if c.state != Ended && !c.a.dialog.Confirmed() {
		c.refuse(487, "", "hung up before the answer")
		return
	}
	c.finish(c.cutShort(l, tx.Request), c.whyEnded(tx.Request, l)...)
}

// cutShort is what the record says where the far end outside has found the exchange,
// or one that was to replace its keys, at fault: the sentence that came with its BYE
// (protocol section 7). "" where it has simply hung up.
func (c *Call) cutShort(l *Leg, bye *sip.Message) string {
	reason := bye.Get("Reason")
	if l.side != policyOutside || len(reason) > maxCarriedField || !strings.HasPrefix(reason, "SIP;cause=488") {
		return ""
	}
	switch c.protection {
	case "negotiating", "failed":
		c.protection = "failed"
	case "srtp":
		if c.patience != nil || l.rekey.next != nil || l.exchange != nil && !l.exchange.IsConfirmed() {
			c.protection = "failed"
			c.disproved()
		}
	default:
		return ""
	}
	_, text, _ := strings.Cut(reason, `text="`)
	text, _, _ = strings.Cut(text, `"`)
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
	return "ended by the other side: " + text
}

// bye says BYE on one leg and keeps Shutdown waiting for its answer.
func (c *Call) bye(l *Leg, fields []sip.Field) {
	if l.call != c || l.dialog == nil || l.dialog.Ended() || !l.dialog.Confirmed() {
		return
	}
	fields = slices.DeleteFunc(slices.Clone(fields), func(f sip.Field) bool { return c.reveals(f.Value, c.invite.Message, l) })
	c.p.waiting(1)
	l.dialog.Bye(func() { c.p.waiting(-1) }, fields...)
}

// finish is the only way into Ended. Whoever is still in the call gets a BYE
// with these fields, whoever still rings a CANCEL; media, keys and timers are
// released. why is the last reason that the call shows, "" leaves the one it
// has.
func (c *Call) finish(why string, fields ...sip.Field) {
	if c.state == Ended {
		return
	}
	if c.cancel != nil {
		c.cancel()
	}
	if c.stopWork != nil {
		c.stopWork()
	}
	if why != "" {
		c.reason = why
	}
	if c.protection == "negotiating" {
		c.protection = "none" // no keys were agreed, and nothing was wrong with them
	}
	if c.leaving != nil {
		c.leaving.Reply(200, "")
		c.leaver.dialog.Closed()
		c.leaving = nil
	}
	c.publishView() // with the exchange and the last counters, before they are gone
	last := c.View()
	c.bye(c.a, fields)
	for _, b := range c.branches {
		if b.call != c {
			continue // a transfer has led it away
		}
		c.bye(b, fields)
		b.dialog.Cancel()
		c.eraseExchange(b)
		b.dropKeys()
	}
	timers := []*time.Timer{c.ringing, c.patience, c.parting}
	for _, l := range []*Leg{c.a, c.b} {
		if l.call != c {
			continue
		}
		l.dropKeys()
		l.dropDigits()
		if l.letClose != nil {
			l.letClose()
		}
		timers = append(timers, l.ticker, l.move.timer, l.move.limit, l.session.timer)
	}
	for _, t := range timers {
		if t != nil {
			t.Stop()
		}
	}
	c.state = Ended
	last.State = string(Ended)
	c.closeMedia()
	c.eraseExchange(c.a)
	c.eraseExchange(c.b)
	c.note()
	c.last.Store(&last)
	if c.early == nil || !c.early.resp {
		c.pickedUp() // nothing was shown
	}
	c.offer, c.early, c.pending, c.change = nil, nil, nil, nil
	c.waiting = waitingChange{}
	if t := c.waits(); t != nil {
		t.callEnded(c)
	}
	if t := c.leading; t != nil {
		c.leading = nil
		t.callEnded(c)
	}
	c.p.remove(c)
	c.p.hub.publish("call-ended", func() View { return last })
	c.keepRecord(last)
	c.p.log.Info("call ended", "call", c.id, "why", why)
}
