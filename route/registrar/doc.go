// Package registrar keeps the bindings of the built-in registrar: under which
// contacts the users of this sipward can be reached at present (RFC 3261
// section 10.3), without the messages that ask for them and without deciding
// who may ask.
//
//	an address of record              its bindings
//	sip:alice@a.example       ->      sip:alice@192.0.2.7:5060   until 12:00, over udp from 192.0.2.7:5060
//	                                  sip:alice@192.0.2.8:49152  until 12:20, over tcp from 192.0.2.8:49152
//
// [Registrar.Register] changes the bindings of one address as a request asks,
// all of it or nothing. When it returns, its answer is durable: the bindings
// stand in the [Keeper], one record an address, and are there again after a
// restart. Users that register at once do not wait for one another.
//
// # Addresses of record
//
// Spellings of one address are the same address ([Canonical]): the host is
// compared without regard to case, an escaped octet counts as the octet that it
// stands for; the port, a password and parameters do not count. Contacts are
// compared as RFC 3261 section 19.1.4 has it.
//
// # Expiry
//
// A binding that has expired is no longer returned, from that instant on;
// [Registrar.Sweep] takes it out of memory and out of the keeper. While a
// process runs, expiry follows the monotonic clock; across a restart it follows
// the time of day, with no binding lasting longer than the longest interval
// from then on.
package registrar
