// Package srtp protects and unprotects RTP and RTCP packets (RFC 3711, RFC
// 6188, RFC 7714, RFC 8269).
//
// A Context holds one direction's keys. The sender's gives every packet a
// 48-bit index, the rollover counter followed by the packet's sequence
// number, and never uses one twice; the receiver's finds the same index from
// the 16 bits on the wire, checks it against a window of packets already
// seen, and authenticates before anything else happens to the packet:
//
//	header            payload                  authentication tag
//	in clear, auth.   encrypted, auth.         10 octets (SHA-1) or 16 (GCM)
//
// RTCP packets carry their own 31-bit index at the end, see ProtectRTCP.
//
// The suites stand in one table. Their packets are the same to the octet as
// those of pion/srtp and of libsrtp2, which tests compare with.
//
// Both directions of a session have keys of their own, so two Contexts make a
// session end.
package srtp
