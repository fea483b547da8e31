package b2bua

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/sipward/sipward/sip"
)

// Limits are what one caller, and all together, may take of a proxy. 0 stands
// for no limit, but for Calls. Emergency calls are under none of them.
//
// A user is an account whose password was given, or where nobody is asked for
// one, a From together with the address that it comes from. A stranger is a
// source outside that is no listed peer's; its share goes by address, for IPv6
// by /64. A source inside and a listed peer are one address for many people: of
// them all the users' limits count, and a rate of twenty users.
type Limits struct {
	Calls          int // at once; 0: 4096. Strangers leave a quarter of them free
	CallsPerUser   int // at once, of one user inside
	CallsPerSource int // at once, of one stranger
	// INVITE and REGISTER a second; in ten seconds' silence as many are saved up.
	RequestsPerUser   float64 // of one user inside
	RequestsPerSource float64 // of one stranger
}

const (
	defaultCalls = 4096
	// sourceUsers is for how many users an address inside or a listed peer
	// counts: after a power cut 500 phones behind a PBX register within seconds.
	sourceUsers = 20
	// unprovedShare of the calls, one in so many, may be of strangers whose address
	// no call has proved yet: each of them holds ports and rings for minutes.
	unprovedShare = 32
)

// admit says whether a source may begin one more thing. Where not, it has been
// answered, or gets no answer.
func (p *Proxy) admit(in *sip.Incoming, l *listener, peer string) bool {
	now, addr := time.Now(), in.Flow.Remote().Addr()
	if l.Side == policyOutside && peer == "" {
		return p.admitStranger(addr, now)
	}
	if p.o.Limits.RequestsPerUser == 0 || p.guard.request(suspected(single(addr), ""), now, sourceUsers*p.o.Limits.RequestsPerUser) {
		return true
	}
	p.putOff(in, time.Second, "more requests than sipward takes from one address")
	return false
}

func (p *Proxy) admitStranger(addr netip.Addr, now time.Time) bool {
	rate, s := p.o.Limits.RequestsPerSource, suspected(networkOf(addr), "")
	if p.shutOut(addr, now) {
		p.counters.strangersDropped.Add(1)
		return false
	}
	if rate == 0 || p.guard.request(s, now, rate) {
		return true
	}
	p.counters.strangersDropped.Add(1)
	p.tooMany(s, addr, now)
	return false
}

// shutOut says whether a stranger is in its term. Who had a call with somebody
// here in the last hours is in none: its address may be forged by others.
func (p *Proxy) shutOut(addr netip.Addr, now time.Time) bool {
	return !p.jail.held(now, tooManyRequests, suspected(networkOf(addr), "")).IsZero() && !p.acquainted(addr, now)
}

// tooMany notes a request beyond the limits.
func (p *Proxy) tooMany(s suspect, addr netip.Addr, now time.Time) {
	before := p.jail.held(now, tooManyRequests, s)
	if p.jail.note(s, tooMany, now) && before.IsZero() {
		p.log.Info("too many requests", "source", addr, "user", s.user)
	}
}

// acquainted says whether a call with a stranger at this address stood in the
// last hours: its ACK has proved that the address is not forged.
func (p *Proxy) acquainted(addr netip.Addr, now time.Time) bool {
	return p.jail.proved(voucher{source: netip.AddrPortFrom(networkOf(addr).Addr(), 0)}, now)
}

// admitUser says whether a user inside may begin one more thing.
func (p *Proxy) admitUser(in *sip.Incoming, user suspect) bool {
	if p.o.Limits.RequestsPerUser == 0 {
		return true
	}
	now := time.Now()
	until := p.jail.held(now, tooManyRequests, user)
	if until.IsZero() {
		if p.guard.request(user, now, p.o.Limits.RequestsPerUser) {
			return true
		}
		p.tooMany(user, in.Flow.Remote().Addr(), now)
		until = p.jail.held(now, tooManyRequests, user)
	}
	p.putOff(in, max(until.Sub(now), time.Second), "more requests than sipward takes from one user")
	return false
}

// userOf is who a request from inside is counted for.
func userOf(in *sip.Incoming, authenticated string) suspect {
	if authenticated != "" {
		return suspected(netip.Prefix{}, authenticated)
	}
	named := in.From().URI
	if in.Method == "REGISTER" {
		named = in.To().URI
	}
	return suspected(single(in.Flow.Remote().Addr()), strings.TrimPrefix(named.AOR(), "sip:"))
}

// putOff answers somebody known who asks too much, as often as a stranger is
// answered.
func (p *Proxy) putOff(in *sip.Incoming, wait time.Duration, why string) {
	if may, _ := p.answers.answer(single(in.Flow.Remote().Addr()), time.Now()); !may {
		return
	}
	in.Reply(503, "", sip.Field{Name: "Retry-After", Value: seconds(wait)}, warning(fmt.Sprintf("%s; try again in %s s", why, seconds(wait))))
}

// add registers a call, counted for payer where that is somebody. The sentence
// says which limit is reached; none holds for an emergency.
func (p *Proxy) add(c *Call, payer suspect) (full string) {
	limits := p.o.Limits
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.draining:
		return "sipward is shutting down"
	case c.urgent:
		p.calls[c.id] = c
		return ""
	case len(p.calls) >= limits.Calls, c.a.stranger() && len(p.calls) >= limits.Calls-limits.Calls/4:
		return fmt.Sprintf("sipward carries %d calls already, which is its limit", len(p.calls))
	case c.unproved && p.unproved >= max(1, limits.Calls/unprovedShare):
		return "too many strangers call at once"
	}
	limit, whose := limits.CallsPerUser, "user"
	if c.a.stranger() {
		limit, whose = limits.CallsPerSource, "address"
	}
	if limit > 0 && payer != (suspect{}) {
		if p.paying[payer] >= limit {
			return fmt.Sprintf("this %s has %d calls already, which is the limit", whose, limit)
		}
		c.payer = payer
		p.paying[payer]++
	}
	if c.unproved {
		p.unproved++
	}
	p.calls[c.id] = c
	return ""
}

// proved: the far ends of a call exist, so they are heard again soon.
func (p *Proxy) proved(c *Call, l *Leg) {
	if !l.stranger() {
		return
	}
	network := networkOf(l.dialog.Flow().Remote().Addr())
	p.jail.vouch(voucher{source: netip.AddrPortFrom(network.Addr(), 0)}, time.Now())
	if l == c.a {
		p.mu.Lock()
		p.settle(c)
		p.mu.Unlock()
	}
}

// settle must be called under the lock.
func (p *Proxy) settle(c *Call) {
	if c.unproved {
		c.unproved = false
		p.unproved--
	}
}

func (p *Proxy) remove(c *Call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls[c.id] != nil {
		delete(p.calls, c.id)
		p.settle(c)
		if p.paying[c.payer]--; p.paying[c.payer] <= 0 {
			delete(p.paying, c.payer)
		}
	}
	p.checkIdle()
}

// stranger says whether the far end of a leg is outside and no listed peer.
func (l *Leg) stranger() bool { return l.side == policyOutside && l.peer == "" }
