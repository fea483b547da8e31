package b2bua

import (
	"errors"
	"slices"
	"strings"

	"github.com/sipward/sipward/keyexchange"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
)

// passage is the way of an exchange that another sipward began nearer to a
// phone: its attributes and its SRTP cross this one untouched, so that the SAS
// stays between the two ends.
type passage struct {
	begun bool         // the INVITE's dh-init goes on as it came; its answer is awaited
	taken bool         // the answer held dh-resp: the keys are others'
	res   *sip.Message // 2xx whose ACK waits for that with dh-fin
}

// notVouched is the refusal of an exchange that nobody here can check. A phone
// that only says to have begun one would otherwise get clear speech across a
// leg that must be protected.
const notVouched = "This call must be encrypted by this sipward, and the caller's own key exchange can only pass through it: a rule with the mode prefer lets it"

// notOurs is the refusal to lead a party of a call under others' keys to somebody
// else: whom it met would have none, and would send clear speech to an end that
// drops it.
const notOurs = "this sipward has no keys of this call, which only passes through it: transfer it, or take it over, at the sipward nearer to the phone, or switch the phone's own key exchange off"

var errNotVouched = errors.New("an exchange that passes through satisfies no require")

// begunBefore sees whether the INVITE brings an exchange that goes on as it
// is. From outside it does only where this side's own answer is ready for a
// callee who has none, and not where policy requires protection: that the own
// exchange gives, and a passed one cannot show that it does.
func (c *Call) begunBefore() {
	invite := c.invite.Message
	if !carries(invite, "dh-init") {
		return
	}
	if c.a.side == policy.Inside {
		c.passage.begun = true
		return
	}
	ready := c.decision.Mode == policy.Off || c.decision.Mode == policy.Prefer && c.a.exchange != nil
	c.passage.begun = ready && c.b.side == policy.Inside && (streamPath(invite) || !offersHybrid(invite))
}

// offersHybrid says whether an INVITE offers the group whose shares do not fit
// into a datagram. Behind this hop the path would no longer show its UDP to
// who may take it.
func offersHybrid(invite *sip.Message) bool {
	return slices.ContainsFunc(found(invite), func(f keyexchange.Found) bool {
		return f.Name == "dh-init" && strings.Contains(f.Value, keyexchange.GroupX25519MLKEM768+"=")
	})
}

// carries says whether a message holds an attribute of the exchange, in whatever
// form: the ends judge it.
func carries(m *sip.Message, name string) bool {
	return slices.ContainsFunc(found(m), func(f keyexchange.Found) bool { return f.Name == name })
}

// passInit gives what the B leg's INVITE carries of the caller's exchange beside
// the attributes in its SDP, and the fields that its ACK carries too. Towards a
// phone inside the option tag of an outside caller is not passed on: this side
// answers where the phone cannot.
func (c *Call) passInit(l *Leg) (fields, require []sip.Field, err error) {
	if !c.passage.begun || l.readHere() {
		return nil, nil, nil
	}
	if c.a.side == policy.Inside && l.side == policy.Outside && c.decision.Mode == policy.Require {
		return nil, nil, errNotVouched
	}
	invite := c.invite.Message
	fields = initFields(invite)
	if c.a.side == policy.Outside {
		return fields, nil, nil
	}
	if invite.HasToken("Supported", optionTag) {
		fields = append(fields, passTag)
	}
	if invite.HasToken("Require", optionTag) && !c.urgent {
		require = []sip.Field{{Name: "Require", Value: optionTag}}
		fields = append(fields, require...)
	}
	return fields, require, nil
}

// initFields are the fields of a delayed offer's exchange.
func initFields(m *sip.Message) (fields []sip.Field) {
	for _, f := range m.Fields {
		if f.Name == "DH-Init" {
			fields = append(fields, f)
		}
	}
	return fields
}

// passTags gives a caller inside, who began an exchange, what the far end says
// about the option.
func (c *Call) passTags(res *sip.Message) (fields []sip.Field) {
	if c.a.side != policy.Inside || !c.passage.begun && !c.passage.taken {
		return nil
	}
	for _, name := range []string{"Supported", "Unsupported"} {
		if res.HasToken(name, optionTag) {
			fields = append(fields, sip.Field{Name: name, Value: optionTag})
		}
	}
	return fields
}

// readHere says whether a leg leads to a phone whose media this side has to read:
// no exchange between others is for it.
func (l *Leg) readHere() bool { return l.sdes || l.byInfo() }

// passTag says to a caller inside that this side knows the exchange.
var passTag = sip.Field{Name: "Supported", Value: optionTag}

// knowsTag is what a refusal of a call under others' keys needs beside these
// fields: a 488 without it would read as that of a peer without the exchange, and
// its sentence be lost (protocol section 2).
func (c *Call) knowsTag(fields []sip.Field) []sip.Field {
	if !c.passage.taken || c.a.side != policy.Inside || slices.Contains(fields, passTag) {
		return nil
	}
	return []sip.Field{passTag}
}

// passResp looks into the 2xx: with dh-resp in it the exchange is the ends' own,
// and this side's answer is not needed; without, this side answers, if it may.
func (c *Call) passResp(res *sip.Message) {
	resp := carries(res, "dh-resp")
	switch {
	case c.passage.begun && !resp:
		c.notPassed()
		return
	case !resp || !c.passage.begun && !c.passage.taken:
		return
	}
	c.passTake()
	if c.offer != nil { // else the answer in the ACK brings dh-fin along
		c.passage.res = res
	}
}

// passTake: a dh-resp has come, so the keys are others'. This side's own answer,
// which was ready for a callee who has none, is not needed.
func (c *Call) passTake() {
	c.passage.begun = false
	if c.passage.taken {
		return
	}
	c.passage.taken, c.protection = true, "negotiating"
	c.eraseExchange(c.a)
	c.pickedUp() // whoever answered counts it
}

// notPassed: an answer without dh-resp is about to leave where one could have
// been, so that this side answers the exchange itself, if it may.
func (c *Call) notPassed() {
	if c.passage.begun && c.a.exchange == nil {
		c.reason = "unprotected: the other side did not answer the caller's key exchange (" + c.decision.Reason + ")"
	}
	c.passage.begun = false
}

// passFin sends the ACK on that the B leg waits for, with dh-fin as it came.
func (c *Call) passFin(ack *sip.Message) {
	if !c.passage.taken {
		return
	}
	if c.passage.res != nil {
		passAck(c.b, c.passage.res, ack)
		c.passage.res = nil
	}
	if c.b.opened == "" { // else the PRACK has said it
		c.passed(ack)
	}
}

// passed says what became of an exchange between others, by the ACK or PRACK that
// should have brought dh-fin.
func (c *Call) passed(ack *sip.Message) {
	defer c.publishView()
	if !carries(ack, "dh-fin") {
		c.protection, c.reason = "none", "unprotected: the caller's key never came ("+c.decision.Reason+")"
		return
	}
	c.protection = "passed-through"
	c.reason = "passed through: the two ends agreed on keys that only they have (" + c.decision.Reason + ")"
}

// passAck acknowledges a 2xx with the exchange's part of the other leg's ACK.
func passAck(to *Leg, res, ack *sip.Message) {
	if ack.ContentType() == fragmentType {
		to.dialog.Ack(res, "", ack.Body, fragmentFields...)
		return
	}
	to.dialog.Ack(res, "", nil)
}

// keepsProfile says whether the profile of a secure m-line stays: its keys come
// with an exchange that passes.
func (p *passage) keepsProfile(from *Leg) bool {
	return p.taken || p.begun && from.exchange == nil
}

// passChange gives what a re-INVITE or UPDATE takes along of a new exchange in a
// call whose keys are others'.
func (c *Call) passChange(req *sip.Message) (fields []sip.Field) {
	if !c.passage.taken {
		return nil
	}
	for _, name := range []string{"Supported", "Require"} {
		if req.HasToken(name, optionTag) {
			fields = append(fields, sip.Field{Name: name, Value: optionTag})
		}
	}
	return append(fields, initFields(req)...)
}
