package b2bua

import (
	"slices"
	"strings"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

// Emergency says which calls come before everything else.
type Emergency struct {
	Numbers []string     // as dialled: "112"
	Target  route.Target // where they go; an empty Host: nowhere, they are calls like others
}

// isEmergency says whether a URI calls for help: one of the numbers, or a
// service URN of RFC 5031.
func (p *Proxy) isEmergency(u sip.URI) bool {
	if p.o.Emergency.Target.Host == "" {
		return false
	}
	if u.Scheme == "urn" {
		return strings.HasPrefix(strings.ToLower(u.String()), "urn:service:sos")
	}
	return slices.Contains(p.o.Emergency.Numbers, u.User)
}

// emergencyDecision lets such a call go on whatever it takes: no password, no
// limit, no exchange that could fail.
func emergencyDecision() policy.Decision {
	return policy.Decision{Allow: true, Mode: policy.Off, Rule: "emergency", Reason: "unprotected: an emergency call goes on at once, whatever it takes"}
}
