package route

import (
	"errors"
	"fmt"
	"strings"
)

// Sides of a route and of a target, as listeners declare them.
const (
	Inside  = "inside"
	Outside = "outside"
)

// Route is one static route.
type Route struct {
	Match Pattern
	From  string // the side whose calls it is for: Inside, Outside, or "" for both
	// To is the next hop, an address with transport parameter udp, tcp or none.
	//
	// With a user (sip:bob@192.0.2.7) it replaces the address called. With a
	// star as user (sip:*@192.0.2.7) it does so too, with the user called in
	// place of the star. Without one (sip:192.0.2.7) it says only where to send
	// the request, and the address called stays as it is.
	To   string
	Side string // the side it leads to: Inside or Outside
	Peer string // name of the listed peer that answers there, "" for none
	// Transfer says that calls which somebody has led on, by a transfer or a
	// redirection, may leave here though they do so at an account's cost.
	Transfer bool
}

// Target is where a request goes.
type Target struct {
	URI     string // Request-URI to send
	Network string // transport asked for: udp, tcp, tls, or "" for the resolver's choice
	Host    string // next hop: name or IP address, without brackets
	Port    int    // of the next hop, 0 if not given
	Side    string // Inside or Outside
	Peer    string // name of the listed peer, "" for none
	Rule    string // pattern of the route that matched, "" for an address called directly

	Transfer bool // the route is open to calls that were led on
}

// Table is an ordered list of static routes. It does not change once made and
// may be used by several goroutines. A nil or zero Table matches nothing.
type Table struct{ entries []entry }

type entry struct {
	Route
	to URI
}

// NewTable checks the routes and keeps them in their order. The error names the
// first faulty route by its pattern.
func NewTable(routes []Route) (*Table, error) {
	t := &Table{}
	for _, r := range routes {
		e := entry{Route: r}
		if r.Match.text == "" {
			return nil, errors.New("route: a route without a pattern")
		}
		if r.Side != Inside && r.Side != Outside {
			return nil, fmt.Errorf("route %q: side %q is neither inside nor outside", r.Match, r.Side)
		}
		if r.From != "" && r.From != Inside && r.From != Outside {
			return nil, fmt.Errorf("route %q: from %q is neither inside nor outside", r.Match, r.From)
		}
		var err error
		if e.to, err = ParseNextHop(r.To); err != nil {
			return nil, fmt.Errorf("route %q: %w", r.Match, err)
		}
		t.entries = append(t.entries, e)
	}
	return t, nil
}

// ParseNextHop reads an address that requests can be sent to: sip:, with a host
// and the transport udp, tcp, tls or none.
func ParseNextHop(s string) (URI, error) {
	u, err := ParseURI(s)
	if err != nil {
		return URI{}, err
	}
	if u.Scheme != "sip" {
		return URI{}, fmt.Errorf("address %s: %s: cannot be called from here, only sip:", quote(s), u.Scheme)
	}
	switch u.Transport {
	case "", "udp", "tcp", "tls":
		return u, nil
	}
	return URI{}, fmt.Errorf("address %s: transport %s is not udp, tcp or tls", quote(s), quote(u.Transport))
}

// Lookup returns the target of the first route, in the order of the table, that
// matches the address and is not bound to one side. Use [Table.LookupFrom] where
// the caller's side is known, as it is for every call.
func (t *Table) Lookup(uri string) (Target, bool) { return t.LookupFrom("", uri) }

// LookupFrom returns the target of the first route, in the order of the table,
// that matches the address and is for calls from that side. Without one, and for
// an address that cannot be read, ok is false.
func (t *Table) LookupFrom(side, uri string) (target Target, ok bool) {
	i, target := t.find(side, uri)
	return target, i >= 0
}

// find returns the index of the route too; it is -1 where none matches.
func (t *Table) find(side, uri string) (int, Target) {
	if t == nil || len(t.entries) == 0 {
		return -1, Target{}
	}
	u, err := ParseURI(uri)
	if err != nil {
		return -1, Target{}
	}
	for i := range t.entries {
		e := &t.entries[i]
		if e.From != "" && e.From != side || !e.Match.MatchURI(u) {
			continue
		}
		return i, Target{
			URI: e.requestURI(uri, u), Network: e.to.Transport, Host: e.to.Host, Port: e.to.Port,
			Side: e.Side, Peer: e.Peer, Rule: e.Match.String(), Transfer: e.Transfer,
		}
	}
	return -1, Target{}
}

// requestURI is the address that the next hop is asked for.
func (e *entry) requestURI(called string, u URI) string {
	switch {
	case e.to.User == "":
		return called
	case e.to.User != "*":
		return e.To
	}
	_, hop, _ := strings.Cut(e.To, "@")
	if u.User == "" {
		return "sip:" + hop
	}
	return "sip:" + u.User + "@" + hop
}

// Direct is the target of an address that no route matches: the address itself,
// on the outside, found by DNS.
func Direct(uri string) (Target, error) {
	u, err := ParseNextHop(uri)
	if err != nil {
		return Target{}, err
	}
	return Target{URI: uri, Network: u.Transport, Host: u.Host, Port: u.Port, Side: Outside}, nil
}
