package main

import (
	"context"
	"errors"
	"strings"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sas/attest"
	"github.com/sipward/sipward/trust"
)

// knowledge is what is known of the keys of others.
type knowledge struct {
	keyring  attest.Keyring // nil: none
	remember func(ctx context.Context, identity string) (e trust.Entry, from string, err error)
}

// otherEnd is who is at the other end of a call outside, as the call names it, "" for none.
func (e *explainer) otherEnd(t route.Target) string {
	u := e.to
	switch {
	case e.side == policy.Outside:
		u = e.from
	case t.Side != route.Outside:
		return ""
	case e.meant.User != "":
		u = e.meant
	}
	if id := u.AOR(); strings.Contains(id, "@") {
		return id
	}
	return ""
}

// keys says what is known of the other end, and refuses what policy asks of it in
// vain. Not ok where the call ends with that.
func (e *explainer) keys(ctx context.Context, t route.Target, d policy.Decision) (ok bool) {
	id := e.otherEnd(t)
	if e.q.known == nil || id == "" || !d.Allow || d.Mode == policy.Off {
		return true
	}
	best, looked := trust.Encrypted, false
	if k := e.q.known.keyring; k != nil {
		looked = true
		if k.Usable(ctx, id) {
			best = trust.Verified
			e.step("keys", "keyring", "a key of the keyring can prove %s", id)
		} else {
			e.step("keys", "keyring", "no key of the keyring is for %s", id)
		}
	}
	entry, from, err := e.q.known.remember(ctx, id)
	switch {
	case errors.Is(err, trust.ErrUnknown):
		if looked = true; d.Trust != "" && d.Trust != policy.Encrypted {
			e.step("memory", "", "%s remembers nothing of %s", from, id)
		}
	case err == nil:
		looked = true
		degree, said := e.remembered(entry, from)
		if degree.Reaches(best) {
			best = degree
		}
		e.step("memory", "", "%s", said)
	}
	if entry.Blocked {
		e.ends(outcomeRefused, "The call is refused: calls with %s are blocked (sipward trust unblock).", id)
		return false
	}
	if least := trust.Word(d.Trust); d.Mode == policy.Require && least != trust.Encrypted && !best.Reaches(least) {
		if !looked {
			e.note("the call must be signed with a key that is known here, and neither a running sipward nor its state file could be asked")
			return true
		}
		e.ends(outcomeRefused, "The call is refused before it rings: it must be signed with a key that is known here, and none of %s is.", id)
		return false
	}
	return true
}

// remembered says what an entry is worth, in a word and in a sentence.
func (e *explainer) remembered(entry trust.Entry, from string) (best trust.Word, says string) {
	best = trust.Encrypted
	weak, differed := 0, 0
	for _, p := range entry.Pins {
		switch degree(p) {
		case "confirmed":
			best = trust.Verified
		case "pinned":
			if best != trust.Verified {
				best = trust.Pinned
			}
		case "differed":
			differed++
		default:
			weak++
		}
	}
	switch {
	case best == trust.Verified:
		says = from + " remembers a key that was confirmed: signed with it, the call is verified"
	case best == trust.Pinned:
		says = from + " remembers a key from a call: signed with it, the call is pinned, and with another one it is a mismatch"
	case weak > 0:
		says = from + " remembers a key that only incoming calls have shown, which counts little"
	case !entry.Protected.IsZero():
		says = from + " remembers that calls were encrypted: a plain one would be a downgrade"
	default:
		says = from + " remembers no key"
	}
	if differed > 0 {
		says += "; and one of which somebody said that the words differed: signed with it, the call is a mismatch"
	}
	return best, says
}
