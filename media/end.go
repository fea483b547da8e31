package media

import (
	"net/netip"
	"time"
)

// End is one of the two ends of a session.
type End int

// The ends. Which is inside and which outside is the caller's affair.
const (
	A End = iota
	B
)

// other is the opposite end.
func (e End) other() End { return 1 - e }

// Mode says what an end takes and gives.
type Mode int

const (
	// Closed takes and gives nothing.
	Closed Mode = iota
	// Waiting keeps the newest 64 packets of either direction, none for more
	// than 200 ms, until another mode is set, and then sends them on.
	Waiting
	// Plain takes and gives RTP from and to the address that Remote names.
	Plain
	// Protected takes and gives SRTP only. Session.Protect sets it.
	Protected
	// Passing takes and gives packets whose protection is between others, as
	// they are: SRTP and SRTCP of an exchange that is not this side's. Both
	// ends have it or nothing crosses.
	Passing
	// Opaque takes and gives datagrams of any kind, as they are: streams that
	// are not RTP, or whose keys are agreed among their packets (DTLS). Both
	// ends have it or nothing crosses.
	Opaque
)

// Remote is where an end's peer takes media.
type Remote struct {
	// RTP is the address in the peer's SDP. Where it is invalid, unspecified
	// or has port 0 nothing is sent: the peer holds.
	RTP netip.AddrPort
	// RTCP is the address for RTCP; where invalid, the port after RTP's.
	RTCP netip.AddrPort
	// Mux sends RTCP to the RTP address from the RTP port (RFC 5761).
	Mux bool
	// Signalling is where the peer's signalling comes from: with NAT between,
	// media may come from there instead of from the address in its SDP.
	Signalling netip.Addr
}

// Stats counts one end's packets and octets of RTP and RTCP, the octets as UDP
// payload. In counts what was accepted from the end's peer, Out what was sent
// to it.
type Stats struct {
	PacketsIn, BytesIn   uint64
	PacketsOut, BytesOut uint64
	// Lost is what the peer's sequence numbers show as missing: expected less
	// received (RFC 3550 §A.3), over all its SSRCs.
	Lost uint64
	// DroppedAuth counts packets that did not verify.
	DroppedAuth uint64
	// DroppedReplay counts packets seen before or too late: SRTP's replay
	// protection, and duplicates from a phone that would have gone out under
	// a number used before.
	DroppedReplay uint64
	// DroppedSource counts packets to a plain end from an address other than
	// its peer's.
	DroppedSource uint64
	// DroppedOther counts what is neither RTP nor RTCP, malformed, oversized,
	// or came while the end was closed.
	DroppedOther uint64
	// EventsLost counts events of the peer that found their queue full.
	EventsLost uint64
}

// moveInterval is how often at most a protected end's address may move.
const moveInterval = time.Second

// leaving is how long packets from where a plain peer was before its signalling
// named another address settle nothing: they may be under way, or the answer be
// lost and repeated, twice at most.
const leaving = 2 * time.Second

// lane is RTP or RTCP of an end: its socket and where its peer is.
type lane struct {
	left    netip.AddrPort // where it was learned before the peer named another address,
	leftAt  time.Duration  // which was then
	movedAt time.Duration
	moved   bool

	port    *port
	learned netip.AddrPort // from packets: latched (plain) or moved (protected)
}

// end is the state of one end. What each packet needs stands together (layout_test.go):
// among many calls little of one is in the processor's caches, and how many lines a
// packet brings there is what it costs.
type end struct {
	remote    Remote
	rtcp      lane
	rtcpFrom  uint32 // SSRC of the newest RTCP packet
	rtcpIndex uint32 // and its SRTCP index

	rtp       lane // from its port on the first line that a packet needs
	mode      Mode
	reachable bool // remote names where packets go to; else the peer holds
	// expecting: new keys are about to come, and the peer may have them already.
	expecting bool
	numbering *numbering // of what leaves here protected; nil: nothing has yet

	arrivals arrivals // the line that a packet from here needs
	alive    keeper   // of the way to the peer

	keys  keyring // with the first of stats the last line that a packet needs
	stats Stats

	concealment concealment // of names in RTCP that leaves here
	in          waiting     // from here, mode not decided
	out         waiting     // to here, mode or keys not decided
	_           [8]byte     // both ends have the same lines
}

// lane is the one whose socket a packet came to.
func (e *end) lane(rtcpPort bool) *lane {
	if rtcpPort {
		return &e.rtcp
	}
	return &e.rtp
}

// setRemote takes a new address. What was learned from packets stays unless
// the address is another; a hold is no other address, and who holds may come
// back to the old one.
func (e *end) setRemote(r Remote, now time.Duration) {
	r.RTP, r.RTCP, r.Signalling = unmap(r.RTP), unmap(r.RTCP), r.Signalling.Unmap().WithZone("")
	if e.reachable = usable(r.RTP); !e.reachable {
		r.RTP, r.RTCP = e.remote.RTP, e.remote.RTCP
	}
	named := r.RTP != e.remote.RTP
	moved := named || r.Signalling != e.remote.Signalling
	if moved {
		e.rtp = e.rtp.elsewhere(named, now)
	}
	if moved || r.RTCP != e.remote.RTCP {
		e.rtcp = e.rtcp.elsewhere(named, now)
	}
	e.remote = r
}

// usable tells whether packets can be sent to a.
func usable(a netip.AddrPort) bool {
	return a.IsValid() && !a.Addr().IsUnspecified() && a.Port() != 0
}

// destination is the socket and the address by which packets of a kind reach
// the peer; not ok while it holds or is not known.
func (e *end) destination(what kind) (from *port, to netip.AddrPort, ok bool) {
	if !e.reachable {
		return nil, netip.AddrPort{}, false
	}
	l, to := &e.rtp, e.remote.RTP
	if what == kindRTCP && !e.remote.Mux {
		l, to = &e.rtcp, e.remote.RTCP
		if !usable(to) {
			to = netip.AddrPortFrom(e.remote.RTP.Addr(), e.remote.RTP.Port()+1)
		}
	}
	if l.learned.IsValid() {
		to = l.learned
	}
	return l.port, to, usable(to)
}

// fromKnownSource is the source check of a plain end: once the port is learned
// only that address is heard, and before only addresses that SDP or the
// signalling names.
func (e *end) fromKnownSource(src netip.AddrPort, rtcpPort bool) bool {
	if learned := e.lane(rtcpPort).learned; learned.IsValid() {
		return src == learned
	}
	addr := src.Addr().WithZone("")
	return addr.IsValid() && (addr == e.remote.RTP.Addr() || addr == e.remote.RTCP.Addr() || addr == e.remote.Signalling)
}

// elsewhere is the lane of a peer that is to be learned anew, named because its
// signalling names another address for its RTP.
func (l *lane) elsewhere(named bool, now time.Duration) lane {
	switch {
	case !named:
		return lane{port: l.port}
	case !l.learned.IsValid(): // nor was it heard where it said before
		return lane{port: l.port, left: l.left, leftAt: now}
	}
	return lane{port: l.port, left: l.learned, leftAt: now}
}

// latch learns a plain peer's port from its first packet, but for what comes from
// where it has just left.
func (l *lane) latch(src netip.AddrPort, now time.Duration) {
	if !l.learned.IsValid() && (src != l.left || now-l.leftAt >= leaving) {
		l.learned = src
	}
}

// follow sends to where the newest authenticated packet came from, but moves
// at most once a second, so that somebody who is faster with copies of packets
// cannot make it swing.
func (l *lane) follow(src netip.AddrPort, now time.Duration) {
	if src == l.learned || (l.moved && now-l.movedAt < moveInterval) {
		return
	}
	l.learned, l.movedAt, l.moved = src, now, true
}

// newestRTCP tells whether an authenticated SRTCP packet is the newest.
func (e *end) newestRTCP(ssrc, index uint32) bool {
	if ssrc == e.rtcpFrom && index <= e.rtcpIndex {
		return false
	}
	e.rtcpFrom, e.rtcpIndex = ssrc, index
	return true
}
