package b2bua

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sipward/sipward/b2bua/door"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
)

const (
	allowed   = "INVITE, ACK, CANCEL, BYE, PRACK, OPTIONS, INFO, UPDATE, REFER, MESSAGE, SUBSCRIBE, NOTIFY, PUBLISH"
	optionTag = "dh-srtp" // protocol section 2
	// forPhones are the extensions that phones inside may use: RFC 3891, RFC 4488.
	forPhones = "replaces, norefersub"

	sdpType      = "application/sdp"
	fragmentType = "application/dh-sdpfrag"
)

// intake takes every request that belongs to no dialog. It runs on the
// listener's reader.
func (p *Proxy) intake(in *sip.Incoming) {
	l := p.listenerOf(in.Flow)
	if l == nil {
		return
	}
	from := in.Flow.Remote().Addr()
	peer := p.peerOf(in, l)
	switch {
	case in.Method == "ACK":
		return // the end of a refusal that was answered without state
	case in.Malformed() != nil:
		p.answerStranger(in, from, func() {
			in.Reply(400, "Bad Request ("+strings.TrimPrefix(in.Malformed().Error(), "sip: malformed message: ")+")")
		})
	case l.stranger(from, peer):
		p.log.Debug("stranger", "listener", l.Name, "method", in.Method, "source", in.Flow.Remote())
		p.refuseStranger(in, from)
	case in.To().Tag() != "" && p.relay.Within(in):
	case in.To().Tag() != "":
		p.answerStranger(in, from, func() { in.Reply(481, "") })
	case in.Method == "INVITE":
		p.invite(in, l, peer)
	case in.Method == "CANCEL":
		p.answerStranger(in, from, func() { in.Reply(481, "") })
	case in.Method == "REGISTER" && l.Side == policyInside:
		p.register(in, l)
	case in.Method == "OPTIONS":
		answer := func() {
			in.Reply(200, "", sip.Field{Name: "Allow", Value: allowed}, sip.Field{Name: "Accept", Value: sdpType}, sip.Field{Name: "Supported", Value: optionTag + ", " + option100rel})
		}
		if l.Side == policyInside || peer != "" {
			answer()
		} else {
			p.answerStranger(in, from, answer)
		}
	case carried[in.Method]:
		p.carry(in, l, peer)
	case l.Side == policyInside || peer != "":
		in.Reply(405, "", sip.Field{Name: "Allow", Value: allowed})
	default:
		p.refuseStranger(in, from)
	}
}

const (
	policyInside  = policy.Inside
	policyOutside = policy.Outside
)

// stranger says whether a source may not use this listener at all.
func (l *listener) stranger(from netip.Addr, peer string) bool {
	if l.Side == policyOutside {
		return l.PeersOnly && peer == ""
	}
	if len(l.Networks) == 0 {
		return false
	}
	for _, n := range l.Networks {
		if n.Contains(from) {
			return false
		}
	}
	return true
}

// refuseStranger is the one answer that strangers get: the same for users
// that exist and for those that do not.
func (p *Proxy) refuseStranger(in *sip.Incoming, from netip.Addr) {
	p.answerStranger(in, from, func() { in.Reply(403, "") })
}

func (p *Proxy) answerStranger(in *sip.Incoming, from netip.Addr, answer func()) {
	if !p.door.AnswerStranger(from, func() bool { return p.foreign(in) }, time.Now()) {
		p.counters.strangersDropped.Add(1)
		return
	}
	p.counters.strangersAnswered.Add(1)
	answer()
}

// foreign says whether a request comes from somebody who has no place here: a
// phone that asks for what is not there is rate-limited as well, but no stranger.
func (p *Proxy) foreign(in *sip.Incoming) bool {
	l := p.listenerOf(in.Flow)
	peer := p.peerOf(in, l)
	return l.Side == policyOutside && peer == "" || l.stranger(in.Flow.Remote().Addr(), peer)
}

// peerOf names the listed peer that a request comes from. On the outside a
// peer is known by its address, or by what its registrar was told: a From is
// only a claim.
func (p *Proxy) peerOf(in *sip.Incoming, l *listener) string {
	if l.Side != policyOutside {
		return ""
	}
	if t := p.trunkOf(in); t != nil {
		return t.Peer
	}
	return p.o.Peer("", in.Flow.Remote().Addr())
}

// reply answers a request; a stranger's as often as strangers are answered.
type reply func(status int, reason string, fields ...sip.Field)

func (p *Proxy) replier(in *sip.Incoming, stranger bool) reply {
	if !stranger {
		return in.Reply
	}
	return func(status int, reason string, fields ...sip.Field) {
		p.answerStranger(in, in.Flow.Remote().Addr(), func() { in.Reply(status, reason, fields...) })
	}
}

// forwards returns how often a request may go on. Where it may not, or does not
// say it in a way that can be read, it has been answered.
func forwards(in *sip.Incoming, reply reply) (hops int, ok bool) {
	v := in.Get("Max-Forwards")
	if v == "" {
		return 70, true
	}
	hops, err := strconv.Atoi(v)
	if err != nil || hops < 0 || hops > 255 {
		reply(400, "Bad Request (Max-Forwards)")
		return 0, false
	}
	if hops == 0 {
		reply(483, "")
		return 0, false
	}
	return hops, true
}

// invite begins a call, or refuses it before any state is kept.
func (p *Proxy) invite(in *sip.Incoming, l *listener, peer string) {
	stranger, source := l.Side == policyOutside && peer == "", in.Flow.Remote().Addr()
	emergency := l.Side == policyInside && p.o.Emergency.Called(in.URI.String(), in.URI.User)
	if !emergency && !p.admit(in, l, peer) {
		return
	}
	reply := p.replier(in, stranger)
	hops, ok := forwards(in, reply)
	if !ok {
		return
	}
	if s := in.URI.Scheme; s != "sip" && s != "sips" && !emergency {
		reply(416, "")
		return
	}
	var unknown []string
	for _, tag := range append(in.Values("Require"), in.Values("Proxy-Require")...) {
		if strings.EqualFold(tag, timerTag) || strings.EqualFold(tag, option100rel) || l.Side == policyInside && strings.EqualFold(tag, "replaces") {
			continue
		}
		if !strings.EqualFold(tag, optionTag) || l.Side == policyInside && !carries(in.Message, "dh-init") {
			unknown = append(unknown, tag)
		}
	}
	if len(unknown) > 0 {
		reply(420, "", sip.Field{Name: "Unsupported", Value: strings.Join(unknown, ", ")})
		return
	}
	if ct := in.ContentType(); len(in.Body) > 0 && ct != sdpType {
		reply(415, "", sip.Field{Name: "Accept", Value: sdpType})
		return
	}
	if least, short := tooShort(in.Message); short {
		reply(422, "", least)
		return
	}
	if in.Has("Replaces") && l.Side == policyInside && !emergency {
		p.replace(in, l)
		return
	}
	g := goal{target: p.o.Emergency.Target, known: true}
	if !emergency {
		if g, ok = p.goalOf(in, l); !ok {
			return
		}
	}
	if !g.known {
		p.counters.refused.Add(1)
		switch {
		case stranger:
			p.refuseStranger(in, source)
		case p.known(in.URI):
			in.Reply(480, "")
		default:
			in.Reply(404, "")
		}
		return
	}
	c := newCall(p, in, l, peer, g.target, hops-1)
	c.phones, c.routes, c.urgent, c.user, c.meant = g.phones, g.routes, emergency, g.user, g.meant
	if emergency {
		c.decision = emergencyDecision()
	} else {
		c.decision = c.decide(addrOf(sip.URI{Host: g.target.Host}))
	}
	if !c.decision.Allow {
		p.counters.refused.Add(1)
		if stranger {
			p.refuseStranger(in, source)
		} else {
			in.Reply(403, "Forbidden", warning(c.decision.Reason))
		}
		return
	}
	now := time.Now()
	unproved := stranger && !p.door.Acquainted(source, now)
	if unproved && !p.door.StrangerCalls(now) {
		p.counters.strangersDropped.Add(1)
		return
	}
	if full := p.add(c, door.Entry{Payer: g.payer, Unproved: unproved}); full != "" {
		p.counters.refused.Add(1)
		if stranger {
			p.refuseStranger(in, source)
		} else {
			in.Reply(503, "", sip.Field{Name: "Retry-After", Value: "10"}, warning(full))
		}
		return
	}
	if c.a.dialog = in.Accept(c.queue, c.a, in.URI.User); c.a.dialog == nil {
		p.remove(c)
		return
	}
	p.counters.total.Add(1)
	c.queue.Post(c.start)
}
