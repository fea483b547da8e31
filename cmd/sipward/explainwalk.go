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

// walk follows the call until something ends it.
func (e *explainer) walk(ctx context.Context) {
	if e.listener == nil {
		e.ends(outcomeRefused, "The call is refused: no listener takes it.")
		return
	}
	e.out.Listener = e.listener.Name
	emergency := e.side == policy.Inside && e.plan.Emergency.Called(e.to.String(), e.to.User)
	if s := e.to.Scheme; s != "sip" && s != "sips" && !emergency {
		e.ends(outcomeRefused, "The call is refused: %s: is not called from here, only sip: and sips:.", s)
		return
	}
	if emergency {
		t := e.cfg.EmergencyTarget()
		e.step("emergency", "emergency", "a call for help, before everything else: to %s, %s", t.URI, t.Side)
		e.target(t)
		e.byTrunk(t, true)
		e.ends(outcomePlain, "The call goes to %s at once, without a password and not encrypted, so that nothing can hold it up.", t.Host)
		return
	}
	find := e.find
	if e.side == policy.Inside && e.listener.Accounts == configs.AccountsElsewhere {
		find = e.findElsewhere
	} else if !e.mayCall() {
		return
	}
	t, ok := find()
	if !ok {
		return
	}
	e.target(t)
	if !e.byTrunk(t, false) {
		return
	}
	addr, err := netip.ParseAddr(t.Host)
	byName := err != nil && !e.phoneTarget(t)
	d := e.decide(t, addr)
	if byName && d.Allow {
		if addr, ok = e.addresses(ctx, t); !ok {
			return
		}
		if addr.IsValid() && e.side == policy.Inside {
			d = e.decide(t, addr)
		}
	}
	e.byNetworks(t, addr)
	e.out.Policy = &policyView{d.Allow, string(d.Mode), d.Rule, d.Reason}
	e.step("policy", e.ruleKey(d), "%s", d.Reason)
	if e.keys(ctx, t, d) {
		e.conclude(t, d)
	}
}

// mayCall asks whether a phone inside could prove who it says that it is.
func (e *explainer) mayCall() bool {
	if e.side != policy.Inside || e.phones == nil || e.phones.users == nil {
		return true
	}
	file := e.cfg.Registrar.Users
	switch {
	case e.home(e.from) && e.phones.known(e.from.User):
		e.note("the phone is asked for the password of %s first", clean(e.from.User))
		return true
	case !e.home(e.from):
		e.step("caller", "registrar.users", "phones of listener %q have passwords here, and none is for %s", e.listener.Name, clean(e.from.Host))
		e.ends(outcomeRefused, "The call is refused: the caller has no account here. Phones with accounts at %s need a listener with accounts: elsewhere.", clean(e.from.Host))
		return false
	}
	e.step("caller", "registrar.users", "%s has no line for %s", file, clean(e.from.User))
	e.ends(outcomeRefused, "The call is refused: the caller has no account here.")
	return false
}

// findElsewhere looks where a phone of a listener for accounts elsewhere may
// call.
func (e *explainer) findElsewhere() (route.Target, bool) {
	i := slices.IndexFunc(e.cfg.Listeners, func(l configs.Listener) bool { return l.Name == e.listener.Name })
	key := fmt.Sprintf("listeners[%d].accounts", i)
	switch {
	case e.home(e.from):
		e.step("caller", key, "phones of listener %q have their accounts elsewhere", e.listener.Name)
		e.ends(outcomeRefused, "The call is refused: %s would be an account here.", e.from.AOR())
		return route.Target{}, false
	case e.home(e.to) || !strings.EqualFold(e.to.Host, e.from.Host):
		e.step("caller", key, "phones of listener %q call where their account is", e.listener.Name)
		e.ends(outcomeRefused, "The call is refused: %s may call addresses at %s alone.", e.from.AOR(), clean(e.from.Host))
		return route.Target{}, false
	}
	t, ok := e.cfg.Routes().LookupFrom(route.Inside, e.from.AOR())
	if !ok || t.Side != route.Outside {
		var err error
		if t, err = route.Direct("sip:" + strings.TrimPrefix(e.from.AOR()[strings.LastIndexByte(e.from.AOR(), '@')+1:], "sip:")); err != nil {
			e.ends(outcomeRefused, "The call is refused: %v.", err)
			return t, false
		}
		t.Peer = e.cfg.PeerFor(t.Host, netip.Addr{})
	}
	t.URI = e.to.String()
	e.step("caller", key, "the call goes to the registrar of %s, which asks for the password", clean(e.from.Host))
	e.note("only while the phone has registered as %s by way of this sipward", e.from.AOR())
	e.note("where the registrar has named proxies for the phone's calls (Service-Route), the first of them is the next hop")
	return t, true
}

// find looks where the call goes.
func (e *explainer) find() (route.Target, bool) {
	called := e.led(e.to)
	f := e.plan.Find(string(e.side), called.String(), e)
	uri, err := sip.ParseURI(f.Meant)
	if err != nil {
		uri = called
	}
	e.meant = uri
	if f.Alias >= 0 {
		e.step("alias", fmt.Sprintf("aliases[%d]", f.Alias), "%q stands for %s", e.cfg.AliasList[f.Alias].Match, uri.String())
	}
	if t, found, goesOn := e.testAddress(uri); found {
		e.target(t)
		return t, goesOn
	}
	switch t := f.Target; f.Kind {
	case route.Static:
		to := t.Side
		if t.Peer != "" {
			to += ", peer " + t.Peer
		}
		e.step("route", fmt.Sprintf("routes[%d]", f.Route), "%q leads to %s (%s)", t.Rule, e.cfg.StaticRoutes[f.Route].To, to)
		if t.Side == route.Inside {
			e.phoneMedia()
		}
		return t, true
	case route.Registered:
		return e.registered(uri, t)
	case route.Domain:
		peer := "a peer that is not listed"
		if t.Peer != "" {
			peer = fmt.Sprintf("the listed peer %q", t.Peer)
		}
		e.step("domain", "", "no route is for it: the call goes to %s itself, %s", t.Host, peer)
		return t, true
	}
	if e.cfg.Registrar.On && e.home(uri) {
		e.step("phones", "registrar", "%s names no user", uri.AOR())
		e.ends(outcomeUnavailable, "The call is refused: there is no such user here.")
		return f.Target, false
	}
	e.step("route", "", "none is for %s from the %s", uri.AOR(), e.side)
	if e.side == policy.Outside {
		e.note("a phone that has registered as %s elsewhere, by way of this sipward, would ring", clean(uri.User))
		e.ends(outcomeUnavailable, "The call is refused: nothing leads from outside to %s.", uri.AOR())
	} else {
		e.ends(outcomeUnavailable, "The call is answered with 404: nobody is known here as %s.", uri.AOR())
	}
	return f.Target, false
}

// Elsewhere implements [route.Phones]: the contacts of accounts elsewhere are
// random, and only the running sipward knows them.
func (e *explainer) Elsewhere(string) (string, bool) { return "", false }

// Registered implements [route.Phones]: every user is taken for one whose phone
// has registered, as only the running sipward knows.
func (e *explainer) Registered(string) bool { return e.cfg.Registrar.On }

// registered leads to the phones of a user of this sipward.
func (e *explainer) registered(uri sip.URI, t route.Target) (route.Target, bool) {
	user := clean(uri.User)
	if e.phones != nil && e.phones.users != nil && !e.phones.known(uri.User) {
		e.step("phones", "registrar.users", "%s has no line for %s", e.cfg.Registrar.Users, user)
		e.ends(outcomeUnavailable, "The call is refused: there is no such user here.")
		return t, false
	}
	e.phoneMedia()
	e.step("phones", "registrar", "it rings at the phones that have registered as %s", user)
	e.note("whether a phone has registered as %s, only the running sipward knows; without one the call is answered with 480 or 404", user)
	return t, true
}

// phoneMedia notes what phones that are called are offered, where that is not what
// they have shown to want.
func (e *explainer) phoneMedia() {
	for _, l := range e.cfg.Listeners {
		switch l.SDES {
		case configs.SDESAlways:
			e.note("phones of listener %q are offered SRTP with keys in SDP, and nothing else (sdes: always)", l.Name)
		case configs.SDESOff:
			e.note("phones of listener %q are offered plain RTP, and no SRTP if they refuse it (sdes: off)", l.Name)
		}
	}
}

func (e *explainer) phoneTarget(t route.Target) bool { return t.Rule == route.RuleRegistered }

func (e *explainer) target(t route.Target) {
	e.out.Target = &targetView{URI: t.URI, Host: t.Host, Port: t.Port, Network: t.Network, Side: t.Side, Peer: t.Peer}
}

// addresses looks up the next hop; not ok where there is none.
func (e *explainer) addresses(ctx context.Context, t route.Target) (netip.Addr, bool) {
	if e.q.lookup == nil {
		e.note("%s was not looked up; --dns does", t.Host)
		return netip.Addr{}, true
	}
	hops, err := route.Resolve(ctx, e.q.lookup, t)
	if err != nil {
		e.step("address", "", "%s", clean(err.Error()))
		e.ends(outcomeUnavailable, "The call fails: there is no way to %s.", t.Host)
		return netip.Addr{}, false
	}
	e.out.Target.Hops = []string{}
	first := netip.Addr{}
	for _, h := range hops {
		e.out.Target.Hops = append(e.out.Target.Hops, h.Network+" "+h.Addr.String())
		if !first.IsValid() && e.sends(policy.Side(t.Side), h) {
			first = h.Addr.Addr()
		}
	}
	e.step("address", "", "%s is at %s", t.Host, strings.Join(e.out.Target.Hops, ", "))
	if !first.IsValid() {
		e.ends(outcomeUnavailable, "The call fails: no %s listener can send to one of these addresses.", t.Side)
		return first, false
	}
	return first, true
}

// sends says whether a listener of that side can send to a hop.
func (e *explainer) sends(side policy.Side, h route.Hop) bool {
	return slices.ContainsFunc(e.cfg.Listeners, func(l configs.Listener) bool {
		addr, err := configs.ResolveAddress(l.Address)
		return l.Side == side && slices.Contains(l.Transports, h.Network) && err == nil && addr.Addr().Is4() == h.Addr.Addr().Unmap().Is4()
	})
}

// byNetworks notes rules that could not be judged since an address is not known.
func (e *explainer) byNetworks(t route.Target, to netip.Addr) {
	for _, r := range e.cfg.Rules.List {
		if r.From.Network.IsValid() && !e.q.source.IsValid() {
			e.note("rule %q asks for the caller's network, and it was not said: --source IP", r.Name)
		}
		if r.To.Network.IsValid() && !to.IsValid() && !e.phoneTarget(t) && e.q.lookup == nil {
			e.note("rule %q asks for the network of who is called, and that was not looked up: --dns", r.Name)
		}
	}
}

// conclude says what a decision means between these sides.
func (e *explainer) conclude(t route.Target, d policy.Decision) {
	where := t.Host
	switch {
	case e.phoneTarget(t) && slices.ContainsFunc(e.out.Steps, func(s step) bool { return s.What == "test" }):
		where = "the test address"
	case e.phoneTarget(t):
		where = "the phone"
	}
	caller, callee := e.side, policy.Side(t.Side)
	switch {
	case !d.Allow:
		e.ends(outcomeRefused, "The call is refused by policy.")
		return
	case caller == policy.Inside && callee == policy.Inside && d.Mode == policy.Require:
		e.ends(outcomeRefused, "The call is refused: it must be encrypted, and between phones inside nothing is.")
		return
	case caller == policy.Inside && callee == policy.Inside:
		e.ends(outcomePlain, "The call goes to %s and stays plain: between phones inside nothing is encrypted.", where)
		return
	case d.Mode == policy.Off:
		e.ends(outcomePlain, "The call goes to %s and is not encrypted.", where)
		return
	}
	end := "the other end"
	if caller == policy.Outside {
		end = "the caller"
	}
	if d.Mode == policy.Require && d.Trust != policy.Encrypted {
		e.ends(outcomeEncrypted, "The call goes to %s, encrypted and signed by %s with a key that is known here, or it does not take place.", where, end)
	} else if d.Mode == policy.Require {
		e.ends(outcomeEncrypted, "The call goes to %s and is encrypted, or it does not take place: %s needs a sipward too.", where, end)
	} else {
		e.ends(outcomePrefer, "The call goes to %s and is encrypted if %s has a sipward too; otherwise it is plain, and says so.", where, end)
	}
	if caller == policy.Inside && t.Network != "tcp" && !slices.Contains(e.cfg.Crypto.Groups, "x25519") {
		e.note("crypto.groups allows only what does not fit into UDP: over UDP there is no key exchange")
	}
}
