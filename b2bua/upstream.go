package b2bua

import (
	"crypto/rand"
	"encoding/base32"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/route/registrar"
	"github.com/sipward/sipward/sip"
)

// upstream holds the registrations that phones have elsewhere, through this
// proxy: the registrar there knows a contact at the outside listener whose
// user part is a token, and the token leads back to the phone.
type upstream struct {
	keeper registrar.Keeper // nil: nothing survives a restart
	alive  keptFlows
	log    *slog.Logger

	mu      sync.Mutex
	byToken map[string]*account
	byName  map[accountName]*account
	byAOR   map[string][]*account
	sweeper *time.Timer // of the first account that ends
	due     time.Time   // when it runs
	closed  bool
}

// accountName tells accounts apart. The registrar is part of it: what one
// registrar grants must not touch what another one knows under the same address.
type accountName struct {
	registrar string // as the request was led there
	aor       string // in canonical form
	phone     string // +sip.instance of the contact, else the contact
}

// account is one contact that a phone registered elsewhere.
type account struct {
	token  string
	name   accountName
	saving sync.Mutex // orders what is written about it; taken before upstream.mu

	// Under upstream.mu:
	binding
	expires time.Time
	granted bool // the registrar has answered 200
	busy    int  // REGISTERs under way
}

// binding is what a 200 of the registrar makes of an account.
type binding struct {
	aor       string       // address of record, as the phone named it
	contact   string       // the phone's own
	flow      sip.Flow     // where the phone is
	path      []string     // Route set towards the phone (RFC 3327)
	services  []string     // Route set towards the registrar (RFC 3608)
	way       route.Target // to the registrar
	registrar sip.Flow     // the flow that is kept alive
}

const (
	maxAccounts  = 10000
	maxContacts  = 32                 // of one address of record
	settleTime   = time.Minute        // how long a token that no registrar knows yet is kept
	longestGrant = 7 * 24 * time.Hour // what a registrar may grant at most
	sweepPause   = time.Second        // between two looks for accounts that have ended
)

func newUpstream(keeper registrar.Keeper, keepAlive func(sip.Flow, time.Duration, func(error)) func(), log *slog.Logger) *upstream {
	return &upstream{keeper: keeper, alive: keptFlows{start: keepAlive, log: log, flows: map[sip.Flow]*keptFlow{}}, log: log,
		byToken: map[string]*account{}, byName: map[accountName]*account{}, byAOR: map[string][]*account{}}
}

// canonical is the one spelling of an address of record.
func canonical(u sip.URI) string {
	if aor, err := registrar.Canonical(u.AOR()); err == nil {
		return aor
	}
	return strings.ToLower(u.AOR())
}

// take returns the account of a name for a REGISTER that is about to go on,
// made where there is none; nil where there are too many. It does not end
// before leave was called.
//
// Nothing of what the phone says is kept in it yet: only the registrar can tell
// whether the phone has the password.
func (u *upstream) take(name accountName) *account {
	u.mu.Lock()
	defer u.mu.Unlock()
	a := u.byName[name]
	if a == nil {
		if u.closed || len(u.byToken) >= maxAccounts || len(u.byAOR[name.aor]) >= maxContacts {
			return nil
		}
		var b [10]byte
		rand.Read(b[:])
		a = &account{token: "s" + strings.ToLower(base32.StdEncoding.EncodeToString(b[:])), name: name, expires: time.Now().Add(settleTime)}
		u.add(a)
	} else if !a.granted {
		a.expires = time.Now().Add(settleTime)
	}
	a.busy++
	return a
}

// leave ends what take began.
func (u *upstream) leave(a *account) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if a.busy--; a.busy == 0 && u.byToken[a.token] == a {
		u.sweepAt(a.expires)
	}
}

// add takes an account in; under the lock.
func (u *upstream) add(a *account) {
	u.byToken[a.token], u.byName[a.name] = a, a
	u.byAOR[a.name.aor] = append(u.byAOR[a.name.aor], a)
	u.sweepAt(a.expires)
}

// remove takes an account out; under the lock.
func (u *upstream) remove(a *account) {
	if u.byToken[a.token] != a {
		return
	}
	delete(u.byToken, a.token)
	delete(u.byName, a.name)
	rest := slices.DeleteFunc(u.byAOR[a.name.aor], func(x *account) bool { return x == a })
	if u.byAOR[a.name.aor] = rest; len(rest) == 0 {
		delete(u.byAOR, a.name.aor)
	}
	if a.granted {
		u.alive.release(a.registrar)
	}
	a.granted = false
}

// grant keeps what a registrar has granted, durably before it returns. An error
// says that it could not be kept, and nothing has changed.
func (u *upstream) grant(a *account, b binding, d time.Duration) error {
	expires := time.Now().Add(min(d, longestGrant))
	a.saving.Lock()
	defer a.saving.Unlock()
	if u.keeper != nil {
		value, err := encodeAccount(a.name, b, expires)
		if err != nil {
			return err
		}
		if err := u.keeper.Save(a.token, value); err != nil {
			return err
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return nil
	}
	u.alive.hold(b.registrar) // before the old one is released: most often it is the same
	if a.granted {
		u.alive.release(a.registrar)
	}
	a.binding, a.expires, a.granted = b, expires, true
	u.sweepAt(expires)
	return nil
}

// forget takes an account back that the registrar has removed, durably before
// it returns.
func (u *upstream) forget(a *account) error {
	a.saving.Lock()
	defer a.saving.Unlock()
	if u.keeper != nil {
		if err := u.keeper.Delete(a.token); err != nil {
			return err
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if a.granted {
		u.alive.release(a.registrar)
	}
	a.granted, a.expires = false, time.Now()
	u.sweepAt(a.expires)
	return nil
}

// sweepAt sees to it that accounts which end at a time are removed soon
// behind it: one timer serves them all. Under the lock.
func (u *upstream) sweepAt(t time.Time) {
	if u.closed || u.sweeper != nil && !t.Before(u.due) {
		return
	}
	if u.sweeper != nil {
		u.sweeper.Stop()
	}
	u.due = t
	u.sweeper = time.AfterFunc(max(time.Until(t), sweepPause), u.sweep)
}

// sweep removes the accounts that have ended.
func (u *upstream) sweep() {
	now := time.Now()
	u.mu.Lock()
	var ended []string
	var next time.Time
	for _, a := range u.byToken {
		switch {
		case a.busy > 0:
		case !a.expires.After(now):
			if a.granted {
				ended = append(ended, a.token)
			}
			u.remove(a)
		case next.IsZero() || a.expires.Before(next):
			next = a.expires
		}
	}
	u.sweeper = nil
	if !next.IsZero() {
		u.sweepAt(next)
	}
	u.mu.Unlock()
	// Their tokens never come back, so nothing is written meanwhile that this
	// could undo.
	if u.keeper == nil || len(ended) == 0 {
		return
	}
	if err := u.keeper.Delete(ended...); err != nil {
		u.log.Error("registrations elsewhere that have ended stay in the state file until the next start", "error", err)
	}
}

// find returns where a token leads.
func (u *upstream) find(token string, now time.Time) (aor string, d destination, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	a := u.byToken[token]
	if a == nil || !a.granted || now.After(a.expires) {
		return "", destination{}, false
	}
	return a.aor, destination{URI: a.contact, flow: a.flow, routes: a.path}, true
}

// binding returns what the registrar has made of the account of a token.
func (u *upstream) binding(token string, now time.Time) (b binding, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	a := u.byToken[token]
	if a == nil || !a.granted || now.After(a.expires) {
		return b, false
	}
	return a.binding, true
}

// of returns what the phone at the other end of a flow has registered as an
// address of record: on this very flow, or else from the same address.
func (u *upstream) of(aor sip.URI, flow sip.Flow, now time.Time) (b binding, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, a := range u.byAOR[canonical(aor)] {
		if !a.granted || now.After(a.expires) || a.flow.Listener().Name != flow.Listener().Name || a.flow.Remote().Addr() != flow.Remote().Addr() {
			continue
		}
		if b, ok = a.binding, true; a.flow.Remote() == flow.Remote() {
			break
		}
	}
	return b, ok
}

// named returns the account of a token that belongs to the same registrar and
// address of record, with its contact.
func (u *upstream) named(token string, like accountName) (contact string, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	a := u.byToken[token]
	if a == nil || !a.granted || a.name.registrar != like.registrar || a.name.aor != like.aor {
		return "", false
	}
	return a.contact, true
}

// all returns every account of a registrar and address of record.
func (u *upstream) all(like accountName) (out []*account) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, a := range u.byAOR[like.aor] {
		if a.name.registrar == like.registrar {
			out = append(out, a)
		}
	}
	return out
}

// close ends timers and keep-alives; what is kept stays.
func (u *upstream) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	for _, a := range u.byToken {
		u.remove(a)
	}
	if u.sweeper != nil {
		u.sweeper.Stop()
	}
}
