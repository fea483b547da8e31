package registrar

import (
	"slices"
	"time"
	"unicode/utf8"
)

// Bounds of a request. Real Call-IDs are below 130 octets.
const (
	maxCallID  = 512
	maxContact = 2048
	maxName    = 64 // of a network, a listener and a zone
)

const overtakenReason = "a later request of the same Call-ID changed this binding"

// Unsaid is the interval of a contact for which the request asks none, or none
// that can be read (RFC 3261 section 10.2.1.1): an hour, or MaxExpires if that
// is shorter.
const Unsaid time.Duration = -1

// Request is what a REGISTER says about an address of record.
type Request struct {
	CallID  string
	CSeq    uint32
	Source  Source
	Changes []Change // one for each contact; none only asks for the bindings
}

// Change is one contact of a request.
type Change struct {
	Contact string        // its URI without < and >, or * for all contacts, which only goes with an Expires of 0 and alone
	Expires time.Duration // the expires parameter, else the Expires header, in whole seconds, else Unsaid; 0 removes the binding
	Q       int           // thousandths, 0 to 1000; 1000 where there is no q parameter
}

// Register changes the bindings of an address as the request asks (RFC 3261
// section 10.3, steps 5 to 8) and returns those that hold then, in the order of
// [Registrar.Lookup]. All changes are made or none; they are durable and visible
// when it returns. An error is a [*Refusal].
func (r *Registrar) Register(aor string, q Request) ([]Binding, error) {
	key, err := Canonical(aor)
	if err != nil {
		return nil, refuse(400, "%v", err)
	}
	if err := r.check(q); err != nil {
		return nil, err
	}
	if len(q.Changes) == 0 {
		return r.Lookup(key), nil
	}
	u := r.enter(key)
	defer r.leave(key, u)
	// Only the holder of the turn changes bindings, so that they can be read
	// without mu.
	held := u.bindings
	now := r.o.Now()
	next, err := r.change(key, live(held, now), q, now)
	if err != nil {
		return nil, err
	}
	added := len(next) - len(held)
	if err := r.reserve(max(added, 0)); err != nil {
		return nil, err
	}
	err = r.keep(key, held, next)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.total -= max(added, 0)
		return nil, &Refusal{Status: 500, Reason: "the bindings could not be kept", Err: err}
	}
	r.total += min(added, 0)
	r.publish(u, next)
	return preferred(slices.Clone(next)), nil
}

// check looks at a request without regard to bindings.
func (r *Registrar) check(q Request) error {
	if len(q.Changes) == 0 {
		return nil
	}
	// As many to add as there may be, and as many to remove.
	if len(q.Changes) > 2*r.o.MaxPerUser {
		return refuse(400, "more than %d contacts in one request", 2*r.o.MaxPerUser)
	}
	if q.CallID == "" || len(q.CallID) > maxCallID || !utf8.ValidString(q.CallID) {
		return refuse(400, "the Call-ID has not 1 to %d octets of UTF-8", maxCallID)
	}
	if !q.Source.bounded() {
		return refuse(500, "the names of a network, a listener and a zone have at most %d octets of UTF-8", maxName)
	}
	for _, c := range q.Changes {
		switch {
		case c.Contact == "*" && (len(q.Changes) > 1 || c.Expires != 0):
			return refuse(400, "Contact: * stands alone and with Expires: 0")
		case c.Expires < 0 && c.Expires != Unsaid || c.Expires%time.Second != 0 && c.Expires != Unsaid:
			return refuse(400, "an interval of %v", c.Expires)
		case c.Q < 0 || c.Q > 1000:
			return refuse(400, "a q value of %d thousandths", c.Q)
		case c.Expires > 0 && c.Expires < r.o.MinExpires: // less than an hour, as MinExpires is at most that
			return &Refusal{Status: 423, Reason: "the interval is shorter than " + r.o.MinExpires.String(), MinExpires: r.o.MinExpires}
		}
	}
	return nil
}

// change returns the bindings as they are behind the request.
func (r *Registrar) change(aor string, current []Binding, q Request, now time.Time) ([]Binding, error) {
	overtaken := func(b Binding) bool { return b.CallID == q.CallID && q.CSeq <= b.CSeq }
	if q.Changes[0].Contact == "*" {
		if slices.ContainsFunc(current, overtaken) {
			return nil, refuse(500, overtakenReason)
		}
		return nil, nil
	}
	type entry struct {
		Binding
		contact contact
		ours    bool // of this request: the order of CSeq was looked at
	}
	next := make([]entry, 0, len(current)+len(q.Changes))
	for _, b := range current {
		c, err := parseContact(b.Contact)
		if err != nil { // was read when it came
			return nil, &Refusal{Status: 500, Reason: "a binding cannot be read", Err: err}
		}
		next = append(next, entry{Binding: b, contact: c})
	}
	for _, change := range q.Changes {
		c, err := parseContact(change.Contact)
		if err != nil {
			return nil, refuse(400, "%v", err)
		}
		at := slices.IndexFunc(next, func(e entry) bool { return e.contact.equal(c) })
		if at >= 0 && !next[at].ours && overtaken(next[at].Binding) {
			return nil, refuse(500, overtakenReason)
		}
		if change.Expires == 0 {
			if at >= 0 {
				next = slices.Delete(next, at, at+1)
			}
			continue
		}
		e := entry{contact: c, ours: true, Binding: Binding{
			AOR: aor, Contact: change.Contact, Source: q.Source, CallID: q.CallID, CSeq: q.CSeq,
			Updated: now, Expires: now.Add(r.interval(change.Expires)), Q: change.Q,
		}}
		if at >= 0 {
			next[at] = e
		} else {
			next = append(next, e)
		}
	}
	if len(next) > r.o.MaxPerUser {
		return nil, refuse(403, "more than %d contacts for one address; remove one, or wait until one expires", r.o.MaxPerUser)
	}
	bindings := make([]Binding, len(next))
	for i, e := range next {
		bindings[i] = e.Binding
	}
	return bindings, nil
}

func (r *Registrar) interval(asked time.Duration) time.Duration {
	if asked == Unsaid {
		asked = time.Hour
	}
	return min(asked, r.o.MaxExpires)
}

// reserve makes room for n bindings more, which count from then on.
func (r *Registrar) reserve(n int) error {
	for attempt := 0; ; attempt++ {
		r.mu.Lock()
		full := n > 0 && r.total+n > r.o.MaxBindings
		if !full {
			r.total += n
		}
		r.mu.Unlock()
		if !full {
			return nil
		}
		if attempt > 0 {
			return refuse(503, "no room for more than %d bindings", r.o.MaxBindings)
		}
		r.Sweep() // nothing to do, and quick, unless one has expired
	}
}

// keep hands the bindings of an address to the keeper.
func (r *Registrar) keep(aor string, held, next []Binding) error {
	switch {
	case r.o.Keeper == nil || len(held) == 0 && len(next) == 0:
		return nil
	case len(next) == 0:
		return r.o.Keeper.Delete(aor)
	}
	return r.o.Keeper.Save(aor, encode(next))
}

// enter waits for the turn to change an address.
func (r *Registrar) enter(aor string) *user {
	r.mu.Lock()
	u := r.user(aor)
	u.calls++
	r.mu.Unlock()
	u.turn <- struct{}{}
	return u
}

func (r *Registrar) leave(aor string, u *user) {
	<-u.turn
	r.mu.Lock()
	u.calls--
	r.drop(aor, u)
	r.mu.Unlock()
}
