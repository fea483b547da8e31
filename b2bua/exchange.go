package b2bua

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/sipward/sipward/keyexchange"
	"github.com/sipward/sipward/media"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

// ackPatience is how long a responder waits for a re-INVITE after an ACK
// without dh-fin (protocol section 7).
const ackPatience = 2 * time.Second

// errNoGroup: only x25519mlkem768 is allowed, and the path is UDP.
var errNoGroup = errors.New("no allowed group fits this path")

// fragmentFields describe the body of an ACK. The compact name of
// Content-Type keeps the exchange's share of the ACK below 160 octets.
var fragmentFields = []sip.Field{{Name: "c", Value: fragmentType}, {Name: "Content-Disposition", Value: "session;handling=optional"}}

// found collects every attribute of the exchange that a message carries,
// wherever it stands (protocol section 2).
func found(m *sip.Message) []keyexchange.Found {
	var out []keyexchange.Found
	for _, f := range m.Fields {
		if f.Name == "DH-Init" {
			out = append(out, keyexchange.Found{Name: "dh-init", Value: f.Value, Place: keyexchange.PlaceHeader})
		}
	}
	switch m.ContentType() {
	case sdpType:
		s, err := sdp.Parse(m.Body)
		if err != nil {
			break
		}
		for _, a := range s.DH() {
			place := keyexchange.PlaceSession
			if a.Media {
				place = keyexchange.PlaceMedia
			}
			out = append(out, keyexchange.Found{Name: a.Name, Value: a.Value, Place: place})
		}
	case fragmentType:
		attrs, err := sdp.ParseFragment(m.Body)
		if err != nil {
			// A fragment of another form is a fault of the exchange, not an
			// absent one.
			out = append(out, keyexchange.Found{Name: "dh-fin", Value: "", Place: keyexchange.PlaceFragment})
			break
		}
		for _, a := range attrs {
			out = append(out, keyexchange.Found{Name: a.Name, Value: a.Value, Place: keyexchange.PlaceFragment})
		}
	}
	return out
}

// groups returns the allowed groups: the hybrid one first, or not at all where
// a path over UDP could not carry it (protocol section 2).
func (p *Proxy) groups(stream bool) []string {
	const hybrid = keyexchange.GroupX25519MLKEM768
	out := slices.DeleteFunc(slices.Clone(p.o.Groups), func(g string) bool { return g == hybrid })
	if stream && slices.Contains(p.o.Groups, hybrid) {
		out = slices.Insert(out, 0, hybrid)
	}
	return out
}

// streamPath says whether no hop of an INVITE's way names UDP.
func streamPath(m *sip.Message) bool {
	for _, v := range m.Values("Via") {
		if via, err := sip.ParseVia(v); err != nil || via.Transport == "UDP" {
			return false
		}
	}
	for _, rr := range m.Values("Record-Route") {
		a, err := sip.ParseAddress(rr)
		if err != nil {
			return false
		}
		transport, _ := a.URI.Param("transport")
		if strings.EqualFold(transport, "udp") || transport == "" && a.URI.Scheme == "sip" {
			return false
		}
	}
	return true
}

// begin makes a new exchange for an INVITE that leaves on the B leg: each try
// has a share of its own.
func (c *Call) begin(l *Leg, stream bool) (init string, err error) {
	groups := c.p.groups(stream)
	if len(groups) == 0 {
		return "", errNoGroup
	}
	x, err := keyexchange.NewInitiator(keyexchange.Config{Groups: groups, Suites: c.p.o.Suites}, nil)
	if err != nil {
		return "", err
	}
	l.exchange = x
	c.assured[l.end].results = nil
	return x.Init(), nil
}

// respond judges the dh-init of an INVITE from outside. It returns the
// sentence of a refusal, or "".
func (c *Call) respond(l *Leg, invite *sip.Message) (refusal string) {
	mode := c.decision.Mode
	kind := keyexchange.KindInvite
	if len(invite.Body) == 0 {
		kind = keyexchange.KindInviteNoSDP
	}
	attrs, err := keyexchange.Read(kind, found(invite))
	switch {
	case mode == policy.Off:
		return ""
	case err != nil:
		return c.attacked(err)
	case mode == policy.Prefer && attrs.Present && c.p.stripped.has(c.path(invite), time.Now()):
		c.reason = "unprotected: a server on this path removed the key exchange before"
		return c.plainly(l)
	}
	if attrs.Present {
		x, resp, err := c.p.responder(streamPath(invite), attrs, nil)
		if err == nil {
			l.exchange, l.resp = x, resp
			c.protection = "negotiating"
			return ""
		}
		var failure *keyexchange.Failure
		switch {
		case errors.As(err, &failure):
			return c.attacked(err)
		case !errors.Is(err, keyexchange.ErrNoCommon):
			// A fault of this side must not read as a peer without exchange.
			c.p.log.Error("key exchange cannot begin", "call", c.id, "error", err)
			c.protection = "failed"
			return "The key exchange cannot begin on this side"
		}
	}
	if mode == policy.Require {
		return "This call must be encrypted, and the caller's side offers no key exchange"
	}
	c.reason = "unprotected: the caller's side offers no key exchange (" + c.decision.Reason + ")"
	return c.plainly(l)
}

// responder begins this side's part, where the path leaves a group to do so. chain
// is that of the dialog's last exchange.
func (p *Proxy) responder(stream bool, attrs keyexchange.Attrs, chain []byte) (*keyexchange.Exchange, string, error) {
	groups := p.groups(stream)
	if len(groups) == 0 {
		return nil, "", keyexchange.ErrNoCommon
	}
	return keyexchange.NewResponder(keyexchange.Config{Groups: groups, Suites: p.o.Suites}, attrs, chain)
}

// attacked notes a fault that points to an attack and returns its sentence.
func (c *Call) attacked(err error) string {
	c.trust, c.protection = "mismatch", "failed"
	c.reason = "The key exchange was tampered with or is faulty"
	c.tampered()
	var failure *keyexchange.Failure
	if errors.As(err, &failure) {
		c.reason += ": " + failure.Reason
	}
	c.p.log.Warn("key exchange failed", "call", c.id, "error", err)
	return c.reason
}

// path names the way of an INVITE for the memory of stripped ACKs: the source
// address, the host of the top Via and that of the From URI. The address is
// there because the other two are claims: with them alone, anybody could take
// the exchange away from anybody else's calls for a day. It is asked for before the
// call stands: then the Via of the INVITE is let go of.
func (c *Call) path(invite *sip.Message) string {
	via, _ := sip.ParseVia(invite.Values("Via")[0])
	return c.invite.Flow.Remote().Addr().String() + " " + via.Host + " " + invite.From().URI.Host
}

// takeResp judges the dh-resp of a 2xx on the B leg. fin is the attribute for
// the ACK, "" where there is no exchange; refusal is the sentence that ends
// the call.
func (c *Call) takeResp(l *Leg, res *sip.Message) (fin, refusal string) {
	if l.exchange == nil {
		return "", c.passedByAnother(l, res)
	}
	if l.opened != "" {
		return c.answeredEarly(l, res)
	}
	attrs, err := keyexchange.Read(keyexchange.KindAnswer, found(res))
	if err != nil {
		return "", c.attacked(err)
	}
	if !attrs.Present {
		c.eraseExchange(l)
		if c.decision.Mode == policy.Require {
			c.protection = "failed"
			return "", "This call must be encrypted, and the other side offers no key exchange"
		}
		c.protection = "none"
		c.reason = "unprotected: the other side offers no key exchange (" + c.decision.Reason + ")"
		return "", c.plainly(l)
	}
	if fin, err = l.exchange.TakeResp(attrs); err != nil {
		return "", c.attacked(err)
	}
	return fin, ""
}

// answeredAgain compares the dh-resp of a repeated 2xx with the one taken. It says
// nothing of an exchange that came later and has replaced that one's keys.
func (c *Call) answeredAgain(l *Leg, res *sip.Message) {
	if l.exchange == nil || l.rekey.first {
		return
	}
	// Signatures are not read from a retransmission (protocol section 2), and
	// one without the attribute says nothing.
	again := slices.DeleteFunc(found(res), func(f keyexchange.Found) bool { return f.Name == "dh-sig" })
	attrs, err := keyexchange.Read(keyexchange.KindAnswer, again)
	if err == nil && !attrs.Present {
		return
	}
	if err == nil {
		_, err = l.exchange.TakeResp(attrs)
	}
	if err != nil {
		c.end(c.attacked(err))
	}
}

// takeFin judges the dh-fin of the ACK on the A leg. False means that the
// call ends, or will unless a re-INVITE comes.
func (c *Call) takeFin(l *Leg, ack *sip.Message) bool {
	kind := keyexchange.KindAck
	if c.pending != nil {
		kind = keyexchange.KindAckSDP
	}
	attrs, err := keyexchange.Read(kind, found(ack))
	if err == nil && attrs.Present {
		err = l.exchange.TakeFin(attrs)
	}
	if err != nil {
		c.end(c.attacked(err))
		return false
	}
	if attrs.Present || l.finned {
		c.finCame()
		return true
	}
	c.protection = "failed"
	c.waitForKeys(func() {
		// Where the caller hung up meanwhile, this was the branch of a forked
		// call that it did not take.
		if c.decision.Mode == policy.Prefer {
			c.p.stripped.remember(c.path(c.invite.Message), time.Now())
		}
	})
	return false
}

// secure gives the keys of a leg's exchange to its relays and starts the
// confirmation. Called again it serves m-lines that came since.
func (c *Call) secure(l *Leg) error {
	x, holds := l.exchange, c.holdsBack(l)
	for i, r := range c.relays {
		if r.session == nil || r.secured[l.end] {
			continue
		}
		k, err := x.Keys(i)
		if err != nil {
			return err
		}
		err = r.session.Protect(l.end, media.Keys{Suite: x.Suite().Name, SendKey: k.Send.Key, SendSalt: k.Send.Salt, RecvKey: k.Recv.Key, RecvSalt: k.Recv.Salt},
			media.ProtectOptions{SendAfterConfirm: holds || !x.MaySend(), ProbeBefore: holds, Confirmed: func() { c.queue.Post(func() { c.confirmed(l, x) }) }})
		for _, secret := range [][]byte{k.Send.Key, k.Send.Salt, k.Recv.Key, k.Recv.Salt} {
			clear(secret)
		}
		if err != nil {
			return err
		}
		r.secured[l.end] = true
	}
	if !l.protect {
		l.protect = true
		x.Started(time.Now())
		x.Held(time.Now(), c.held)
		c.note()
		c.tick(l, x)
	}
	return nil
}

// tick drives the confirmation (protocol section 3): a probe every 100 ms,
// and the end of the call where none of the peer's packets verifies in time.
func (c *Call) tick(l *Leg, x *keyexchange.Exchange) {
	if c.state == Ended || l.exchange != x {
		return
	}
	now := time.Now()
	probe, failed, next := x.Tick(now)
	if failed {
		c.protection = "failed"
		c.disproved()
		c.end("The encrypted media of the other side never arrived")
		return
	}
	if probe {
		for _, r := range c.relays {
			if r.session != nil && r.secured[l.end] {
				r.session.Probe(l.end)
			}
		}
	}
	l.ticker = nil
	if next.IsZero() {
		c.settle(l)
	} else {
		l.ticker = time.AfterFunc(next.Sub(now), func() { c.queue.Post(func() { c.tick(l, x) }) })
	}
}

// settle lets go of what a leg's exchange is not asked for any more, once the call
// stands and its keys are confirmed.
func (c *Call) settle(l *Leg) {
	if c.state == Established && l.ticker == nil && l.exchange != nil {
		l.exchange.Settled()
	}
}

// confirmed: the first packet of the peer under these keys has verified.
func (c *Call) confirmed(l *Leg, x *keyexchange.Exchange) {
	if c.state == Ended || l.exchange != x || x.IsConfirmed() {
		return
	}
	x.Confirmed(time.Now())
	if !x.IsConfirmed() {
		return // too late: the next tick ends the call
	}
	for _, r := range c.relays { // what one line has shown holds for all
		if r.session != nil && r.secured[l.end] {
			r.session.Release(l.end)
			if !x.Initiator() {
				// The initiator may be waiting for this (see holdsBack), and only now
				// is it certain that it is reached, behind a NAT, and may be answered,
				// in a hybrid group.
				r.session.Probe(l.end)
			}
		}
	}
	if c.turnedOver(l) {
		return
	}
	if c.protectedThroughout() {
		c.protection = "srtp"
		c.reason = c.decision.Reason
		c.p.counters.protected.Add(1)
	}
	c.assure(l)
	if c.state == Ended {
		return
	}
	c.p.log.Info("call is encrypted", "call", c.id, "group", x.Group(), "suite", x.Suite().Name, "trust", c.trust)
	c.emit("call-changed")
}

// protectedThroughout says whether every leg outside has a confirmed exchange.
func (c *Call) protectedThroughout() bool {
	for _, l := range []*Leg{c.a, c.b} {
		if l.side == policy.Outside && (l.exchange == nil || !l.exchange.IsConfirmed()) {
			return false
		}
	}
	return true
}

// hold tells the exchange that its clock stands still while either end holds
// the old way, with the address 0.0.0.0: nothing can be sent there, so nothing
// can be confirmed (protocol section 3).
func (c *Call) hold(l *Leg, held bool) {
	x := l.exchange
	if x == nil || !l.protect {
		return
	}
	x.Held(time.Now(), held)
	if !held {
		if l.ticker != nil {
			l.ticker.Stop()
		}
		c.tick(l, x)
	}
}

func (c *Call) eraseExchange(l *Leg) {
	if l.call == c {
		l.rekey.erase()
	}
	if l.exchange != nil && l.call == c {
		l.exchange.Erase()
		l.exchange = nil
	}
}
