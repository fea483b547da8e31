package b2bua

import "github.com/sipward/sipward/policy"

// emergencyDecision lets such a call go on whatever it takes: no password, no
// limit, no exchange that could fail.
func emergencyDecision() policy.Decision {
	return policy.Decision{Allow: true, Mode: policy.Off, Rule: "emergency", Reason: "unprotected: an emergency call goes on at once, whatever it takes"}
}
