package door

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/sipward/sipward/b2bua/recent"
)

// jail remembers who went too far: with wrong passwords, or with more requests
// than the limits allow. Whoever is in it gets no answers for a term that
// doubles with each further offence.
//
// Wrong passwords count by source and user, so that one phone with a wrong one
// does not silence those beside it; by source alone, so that guessing many
// users' passwords is no way around; and by user alone, so that guessing from
// many sources is none either.
//
// Over UDP anybody can write another's address. Two things keep a forger from
// silencing others for long: who has proved itself on a flow goes on being
// heard there (see vouched), and a term for mere numbers is short.
type jail struct {
	mu      sync.Mutex
	inmates *recent.Memory[suspect, inmate]
	vouched *recent.Memory[voucher, time.Time] // when it was proved
}

// suspect is somebody with a kind of offence.
type suspect struct {
	Who
	why string
}

type inmate struct {
	offences int
	last     time.Time
	until    time.Time
}

// voucher is what a proof speaks for: a user on one flow, or, with port 0 and
// without a user, the source of a call that stood.
type voucher struct {
	source netip.AddrPort
	user   string
}

// offence is a kind of misbehaviour: how many are free, and how long its
// longest term is.
type offence struct {
	why     string
	free    int
	longest time.Duration
}

// Kinds of offences, in words for people.
const (
	wrongPasswords  = "wrong passwords"
	tooManyRequests = "too many requests"
)

var (
	wrongOfPhone  = offence{wrongPasswords, 4, time.Hour}   // one source and user
	wrongOfSource = offence{wrongPasswords, 49, time.Hour}  // one source
	wrongForUser  = offence{wrongPasswords, 199, time.Hour} // one user
	tooMany       = offence{tooManyRequests, 49, 10 * time.Minute}
)

const (
	firstTerm   = 10 * time.Second
	forgiven    = 2 * time.Hour // after the last offence all is forgotten
	maxInmates  = 4096
	vouchedFor  = 8 * time.Hour
	maxVouchers = 4096
)

func newJail() *jail {
	return &jail{inmates: recent.New[suspect, inmate](maxInmates), vouched: recent.New[voucher, time.Time](maxVouchers)}
}

// held says until when one of these suspects gets no answers for offences of
// that kind; the zero time where none is held.
func (j *jail) held(now time.Time, why string, suspects ...Who) (until time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range suspects {
		if i := j.inmates.Find(suspect{s, why}); i != nil && now.Before(i.until) && i.until.After(until) {
			until = i.until
		}
	}
	return until
}

// note counts an offence; true where no more are free. A term begins then, if
// none runs.
func (j *jail) note(w Who, o offence, now time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	i := j.inmates.Use(suspect{w, o.why})
	if now.Sub(i.last) > forgiven && now.After(i.until) {
		*i = inmate{}
	}
	i.offences++
	i.last = now
	over := i.offences - o.free - 1
	if over < 0 || now.Before(i.until) {
		return over >= 0
	}
	i.until = now.Add(min(o.longest, firstTerm<<min(over, 16)))
	return true
}

// vouch remembers a proof, and forgets the wrong passwords of that phone.
func (j *jail) vouch(v voucher, now time.Time) {
	v.user = strings.Clone(remembered(v.user))
	j.mu.Lock()
	defer j.mu.Unlock()
	*j.vouched.Use(v) = now
	if v.user != "" {
		j.inmates.Forget(suspect{Claim(v.source.Addr(), v.user), wrongPasswords})
	}
}

// proved says whether somebody was vouched for in the last hours.
func (j *jail) proved(v voucher, now time.Time) bool {
	v.user = remembered(v.user)
	j.mu.Lock()
	defer j.mu.Unlock()
	at := j.vouched.Find(v)
	return at != nil && now.Sub(*at) < vouchedFor
}
