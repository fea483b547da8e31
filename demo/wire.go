package demo

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sipward/sipward/keyexchange"
	"github.com/sipward/sipward/sip"
)

// Link is one of the two links of a wire.
type Link int

// The links: LinkA leads to the sipward of the caller, LinkB to that of the
// callee. A wire carries calls in both directions; the names are the demo's.
const (
	LinkA Link = iota
	LinkB
)

func (l Link) other() Link { return 1 - l }

// Kind is what crossed the wire, as far as its first octets tell.
type Kind int

// Kinds of what crosses a wire. An empty datagram that opens a NAT is Other.
const (
	Other Kind = iota
	SIP
	RTP
	RTCP
)

// Sighting is one message or datagram on one of the links. Whatever crosses the
// wire is sighted twice: when it comes in on one link and when it goes out on
// the other. The link's sightings alone are therefore a complete capture.
type Sighting struct {
	Time     time.Time
	Link     Link
	Sent     bool // by the wire; else it came in
	Kind     Kind
	From, To netip.AddrPort
	Stream   bool         // TCP, else UDP
	Data     []byte       // must not be changed or kept
	Message  *sip.Message // of SIP; must not be changed
}

// WireOptions say between whom the wire stands. LocalA and LocalB are needed,
// and PeerA and PeerB or SetPeers.
type WireOptions struct {
	Network        Network    // nil: System
	Transport      string     // of SIP: "udp" or "tcp"; "": "udp"
	LocalA, LocalB netip.Addr // the wire's own address on each link
	PeerA, PeerB   netip.AddrPort
	// Tap sees everything, one sighting at a time. It must not block.
	Tap func(Sighting)
	Log *slog.Logger // nil: none
}

// maxDialogs bounds the calls that a wire carries at once; beyond it the oldest
// one's media ends.
const maxDialogs = 64

// Wire is the network between two sipwards, as a provider would be: a SIP
// proxy without transaction state that puts itself into Via and Record-Route,
// and a relay for the media of the calls that it carries. It changes addresses
// and ports in session descriptions and nothing else.
type Wire struct {
	o     WireOptions
	faces [2]*face

	mu      sync.Mutex // one message at a time, so that calls have an order
	dialogs map[string]*passing
	order   []*passing
	man     *man // in the middle; nil on a wire that only listens
	closed  bool
	wg      sync.WaitGroup

	tapMu      sync.Mutex
	attributes [2]Attributes
	invite     int
	answer     int
	ack        int
}

// face is the wire's own end of one link.
type face struct {
	w      *Wire
	link   Link
	peer   netip.AddrPort // under mu
	local  netip.AddrPort
	packet net.PacketConn
	stream *streamFace
}

// passing is one call on its way through, by its Call-ID.
type passing struct {
	id       string
	relays   []*relay // one for each m-line
	answered bool     // an INVITE of it had a 2xx
	deceit   *deceit  // by the man in the middle
}

// NewWire opens the wire's SIP sockets; Close must follow.
func NewWire(o WireOptions) (*Wire, error) {
	if o.Network == nil {
		o.Network = System
	}
	if o.Transport == "" {
		o.Transport = "udp"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	w := &Wire{o: o, dialogs: map[string]*passing{}}
	for link, addr := range []netip.Addr{o.LocalA, o.LocalB} {
		f := &face{w: w, link: Link(link), peer: []netip.AddrPort{o.PeerA, o.PeerB}[link]}
		packet, stream, err := openSIP(o.Network, o.Transport, netip.AddrPortFrom(addr, 0))
		if err != nil {
			w.Close()
			return nil, fmt.Errorf("demo: wire: %w", err)
		}
		if packet != nil {
			f.packet, f.local = packet, localOf(packet.LocalAddr())
		} else {
			f.local = localOf(stream.Addr())
			f.stream = &streamFace{face: f, listener: stream, conns: map[net.Conn]struct{}{}}
		}
		w.faces[link] = f
	}
	for _, f := range w.faces {
		w.wg.Add(1)
		if f.packet != nil {
			go f.readPackets()
		} else {
			go f.stream.accept()
		}
	}
	return w, nil
}

// SetPeers names the sipwards at both ends; before that nothing passes.
func (w *Wire) SetPeers(a, b netip.AddrPort) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faces[LinkA].peer, w.faces[LinkB].peer = a, b
}

// Addr is where the wire takes SIP on a link.
func (w *Wire) Addr(l Link) netip.AddrPort { return w.faces[l].local }

// Attributes are those of the first exchange, as they crossed a link. Only a
// man in the middle makes them differ between the links.
func (w *Wire) Attributes(l Link) Attributes {
	w.tapMu.Lock()
	defer w.tapMu.Unlock()
	return w.attributes[l]
}

// Added is by how many octets the exchange made the first INVITE, its 2xx and its ACK
// longer, as their senders sent them.
func (w *Wire) Added() (invite, answer, ack int) {
	w.tapMu.Lock()
	defer w.tapMu.Unlock()
	return w.invite, w.answer, w.ack
}

// Close ends everything that passes. It returns when no goroutine is left.
func (w *Wire) Close() {
	w.mu.Lock()
	w.closed = true
	for _, p := range w.order {
		p.close()
	}
	w.order, w.dialogs = nil, map[string]*passing{}
	w.mu.Unlock()
	for _, f := range w.faces {
		switch {
		case f == nil:
		case f.packet != nil:
			f.packet.Close()
		case f.stream != nil:
			f.stream.close()
		}
	}
	w.wg.Wait()
}

// see hands something to the tap and notes what it says about the exchange.
func (w *Wire) see(s Sighting) {
	s.Time = time.Now()
	w.tapMu.Lock()
	defer w.tapMu.Unlock()
	if s.Message != nil {
		w.measure(s)
	}
	if w.o.Tap != nil {
		w.o.Tap(s)
	}
}

// measure notes the attributes of the first exchange and what they cost.
func (w *Wire) measure(s Sighting) {
	own, kind := attribute(s.Message)
	at := &w.attributes[s.Link]
	var text *string
	var cost *int
	switch kind {
	case keyexchange.KindInvite, keyexchange.KindInviteNoSDP:
		text, cost = &at.Init, &w.invite
	case keyexchange.KindAnswer:
		text, cost = &at.Resp, &w.answer
	case keyexchange.KindAck, keyexchange.KindAckSDP:
		text, cost = &at.Fin, &w.ack
	default:
		return
	}
	if *text == "" {
		*text = own.Value
	}
	if *cost == 0 && !s.Sent && own.Present {
		*cost = added(s.Data)
	}
}

// readPackets serves a UDP face until it is closed.
func (f *face) readPackets() {
	defer f.w.wg.Done()
	buf := make([]byte, sip.MaxMessage+1)
	for faults := 0; ; {
		n, from, err := f.packet.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // another host's ICMP
			if faults++; faults > 100 {
				return
			}
			continue
		}
		faults = 0
		f.w.message(f, localOf(from), buf[:n], false)
	}
}

// send gives a message to the sipward on this link.
func (f *face) send(m *sip.Message) {
	b := m.Bytes()
	if f.stream != nil {
		f.stream.send(b, m)
		return
	}
	f.w.see(Sighting{Link: f.link, Sent: true, Kind: SIP, From: f.local, To: f.peer, Data: b, Message: m})
	if _, err := f.packet.WriteTo(b, net.UDPAddrFromAddrPort(f.peer)); err != nil {
		f.w.o.Log.Debug("wire: not sent", "error", err)
	}
}
