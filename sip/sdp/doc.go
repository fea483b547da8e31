// Package sdp reads session descriptions (RFC 8866) and rewrites them for
// another leg of the same call (RFC 3264), a line at a time.
//
// A description is kept as the lines that came, with their own line ends, byte
// order mark, odd order and spaces. What is understood is read from them; what
// is not is carried. So what goes out differs from what came in only where it
// has to: a codec attribute that nobody here has heard of reaches the other
// phone octet for octet.
//
// [Session.Apply] puts one address and one set of ports in the place of those
// that stood there. It touches these lines and no others:
//
//	c=              address and family; a hold (0.0.0.0, ::, *.invalid) stays a hold; the TTL goes,
//	                a second c= of the same section goes, one is added to a section that has none
//	m=              the port; a count above 1 goes; port 0 stays 0
//	o=              address and family; user, session id and version where asked
//	a=rtcp          port and address; added where RTCP is not on the port after RTP;
//	                removed at session level and from a rejected line
//	a=rtcp-mux      removed or added as [Port].Mux says, removed at session level and from a rejected line;
//	                a=rtcp-mux-only likewise, but never added
//	ICE             removed: a=candidate, a=remote-candidate(s), a=end-of-candidates, a=ice-*, a=x-candidate*
//	alternatives    removed: a=alt, a=altc, a=source-filter, a=maddr, a=visited-realm, a=secondary-realm,
//	                a=path (MSRP); each names addresses that the other leg must not try
//	bundling        removed: a=group:BUNDLE, a=bundle-only, since every m-line has ports of its own
//	capabilities    removed: a=acap that holds one of the attributes removed; then a=pcfg and a=acfg as well,
//	                since they would name what is not there (RFC 5939)
//	keying          removed where asked: k=, a=crypto*, a=key-mgmt, a=fingerprint, a=tls-id, a=dtls-*, a=zrtp-hash,
//	                a=encryption, a=identity, and a=setup of RTP and of DTLS or TLS (not that of plain TCP or BFCP)
//	sources         removed where asked: a=ssrc, a=ssrc-group, a=cname; they hold a phone's user@host
//	any other       an address literal is replaced in place where it is one that c=, o=, a=rtcp or a removed line
//	                named, or one in [Rewrite].Hide; in a= lines a host name that c=, o= or a=rtcp named as well
//
// The last row is what keeps an inside address from leaving in an a=ssrc cname,
// a vendor's X- attribute, an i= or a u= line. It spares a=dh-* lines, whose
// octets are signed and hashed.
//
// The dh-* attributes of the key exchange are found by [Session.DH] wherever
// they stand, removed by [Session.DropDH], added by [Session.AddSessionAttribute],
// and read and written as a body of their own, application/dh-sdpfrag, by
// [ParseFragment] and [Fragment]. This package does not judge them.
package sdp
