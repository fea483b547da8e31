// Package route says where a request goes.
//
// A [Table] holds the static routes of the configuration: the first whose
// [Pattern] matches the address called names the [Target]. An address that no
// route matches is its own target ([Direct]). [Resolve] turns a target into the
// addresses to try, by RFC 3263.
//
// # Patterns
//
// Routes and policy rules name addresses by the same patterns:
//
//	*@b.example        every user of one domain
//	b.example          the same
//	bob@*              one user, whatever the domain
//	bob                the same
//	+49*               every user whose name begins so
//	sip:bob@b.example  one address
//	*                  every address
//
// A star stands for any run of octets, an empty one included. Without an @, a
// word that holds a dot or stands in brackets is a domain, any other word a
// user; write alice.smith@* for a user with a dot and *@intranet for a domain
// without one.
//
// The user is compared octet for octet, upper and lower case apart; an octet
// written %62 counts as the octet it stands for (RFC 3261 section 19.1.4), in
// the pattern too, so that %2A there is a star taken literally. The domain is
// compared without regard to case and to a final dot, an IP address by its
// value. Port, password, parameters and headers of the address do not count.
//
// A scheme before the pattern narrows it: sip: matches SIP and SIPS addresses,
// sips: the latter only, tel: telephone numbers (RFC 3966), which have a user
// (the number without its visual separators) and an empty domain. Without a
// scheme every address is looked at.
//
// Matching takes time proportional to the length of the address.
package route
