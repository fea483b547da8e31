package b2bua

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
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
	inmates *recent[suspect, inmate]
	vouched *recent[voucher, time.Time] // when it was proved
}

// suspect is a source with the user that it claims to be, or one of them alone.
type suspect struct {
	source netip.Prefix // the zero Prefix: wherever it comes from
	user   string       // "": whoever it claims to be
	why    string       // for offences: of what kind
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
	maxUserName = 64 // octets of a user that are remembered: strangers write names as long as a datagram
)

func newJail() *jail {
	return &jail{inmates: newRecent[suspect, inmate](maxInmates), vouched: newRecent[voucher, time.Time](maxVouchers)}
}

// single is a source inside: one phone, one address.
func single(addr netip.Addr) netip.Prefix {
	return netip.PrefixFrom(addr, addr.BitLen())
}

// networkOf is a source outside. For IPv6 it is the /64: its owner has 2^64
// addresses to spoof from.
func networkOf(addr netip.Addr) netip.Prefix {
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits)
	return p
}

func suspected(source netip.Prefix, user string) suspect {
	return suspect{source: source, user: strings.Clone(user[:min(len(user), maxUserName)])}
}

// of is the same somebody, suspected of one kind of offence.
func (s suspect) of(why string) suspect {
	s.why = why
	return s
}

// held says until when one of these suspects gets no answers for offences of
// that kind; the zero time where none is held.
func (j *jail) held(now time.Time, why string, suspects ...suspect) (until time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range suspects {
		if i := j.inmates.find(s.of(why)); i != nil && now.Before(i.until) && i.until.After(until) {
			until = i.until
		}
	}
	return until
}

// note counts an offence; true where no more are free. A term begins then, if
// none runs.
func (j *jail) note(s suspect, o offence, now time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	i := j.inmates.use(s.of(o.why))
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
	v.user = suspected(netip.Prefix{}, v.user).user
	j.mu.Lock()
	defer j.mu.Unlock()
	*j.vouched.use(v) = now
	if v.user != "" {
		j.inmates.forget(suspect{single(v.source.Addr()), v.user, wrongPasswords})
	}
}

// proved says whether somebody was vouched for in the last hours.
func (j *jail) proved(v voucher, now time.Time) bool {
	v.user = v.user[:min(len(v.user), maxUserName)]
	j.mu.Lock()
	defer j.mu.Unlock()
	at := j.vouched.find(v)
	return at != nil && now.Sub(*at) < vouchedFor
}

// Blocked is somebody who gets no answers.
type Blocked struct {
	Source string    `json:"source"` // an address, or a network of IPv6; "": wherever it comes from
	User   string    `json:"user"`   // "": whoever it claims to be
	Why    string    `json:"why"`    // in words
	Count  int       `json:"count"`  // how often
	Until  time.Time `json:"until"`
}

// Blocked lists who gets no answers now, who is freed last in front.
func (p *Proxy) Blocked() []Blocked {
	now := time.Now()
	j := p.jail
	j.mu.Lock()
	defer j.mu.Unlock()
	out := []Blocked{}
	for s := range j.inmates.entries {
		if i := j.inmates.find(s); now.Before(i.until) {
			out = append(out, Blocked{shownSource(s.source), s.user, s.why, i.offences, i.until})
		}
	}
	slices.SortFunc(out, func(a, b Blocked) int {
		return cmp.Or(b.Until.Compare(a.Until), cmp.Compare(a.Source, b.Source), cmp.Compare(a.User, b.User))
	})
	return out
}

func shownSource(p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return ""
	case p.IsSingleIP():
		return p.Addr().String()
	}
	return p.String()
}

// Unblock lets a source try again at once, and returns how many entries of
// [Proxy.Blocked] this took away. The zero Addr stands for every source, user
// "" for every user.
func (p *Proxy) Unblock(source netip.Addr, user string) int {
	source, now := source.Unmap().WithZone(""), time.Now()
	j := p.jail
	j.mu.Lock()
	defer j.mu.Unlock()
	freed := 0
	for s := range j.inmates.entries {
		if source.IsValid() && !s.source.Contains(source) || user != "" && s.user != user {
			continue
		}
		if now.Before(j.inmates.find(s).until) {
			freed++
		}
		j.inmates.forget(s)
	}
	return freed
}
