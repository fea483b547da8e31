package b2bua

import (
	"strings"
	"time"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

// Accounts says where the phones of an inside listener have their accounts.
type Accounts string

// Where accounts may be. Phones whose account is elsewhere prove nothing to
// this proxy: only their registrar can tell whether they have the password.
const (
	// AccountsAny lets REGISTER pass on as long as no phone has a password here.
	AccountsAny Accounts = ""
	// AccountsOwn: here alone.
	AccountsOwn Accounts = "own"
	// AccountsElsewhere: at registrars outside alone. Such phones are not asked
	// for a password, and call nobody but through the registrar at which they have
	// registered; no route, alias or trunk of this proxy is theirs.
	AccountsElsewhere Accounts = "elsewhere"
)

// notElsewhere says why a REGISTER does not go on to another registrar, "" where
// it does.
//
// Where phones have passwords here nothing is passed unless the listener is for
// that: who is registered elsewhere has proved nothing to this proxy, and could
// call through it.
func (p *Proxy) notElsewhere(in *sip.Incoming, l *listener) string {
	switch {
	case l.Accounts == AccountsElsewhere && p.home(in.URI):
		return "phones of this listener have their accounts elsewhere, none here"
	case l.Accounts == AccountsElsewhere && !strings.EqualFold(in.URI.Host, in.To().URI.Host):
		return "the registrar " + in.URI.Host + " is not that of " + in.To().URI.AOR()
	case l.Accounts == AccountsOwn, l.Accounts == AccountsAny && p.o.Auth != nil:
		return "phones of this listener have their accounts at this sipward, none elsewhere"
	}
	return ""
}

// targetElsewhere says where a phone of a listener for accounts elsewhere may
// call: the domain of its address of record, along the way of its REGISTER, and
// the registrar decides about the rest. why is "" or says why it may not.
func (p *Proxy) targetElsewhere(in *sip.Incoming) (t route.Target, routes []string, why string) {
	from := in.From().URI
	b, ok := p.up.of(from, in.Flow, time.Now())
	if !ok || p.home(from) {
		return t, nil, "this phone has not registered as " + from.AOR() + " by way of this sipward"
	}
	if p.home(in.URI) || !strings.EqualFold(in.URI.Host, from.Host) {
		return t, nil, "phones of this listener call addresses at " + from.Host + " alone, where their account is"
	}
	t = b.way
	t.URI = in.URI.String()
	if r, ok := p.o.Routes.LookupFrom(string(policy.Inside), from.AOR()); ok && r.Side == route.Outside {
		t.Peer = r.Peer
	} else {
		t.Peer = p.o.Peer(from.Host, addrOf(from))
	}
	if p.trunk(t.Peer) != nil {
		return t, nil, "calls to " + from.Host + " leave with an account of this sipward, which is for its own phones"
	}
	if len(b.services) > 0 {
		t = firstHop(t, b.services)
	}
	return t, b.services, ""
}
