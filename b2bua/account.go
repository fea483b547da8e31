package b2bua

import (
	"net/netip"
	"sync"
	"time"

	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/auth"
)

// home says whether a URI's host stands for this proxy's own users.
func (p *Proxy) home(u sip.URI) bool { return p.plan.Home.Has(u.Host, u.Port) }

// aor is the one address of record of a user of this proxy, whichever of its
// domains and addresses was named.
func (p *Proxy) aor(u sip.URI) string {
	if len(p.o.Domains) > 0 {
		u.Host = p.o.Domains[0]
	} else {
		u.Host = "sipward.invalid" // no domain is configured: users are told apart by name alone
	}
	u.Port = 0
	return u.AOR()
}

// authenticate says whether a request from inside comes from the user that its
// From names. Where it does not, the request has been answered.
func (p *Proxy) authenticate(in *sip.Incoming) bool {
	if p.o.Auth == nil {
		return true
	}
	status, field, given := 407, "Proxy-Authenticate", "Proxy-Authorization"
	if in.Method == "REGISTER" {
		status, field, given = 401, "WWW-Authenticate", "Authorization"
	}
	source := in.Flow.Remote().Addr()
	named := in.From().URI
	if in.Method == "REGISTER" {
		named = in.To().URI
	}
	if p.jail.held(source, named.User, time.Now()) {
		p.counters.strangersDropped.Add(1)
		return false
	}
	var values []string
	for _, f := range in.Fields {
		if f.Name == given || f.Name == "Authorization" || f.Name == "Proxy-Authorization" {
			values = append(values, f.Value)
		}
	}
	res := p.o.Auth.Verify(values, auth.Request{Method: in.Method, URI: in.URI.String(), Body: in.Body})
	if res.Verdict != auth.OK {
		if res.Verdict == auth.Wrong {
			last := p.jail.wrong(source, named.User, time.Now())
			p.log.Info("wrong password", "listener", in.Flow.Listener().Name, "source", in.Flow.Remote(), "method", in.Method, "why", res.Reason)
			if last {
				in.Reply(403, "Forbidden", warning("too many wrong passwords; nothing is answered for a while"))
				return false
			}
		}
		var fields []sip.Field
		for _, c := range p.o.Auth.Challenge(res.Verdict == auth.Stale) {
			fields = append(fields, sip.Field{Name: field, Value: c})
		}
		in.Reply(status, "", fields...)
		return false
	}
	p.jail.right(source, res.User)
	if named.User != res.User || !p.home(named) {
		p.log.Info("foreign identity", "user", res.User, "named", named.AOR(), "source", in.Flow.Remote())
		in.Reply(403, "Forbidden", warning("this account may not speak for "+named.AOR()))
		return false
	}
	return true
}

// jail remembers wrong passwords, by source and user, so that one phone with a
// wrong one does not silence those beside it, and by source alone, so that
// guessing many users' passwords is no way around. After too many in a row there
// are no answers for a time that doubles with each further failure.
type jail struct {
	mu      sync.Mutex
	inmates map[suspect]*inmate
}

// suspect is a source with the user that it claims to be, or without one.
type suspect struct {
	source netip.Addr
	user   string
}

type inmate struct {
	wrong int
	until time.Time
	last  time.Time
}

const (
	maxWrong       = 5  // of one source and user
	maxWrongSource = 50 // of one source
	firstTerm      = 10 * time.Second
	longest        = time.Hour
	maxInmates     = 4096
)

func newJail() *jail { return &jail{inmates: map[suspect]*inmate{}} }

// suspected names a suspect; a user is remembered by its first octets, as
// strangers write names as long as a datagram.
func suspected(source netip.Addr, user string) suspect {
	return suspect{source, user[:min(len(user), 64)]}
}

func (j *jail) held(source netip.Addr, user string, now time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range []suspect{suspected(source, user), {source, ""}} {
		if i := j.inmates[s]; i != nil && now.Before(i.until) {
			return true
		}
	}
	return false
}

// wrong notes a wrong password; true where it was the last that is answered.
func (j *jail) wrong(source netip.Addr, user string, now time.Time) (last bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	last = j.count(suspected(source, user), maxWrong, now)
	return j.count(suspect{source, ""}, maxWrongSource, now) || last
}

func (j *jail) count(s suspect, limit int, now time.Time) (last bool) {
	i := j.inmates[s]
	if i == nil {
		if len(j.inmates) >= maxInmates {
			j.forgetOldest()
		}
		i = &inmate{}
		j.inmates[s] = i
	}
	i.wrong++
	i.last = now
	over := i.wrong - limit
	if over >= 0 {
		i.until = now.Add(min(longest, firstTerm<<min(over, 16)))
	}
	return over >= 0
}

func (j *jail) forgetOldest() {
	var oldest suspect
	for s, i := range j.inmates {
		if !oldest.source.IsValid() || i.last.Before(j.inmates[oldest].last) {
			oldest = s
		}
	}
	delete(j.inmates, oldest)
}

func (j *jail) right(source netip.Addr, user string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.inmates, suspected(source, user))
}

// Blocked is a source that gets no answers.
type Blocked struct {
	Source netip.Addr `json:"source"`
	User   string     `json:"user"` // "": whoever it claims to be
	Until  time.Time  `json:"until"`
	Wrong  int        `json:"wrong"` // wrong passwords in a row
}

// Blocked lists the sources that get no answers now.
func (p *Proxy) Blocked() []Blocked {
	now := time.Now()
	p.jail.mu.Lock()
	defer p.jail.mu.Unlock()
	out := []Blocked{}
	for s, i := range p.jail.inmates {
		if now.Before(i.until) {
			out = append(out, Blocked{s.source, s.user, i.until, i.wrong})
		}
	}
	return out
}

// Unblock lets a source try again at once; false where it was not blocked.
func (p *Proxy) Unblock(addr netip.Addr) bool {
	p.jail.mu.Lock()
	defer p.jail.mu.Unlock()
	found := false
	for s := range p.jail.inmates {
		if s.source == addr {
			delete(p.jail.inmates, s)
			found = true
		}
	}
	return found
}
