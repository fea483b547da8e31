// Package calls measures what a call costs a sipward beside its packets: CPU
// time from INVITE to ACK, what it allocates, memory while it is held, and what
// registrations cost.
//
//	phones ── house under test ══ far house ── phones
//
// The house under test is a process of its own, with nothing in it but package
// b2bua on real sockets. Phones and the far house, without which there would be
// no exchange of keys, are in the measuring process.
package calls
