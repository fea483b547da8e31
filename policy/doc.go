// Package policy decides from facts what a call may do, and says why.
//
// A call has a caller and a callee, each on a side, at an address of the network
// and with an address of its own. [Policy.Decide] answers with a mode:
//
//	require  the call must be protected, or it does not take place
//	prefer   the call is protected where the other end can, and plain otherwise
//	off      the call stays plain
//	refuse   the call does not take place
//
// Under require it also says what the call has to be worth at least ([Trust]):
// encrypted, pinned or verified. Whether it is, nobody can say before keys and
// signatures have come; a decision says besides what follows where they are not
// those of earlier calls ([Answer]).
//
// Rules are looked at in their order, and the first that matches decides. A call
// that none matches is decided by where it goes:
//
//	inside to inside     off: it stays plain
//	to or from a peer
//	that is listed       require
//	any other            prefer
//	outside to outside   refused
//
// The first three can be set otherwise. A call from outside to outside would use
// this sipward as a relay between strangers, so a rule applies to it only when it
// names the side outside for both parties; a rule that merely leaves the sides
// open does not.
package policy
