package b2bua

import (
	"time"

	"github.com/sipward/sipward/keyexchange"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

// The exchange in a reliable 1xx and its PRACK (protocol section 7).

// takeEarlyResp judges the dh-resp of a reliable 1xx: fin is for its PRACK. A
// commitment is opened to one fork only; the others get none.
func (c *Call) takeEarlyResp(l *Leg, res *sip.Message) (fin, refusal string) {
	tag := res.To().Tag()
	if l.exchange == nil || l.opened != "" && l.opened != tag {
		return "", ""
	}
	attrs, err := keyexchange.Read(keyexchange.KindAnswer, found(res))
	if err == nil && attrs.Present {
		fin, err = l.exchange.TakeResp(attrs)
	}
	if err != nil {
		return "", c.attacked(err)
	}
	if fin != "" {
		l.opened = tag
	}
	return fin, ""
}

// prack acknowledges a reliable response.
func (c *Call) prack(l *Leg, res *sip.Message, contentType string, body []byte, fields ...sip.Field) {
	l.dialog.Prack(res, contentType, body, func(answer *sip.Message, err error) {
		if c.state != Calling && c.state != Ringing || l.opened != res.To().Tag() {
			return
		}
		if err != nil || answer.Status >= 300 {
			c.end("the other side did not take the key for early media")
		}
	}, fields...)
}

// prackWith acknowledges a response that holds no offer which the caller will
// answer: with dh-fin, or where it is an offer all the same, that of another fork
// behind the first, with an answer that takes nothing of it.
func (c *Call) prackWith(l *Leg, res *sip.Message, session *sdp.Session, fin string) {
	switch {
	case fin != "":
		c.prack(l, res, "", finFragment(fin, l.sigs), fragmentFields...)
	case session != nil && len(c.invite.Body) == 0 && (c.early == nil || c.early.tag != res.To().Tag()):
		none := session.Clone()
		none.DropDH()
		if none.Apply(c.rewrite(session, l, make([]sdp.Port, len(session.Media())))) != nil {
			none = nil
		}
		if none == nil {
			c.prack(l, res, "", nil)
			return
		}
		c.prack(l, res, sdpType, none.Bytes())
	default:
		c.prack(l, res, "", nil)
	}
}

// pracked: the caller's PRACK for a response came; e is what that response has
// begun, nil where it had no description.
func (c *Call) pracked(e *early, prack *sip.ServerTx) {
	req := prack.Request
	described := req.ContentType() == sdpType && len(req.Body) > 0
	switch {
	case e != nil && e.offer != nil:
		prack.Reply(200, "")
		c.answerFromPrack(e, req)
		return
	case described:
		// RFC 3262 section 5 allows another offer here. The session stays as it
		// is; a re-INVITE can change it once the call stands.
		prack.Reply(488, "An offer in PRACK is not taken", warning("change the session by re-INVITE when the call stands"))
	default:
		prack.Reply(200, "")
	}
	if e != nil && e.passed != nil {
		c.passPrack(e, req)
		return
	}
	if e != nil && e.resp {
		c.takeEarlyFin(keyexchange.KindAck, req, func() {
			if err := c.secure(c.a); err != nil {
				c.end("the media could not be encrypted: " + err.Error())
			}
		})
	}
}

// takeEarlyFin judges the dh-fin of a PRACK; then starts the keys. Where there is
// none, the caller's side has seen a fault and will cancel, or a server on the
// way has taken it out: then the INVITE is refused soon.
func (c *Call) takeEarlyFin(kind keyexchange.MessageKind, prack *sip.Message, then func()) {
	attrs, err := keyexchange.Read(kind, found(prack))
	if err == nil && attrs.Present {
		err = c.a.exchange.TakeFin(attrs)
	}
	switch {
	case err != nil:
		c.end(c.attacked(err))
		return
	case !attrs.Present:
		c.protection = "failed"
		c.patience = time.AfterFunc(ackPatience, func() { c.queue.Post(c.finMissing) })
		return
	}
	c.a.finned = true
	c.finCame()
	c.vet(c.a, func(refusal string) {
		if refusal != "" {
			c.end(refusal)
			return
		}
		then()
	})
}

// finCame: a dh-fin that was missed behind a PRACK is there after all.
func (c *Call) finCame() {
	if c.patience != nil {
		c.stopPatience()
		c.protection = "negotiating"
	}
}

// finMissing: no CANCEL has followed a PRACK without dh-fin.
func (c *Call) finMissing() {
	if c.state == Ended {
		return
	}
	if c.decision.Mode == policy.Prefer {
		c.p.stripped.remember(c.path(c.invite.Message), time.Now())
	}
	c.end("The other side's key did not arrive: a server on the way removes it from the PRACK")
}

// noteFork remembers where an INVITE has met several user agents: the next one
// to this address gets its dh-resp in the 2xx only.
func (c *Call) noteFork(l *Leg, res *sip.Message) {
	tag := res.To().Tag()
	switch {
	case tag == "" || l.side != policy.Outside && !c.passage.begun && !c.passage.taken:
	case l.tagHeard == "":
		l.tagHeard = tag
	case l.tagHeard != tag:
		c.p.forking.remember(l.uri.AOR(), time.Now())
	}
}

// anotherPhone ends a call in which the only dh-fin went to a fork that another
// one's answer overtook.
const anotherPhone = "Another phone than the one that was heard first has answered, and its keys can be agreed in the next call only: call again"

// answeredEarly looks at a 2xx behind an exchange that a reliable 1xx has brought
// to its end: the one of that fork needs no more. Another fork's is no attack, but
// the only dh-fin is gone; unprotected the call may go on only with a peer that
// wants no exchange.
func (c *Call) answeredEarly(l *Leg, res *sip.Message) (fin, refusal string) {
	attrs, err := keyexchange.Read(keyexchange.KindAnswer, found(res))
	if res.To().Tag() == l.opened {
		if err == nil && attrs.Present {
			fin, err = l.exchange.TakeResp(attrs)
		}
		if err != nil {
			return "", c.attacked(err)
		}
		return fin, ""
	}
	if err == nil && !attrs.Present && c.decision.Mode == policy.Prefer {
		c.unprotect(l)
		c.reason = "unprotected: the phone that answered offers no key exchange (" + c.decision.Reason + ")"
		return "", ""
	}
	c.protection, c.trust = "failed", "none"
	return "", anotherPhone
}

// unprotect takes the keys of a leg back.
func (c *Call) unprotect(l *Leg) {
	c.eraseExchange(l)
	l.protect, l.opened = false, ""
	for _, r := range c.relays {
		r.secured[l.end] = false
	}
	c.protection, c.trust = "none", "none"
}
