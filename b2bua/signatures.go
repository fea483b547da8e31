package b2bua

import (
	"context"
	"strings"
	"time"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sas/attest"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

// Signatures say who stands behind a share (protocol section 5): the responder's
// beside dh-resp, over T1, the initiator's beside dh-fin, over T2. A key that
// GnuPG holds takes its time, and so may the keyring: both are asked beside the
// call's queue, which goes on.

// signTime bounds how long a call waits for signatures that are made or checked
// outside this process. GnuPG takes 10 ms, but a quarter of a second for a key with
// a passphrase, which it derives anew each time, and more where it has to wait for
// the processor.
const signTime = 2 * time.Second

// maxSignatures may stand beside a share.
const maxSignatures = 4

// aside runs work, off the queue where it may be slow, and then what follows, on
// the queue. What follows has to see for itself whether the call still stands; work
// is told to stop where it does not.
func (c *Call) aside(slow bool, work func(ctx context.Context), then func()) {
	parent := context.Background()
	if slow {
		if c.working == nil {
			c.working, c.stopWork = context.WithCancel(parent)
		}
		parent = c.working
	}
	guarded := func() {
		ctx, cancel := context.WithTimeout(parent, signTime)
		defer cancel()
		defer func() {
			if fault := recover(); fault != nil {
				c.p.log.Error("looking at signatures failed", "call", c.id, "panic", fault)
			}
		}()
		work(ctx)
	}
	if !slow {
		guarded()
		then()
		return
	}
	go func() {
		guarded()
		c.queue.Post(then)
	}()
}

// signers are the keys that speak for an identity, and whether one of them may be
// slow.
func (p *Proxy) signers(identity string) (keys []attest.Signer, slow bool) {
	if p.o.Signers == nil || p.o.Anonymous || identity == "" {
		return nil, false
	}
	keys = p.o.Signers(identity)
	keys = keys[:min(len(keys), maxSignatures)]
	for _, k := range keys {
		if _, quick := k.(*attest.Ed25519); !quick {
			slow = true
		}
	}
	return keys, slow
}

// sign makes the values of dh-sig. A key that cannot sign is left out.
func (c *Call) sign(ctx context.Context, keys []attest.Signer, role attest.Role, t [32]byte, identity string) (values []string) {
	for _, k := range keys {
		v, err := k.Sign(ctx, role, t, identity)
		if err != nil {
			c.p.log.Warn("a key has not signed", "call", c.id, "identity", identity, "error", err)
			continue
		}
		values = append(values, v)
	}
	return values
}

// signAnswer begins to sign the responder's share of the A leg, while the INVITE is
// on its way to the phone. Its responses wait for it (see inOrder).
func (c *Call) signAnswer() {
	l := c.a
	if l.exchange == nil || l.signed != nil || !c.signsFor(l) {
		return
	}
	identity := c.speaksFor(l)
	keys, slow := c.p.signers(identity)
	if len(keys) == 0 {
		return
	}
	x, t := l.exchange, l.exchange.T1()
	s := &signing{}
	l.signed = s
	var values []string
	c.aside(slow, func(ctx context.Context) { values = c.sign(ctx, keys, attest.Responder, t, identity) }, func() {
		waiting := s.then
		s.done, s.then = true, nil
		if c.state != Ended && l.exchange == x && l.signed == s {
			c.setSignatures(l, values)
		}
		for _, f := range waiting {
			f()
		}
	})
}

// unsign forgets what was signed for somebody who has led the call on.
func (c *Call) unsign() {
	if l := c.a; l.exchange != nil && l.signed != nil {
		l.signed = nil
		c.setSignatures(l, nil)
	}
}

// signing is what responses to the caller wait for.
type signing struct {
	done bool
	then []func()
}

// inOrder takes a response of a leg, behind what it has to wait for: that this
// side's answer to the caller's share is signed, and that signatures of the
// response before it were looked at.
func (l *Leg) inOrder(f func()) {
	a := l.call.a
	if a.signed == nil || a.signed.done {
		l.behind(f)
	} else if len(a.signed.then) < maxWaiting {
		a.signed.then = append(a.signed.then, func() { l.behind(f) })
	}
}

// behind runs f, behind the look at signatures that is under way.
func (l *Leg) behind(f func()) {
	if !l.vetting {
		f()
	} else if len(l.waiting) < maxWaiting {
		l.waiting = append(l.waiting, f)
	}
}

// maxWaiting bounds the responses that wait; more are lost, as on the way.
const maxWaiting = 16

// signsFor says whether whoever calls on a leg gets signatures of this side: it is
// not known yet who that is.
func (c *Call) signsFor(l *Leg) bool {
	return c.p.o.SignsFor == nil || c.p.o.SignsFor(l.peer)
}

func (c *Call) setSignatures(l *Leg, values []string) {
	if err := l.exchange.SetSignatures(values); err != nil {
		c.p.log.Error("signatures of another form than the exchange takes", "call", c.id, "error", err)
		return
	}
	l.sigs = values
}

// withSignatures puts the attribute of a share and the signatures beside it into a
// description.
func withSignatures(s *sdp.Session, name, value string, sigs []string) {
	s.AddSessionAttribute(name, value)
	for _, v := range sigs {
		s.AddSessionAttribute("dh-sig", v)
	}
}

// finFragment is the body of an ACK without a description.
func finFragment(fin string, sigs []string) []byte {
	attrs := []sdp.Attribute{{Name: "dh-fin", Value: fin}}
	for _, v := range sigs {
		attrs = append(attrs, sdp.Attribute{Name: "dh-sig", Value: v})
	}
	return sdp.Fragment(attrs)
}

// vet checks what the other end of a leg has signed, and as the initiator signs
// this side's share. then is told the sentence that ends the call, or "".
func (c *Call) vet(l *Leg, then func(refusal string)) {
	x, a := l.exchange, &c.assured[l.end]
	values := x.PeerSignatures()
	role, t := attest.Initiator, x.T2()
	var keys []attest.Signer
	own, slow := "", false
	if x.Initiator() {
		role, t = attest.Responder, x.T1()
		own = c.speaksFor(l)
		keys, slow = c.p.signers(own)
	}
	t2 := x.T2()
	var sigs []string
	var results []attest.Result
	l.vetting = true
	c.aside(slow || c.p.o.Keyring != nil && ofOpenPGP(values), func(ctx context.Context) {
		results = attest.CheckAll(ctx, c.p.o.Keyring, role, t, values)
		sigs = c.sign(ctx, keys, attest.Initiator, t2, own)
	}, func() {
		l.vetting = false
		defer func() {
			waiting := l.waiting
			l.waiting = nil
			for _, f := range waiting {
				l.behind(f)
			}
		}()
		switch {
		case c.state == Ended:
			then(errGone)
			return
		case l.exchange != x:
			return // refused meanwhile, and perhaps tried elsewhere
		}
		if x.Initiator() {
			c.setSignatures(l, sigs)
		}
		a.results = results
		for _, r := range results {
			c.p.log.Debug("signature", "call", c.id, "type", r.Value.Type, "identity", r.Value.Identity, "state", r.State, "why", r.Why)
		}
		then(c.fitness(l))
	})
}

// errGone is told where the call has ended meanwhile.
const errGone = "the call has ended"

func ofOpenPGP(values []string) bool {
	for _, v := range values {
		if strings.HasPrefix(v, attest.TypeOpenPGP+" ") {
			return true
		}
	}
	return false
}

// identityOf makes an identity of a URI as the call names it, "" where it names
// nobody.
func identityOf(u sip.URI) string {
	id := u.AOR()
	i := strings.LastIndexByte(id, '@')
	if i < 0 || strings.HasSuffix(strings.ToLower(u.Host), ".invalid") {
		return ""
	}
	if id = id[:i] + strings.ToLower(id[i:]); !attest.SameIdentity(id, id) {
		return ""
	}
	return id
}

// speaksFor is the identity that this side signs on a leg outside: the one that
// the phone on the other leg has proved to be (protocol section 5), "" for none.
func (c *Call) speaksFor(l *Leg) string {
	switch {
	case l.side != policyOutside || c.other(l).side != policyInside || c.urgent:
		return ""
	case l == c.a:
		return c.calleeIdentity()
	case c.private() || c.p.trunk(l.peer) != nil:
		return ""
	}
	return c.callerIdentity(l)
}

// callerIdentity is that of a caller inside, as the From of the outside leg names
// it.
func (c *Call) callerIdentity(l *Leg) string {
	from, _, _ := c.identities(l)
	id := identityOf(from.URI)
	switch {
	case id == "":
	case c.user != "": // by its password here
		if from.URI.User == c.user {
			return id
		}
	case c.a.l.speaks(id):
		return id
	default:
		named := c.invite.From().URI
		b, ok := c.p.up.of(named, c.invite.Flow, time.Now())
		if ok && b.flow.Remote() == c.invite.Flow.Remote() && c.p.provedElsewhere(b) && identityOf(named) == id {
			return id
		}
	}
	return ""
}

// calleeIdentity is that of who is called inside, as the caller named it.
func (c *Call) calleeIdentity() string {
	switch c.target.Rule {
	case route.RuleRegistered:
		meant, err := sip.ParseURI(c.target.URI)
		if err != nil || c.p.o.Auth == nil && !c.ringsWhereSaid(identityOf(meant)) {
			return ""
		}
		for _, u := range []sip.URI{c.invite.To().URI, c.invite.URI} {
			if u.User == meant.User && c.p.home(u) {
				return identityOf(u)
			}
		}
		return "" // called under another name, which need not be told whose it is
	case route.RuleElsewhere:
		if b, ok := c.p.up.binding(c.invite.URI.User, time.Now()); ok && c.p.provedElsewhere(b) {
			if u, err := sip.ParseURI(b.aor); err == nil {
				return identityOf(u)
			}
		}
		return ""
	}
	if c.b.l == nil {
		return ""
	}
	for _, u := range []sip.URI{c.invite.To().URI, c.invite.URI} {
		if id := identityOf(u); u.User == c.invite.URI.User && c.b.l.speaks(id) {
			return id
		}
	}
	return ""
}

// ringsWhereSaid says whether every phone that rings is on a listener that says
// who its phones are.
func (c *Call) ringsWhereSaid(id string) bool {
	for _, d := range c.phones {
		if l := c.p.listenerOf(d.flow); l == nil || !l.speaks(id) {
			return false
		}
	}
	return len(c.phones) > 0
}

// speaks says whether phones of an inside listener are who they say by where they
// are heard.
func (l *listener) speaks(identity string) bool {
	return l.Identities != nil && identity != "" && l.Identities(identity)
}

// provedElsewhere says whether the registrar that took a phone's password has
// proved over TLS to be the one of its domain, or the one that a route names for it.
func (p *Proxy) provedElsewhere(b binding) bool {
	aor, err := sip.ParseURI(b.aor)
	if err != nil || b.registrar.Network() != "tls" {
		return false
	}
	name := b.registrar.Name()
	if r, ok := p.o.Routes.LookupFrom(string(policy.Inside), aor.AOR()); ok && r.Side == route.Outside {
		return strings.EqualFold(name, r.Host)
	}
	return name != "" && strings.EqualFold(name, aor.Host)
}
