package b2bua

import (
	"context"
	"strings"
	"time"

	"github.com/sipward/sipward/media"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sas/attest"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/trust"
)

// assurance is what is known of who is at the other end of a leg outside.
type assurance struct {
	identity string // whom the call names there, "" for nobody
	dialled  bool   // by this side
	provable bool   // the keyring could prove it
	results  []attest.Result
	said     trust.SAS // by the person here
	wrong    int       // codes that were typed and are not this call's
	verdict  trust.Verdict
}

// ruleBlocked is the name of the decision about who is blocked.
const ruleBlocked = "blocked"

// peer is whom the call names at the other end of a leg outside: who was dialled,
// or From.
func (c *Call) peer(l *Leg) string {
	if l == c.a {
		return identityOf(c.invite.From().URI)
	}
	if u, err := sip.ParseURI(c.meant); err == nil {
		return identityOf(u)
	}
	if u, err := sip.ParseURI(c.called()); err == nil {
		return identityOf(u)
	}
	return ""
}

func (c *Call) outside() (legs []*Leg) {
	for _, l := range []*Leg{c.a, c.b} {
		if l.side == policyOutside {
			legs = append(legs, l)
		}
	}
	return legs
}

// blocked says whether calls with the other end do not take place here.
func (c *Call) blocked() bool {
	for _, l := range c.outside() {
		if id := c.peer(l); id != "" && c.p.o.Memory.Blocked(id) {
			return true
		}
	}
	return false
}

// knowPeers finds out what could be known of the other end, and refuses a call
// that could not be worth what policy asks for, before anybody rings.
func (c *Call) knowPeers(then func()) {
	slow := false
	for _, l := range c.outside() {
		c.assured[l.end] = assurance{identity: c.peer(l), dialled: l == c.b}
		slow = slow || c.assured[l.end].identity != "" && c.p.o.Keyring != nil && c.decision.Mode != policy.Off
	}
	var provable [2]bool
	c.aside(slow, func(ctx context.Context) {
		for i, a := range c.assured {
			provable[i] = slow && a.identity != "" && c.p.o.Keyring.Usable(ctx, a.identity)
		}
	}, func() {
		if c.state == Ended {
			return
		}
		for i := range c.assured {
			c.assured[i].provable = provable[i]
		}
		if sentence := c.keyless(); sentence != "" {
			c.refuse(488, sentence, sentence)
			return
		}
		then()
	})
}

// keyless is the refusal of a call that must be signed where no key of the other
// end is known by which it could be, or "". The initiator's signature comes after
// the phone has rung, so this is asked before (protocol section 7).
func (c *Call) keyless() string {
	if c.least() == trust.Encrypted {
		return ""
	}
	for _, l := range c.outside() {
		a := &c.assured[l.end]
		if a.provable || c.p.o.Memory.Expects(a.identity).Reaches(c.least()) {
			continue
		}
		if a.identity == "" {
			return "This call must be signed, and the other end gives no address of its own"
		}
		return "This call must be signed, and no key that counts is known of " + a.identity
	}
	return ""
}

// least is what the call must be worth at least.
func (c *Call) least() trust.Word {
	if c.decision.Mode != policy.Require || c.decision.Trust == "" {
		return trust.Encrypted
	}
	return trust.Word(c.decision.Trust)
}

// holdsBack says whether nothing that is said here goes out on a leg before the
// other end has confirmed its keys. The initiator has judged the responder by then,
// the responder the initiator only when it has the ACK: what has to be proved at
// both ends before anything passes waits for that. A rekeying inherits the proof.
func (c *Call) holdsBack(l *Leg) bool {
	x := l.exchange
	return x.Initiator() && !x.IsConfirmed() && l.rekey.before == nil && c.least() != trust.Encrypted
}

func (c *Call) judge(l *Leg, x trust.Exchange) (trust.Verdict, []trust.Change) {
	a := &c.assured[l.end]
	return c.p.o.Memory.Judge(trust.Facts{Identity: a.identity, Dialled: a.dialled, Exchange: x,
		Signatures: a.results, SAS: a.said, Provable: a.provable}, time.Now())
}

// fitness judges a leg whose shares and signatures are there and before its keys
// are used: as if the exchange were confirmed, since nobody but who signed has the
// keys. It returns the sentence that ends the call, or "".
func (c *Call) fitness(l *Leg) string {
	v, _ := c.judge(l, trust.Confirmed)
	if sentence := c.unfit(v); sentence != "" {
		c.rate(l, v)
		c.protection = "failed"
		return sentence
	}
	if v.Word == trust.Mismatch {
		c.rate(l, v) // a warning comes at once
		c.emit("call-changed")
	}
	return ""
}

// unfit says why a call of this verdict does not go on, "" where it does.
func (c *Call) unfit(v trust.Verdict) string {
	strict := c.least() != trust.Encrypted
	switch {
	case v.Blocked:
		return "This call is refused: " + v.Says
	case v.Word == trust.Mismatch && (strict || c.decision.OnMismatch != policy.Warn):
		return upper(v.Says)
	case strict && v.Word != trust.Mismatch && !v.Word.Reaches(c.least()):
		if c.least() == trust.Pinned {
			return "This call must be signed with a key of an earlier call, and it is not"
		}
		return "This call must be signed with a key that was checked, and it is not"
	case v.Downgrade && c.decision.OnDowngrade == policy.End:
		return "This call is less protected than it could be: " + v.Says
	}
	return ""
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// plainly judges a leg on which there is no exchange. It returns the sentence that
// ends the call, or "".
func (c *Call) plainly(l *Leg) string {
	v, _ := c.judge(l, trust.NoExchange)
	c.rate(l, v)
	return c.unfit(v)
}

// seatAssured takes over what is known of a party that comes from another call
// with its exchange. What its other party said of the string holds no longer:
// somebody else speaks now.
func (c *Call) seatAssured(place media.End, a assurance) {
	a.said, a.wrong = trust.Unsaid, 0
	c.assured[place] = a
}

// reassure judges the legs anew whose exchanges were confirmed before they came
// together.
func (c *Call) reassure() {
	for _, l := range c.outside() {
		if l.exchange != nil && l.exchange.IsConfirmed() {
			v, _ := c.judge(l, trust.Confirmed)
			c.rate(l, v)
		}
	}
}

// tampered: the exchange has failed in a way that points to an attack.
func (c *Call) tampered() {
	for _, l := range c.outside() {
		if l.exchange != nil || l == c.a {
			v, _ := c.judge(l, trust.Attacked)
			c.rate(l, v)
		}
	}
}

// rate puts a verdict into force.
func (c *Call) rate(l *Leg, v trust.Verdict) {
	old := c.assured[l.end].verdict
	c.assured[l.end].verdict = v
	if v.Word == trust.Mismatch && old.Word != v.Word || v.Downgrade && !old.Downgrade || v.Changed && !old.Changed {
		c.p.log.Warn("trust", "call", c.id, "identity", c.assured[l.end].identity, "trust", v.Word, "why", v.Says, "downgrade", v.Downgrade, "changed", v.Changed)
	}
	word := trust.Verified
	for _, l := range c.outside() {
		switch w := c.assured[l.end].verdict.Word; {
		case w == trust.Mismatch || word == trust.Mismatch:
			word = trust.Mismatch
		case w == "":
			word = trust.None
		case word.Reaches(w):
			word = w
		}
	}
	c.trust = string(word)
}

// disproved: keys that were to be used were never confirmed, and with them nothing
// of the other end is proved any more. That something is wrong stays said.
func (c *Call) disproved() {
	if c.trust != string(trust.Mismatch) {
		c.trust = string(trust.None)
	}
}

// assure judges a leg whose exchange is confirmed, and has it remembered.
func (c *Call) assure(l *Leg) {
	v, changes := c.judge(l, trust.Confirmed)
	c.rate(l, v)
	c.p.learn(c.id, changes)
	if sentence := c.unfit(v); sentence != "" {
		c.end(sentence)
	}
}

// learn has the memory keep what a verdict asks for, off the call's queue: it is
// written to the disk.
func (p *Proxy) learn(call string, changes []trust.Change) {
	if len(changes) == 0 {
		return
	}
	p.learning.Add(1)
	go func() {
		defer p.learning.Done()
		if err := p.o.Memory.Learn(changes); err != nil {
			p.log.Error("what was learned of a peer could not be kept", "call", call, "error", err)
		}
	}()
}

// viewed is the assurance that a view shows.
func (c *Call) viewed() *assurance {
	for _, l := range []*Leg{c.b, c.a} {
		if l.side == policyOutside {
			return &c.assured[l.end]
		}
	}
	return &assurance{}
}
