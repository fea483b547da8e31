package b2bua

import (
	"strings"
	"time"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

// Digest between a phone and the far end that knows its password (RFC 3261
// section 22) passes as it is, within dialogs too.
//
// There the phone hashes the URI that its own request names, our contact, and
// the far end gets a request to its own. The two differ behind every B2BUA and
// behind proxies that retarget, which is why RFC 7616 section 3.4.6 leaves it to
// the server what "the same resource" is; nothing that sipward could put in its
// place would have a valid hash.

// farewell is how long the BYE of a phone waits for the far end's answer, and
// then for the phone's where that was a question for its password.
const farewell = 10 * time.Second

// passesDigest says whether the phone on a leg and the far end on the other one
// have a password of their own: the phone is inside and has no account here, and
// the far end is outside.
//
// A phone with an account here is never asked: it would answer a stranger with
// what its password for this proxy can be guessed from.
func (c *Call) passesDigest(l *Leg) bool {
	if l.side != policy.Inside || c.other(l).side != policy.Outside {
		return false
	}
	if l == c.a {
		return !c.p.home(c.invite.From().URI)
	}
	return c.target.Rule == route.RuleElsewhere
}

// credentials returns the passwords' proofs of a request within the dialog, where
// they are for the far end. Phones send them unasked as well, and take a question
// in spite of them for a refusal of their password, so all of them pass: the
// price is that the far end sees our address on the inside, which they have hashed.
func (c *Call) credentials(from *Leg, req *sip.Message) []sip.Field {
	if !c.passesDigest(from) {
		return nil
	}
	return fieldsNamed(req, "Authorization", "Proxy-Authorization")
}

// credentialsOf returns those of the INVITE for a candidate of the B leg. The ACK
// has them too (RFC 3261 section 22.1).
func (c *Call) credentialsOf(l *Leg) []sip.Field {
	if c.led != nil || l.side != policy.Outside || c.a.side != policy.Inside || c.p.home(c.invite.From().URI) || c.p.trunk(l.peer) != nil {
		return nil
	}
	return fieldsNamed(c.invite.Message, "Authorization", "Proxy-Authorization")
}

// asks returns the questions of a response for the phone's password, where it
// is for the phone on that leg.
func (c *Call) asks(phone *Leg, res *sip.Message) []sip.Field {
	if !isChallenge(res) || !c.passesDigest(phone) {
		return nil
	}
	return fieldsNamed(res, "WWW-Authenticate", "Proxy-Authenticate")
}

func fieldsNamed(m *sip.Message, names ...string) (fields []sip.Field) {
	for _, f := range m.Fields {
		for _, name := range names {
			if strings.EqualFold(f.Name, name) {
				fields = append(fields, f)
			}
		}
	}
	return fields
}

// passRefusal answers a request of a dialog as the other leg has refused it.
func (c *Call) passRefusal(from *Leg, tx *sip.ServerTx, res *sip.Message) {
	fields := c.asks(from, res)
	if isChallenge(res) && len(fields) == 0 {
		tx.Reply(403, "Forbidden (the other side asks for a password)")
		return
	}
	tx.Reply(res.Status, c.phrase(res, from), fields...)
}

// takeLeave passes the BYE of a phone on, where the far end may ask for its
// password first. The call ends with the far end's answer, or when none comes.
// It returns false where the BYE is none of these.
func (c *Call) takeLeave(l *Leg, tx *sip.ServerTx) bool {
	if c.state != Established || !c.passesDigest(l) {
		return false
	}
	if c.leaving != nil {
		tx.Reply(500, "", sip.Field{Name: "Retry-After", Value: "1"})
		return true
	}
	c.leaving, c.leaver = tx, l
	c.part(func() { c.left() })
	c.other(l).dialog.Do("BYE", "", nil, func(res *sip.Message, err error) {
		switch {
		case c.leaving != tx || err == nil && res.Status < 200:
		case err == nil && len(c.asks(l, res)) > 0:
			c.leaving = nil
			c.passRefusal(l, tx, res)
			c.part(func() { c.finish("") })
		default:
			c.left()
		}
	}, append(fieldsNamed(tx.Request, "Reason"), c.credentials(l, tx.Request)...)...)
	return true
}

// part sets what happens where the call still stands after farewell.
func (c *Call) part(then func()) {
	if c.parting != nil {
		c.parting.Stop()
	}
	c.parting = time.AfterFunc(farewell, func() { c.queue.Post(then) })
}

// left ends a call whose phone has said BYE, which the far end has got or does
// not answer.
func (c *Call) left() {
	if c.leaving != nil {
		c.other(c.leaver).dialog.Closed()
		c.finish("")
	}
}
