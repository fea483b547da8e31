package registrar

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Defaults of [Options].
const (
	DefaultMaxPerUser  = 10
	DefaultMaxBindings = 100_000
	DefaultMinExpires  = time.Minute
	DefaultMaxExpires  = time.Hour
)

// limitPerUser keeps the record of an address within what a keeper takes.
const limitPerUser = 64

// Keeper keeps records over a restart. It is used by several goroutines.
type Keeper interface {
	// Load calls fn for every record, until fn returns an error.
	Load(fn func(key string, value []byte) error) error
	// Save sets a record, durably before it returns. The value is not used
	// behind its return.
	Save(key string, value []byte) error
	// Delete removes records, durably before it returns. Keys without a record
	// are no error.
	Delete(keys ...string) error
}

// Options of a [Registrar]. The zero value keeps bindings in memory only.
type Options struct {
	Keeper      Keeper           // nil: nothing survives a restart
	MaxPerUser  int              // bindings of one address, 64 at most; 0: DefaultMaxPerUser
	MaxBindings int              // bindings of all addresses; 0: DefaultMaxBindings
	MinExpires  time.Duration    // shorter intervals are refused; whole seconds, an hour at most; 0: DefaultMinExpires
	MaxExpires  time.Duration    // longer intervals are cut to it; whole seconds; 0: DefaultMaxExpires
	Now         func() time.Time // nil: time.Now
	Log         *slog.Logger     // records that could not be read; nil: nothing is logged
}

// Source is the way a REGISTER came, and on which requests to its contacts go
// back.
type Source struct {
	Network  string         // udp, tcp or tls
	Listener string         // name of the listener
	Remote   netip.AddrPort // the peer's address as the listener saw it
}

// Binding is one contact of an address of record.
type Binding struct {
	AOR     string    // the address of record, in the form of Canonical
	Contact string    // URI of the contact, as it was registered
	Source  Source    // of the last request that made or refreshed it
	CallID  string    // of that request
	CSeq    uint32    // of that request
	Updated time.Time // when it was made or refreshed
	Expires time.Time // the binding holds until just before
	Q       int       // preference in thousandths, 0 to 1000: q=0.7 is 700
}

// Registrar holds bindings. It may be used by several goroutines.
type Registrar struct {
	o Options

	mu       sync.RWMutex // never held while the keeper works
	users    map[string]*user
	total    int       // bindings held, and those that a Register under way may add
	earliest time.Time // no binding expires before it; meaningless without bindings

	sweeping chan struct{} // holds an element during a Sweep
}

// user is an address of record with bindings, or with a Register under way.
type user struct {
	turn     chan struct{} // holds an element while one call changes the address; a channel, for waiting to be visible to synctest
	calls    int           // calls that hold or want the turn; under Registrar.mu
	bindings []Binding     // never changed in place; set under Registrar.mu by who has the turn
}

// New returns a registrar with the bindings of its keeper that have not expired.
// A record that cannot be read is logged and passed over: its phones will
// register again.
func New(o Options) (*Registrar, error) {
	o.MaxPerUser = cmp.Or(o.MaxPerUser, DefaultMaxPerUser)
	o.MaxBindings = cmp.Or(o.MaxBindings, DefaultMaxBindings)
	o.MinExpires = cmp.Or(o.MinExpires, DefaultMinExpires)
	o.MaxExpires = cmp.Or(o.MaxExpires, max(DefaultMaxExpires, o.MinExpires))
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.MaxPerUser < 1 || o.MaxPerUser > limitPerUser:
		return nil, fmt.Errorf("registrar: %d bindings for a user, not 1 to %d", o.MaxPerUser, limitPerUser)
	case o.MaxBindings < 1:
		return nil, fmt.Errorf("registrar: %d bindings in all, not 1 or more", o.MaxBindings)
	case o.MinExpires < time.Second || o.MinExpires > time.Hour || o.MinExpires%time.Second != 0:
		// RFC 3261 section 10.3: an interval of an hour or more may not be refused.
		return nil, fmt.Errorf("registrar: shortest interval %v, not 1s to 1h in whole seconds", o.MinExpires)
	case o.MaxExpires < o.MinExpires || o.MaxExpires > maxInterval || o.MaxExpires%time.Second != 0:
		return nil, fmt.Errorf("registrar: longest interval %v, not %v to %v in whole seconds", o.MaxExpires, o.MinExpires, maxInterval)
	}
	r := &Registrar{o: o, users: map[string]*user{}, sweeping: make(chan struct{}, 1)}
	if o.Keeper != nil {
		if err := r.load(); err != nil {
			return nil, fmt.Errorf("registrar: loading the bindings: %w", err)
		}
	}
	return r, nil
}

// maxInterval bounds MaxExpires: a mistake in its unit should show.
const maxInterval = 7 * 24 * time.Hour

func (r *Registrar) load() error {
	now := r.o.Now()
	var stale []string
	over := 0
	err := r.o.Keeper.Load(func(key string, value []byte) error {
		bindings, err := decode(key, value)
		if err != nil {
			r.o.Log.Warn("bindings of an address cannot be read; its phones have to register again", "address", key, "error", err)
			return nil
		}
		for i := range bindings {
			// The clock may have been wrong, then or now.
			if longest := now.Add(r.o.MaxExpires); bindings[i].Expires.After(longest) {
				bindings[i].Expires = longest
			}
			if bindings[i].Updated.After(now) {
				bindings[i].Updated = now
			}
		}
		bindings = live(bindings, now)
		if len(bindings) == 0 {
			stale = append(stale, key)
			return nil
		}
		if len(bindings) > r.o.MaxPerUser { // the limit was lowered: the newest stay
			slices.SortStableFunc(bindings, func(a, b Binding) int { return b.Updated.Compare(a.Updated) })
			bindings = bindings[:r.o.MaxPerUser]
		}
		if r.total+len(bindings) > r.o.MaxBindings {
			over += len(bindings)
			return nil
		}
		r.publish(r.user(key), bindings)
		r.total += len(bindings)
		return nil
	})
	if over > 0 {
		r.o.Log.Warn("more bindings were kept than may be held; some phones have to register again", "limit", r.o.MaxBindings, "over", over)
	}
	if err != nil {
		return err
	}
	return r.forget(stale)
}

// user returns the entry of an address, made if need be. The caller holds mu.
func (r *Registrar) user(aor string) *user {
	u := r.users[aor]
	if u == nil {
		u = &user{turn: make(chan struct{}, 1)}
		r.users[aor] = u
	}
	return u
}

// publish makes bindings what callers see. The caller holds mu and the turn.
func (r *Registrar) publish(u *user, bindings []Binding) {
	u.bindings = bindings
	r.expect(bindings)
}

// expect has the next sweep look when the first of the bindings expires. The
// caller holds mu.
func (r *Registrar) expect(bindings []Binding) {
	for _, b := range bindings {
		if r.earliest.IsZero() || b.Expires.Before(r.earliest) {
			r.earliest = b.Expires
		}
	}
}

// drop forgets an address that nothing is left of. The caller holds mu.
func (r *Registrar) drop(aor string, u *user) {
	if u.calls == 0 && len(u.bindings) == 0 && r.users[aor] == u {
		delete(r.users, aor)
	}
}

// Lookup returns the bindings of an address that hold at present: the higher q
// first, among equals the one registered last. An address that cannot be read
// has none. Lookup never waits for the keeper.
func (r *Registrar) Lookup(aor string) []Binding {
	key, err := Canonical(aor)
	if err != nil {
		return nil
	}
	r.mu.RLock()
	var bindings []Binding
	if u := r.users[key]; u != nil {
		bindings = u.bindings
	}
	r.mu.RUnlock()
	return preferred(live(bindings, r.o.Now()))
}

// All returns the bindings of all addresses that hold at present, in the order
// of the addresses and within each as [Registrar.Lookup] has them.
func (r *Registrar) All() []Binding {
	now := r.o.Now()
	r.mu.RLock()
	all := make([]Binding, 0, r.total)
	for _, u := range r.users {
		all = append(all, live(u.bindings, now)...)
	}
	r.mu.RUnlock()
	slices.SortStableFunc(preferred(all), func(a, b Binding) int { return cmp.Compare(a.AOR, b.AOR) })
	return all
}

// Len returns how many bindings are held, some of which may have expired since
// the last sweep.
func (r *Registrar) Len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	n := 0
	for _, u := range r.users {
		n += len(u.bindings)
	}
	return n
}

// live returns a copy of the bindings that have not expired.
func live(bindings []Binding, now time.Time) []Binding {
	var alive []Binding
	for _, b := range bindings {
		if now.Before(b.Expires) {
			alive = append(alive, b)
		}
	}
	return alive
}

// preferred sorts bindings in place, the one to be called first in front.
func preferred(bindings []Binding) []Binding {
	slices.SortStableFunc(bindings, func(a, b Binding) int {
		return cmp.Or(cmp.Compare(b.Q, a.Q), b.Updated.Compare(a.Updated), cmp.Compare(a.Contact, b.Contact))
	})
	return bindings
}
