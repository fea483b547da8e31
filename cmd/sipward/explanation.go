package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

// What becomes of a call.
const (
	outcomeEncrypted   = "encrypted"          // or it does not take place
	outcomePrefer      = "encrypted-or-plain" // as the other end can
	outcomePlain       = "plain"
	outcomeRefused     = "refused"
	outcomeUnavailable = "nobody" // nowhere to go
)

// explanation is what would become of a call, and why. Its JSON form is what
// programs get.
type explanation struct {
	From     string      `json:"from"`
	To       string      `json:"to"`
	Side     string      `json:"side"`     // of the caller: inside or outside
	Listener string      `json:"listener"` // that takes the call, "" for none
	Steps    []step      `json:"steps"`    // in the order in which they count
	Target   *targetView `json:"target"`   // null: nowhere
	Policy   *policyView `json:"policy"`   // null: not asked
	Outcome  string      `json:"outcome"`  // encrypted, encrypted-or-plain, plain, refused, nobody
	Says     string      `json:"says"`     // the outcome as a sentence
	Notes    []string    `json:"notes"`    // what was taken for granted, and what only the call itself shows
}

// step is one thing that was looked at.
type step struct {
	What  string `json:"what"`  // caller, called, emergency, alias, test, route, phones, domain, trunk, address, policy, keys, memory
	Place string `json:"place"` // file:line of the rule, "" for none
	Says  string `json:"says"`
}

type targetView struct {
	URI     string   `json:"uri"`
	Host    string   `json:"host"`
	Port    int      `json:"port"`    // 0: the default, or what DNS says
	Network string   `json:"network"` // udp or tcp, "" for either
	Side    string   `json:"side"`
	Peer    string   `json:"peer"`
	Hops    []string `json:"hops"` // addresses found by DNS, as network ip:port; null where it was not asked
}

type policyView struct {
	Allow  bool   `json:"allow"`
	Mode   string `json:"mode"`
	Rule   string `json:"rule"`
	Reason string `json:"reason"`
}

// question is what explain is asked.
type question struct {
	from, to string
	source   netip.Addr   // invalid: not said
	lookup   route.Lookup // nil: names are not looked up
	known    *knowledge   // nil: nobody is asked about keys
}

// explainer follows a call through a configuration, with nothing running, by the
// same plan and policy as a running sipward.
type explainer struct {
	cfg      *configs.Config
	q        question
	policy   *policy.Policy
	phones   *phones // to ask who has an account; nil where none can register
	plan     route.Plan
	from, to sip.URI
	meant    sip.URI // who is called, behind an alias
	listener *configs.Listener
	side     policy.Side
	peer     string // that the source's address belongs to
	out      explanation
}

// explain answers a question. The error is about the question.
func explain(ctx context.Context, cfg *configs.Config, phones *phones, q question) (*explanation, error) {
	p, err := cfg.Policy()
	if err != nil {
		return nil, err
	}
	e := &explainer{cfg: cfg, q: q, policy: p, phones: phones, out: explanation{Notes: []string{}}}
	e.plan = route.Plan{
		Emergency: route.Emergency{Numbers: cfg.Emergency.Numbers, Target: cfg.EmergencyTarget()},
		Aliases:   cfg.Aliases(), Routes: cfg.Routes(), Peer: cfg.PeerFor,
		Home: route.Home{Domains: cfg.Registrar.Domains, Registrar: cfg.Registrar.On},
	}
	e.findOwn()
	if err := e.parties(); err != nil {
		return nil, err
	}
	e.walk(ctx)
	return &e.out, nil
}

// findOwn gathers the addresses that stand for this sipward's own domain.
func (e *explainer) findOwn() {
	for _, l := range e.cfg.Listeners {
		if addr, err := configs.ResolveAddress(l.Address); err == nil {
			e.plan.Home.Addresses = append(e.plan.Home.Addresses, addr)
		} else {
			e.note("what auto stands for is not known here: %v", err)
		}
		if l.Advertise.IP.IsValid() {
			e.plan.Home.Addresses = append(e.plan.Home.Addresses, netip.AddrPortFrom(l.Advertise.IP, l.Address.Port))
		}
	}
}

func (e *explainer) note(format string, args ...any) {
	if n := fmt.Sprintf(format, args...); !slices.Contains(e.out.Notes, n) {
		e.out.Notes = append(e.out.Notes, n)
	}
}

func (e *explainer) step(what, key, format string, args ...any) {
	s := step{What: what, Says: fmt.Sprintf(format, args...)}
	if key != "" {
		if line := e.cfg.Line(key); line > 0 {
			s.Place = fmt.Sprintf("%s:%d", e.cfg.File, line)
		}
	}
	e.out.Steps = append(e.out.Steps, s)
}

func (e *explainer) ends(outcome, format string, args ...any) {
	e.out.Outcome, e.out.Says = outcome, fmt.Sprintf(format, args...)
}

// home says whether an address is of this sipward's own users.
func (e *explainer) home(u sip.URI) bool { return e.plan.Home.Has(u.Host, u.Port) }

// complete makes an address of what a person writes: a user or number alone is one
// of this host.
func complete(s, host string) (sip.URI, error) {
	u, err := sip.ParseURI(s)
	if scheme := strings.ToLower(s[:max(0, strings.IndexByte(s, ':'))]); !slices.Contains([]string{"sip", "sips", "tel", "urn"}, scheme) {
		if !strings.Contains(s, "@") {
			s += "@" + host
		}
		u, err = sip.ParseURI("sip:" + s)
	}
	if err == nil && u.Scheme == "sip" {
		_, err = route.ParseURI(u.AOR()) // which is strict
	}
	if err != nil {
		return sip.URI{}, usage("%q is not an address; write one such as sip:bob@b.example, or a number", s)
	}
	return u, nil
}

// parties finds out who calls from where, and through which listener.
func (e *explainer) parties() (err error) {
	host := e.homeHost(policy.Inside)
	if e.from, err = complete(e.q.from, host); err != nil {
		return err
	}
	why := e.findSide()
	bare := !strings.Contains(e.q.from, "@") && !strings.Contains(e.q.from, ":")
	if e.side == policy.Outside {
		host = e.homeHost(policy.Outside)
		if bare && e.q.source.IsValid() {
			e.from, err = complete(e.q.from, bracket(e.q.source))
		} else if bare {
			e.from, err = complete(e.q.from, "unknown.invalid")
		}
	}
	if err == nil {
		e.to, err = complete(e.q.to, host)
	}
	if err != nil {
		return err
	}
	e.out.From, e.out.To, e.out.Side = e.from.AOR(), e.to.String(), string(e.side)
	e.step("caller", "", "%s, %s: %s", e.out.From, e.side, why)
	e.step("called", "", "%s", e.out.To)
	return nil
}

// homeHost is the domain of an address without one.
func (e *explainer) homeHost(side policy.Side) string {
	if d := e.cfg.Registrar.Domains; len(d) > 0 {
		if addr, err := netip.ParseAddr(d[0]); err == nil {
			return bracket(addr)
		}
		return d[0]
	}
	for _, l := range e.cfg.Listeners {
		if l.Side != side {
			continue
		}
		if l.Advertise.IP.IsValid() {
			return bracket(l.Advertise.IP)
		}
		if addr, err := configs.ResolveAddress(l.Address); err == nil {
			return bracket(addr.Addr())
		}
	}
	return "sipward.invalid"
}

func bracket(addr netip.Addr) string {
	if addr.Is6() {
		return "[" + addr.String() + "]"
	}
	return addr.String()
}

// findSide says on which side the caller is, by the source where it is given and
// else by what is most likely, and picks the listener.
func (e *explainer) findSide() (why string) {
	first := func(side policy.Side, fits func(configs.Listener) bool) *configs.Listener {
		for i, l := range e.cfg.Listeners {
			if l.Side == side && fits(l) {
				return &e.cfg.Listeners[i]
			}
		}
		return nil
	}
	anyOne := func(configs.Listener) bool { return true }
	outside := first(policy.Outside, anyOne)
	if e.q.source.IsValid() {
		accepts := func(l configs.Listener) bool { return e.cfg.Accepts(l, e.q.source) }
		if e.listener = first(policy.Inside, accepts); e.listener != nil {
			e.side = policy.Inside
			return fmt.Sprintf("listener %q takes calls from %s", e.listener.Name, e.q.source)
		}
		e.side = policy.Outside
		e.peer = e.cfg.PeerFor("", e.q.source)
		known := "a stranger"
		if e.peer != "" {
			known = fmt.Sprintf("the listed peer %q", e.peer)
		}
		switch e.listener = first(policy.Outside, accepts); {
		case e.listener != nil:
			return fmt.Sprintf("%s is %s, whose calls listener %q takes", e.q.source, known, e.listener.Name)
		case outside != nil:
			return fmt.Sprintf("%s is %s, and no listener takes its calls", e.q.source, known)
		}
		return fmt.Sprintf("%s is of no network of an inside listener, and there is no outside one", e.q.source)
	}
	bare := !strings.Contains(e.q.from, "@") && !strings.Contains(e.q.from, ":")
	claimed := e.cfg.PeerFor(e.from.Host, netip.Addr{})
	e.listener, e.side = first(policy.Inside, anyOne), policy.Inside
	if speaks := first(policy.Inside, func(l configs.Listener) bool { return l.SpeaksFor(e.from.AOR()) }); speaks != nil {
		e.listener = speaks
		return fmt.Sprintf("listener %q speaks for it", speaks.Name)
	}
	switch {
	case bare:
		return "taken for one of this sipward's own (--source says it for certain)"
	case e.home(e.from):
		return "of this sipward's own domain"
	case outside == nil:
		return "there is no outside listener"
	}
	e.side = policy.Outside
	e.listener = first(policy.Outside, func(l configs.Listener) bool { return l.Accept != configs.AcceptPeers })
	if claimed != "" {
		e.note("calls are known for those of peer %q by their network, not by what the caller says: --source IP says where from", claimed)
		return fmt.Sprintf("the address is of peer %q", claimed)
	}
	return "the domain is not this sipward's own (for a phone of yours give its address: --source IP)"
}

// decide asks policy about the call, whose next hop is at addr.
func (e *explainer) decide(t route.Target, addr netip.Addr) policy.Decision {
	from := policy.Party{Side: e.side, Addr: e.q.source, URI: e.from.AOR(), Peer: e.peer, Claimed: e.cfg.PeerFor(e.from.Host, netip.Addr{})}
	to := policy.Party{Side: policy.Side(t.Side), Addr: addr, URI: e.to.AOR(), Peer: t.Peer}
	return e.policy.Decide(policy.Facts{From: from, To: to})
}

// ruleKey is where a decision stands in the file.
func (e *explainer) ruleKey(d policy.Decision) string {
	i := slices.IndexFunc(e.cfg.Rules.List, func(r policy.Rule) bool { return r.Name == d.Rule })
	switch {
	case i >= 0:
		return fmt.Sprintf("policy.rules[%d]", i)
	case policy.Reserved(d.Rule):
		return "policy." + d.Rule
	}
	return ""
}
