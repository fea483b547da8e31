package b2bua

import (
	"slices"
	"strings"

	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

// passed are the header fields that an INVITE keeps from one leg to the other,
// whoever is there: what the caller wrote for the callee.
var passed = []string{"Subject", "Priority", "Accept-Language"}

// treatment says what becomes of a header field on its way from one leg to the
// other where both far ends are trusted (RFC 3324): those inside, and the listed
// peers that are said to be. Between others nothing is carried, and nothing is
// believed.
type treatment int

const (
	textual  treatment = iota // goes on as it is, unless it tells something of the inside
	addressy                  // addresses: those of the inside become this proxy's
	ours                      // made here, for each leg or each hop, or of no use without what is made here
)

// treatments of header fields, by their names in lower case; the others are
// textual, known or not.
var treatments = map[string]treatment{
	"diversion": addressy, "history-info": addressy, "referred-by": addressy, "reply-to": addressy,

	// Who speaks: carried by itself.
	"p-asserted-identity": ours, "privacy": ours, "remote-party-id": ours,
	// The dialog's and its way's.
	"via": ours, "route": ours, "record-route": ours, "path": ours, "service-route": ours, "from": ours, "to": ours, "call-id": ours, "cseq": ours,
	"contact": ours, "max-forwards": ours, "max-breadth": ours, "timestamp": ours, "date": ours, "expires": ours, "retry-after": ours,
	// What each side can do, and what it is.
	"allow": ours, "allow-events": ours, "supported": ours, "require": ours, "unsupported": ours, "accept": ours, "accept-encoding": ours,
	"accept-contact": ours, "reject-contact": ours, "request-disposition": ours, "flow-timer": ours,
	"user-agent": ours, "server": ours, "warning": ours, "session-expires": ours, "min-se": ours, "rseq": ours, "rack": ours,
	"event": ours, "subscription-state": ours, "mime-version": ours,
	// Call-IDs and tags of the other leg mean nothing on this one.
	"replaces": ours, "join": ours, "target-dialog": ours, "in-reply-to": ours, "refer-to": ours, "refer-sub": ours,
	// Where the phone is, and signatures over what was rewritten.
	"geolocation": ours, "geolocation-routing": ours, "geolocation-error": ours, "identity": ours, "identity-info": ours,
	"authorization": ours, "authentication-info": ours,
	// Said by passed, for strangers as well.
	"subject": ours, "priority": ours, "accept-language": ours,
}

// oursBegin are beginnings of names that are ours: those of hops, of bodies, of
// networks of providers, and of the exchange.
var oursBegin = []string{"proxy-", "www-", "content-", "security-", "feature-", "p-", "dh-"}

const (
	maxCarried      = 16   // fields
	maxCarriedField = 512  // octets of one
	maxCarriedAll   = 1024 // octets of all: an INVITE has its share of the exchange to carry
	maxAsserted     = 2    // RFC 3325 section 9.1: one SIP and one tel URI
)

func treatmentOf(name string) treatment {
	name = strings.ToLower(name)
	if t, ok := treatments[name]; ok {
		return t
	}
	if slices.ContainsFunc(oursBegin, func(b string) bool { return strings.HasPrefix(name, b) }) {
		return ours
	}
	return textual
}

// trusted says whether the far end of a leg is told who is called and calling,
// and believed where it says so.
func (l *Leg) trusted() bool {
	return l.side == policyInside || l.peer != "" && l.call.p.o.Trusted(l.peer)
}

// told are the header fields of an INVITE or of its answer that go on to the other
// leg.
func (c *Call) told(m *sip.Message, from, to *Leg) []sip.Field {
	if !from.trusted() || !to.trusted() {
		return nil
	}
	var out []sip.Field
	room := maxCarriedAll
	carry := func(name, value string) {
		if n := len(name) + len(value) + 4; len(out) < maxCarried && len(value) <= maxCarriedField && n <= room {
			room -= n
			out = append(out, sip.Field{Name: name, Value: value})
		}
	}
	private := privacyOf(m)
	for _, v := range c.asserted(m, from, to) {
		carry("P-Asserted-Identity", v)
	}
	if len(private) > 0 {
		carry("Privacy", strings.Join(private, ";"))
	}
	for _, f := range m.Fields {
		if treatmentOf(f.Name) != addressy || to.side == policyInside && hidesCaller(private) {
			continue // who diverted a private call may tell who made it
		}
		for _, v := range m.Values(f.Name) {
			if v, ok := c.addressFor(v, m, to); ok && !slices.Contains(out, sip.Field{Name: f.Name, Value: v}) {
				carry(f.Name, v)
			}
		}
	}
	for _, f := range m.Fields {
		if treatmentOf(f.Name) == textual && !c.reveals(f.Value, m, to) {
			carry(f.Name, f.Value)
		}
	}
	return out
}

// asserted are the values of P-Asserted-Identity for a leg (RFC 3325): who has
// proved it by a password; where nobody is asked for one, what the phone or PBX
// inside says; from a trusted peer what that says. Nobody's phone inside gets to
// see who hides behind Privacy, and a trunk's provider gets what the trunk says.
func (c *Call) asserted(m *sip.Message, from, to *Leg) []string {
	if to.side == policyInside && hidesCaller(privacyOf(m)) || c.p.trunk(to.peer) != nil {
		return nil
	}
	if from.side == policyInside && c.p.o.Auth != nil {
		user := c.user
		if from != c.a {
			user = ""
			if u, err := sip.ParseURI(c.target.URI); err == nil && c.target.Rule == route.RuleRegistered {
				user = u.User
			}
		}
		if user == "" {
			return nil
		}
		u := sip.URI{Scheme: "sip", User: user, Host: to.l.sip.Advertised().Addr().String()}
		if len(c.p.o.Domains) > 0 {
			u.Host = c.p.o.Domains[0]
		}
		return []string{sip.Address{URI: u}.String()}
	}
	var out []string
	for _, v := range m.Values("P-Asserted-Identity") {
		if v, ok := c.addressFor(v, m, to); ok && len(out) < maxAsserted {
			out = append(out, v)
		}
	}
	return out
}

// addressFor is an address as the far end of a leg may see it: outside, this
// proxy's address stands for one of the inside. ok is false where it cannot be
// read, or would still tell something.
func (c *Call) addressFor(value string, m *sip.Message, to *Leg) (string, bool) {
	a, err := sip.ParseAddress(value)
	if err != nil {
		return "", false
	}
	if addr, ok := a.URI.Addr(); ok && to.side == policyOutside && c.p.hidden(addr, to.l) {
		a.URI.Host, a.URI.Port = to.l.sip.Advertised().Addr().String(), 0
	}
	if c.reveals(a.URI.Params, m, to) {
		a.URI.Params = ""
	}
	if c.reveals(a.Display, m, to) {
		a.Display = ""
	}
	s := a.String()
	return s, !c.reveals(s, m, to)
}

// knownPrivacy are the words of RFC 3323, RFC 3325 and RFC 7044.
var knownPrivacy = []string{"header", "session", "user", "none", "critical", "id", "history"}

// privacyOf are the words of a message's Privacy fields. Whoever hides header or
// user hides the asserted identity as well: others on the way could strip the
// anonymous From that this proxy writes of what it means.
func privacyOf(m *sip.Message) (words []string) {
	for _, f := range m.Fields {
		if !strings.EqualFold(f.Name, "Privacy") {
			continue
		}
		for _, w := range strings.FieldsFunc(strings.ToLower(f.Value), func(r rune) bool { return r == ';' || r == ',' || r == ' ' }) {
			if slices.Contains(knownPrivacy, w) && !slices.Contains(words, w) {
				words = append(words, w)
			}
		}
	}
	if hidesCaller(words) && !slices.Contains(words, "id") {
		words = append(words, "id")
	}
	return words
}

func hidesCaller(privacy []string) bool {
	return slices.ContainsFunc(privacy, func(w string) bool { return w == "id" || w == "user" || w == "header" })
}

// private says whether the caller asked that its identity stays inside
// (RFC 3323 section 4.2, RFC 3325 section 7).
func (c *Call) private() bool { return hidesCaller(privacyOf(c.invite.Message)) }

// anonymous is who calls where the caller wants nobody to know (RFC 3323
// section 4.1.1.3).
var anonymous = sip.Address{Display: `"Anonymous"`, URI: sip.URI{Scheme: "sip", User: "anonymous", Host: "anonymous.invalid"}}

// whyEnded is the Reason of a BYE (RFC 3326) for the other leg.
func (c *Call) whyEnded(bye *sip.Message, from *Leg) []sip.Field {
	to := c.other(from)
	v := bye.Get("Reason")
	if v == "" || len(v) > maxCarriedField || !from.trusted() || !to.trusted() || c.reveals(v, bye, to) {
		return nil
	}
	return []sip.Field{{Name: "Reason", Value: v}}
}
