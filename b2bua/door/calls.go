package door

import "fmt"

const (
	defaultCalls = 4096
	// unprovedShare of the calls, one in so many, may be of strangers whose address
	// no call has proved yet: each of them holds ports and rings for minutes.
	unprovedShare = 32
)

// Place is what a call takes of the limits, from Enter to Leave. The zero value
// takes nothing. The door's lock guards it.
type Place struct {
	payer    Who  // whose limit of calls it counts for
	unproved bool // it is a stranger's whose address may be forged
}

// Entry is what is known of a call that is to begin.
type Entry struct {
	Calls     int    // those that there are
	Payer     Who    // whose limit it counts for; the zero value: nobody's
	Stranger  bool   // it comes from a stranger
	Unproved  bool   // whose address may be forged, see Acquainted
	Continues *Place // of the call that it continues, or nil: one payer pays once for both
}

// Enter gives a call its place. The sentence says which limit is reached; "" where
// none is.
func (d *Door) Enter(at *Place, e Entry) (full string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e.Continues != nil && e.Continues.payer == e.Payer {
		e.Payer = Who{}
	}
	limits := d.limits
	switch {
	case e.Calls >= limits.Calls, e.Stranger && e.Calls >= limits.Calls-limits.Calls/4:
		return fmt.Sprintf("sipward carries %d calls already, which is its limit", e.Calls)
	case e.Unproved && d.unproved >= max(1, limits.Calls/unprovedShare):
		return "too many strangers call at once"
	}
	limit, whose := limits.CallsPerUser, "user"
	if e.Stranger {
		limit, whose = limits.CallsPerSource, "address"
	}
	if limit > 0 && e.Payer != (Who{}) {
		if d.paying[e.Payer] >= limit {
			return fmt.Sprintf("this %s has %d calls already, which is the limit", whose, limit)
		}
		at.payer = e.Payer
		d.paying[e.Payer]++
	}
	if at.unproved = e.Unproved; e.Unproved {
		d.unproved++
	}
	if e.Continues != nil && e.Payer == (Who{}) {
		d.passOn(e.Continues, at)
	}
	return ""
}

// PassOn lets another call count for who pays for one.
func (d *Door) PassOn(from, to *Place) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.passOn(from, to)
}

func (d *Door) passOn(from, to *Place) {
	if to.payer == (Who{}) {
		from.payer, to.payer = Who{}, from.payer
	}
}

// Prove says that the address of who made a call is not forged.
func (d *Door) Prove(at *Place) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.prove(at)
}

func (d *Door) prove(at *Place) {
	if at.unproved {
		at.unproved = false
		d.unproved--
	}
}

// Leave gives a place back.
func (d *Door) Leave(at *Place) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.prove(at)
	if d.paying[at.payer]--; d.paying[at.payer] <= 0 {
		delete(d.paying, at.payer)
	}
	at.payer = Who{}
}
