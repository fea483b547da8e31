package b2bua

import (
	"time"

	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/auth"
)

// home says whether a URI's host stands for this proxy's own users.
func (p *Proxy) home(u sip.URI) bool { return p.ground.Load().plan.Home.Has(u.Host, u.Port) }

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

// authenticate says which user a request from inside comes from, "" where
// nobody is asked; a request must come from the user that its From names. Where
// ok is false, the request has been answered, or gets no answer.
func (p *Proxy) authenticate(in *sip.Incoming) (user string, ok bool) {
	named := in.From().URI
	if in.Method == "REGISTER" {
		named = in.To().URI
	}
	return p.authenticateAs(in, named, in.Reply)
}

// authenticateAs is authenticate for the user that is named, with the answers of
// who asks.
func (p *Proxy) authenticateAs(in *sip.Incoming, named sip.URI, reply reply) (user string, ok bool) {
	if p.o.Auth == nil {
		return "", true
	}
	status, field, given := 407, "Proxy-Authenticate", "Proxy-Authorization"
	if in.Method == "REGISTER" {
		status, field, given = 401, "WWW-Authenticate", "Authorization"
	}
	now, remote := time.Now(), in.Flow.Remote()
	held, heard := p.door.Hears(remote, named.User, now)
	if !heard {
		p.counters.strangersDropped.Add(1)
		return "", false
	}
	var values []string
	for _, f := range in.Fields {
		if f.Name == given || f.Name == "Authorization" || f.Name == "Proxy-Authorization" {
			values = append(values, f.Value)
		}
	}
	res := p.o.Auth.Verify(values, auth.Request{Method: in.Method, URI: in.URI.String(), Body: in.Body})
	if res.Verdict != auth.OK {
		last := false
		if res.Verdict == auth.Wrong {
			p.log.Info("wrong password", "listener", in.Flow.Listener().Name, "source", remote, "method", in.Method, "why", res.Reason)
			last = p.door.WrongPassword(remote, named.User, now)
		}
		if held && res.Verdict != auth.Stale {
			// Perhaps the phone itself, perhaps somebody who writes its address.
			if !p.door.AnswerKnown(remote.Addr(), now) {
				p.counters.strangersDropped.Add(1)
				return "", false
			}
		}
		if last {
			reply(403, "Forbidden", warning("too many wrong passwords; nothing is answered for a while"))
			return "", false
		}
		var fields []sip.Field
		for _, c := range p.o.Auth.Challenge(res.Verdict == auth.Stale) {
			fields = append(fields, sip.Field{Name: field, Value: c})
		}
		reply(status, "", fields...)
		return "", false
	}
	p.door.RightPassword(remote, res.User, now)
	if named.User != res.User || !p.home(named) {
		p.log.Info("foreign identity", "user", res.User, "named", named.AOR(), "source", remote)
		reply(403, "Forbidden", warning("this account may not speak for "+named.AOR()))
		return "", false
	}
	return res.User, true
}
