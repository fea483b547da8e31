package b2bua

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/sipward/sipward/b2bua/door"
	"github.com/sipward/sipward/sip"
)

// Limits are what one caller, and all together, may take of a proxy.
type Limits = door.Limits

// Blocked is somebody who gets no answers.
type Blocked = door.Blocked

// Blocked lists who gets no answers now, who is freed last in front.
func (p *Proxy) Blocked() []Blocked { return p.door.Blocked(time.Now()) }

// Unblock lets a source try again at once, and returns how many entries of
// [Proxy.Blocked] this took away. The zero Addr stands for every source, user
// "" for every user.
func (p *Proxy) Unblock(source netip.Addr, user string) int {
	return p.door.Unblock(source, user, time.Now())
}

// admit says whether a source may begin one more thing. Where not, it has been
// answered, or gets no answer.
func (p *Proxy) admit(in *sip.Incoming, l *listener, peer string) bool {
	now, addr := time.Now(), in.Flow.Remote().Addr()
	switch {
	case l.Side == policyOutside && peer == "":
		if p.door.AdmitStranger(addr, now) {
			return true
		}
		p.counters.strangersDropped.Add(1)
	case p.door.AdmitAddress(addr, now):
		return true
	default:
		p.putOff(in, time.Second, "more requests than sipward takes from one address")
	}
	return false
}

// admitUser says whether a user inside may begin one more thing. Where not, it has
// been answered, or gets no answer.
func (p *Proxy) admitUser(in *sip.Incoming, user door.Who) bool {
	wait, ok := p.door.AdmitUser(user, in.Flow.Remote().Addr(), time.Now())
	if !ok {
		p.putOff(in, wait, "more requests than sipward takes from one user")
	}
	return ok
}

// userOf is who a request from inside is counted for.
func userOf(in *sip.Incoming, authenticated string) door.Who {
	if authenticated != "" {
		return door.User(authenticated)
	}
	named := in.From().URI
	if in.Method == "REGISTER" {
		named = in.To().URI
	}
	return door.Claim(in.Flow.Remote().Addr(), strings.TrimPrefix(named.AOR(), "sip:"))
}

// putOff answers somebody known who asks too much, as often as a stranger is
// answered.
func (p *Proxy) putOff(in *sip.Incoming, wait time.Duration, why string) {
	if !p.door.AnswerKnown(in.Flow.Remote().Addr(), time.Now()) {
		return
	}
	in.Reply(503, "", sip.Field{Name: "Retry-After", Value: seconds(wait)}, warning(fmt.Sprintf("%s; try again in %s s", why, seconds(wait))))
}

// add registers a call. The sentence says which limit is reached; none holds for
// an emergency.
func (p *Proxy) add(c *Call, e door.Entry) (full string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.draining {
		return "sipward is shutting down"
	}
	if !c.urgent {
		e.Calls, e.Stranger = len(p.calls), c.a.stranger()
		if full = p.door.Enter(&c.place, e); full != "" {
			return full
		}
	}
	p.calls[c.id] = c
	return ""
}

// proved: the far ends of a call exist, so they are heard again soon.
func (p *Proxy) proved(c *Call, l *Leg) {
	if !l.stranger() {
		return
	}
	p.door.Acquaint(l.dialog.Flow().Remote().Addr(), time.Now())
	if l == c.a {
		p.door.Prove(&c.place)
	}
}

func (p *Proxy) remove(c *Call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls[c.id] != nil {
		delete(p.calls, c.id)
		p.door.Leave(&c.place)
	}
	p.checkIdle()
}

// stranger says whether the far end of a leg is outside and no listed peer.
func (l *Leg) stranger() bool { return l.side == policyOutside && l.peer == "" }
