package policy

import (
	"fmt"
	"net/netip"
	"slices"
)

// Side is where a party stands, as the listener that it uses declares it.
type Side string

// Sides.
const (
	Inside  Side = "inside"
	Outside Side = "outside"
)

// Mode says how a call is to be protected.
type Mode string

// Modes; the package comment explains them.
const (
	Require Mode = "require"
	Prefer  Mode = "prefer"
	Off     Mode = "off"
	Refuse  Mode = "refuse"
)

// Party is the caller or the callee of a call.
type Party struct {
	Side Side
	Addr netip.Addr // where the party's signalling comes from or goes to; the zero Addr while that is not known
	URI  string     // sip:user@host; "" if none was given
	Peer string     // name of the listed peer, "" for one that is not listed
	// Claimed is the listed peer that a caller outside says to be, in its From,
	// where its address does not prove it. Anybody can claim a name, so it can make
	// a decision stricter and never milder.
	Claimed string
}

// Facts are what a decision rests on.
type Facts struct{ From, To Party }

// Decision is what a call may do.
type Decision struct {
	Allow  bool
	Mode   Mode   // Require, Prefer or Off; Refuse where Allow is false
	Rule   string // name of the rule, or the default that decided: inside, listed_peers, unknown_peers, outside
	Reason string // the same as a sentence
}

// Pattern matches addresses. route.Pattern satisfies it; this package imports
// nothing of the module, so the language of the patterns stands there.
type Pattern interface {
	// Match reports whether the address fits. The error says that the address
	// cannot be read.
	Match(uri string) (bool, error)
	String() string
}

// Match says which parties a rule is for. What is left at its zero value matches
// every party.
type Match struct {
	Side    Side
	Network netip.Prefix // matches no party whose Addr is not known
	Address Pattern      // matches no party without a URI
}

// Rule decides the calls whose caller matches From and whose callee matches To.
type Rule struct {
	Name     string // not empty, and no other rule's or default's
	From, To Match
	Mode     Mode
}

// Rules is what a policy is made of. A mode left empty takes the default.
type Rules struct {
	Inside       Mode // calls from inside to inside; "" is Off
	ListedPeers  Mode // calls with a listed peer; "" is Require
	UnknownPeers Mode // calls with any other peer; "" is Prefer
	List         []Rule
}

// Policy decides calls. It does not change once made and may be used by several
// goroutines.
type Policy struct{ rules Rules }

// Names of the defaults, which no rule may have. Decision.Rule holds them.
const (
	defaultInside  = "inside"
	defaultListed  = "listed_peers"
	defaultUnknown = "unknown_peers"
	defaultOutside = "outside"
)

// Reserved reports whether a name is that of a default and cannot be a rule's.
func Reserved(name string) bool {
	switch name {
	case defaultInside, defaultListed, defaultUnknown, defaultOutside:
		return true
	}
	return false
}

// New checks the rules and makes a policy of them. The error names the first
// faulty rule.
func New(rules Rules) (*Policy, error) {
	rules.List = slices.Clone(rules.List)
	for _, d := range []struct {
		name  string
		mode  *Mode
		value Mode
	}{
		{defaultInside, &rules.Inside, Off},
		{defaultListed, &rules.ListedPeers, Require},
		{defaultUnknown, &rules.UnknownPeers, Prefer},
	} {
		if *d.mode == "" {
			*d.mode = d.value
		}
		if !d.mode.known() {
			return nil, fmt.Errorf("policy: %s: mode %q is none of require, prefer, off, refuse", d.name, *d.mode)
		}
	}
	names := make(map[string]bool, len(rules.List))
	for i := range rules.List {
		r := &rules.List[i]
		switch {
		case r.Name == "":
			return nil, fmt.Errorf("policy: rule %d has no name", i+1)
		case Reserved(r.Name):
			return nil, fmt.Errorf("policy: rule %q has the name of a default", r.Name)
		case names[r.Name]:
			return nil, fmt.Errorf("policy: two rules are named %q", r.Name)
		case !r.Mode.known():
			return nil, fmt.Errorf("policy: rule %q: mode %q is none of require, prefer, off, refuse", r.Name, r.Mode)
		}
		names[r.Name] = true
		for _, m := range []*Match{&r.From, &r.To} {
			if m.Side != "" && m.Side != Inside && m.Side != Outside {
				return nil, fmt.Errorf("policy: rule %q: side %q is neither inside nor outside", r.Name, m.Side)
			}
			m.Network = unmapped(m.Network)
		}
	}
	return &Policy{rules: rules}, nil
}

func (m Mode) known() bool {
	return m == Require || m == Prefer || m == Off || m == Refuse
}

// unmapped turns ::ffff:192.0.2.0/120 into 192.0.2.0/24, since parties are
// compared by their IPv4 address.
func unmapped(p netip.Prefix) netip.Prefix {
	if p.IsValid() && p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// Decide says what the call may do. It refuses a call that it cannot judge: a
// side that is not known, or an address that cannot be read where a rule asks
// for it.
func (p *Policy) Decide(f Facts) Decision {
	d := p.decide(f)
	if f.From.Side == Outside && f.From.Peer == "" && f.From.Claimed != "" {
		f.From.Peer = f.From.Claimed
		if claimed := p.decide(f); claimed.Mode.strictness() > d.Mode.strictness() {
			return claimed
		}
	}
	return d
}

// strictness orders modes: what a call may do less under comes later.
func (m Mode) strictness() int { return slices.Index([]Mode{Off, Prefer, Require, Refuse}, m) }

func (p *Policy) decide(f Facts) Decision {
	for _, side := range []Side{f.From.Side, f.To.Side} {
		if side != Inside && side != Outside {
			return refused("", "the call is refused: it is not known on which side a party stands")
		}
	}
	through := f.From.Side == Outside && f.To.Side == Outside
	for i := range p.rules.List {
		r := &p.rules.List[i]
		if through && (r.From.Side != Outside || r.To.Side != Outside) {
			continue
		}
		ok, err := r.matches(f)
		if err != nil {
			return refused(r.Name, fmt.Sprintf("rule %q cannot be applied, so the call is refused: %v", r.Name, err))
		}
		if ok {
			return decided(r.Mode, r.Name, fmt.Sprintf("rule %q: %s %s", r.Name, r.calls(), r.Mode.phrase()))
		}
	}
	if through {
		return refused(defaultOutside, "calls from outside to outside are refused")
	}
	if f.From.Side == Inside && f.To.Side == Inside {
		mode := p.rules.Inside
		return decided(mode, defaultInside, "inside: calls from inside to inside "+mode.phrase())
	}
	other := f.To
	if f.From.Side == Outside {
		other = f.From
	}
	if other.Peer != "" {
		mode := p.rules.ListedPeers
		return decided(mode, defaultListed, fmt.Sprintf("listed_peers: calls with the listed peer %q %s", other.Peer, mode.phrase()))
	}
	mode := p.rules.UnknownPeers
	return decided(mode, defaultUnknown, "unknown_peers: calls with peers that are not listed "+mode.phrase())
}

func decided(mode Mode, rule, reason string) Decision {
	return Decision{Allow: mode != Refuse, Mode: mode, Rule: rule, Reason: reason}
}

func refused(rule, reason string) Decision { return decided(Refuse, rule, reason) }

func (r *Rule) matches(f Facts) (bool, error) {
	ok, err := r.From.matches(f.From)
	if !ok {
		return false, err
	}
	return r.To.matches(f.To)
}

// matches looks at the address last: one that cannot be read is an error only
// where everything else fits.
func (m *Match) matches(p Party) (bool, error) {
	if m.Side != "" && m.Side != p.Side {
		return false, nil
	}
	// A zone would keep fe80::1%eth0 out of fe80::/10.
	if m.Network.IsValid() && !m.Network.Contains(p.Addr.Unmap().WithZone("")) {
		return false, nil
	}
	if m.Address == nil {
		return true, nil
	}
	if p.URI == "" {
		return false, nil
	}
	return m.Address.Match(p.URI)
}
