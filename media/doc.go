// Package media relays RTP and RTCP between two ends and protects either of
// them with SRTP.
//
// A Session is one RTP m-line. It has an even RTP port and the RTCP port after
// it at each end, and every packet goes one way through it:
//
//	socket → classify → source check or authentication → RTCP mapped back
//	       → own SSRC and number → protect → socket
//
// The source check belongs to an end in the mode Plain: only the address that
// SDP or signalling names is heard, its port learned from the first packet.
// Authentication belongs to an end in the mode Protected: any address is heard
// that sends packets which verify. Whatever fails either is counted and
// dropped without an answer.
//
// Towards an end that Session.Conceal named, RTCP tells nothing of who its
// sender is. Towards a protected end the packets carry SSRCs and sequence numbers of the
// session's own, so that a phone which restarts, or numbers its packets twice
// alike, never makes a key protect two packets under one index. RTCP says the
// same in both directions: what the phone reports leaves under the own SSRC,
// and what the far end says about the own SSRC reaches the phone under the
// phone's. Between two plain ends the octets stay as they are, and so they do
// in the modes Passing and Opaque, of which the one carries SRTP that others
// protect and the other what is not RTP; both ends are then held to their own
// peer's address as a plain end is, since nothing here could verify. Numbers that
// stand inside a payload stay too: the original sequence number of an RFC 4588
// retransmission or the base of an RFC 5109 repair packet would not fit the
// new numbers, and neither is sent by phones under plain RTP/AVP.
//
// # Workers
//
// Sessions live on a few workers, one per CPU, both directions of a session on
// the same one, with its sockets, keys and buffers. A worker's lock is taken
// once per round of packets (portable sockets: per packet) and by the methods
// of its sessions, nowhere else; the path below it neither locks, logs nor
// allocates. Keys are expanded before the lock is taken.
//
// On Linux a worker is one epoll loop, made to need few system calls and
// wake-ups, which are nearly all that relaying costs:
//
//	wait → which sockets are ready → read 32 → work on them → send 32
//
// What several sockets hold is read in one system call, and what comes of it sent
// in one, where the system gives an io_uring; else packet by packet.
//
// With few packets it waits in the Go scheduler's own poller and relays each
// as it comes. From about forty calls on it is busy: rounds are then
// Options.Coalesce apart, 1 ms, and what arrives between them wakes nobody.
// That much delay and no more is the price of half the processor time.
//
// Elsewhere, and where Options.Listen gives the sockets, one goroutine reads
// each socket. One suite of tests runs over both.
//
// # Taps
//
// A session can do more than relay: let an end hear a Playback, Mute a
// direction, hand out Events, Measure the quality. All of that hangs on one
// pointer that stays nil until something of it is used.
package media
