package main

import (
	"fmt"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

// led is the address that the provider's call is for, as its trunk writes numbers.
func (e *explainer) led(u sip.URI) sip.URI {
	t, i := e.cfg.TrunkOf(e.peer)
	if t == nil || e.side != policy.Outside {
		return u
	}
	_, _, incoming, err := rewrites(*t)
	if number, ok := incoming.Apply(u.User); ok && err == nil {
		e.step("trunk", fmt.Sprintf("trunks[%d].numbers.incoming", i), "%s is written as %s", u.User, number)
		u.User = number
	}
	return u
}

// byTrunk says that a call leaves by an account at a provider; not ok where it may
// not.
func (e *explainer) byTrunk(t route.Target, urgent bool) bool {
	trunk, i := e.cfg.TrunkOf(t.Peer)
	if trunk == nil || t.Side != route.Outside {
		return true
	}
	key := fmt.Sprintf("trunks[%d]", i)
	if e.side == policy.Outside {
		e.step("trunk", key, "it would leave by the account %s at %s", trunk.From, trunk.Server)
		e.ends(outcomeRefused, "The call is refused: nobody outside calls at the cost of this sipward's account.")
		return false
	}
	called, callers, _, err := rewrites(*trunk)
	from, fromErr := sip.ParseURI(trunk.From)
	to, toErr := sip.ParseURI(t.URI)
	if err != nil || fromErr != nil || toErr != nil {
		return true // the file was checked
	}
	if to.User == "" {
		to.User = e.to.User
	}
	if !urgent {
		to.User, _ = called.Apply(to.User)
	}
	if number, ok := callers.Apply(e.from.User); ok {
		from.User = number
	}
	how := "this sipward's address is what the provider knows"
	if trunk.Register {
		how = "this sipward registers there as " + trunk.User
	}
	e.step("trunk", key, "it goes by the trunk, as a call from %s to %s: %s", from.AOR(), to.User, how)
	return true
}
