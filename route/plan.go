package route

import (
	"net/netip"
	"slices"
	"strings"
)

// Plan is the order in which a sipward looks for the place of an address that
// is called: calls for help, aliases, static routes, phones with an account
// elsewhere, phones registered here, and for callers inside the domain itself.
//
// It is made once and does not change; a running sipward and one that only
// explains a configuration use the same.
type Plan struct {
	Emergency Emergency
	Aliases   *Aliases
	Routes    *Table
	Home      Home
	// Peer names the listed peer that a host or an address belongs to, "" for
	// strangers. nil: there are no listed peers.
	Peer func(host string, addr netip.Addr) string
}

// Phones are those that have registered. Their answers change with time.
type Phones interface {
	// Elsewhere returns the address of record of the account elsewhere whose
	// contact here has this user part.
	Elsewhere(user string) (aor string, ok bool)
	// Registered says whether a phone of this user has registered here. It is
	// asked for addresses at home only.
	Registered(uri string) bool
}

// Kind says which step of a plan has found a place.
type Kind int

// The kinds, in the order in which they are looked for.
const (
	Nowhere    Kind = iota
	Static          // a static route
	Elsewhere       // a phone with an account elsewhere
	Registered      // phones that have registered here
	Domain          // the domain of the address
)

// Found is where a plan leads.
type Found struct {
	Kind   Kind
	Target Target
	Meant  string // the address that an alias put in place of the one called, or that one
	Alias  int    // index of the alias, -1 without one
	Route  int    // index of the static route, -1 without one
}

// Rules of targets that no pattern found.
const (
	RuleRegistered = "registered"
	RuleElsewhere  = "registered elsewhere"
)

// Find looks for the place of an address, which a caller on that side has
// called. From outside nothing but a static route and a phone leads inside, and
// only a static route out again.
func (p *Plan) Find(side, uri string, phones Phones) Found {
	f := Found{Meant: uri, Alias: -1, Route: -1}
	if i, t := p.Aliases.find(uri); i >= 0 {
		f.Alias, f.Meant = i, t.URI
	}
	u, err := ParseURI(f.Meant)
	if err != nil {
		return f
	}
	aor := f.Meant
	if u.Scheme != "tel" {
		aor = u.aor()
	}
	if f.Route, f.Target = p.Routes.find(side, aor); f.Route >= 0 {
		f.Kind = Static
		return f
	}
	if u.Scheme == "tel" {
		return f
	}
	if side == Outside {
		if account, ok := phones.Elsewhere(u.User); ok {
			f.Kind, f.Target = Elsewhere, Target{URI: account, Host: u.Host, Side: Inside, Rule: RuleElsewhere}
			return f
		}
	}
	home := p.Home.Has(u.Host, u.Port)
	switch {
	case home && u.User != "" && phones.Registered(f.Meant):
		f.Kind, f.Target = Registered, Target{URI: aor, Host: u.Host, Side: Inside, Rule: RuleRegistered}
	case side == Inside && !home:
		f.Kind, f.Target = Domain, Target{URI: f.Meant, Network: u.Transport, Host: u.Host, Port: u.Port, Side: Outside}
		if p.Peer != nil {
			addr, _ := netip.ParseAddr(u.Host)
			f.Target.Peer = p.Peer(u.Host, addr)
		}
	}
	return f
}

// aor is the address without port and parameters.
func (u URI) aor() string {
	host := u.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if u.User == "" {
		return "sip:" + host
	}
	return "sip:" + u.User + "@" + host
}

// Emergency says which calls come before everything else.
type Emergency struct {
	Numbers []string // as dialled: "112"
	Target  Target   // where they go; an empty Host: nowhere, they are calls like others
}

// Called says whether a Request-URI, whose user part is given beside it, calls
// for help: one of the numbers, or a service URN of RFC 5031.
func (e Emergency) Called(uri, user string) bool {
	if e.Target.Host == "" {
		return false
	}
	if scheme, _, _ := strings.Cut(uri, ":"); strings.EqualFold(scheme, "urn") {
		return strings.HasPrefix(strings.ToLower(uri), "urn:service:sos")
	}
	return slices.Contains(e.Numbers, user)
}

// Home is what stands for a sipward's own users: its domains, and the addresses
// of its listeners.
type Home struct {
	Domains   []string
	Addresses []netip.AddrPort
	Registrar bool // users can register here
}

// Has says whether a host and port (0: none is named) stand for this sipward's
// own users. Another port of such an address is somebody else, a PBX on the same
// machine; without a port it is this sipward where users can register here, and
// whoever has port 5060 where they cannot.
func (h Home) Has(host string, port int) bool {
	host = strings.TrimSuffix(host, ".")
	if slices.ContainsFunc(h.Domains, func(d string) bool { return strings.EqualFold(d, host) }) {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return false
	}
	if port == 0 && !h.Registrar {
		port = 5060
	}
	return slices.ContainsFunc(h.Addresses, func(own netip.AddrPort) bool {
		return own.Addr() == addr.Unmap() && (port == 0 || port == int(own.Port()))
	})
}
