// Package auth is digest authentication for SIP (RFC 3261 section 22 with the
// algorithms of RFC 8760 and RFC 7616), for the one who asks and the one who
// answers. It works on header field values as text and knows no messages.
//
// # The exchange
//
// A server refuses a request with 401 (or 407) and a challenge per algorithm,
// the preferred one first:
//
//	WWW-Authenticate: Digest realm="example.com", nonce="…", algorithm=SHA-256, qop="auth"
//
// The client sends the request again with proof that it knows the password:
//
//	Authorization: Digest username="bob", realm="example.com", nonce="…",
//	    uri="sip:alice@example.com", response="…", algorithm=SHA-256,
//	    cnonce="…", qop=auth, nc=00000001
//
//	HA1      = H(username ":" realm ":" password)
//	HA2      = H(method ":" uri)
//	response = H(HA1 ":" nonce ":" nc ":" cnonce ":" qop ":" HA2)
//
// A later request may use the nonce again with a higher count nc. The proof
// covers method and URI, not the rest of the request. ACK and CANCEL cannot be
// challenged (RFC 3261 section 22.1): do not ask [Challenger.Verify] about them.
//
// # Who keeps what
//
// A [Challenger] keeps nothing for a challenge: the nonce itself says when it
// was made, under a MAC. Only a correct answer costs memory, a bounded number
// of entries for its user. [Users] is the file of accounts. [Session] is the
// client's side of one account.
package auth
