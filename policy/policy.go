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

// Trust is how much a call under [Require] has to be worth, in the words that a
// person sees (protocol section 6).
type Trust string

// Degrees of trust, from the least.
const (
	Encrypted Trust = "encrypted" // with keys that were agreed, whoever with
	Pinned    Trust = "pinned"    // and a key of an earlier call that this side dialled has signed
	Verified  Trust = "verified"  // and a key has signed that somebody here has checked
)

func (t Trust) strictness() int { return slices.Index([]Trust{Encrypted, Pinned, Verified}, t) }

// Answer says what follows from something that is wrong about the other end.
type Answer string

// Answers.
const (
	End  Answer = "end"  // the call
	Warn Answer = "warn" // whoever looks at the call, which goes on
)

func (a Answer) known() bool { return a == End || a == Warn }

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
	Trust  Trust  // least that a call under Require must be worth; "" under other modes
	// OnMismatch says what follows where the other end is not who it was, or its
	// signature is wrong. Where more than Encrypted is required it ends in any case.
	OnMismatch Answer
	// OnDowngrade is the same where a peer that gave more before, encryption or a
	// signature, gives it no more.
	OnDowngrade Answer
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
	Trust    Trust // with Require; "" is Encrypted
	// What follows from a mismatch and from a downgrade; "" is what Rules says.
	OnMismatch, OnDowngrade Answer
}

// Rules is what a policy is made of. A mode left empty takes the default.
type Rules struct {
	Inside       Mode // calls from inside to inside; "" is Off
	ListedPeers  Mode // calls with a listed peer; "" is Require
	UnknownPeers Mode // calls with any other peer; "" is Prefer
	// Trust with each of them; "" is Encrypted where its mode is Require.
	ListedTrust, UnknownTrust Trust
	OnMismatch                Answer // "" is End
	OnDowngrade               Answer // "" is Warn
	List                      []Rule
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
	for _, d := range []struct {
		name string
		mode Mode
		t    *Trust
	}{{defaultListed, rules.ListedPeers, &rules.ListedTrust}, {defaultUnknown, rules.UnknownPeers, &rules.UnknownTrust}} {
		if err := fillTrust(d.name, d.mode, d.t); err != nil {
			return nil, err
		}
	}
	if err := fillAnswers("rules", &rules.OnMismatch, &rules.OnDowngrade, End, Warn); err != nil {
		return nil, err
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
		if err := fillTrust(fmt.Sprintf("rule %q", r.Name), r.Mode, &r.Trust); err != nil {
			return nil, err
		}
		if err := fillAnswers(fmt.Sprintf("rule %q", r.Name), &r.OnMismatch, &r.OnDowngrade, rules.OnMismatch, rules.OnDowngrade); err != nil {
			return nil, err
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

// fillTrust puts the least degree where Require names none, and refuses one beside
// another mode.
func fillTrust(name string, mode Mode, t *Trust) error {
	switch {
	case mode == Require && *t == "":
		*t = Encrypted
	case *t == "":
	case mode != Require:
		return fmt.Errorf("policy: %s: %s calls have no least trust, only those of the mode require have", name, mode)
	case t.strictness() < 0:
		return fmt.Errorf("policy: %s: trust %q is none of encrypted, pinned, verified", name, *t)
	}
	return nil
}

func fillAnswers(name string, mismatch, downgrade *Answer, otherMismatch, otherDowngrade Answer) error {
	if *mismatch == "" {
		*mismatch = otherMismatch
	}
	if *downgrade == "" {
		*downgrade = otherDowngrade
	}
	if !mismatch.known() || !downgrade.known() {
		return fmt.Errorf("policy: %s: what follows from a mismatch or downgrade is end or warn, not %q and %q", name, *mismatch, *downgrade)
	}
	return nil
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
		if claimed := p.decide(f); claimed.stricter(d) {
			return claimed
		}
	}
	return d
}

// stricter says whether a call may do less under d than under e.
func (d Decision) stricter(e Decision) bool {
	if d.Mode != e.Mode {
		return d.Mode.strictness() > e.Mode.strictness()
	}
	return d.Trust.strictness() > e.Trust.strictness()
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
			d := p.decided(r.Mode, r.Trust, r.Name, fmt.Sprintf("rule %q: %s %s", r.Name, r.calls(), phrase(r.Mode, r.Trust)))
			d.OnMismatch, d.OnDowngrade = r.OnMismatch, r.OnDowngrade
			return d
		}
	}
	if through {
		return refused(defaultOutside, "calls from outside to outside are refused")
	}
	if f.From.Side == Inside && f.To.Side == Inside {
		mode := p.rules.Inside
		return p.decided(mode, "", defaultInside, "inside: calls from inside to inside "+phrase(mode, ""))
	}
	other := f.To
	if f.From.Side == Outside {
		other = f.From
	}
	if other.Peer != "" {
		mode, least := p.rules.ListedPeers, p.rules.ListedTrust
		return p.decided(mode, least, defaultListed, fmt.Sprintf("listed_peers: calls with the listed peer %q %s", other.Peer, phrase(mode, least)))
	}
	mode, least := p.rules.UnknownPeers, p.rules.UnknownTrust
	return p.decided(mode, least, defaultUnknown, "unknown_peers: calls with peers that are not listed "+phrase(mode, least))
}

func (p *Policy) decided(mode Mode, least Trust, rule, reason string) Decision {
	return Decision{Allow: mode != Refuse, Mode: mode, Trust: least, Rule: rule, Reason: reason, OnMismatch: p.rules.OnMismatch, OnDowngrade: p.rules.OnDowngrade}
}

func refused(rule, reason string) Decision {
	return Decision{Mode: Refuse, Rule: rule, Reason: reason}
}

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
