// Package door decides who may come in: how many requests and calls one source, one
// user and all together may begin, how many refusals they get, and who gets no
// answers at all for a while.
//
// It is told facts, an address, a name, that a password was wrong, and says yes or
// no, or how long to wait; what is then sent it does not know. Everything that it
// remembers is bounded, as strangers write it.
//
//	rates     requests and refusals a second
//	jail      terms of those who went too far, and who is heard nevertheless
//	calls     calls at once
//	guesses   exchanges that callers of one user leave unanswered
package door

import (
	"log/slog"
	"net/netip"
	"sync"
	"time"
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

// sourceUsers is for how many users an address inside or a listed peer counts:
// after a power cut 500 phones behind a PBX register within seconds.
const sourceUsers = 20

// Door decides. Its methods may be called from any goroutine.
type Door struct {
	limits  Limits
	log     *slog.Logger
	rates   *rates // of strangers, and of what everybody may begin
	answers *rates // of refusals to those inside
	jail    *jail
	guesses *guesses

	mu       sync.Mutex
	paying   map[Who]int // calls at once, of those who have any
	unproved int         // calls of strangers whose address may be forged
}

// New returns a door that knows nobody. It logs whose term begins.
func New(l Limits, log *slog.Logger) *Door {
	if l.Calls == 0 {
		l.Calls = defaultCalls
	}
	return &Door{limits: l, log: log, rates: newRates(), answers: newRates(), jail: newJail(), guesses: newGuesses(), paying: map[Who]int{}}
}

// AdmitStranger says whether a stranger may begin one more thing. Where not, it is
// not answered.
func (d *Door) AdmitStranger(addr netip.Addr, now time.Time) bool {
	if d.shutOut(addr, now) {
		return false
	}
	w, rate := Stranger(addr), d.limits.RequestsPerSource
	if rate == 0 || d.rates.request(w, now, rate) {
		return true
	}
	d.tooMany(w, addr, now)
	return false
}

// AdmitAddress says whether an address inside or a listed peer may begin one more
// thing.
func (d *Door) AdmitAddress(addr netip.Addr, now time.Time) bool {
	return d.limits.RequestsPerUser == 0 || d.rates.request(Address(addr), now, sourceUsers*d.limits.RequestsPerUser)
}

// AdmitUser says whether a user inside, who asks from an address, may begin one
// more thing; where not, when to try again.
func (d *Door) AdmitUser(w Who, addr netip.Addr, now time.Time) (wait time.Duration, ok bool) {
	if d.limits.RequestsPerUser == 0 {
		return 0, true
	}
	until := d.jail.held(now, tooManyRequests, w)
	if until.IsZero() {
		if d.CountUser(w, now) {
			return 0, true
		}
		d.tooMany(w, addr, now)
		until = d.jail.held(now, tooManyRequests, w)
	}
	return max(until.Sub(now), time.Second), false
}

// CountUser counts one more request of a user within a call; false where that is
// too many, for which nobody is shut out.
func (d *Door) CountUser(w Who, now time.Time) bool {
	return d.limits.RequestsPerUser == 0 || d.rates.request(w, now, d.limits.RequestsPerUser)
}

// AnswerStranger says whether a source that is refused gets its refusal. One that
// is foreign, having no place here at all, is shut out where it asks on and on.
func (d *Door) AnswerStranger(addr netip.Addr, foreign func() bool, now time.Time) bool {
	if d.shutOut(addr, now) {
		return false
	}
	w := Stranger(addr)
	may, greedy := d.rates.answer(w.source, now)
	if greedy && foreign() {
		d.tooMany(w, addr, now)
	}
	return may
}

// AnswerKnown says whether somebody inside who is put off, or whose password was
// wrong too often, gets an answer.
func (d *Door) AnswerKnown(addr netip.Addr, now time.Time) bool {
	may, _ := d.answers.answer(Address(addr).source, now)
	return may
}

// StrangerCalls says whether one more call of a stranger whose address is not
// proved may begin, of all of them.
func (d *Door) StrangerCalls(now time.Time) bool { return d.rates.strangerCalls(now) }

// Acquainted says whether a call with a stranger at this address stood in the
// last hours: its ACK has proved that the address is not forged.
func (d *Door) Acquainted(addr netip.Addr, now time.Time) bool {
	return d.jail.proved(acquaintance(addr), now)
}

// Acquaint remembers that a call with a stranger at this address stands.
func (d *Door) Acquaint(addr netip.Addr, now time.Time) { d.jail.vouch(acquaintance(addr), now) }

func acquaintance(addr netip.Addr) voucher {
	return voucher{source: netip.AddrPortFrom(Stranger(addr).source.Addr(), 0)}
}

// shutOut says whether a stranger is in its term. Who had a call with somebody
// here in the last hours is in none: its address may be forged by others.
func (d *Door) shutOut(addr netip.Addr, now time.Time) bool {
	return !d.jail.held(now, tooManyRequests, Stranger(addr)).IsZero() && !d.Acquainted(addr, now)
}

// tooMany notes a request beyond the limits.
func (d *Door) tooMany(w Who, addr netip.Addr, now time.Time) {
	before := d.jail.held(now, tooManyRequests, w)
	if d.jail.note(w, tooMany, now) && before.IsZero() {
		d.log.Info("too many requests", "source", addr, "user", w.user)
	}
}

// Hears says whether a phone that names a user is heard. One that is held for
// wrong passwords is where it has proved itself on that flow before; then it is
// told that the phone, or somebody who writes its address, is held.
func (d *Door) Hears(remote netip.AddrPort, user string, now time.Time) (held, ok bool) {
	addr := remote.Addr()
	held = !d.jail.held(now, wrongPasswords, Claim(addr, user), Address(addr), User(user)).IsZero()
	return held, !held || d.jail.proved(voucher{remote, user}, now)
}

// WrongPassword counts one; last says that nothing is answered from now on.
func (d *Door) WrongPassword(remote netip.AddrPort, user string, now time.Time) (last bool) {
	addr := remote.Addr()
	source := d.jail.note(Address(addr), wrongOfSource, now)
	account := d.jail.note(User(user), wrongForUser, now)
	phone := user != "" && d.jail.note(Claim(addr, user), wrongOfPhone, now)
	return phone || source || account
}

// RightPassword remembers that a user has proved itself on a flow.
func (d *Door) RightPassword(remote netip.AddrPort, user string, now time.Time) {
	d.jail.vouch(voucher{remote, user}, now)
}

// BeginExchange counts an exchange whose dh-resp is to leave before the user of
// that address answers (protocol section 4); false where it has to wait for the
// answer.
func (d *Door) BeginExchange(address string, now time.Time) bool {
	return d.guesses.begin(address, now)
}

// Answered takes back the exchange that began at that time.
func (d *Door) Answered(address string, began time.Time) { d.guesses.answered(address, began) }
