// Package b2bua joins an A leg, on which an INVITE came, with a B leg, on
// which it goes on, into one call, and secures the leg that lies outside.
//
// A [Proxy] takes the INVITEs of its listeners. Each becomes a [Call], whose
// state is touched on the call's own queue alone; the two [Leg]s hand the
// events of their dialogs to it. What the call does in order:
//
//	intake    who calls, from which side, may they (door, policy, route)
//	dial      the B leg, hop after hop, each try with a new share
//	early     a 183 before it: early media, with keys by 183 and PRACK
//	answer    the 2xx: keys for the initiator, the answer back to the A leg
//	ack       the ACK: keys for the responder
//	modify    re-INVITE and UPDATE, the same path with the keys kept
//	hang up   BYE, CANCEL, refusals; media closed, keys erased
//
// An exchange that another sipward, nearer to a phone, began is not this one's
// to end (passthrough.go, passearly.go): attributes, ACK, PRACK and SRTP cross as they came, and the
// call's protection reads passed-through.
//
// A phone's own SRTP (RFC 4568) ends here (sdes.go), whether it calls or is called
// (sdesoffer.go).
//
// Digits in INFO become events beside the speech, and the reverse (digits.go).
//
// A provider at which sipward itself has an account is a [Trunk]: its registration
// lives beside the calls, on a queue of its own.
//
// Requests that begin no call (MESSAGE, SUBSCRIBE and their like) are judged as
// the call of the same parties would be, and handed to sip/relay:
//
//	carry     who may send them, where they go, what must not cross in clear
//
// Packages below know nothing of each other: this one converts between
// messages (sip), session descriptions (sip/sdp), relays (media) and the
// exchange (keyexchange).
package b2bua
