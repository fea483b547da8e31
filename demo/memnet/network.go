package memnet

import (
	"hash/fnv"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Options say how good the network is. The zero value is a perfect one:
// everything arrives at once, in order, exactly once.
//
// Probabilities are per datagram and reach from 0 (never) to 1 (always);
// values outside count as the nearer end.
type Options struct {
	Seed      uint64  // of all random numbers
	Loss      float64 // probability that a datagram is lost
	Duplicate float64 // probability that a datagram arrives twice
	Reorder   float64 // probability that a datagram is held back by ReorderBy, so that later ones overtake it

	Delay     time.Duration // from writing to arrival
	Jitter    time.Duration // up to that much more, evenly spread; alone it does not change the order of a link
	ReorderBy time.Duration // how long a reordered datagram is held back; 0: 30 ms

	QueueLen int // datagrams that wait at a socket for its reader, further ones are dropped; 0: 1024
}

const (
	defaultReorderBy = 30 * time.Millisecond
	defaultQueueLen  = 1024

	// maxPayload is the longest UDP payload that IPv4 carries.
	maxPayload = 65535 - 20 - 8

	// Ports that are handed out for port 0: the dynamic range of RFC 6335 §6.
	firstDynamicPort = 49152
	lastDynamicPort  = 65535
)

// Datagram is what a tap sees.
type Datagram struct {
	Time     time.Time // when it was written
	From, To netip.AddrPort
	Payload  []byte // a copy, which belongs to the tap
	Copies   int    // how many copies the network carries on: 0 when it is lost, 2 when doubled
}

// Verdict is what a rule makes of one datagram. The zero value leaves it to
// chance as [Options] say.
type Verdict struct {
	Drop    bool          // it is lost
	Delay   time.Duration // that much later than otherwise, and later ones may overtake it
	Copies  int           // that many further copies
	Payload []byte        // not nil: arrives in place of what was written

	// Valid: it arrives from there, or there, as behind a router that translates
	// addresses.
	From, To netip.AddrPort
}

// A Rule judges a datagram before chance does. It must not keep or change b,
// and must not call the network's methods or its sockets': rules and taps run
// one at a time, in the order in which the datagrams were written.
type Rule func(from, to netip.AddrPort, b []byte) Verdict

// DropFirst is the rule that loses the first n datagrams for which match says
// true.
func DropFirst(n int, match func(from, to netip.AddrPort, b []byte) bool) Rule {
	return func(from, to netip.AddrPort, b []byte) Verdict {
		if n <= 0 || !match(from, to, b) {
			return Verdict{}
		}
		n--
		return Verdict{Drop: true}
	}
}

// Stats count datagrams since the network was made.
type Stats struct {
	Written    uint64 // by sockets and by Inject
	Delivered  uint64 // put into a socket's queue, copies included
	Lost       uint64 // by chance or by a rule
	Duplicated uint64 // further copies, by chance or by a rule
	Reordered  uint64 // held back by chance
	QueueFull  uint64 // dropped because the receiver did not read
	NoSocket   uint64 // nobody listened at the destination when they arrived, or it was taken away
}

// Network joins sockets. It is safe for concurrent use.
type Network struct {
	opts Options

	// wire is held while a datagram is judged and tapped, so that rules and
	// taps see datagrams one after the other. It is taken before mu.
	wire sync.Mutex
	rule Rule
	taps []*func(Datagram)

	mu      sync.Mutex
	closed  bool
	sockets map[netip.AddrPort]*Conn
	links   map[linkKey]*link
	gone    map[netip.Addr]bool // taken away
	transit transit
	order   uint64      // of the last parcel
	timer   *time.Timer // fires when the first datagram in transit is due
	stats   Stats
}

type linkKey struct{ from, to netip.AddrPort }

// link is one direction between two addresses.
type link struct {
	random  *rand.Rand
	lastDue time.Time // of the latest datagram that kept its place
}

// New makes a network without sockets.
func New(o Options) *Network {
	if o.ReorderBy <= 0 {
		o.ReorderBy = defaultReorderBy
	}
	if o.QueueLen <= 0 {
		o.QueueLen = defaultQueueLen
	}
	o.Delay = max(o.Delay, 0)
	o.Jitter = max(o.Jitter, 0)
	return &Network{
		opts:    o,
		sockets: make(map[netip.AddrPort]*Conn),
		links:   make(map[linkKey]*link),
		gone:    make(map[netip.Addr]bool),
	}
}

// ListenPacket opens a socket at addr; its concrete type is [*Conn]. Port 0
// picks the lowest free port from 49152 up. Any address of either family will
// do, except an unspecified one (0.0.0.0 or ::), since the network has no hosts
// that could own several addresses: that is EADDRNOTAVAIL. An address that has
// a socket already is EADDRINUSE, a closed network [net.ErrClosed]; all come
// wrapped in a [*net.OpError] as from package net.
func (n *Network) ListenPacket(addr netip.AddrPort) (net.PacketConn, error) {
	addr = plainAddr(addr)
	fail := func(err error) (net.PacketConn, error) {
		return nil, &net.OpError{Op: "listen", Net: "udp", Addr: net.UDPAddrFromAddrPort(addr), Err: err}
	}
	if !addr.Addr().IsValid() || addr.Addr().IsUnspecified() {
		return fail(os.NewSyscallError("bind", syscall.EADDRNOTAVAIL))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return fail(net.ErrClosed)
	}
	if n.gone[addr.Addr()] {
		return fail(os.NewSyscallError("bind", syscall.EADDRNOTAVAIL))
	}
	if addr.Port() == 0 {
		for port := firstDynamicPort; port <= lastDynamicPort; port++ {
			free := netip.AddrPortFrom(addr.Addr(), uint16(port))
			if n.sockets[free] == nil {
				addr = free
				break
			}
		}
	}
	if addr.Port() == 0 || n.sockets[addr] != nil {
		return fail(os.NewSyscallError("bind", syscall.EADDRINUSE))
	}
	c := newConn(n, addr, n.opts.QueueLen)
	n.sockets[addr] = c
	return c, nil
}

// SetRule puts r in place of the rule before it; nil lets chance alone decide.
// Datagrams in transit are not judged again.
func (n *Network) SetRule(r Rule) {
	n.wire.Lock()
	defer n.wire.Unlock()
	n.rule = r
}

// Tap has f called for every datagram that is written from now on, lost ones
// included, as its sender wrote it. What holds for a [Rule] holds for f. The
// function that comes back removes the tap.
func (n *Network) Tap(f func(Datagram)) (remove func()) {
	n.wire.Lock()
	defer n.wire.Unlock()
	entry := &f
	n.taps = append(n.taps, entry)
	return func() {
		n.wire.Lock()
		defer n.wire.Unlock()
		n.taps = slices.DeleteFunc(n.taps, func(t *func(Datagram)) bool { return t == entry })
	}
}

// Inject sends a datagram whose source needs no socket: somebody on the wire
// with a forged address. Taps see it, the rule does not judge it and chance
// spares it; it takes [Options.Delay].
func (n *Network) Inject(from, to netip.AddrPort, b []byte) error {
	return n.write(plainAddr(from), plainAddr(to), b, true)
}

// TakeAway takes an address from whoever has it, as when a laptop leaves a
// network: sockets there stay open and hear nothing more, also of what is in
// transit, and writing fails with ENETUNREACH. Nothing can be opened there until
// GiveBack.
func (n *Network) TakeAway(addr netip.Addr) { n.setGone(addr, true) }

// GiveBack undoes TakeAway.
func (n *Network) GiveBack(addr netip.Addr) { n.setGone(addr, false) }

func (n *Network) setGone(addr netip.Addr, gone bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gone[addr.Unmap()] = gone
}

// Stats returns the counters as they stand.
func (n *Network) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stats
}

// Sockets counts those that are open.
func (n *Network) Sockets() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.sockets)
}

// Close closes every socket and forgets what is in transit. It may be called
// more than once.
func (n *Network) Close() error {
	n.mu.Lock()
	n.closed = true
	if n.timer != nil {
		n.timer.Stop()
	}
	n.transit = nil
	open := make([]*Conn, 0, len(n.sockets))
	for _, c := range n.sockets {
		open = append(open, c)
	}
	n.mu.Unlock()
	for _, c := range open {
		_ = c.Close() // already closed by its owner: nothing left to do
	}
	return nil
}

// link returns the state of one direction. The caller holds mu. Where nothing is
// left to chance all directions are alike, and none is remembered: a long run uses
// many ports.
func (n *Network) link(from, to netip.AddrPort) *link {
	key := linkKey{from, to}
	if o := n.opts; o.Loss <= 0 && o.Duplicate <= 0 && o.Reorder <= 0 && o.Jitter <= 0 {
		key = linkKey{}
	}
	l := n.links[key]
	if l == nil {
		h := fnv.New64a()
		_, _ = h.Write([]byte(key.from.String() + ">" + key.to.String())) // a hash cannot fail
		l = &link{random: rand.New(rand.NewPCG(n.opts.Seed, h.Sum64()))}
		n.links[key] = l
	}
	return l
}

// plainAddr is addr in the one form that serves as a key: IPv4 is IPv4, not
// mapped into IPv6.
func plainAddr(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}
