// Package demo holds the people and the places that the tests and
// `sipward demo` share, all of them in one process:
//
//	Phone   an unmodified phone: plain SIP over UDP or TCP, plain RTP (PCMU)
//	Wire    the network between two sipwards: it forwards SIP and media like a
//	        provider, sees every octet of them, and hands each to a tap
//	Mitm    the same wire with a man in the middle on it, who answers both sides
//	        with keys of his own
//	Echo    a test address: whoever calls it hears himself
//	Speaker another one: whoever calls it hears the code of the call
//	FarEnd  a sipward with both behind it, for calls of one person alone
//	Run     two phones, two sipwards and a wire put together for one call
//	RunAlone  one phone, a sipward and a far end
//
// Phones and wires open their sockets through a [Network]: the machine's
// loopback ([System]) or one in memory (package memnet), which is what makes a
// call run inside a testing/synctest bubble without waiting for its sound.
//
// Nobody here knows a secret of the sipwards. What the wiretap and the man in
// the middle find out, they find out from what crosses the wire.
package demo
