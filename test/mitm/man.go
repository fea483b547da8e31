package mitm

import (
	"bytes"
	"net/netip"
	"sync"
	"time"

	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/keyexchange"
	"github.com/sipward/sipward/media/srtp"
	"github.com/sipward/sipward/sip"
)

// Man is a man in the middle. His methods may be called from any goroutine.
type Man struct {
	net     *memnet.Network
	streams *memnet.Streams // nil: the houses speak SIP over UDP
	groups  []string        // that he has for exchanges of his own
	a, b    netip.Addr

	mu      sync.Mutex
	orders  []order
	kept    []*sip.Message
	within  map[transaction]bool // re-INVITEs that have crossed
	touched int
	began   time.Time // when he touched the first
	held    [2]hold   // media that he holds back, by who sends
	forks   []*Fork   // that he has begun
	seizes  func(Packet)
	reports [2][][]byte // RTCP that has crossed, by who sends
	deceit  *deceit
	way     [2]way // of media between the houses, by who sends
	speech  map[[sample]byte]bool
	clear   int
}

// order is a change of some messages.
type order struct {
	which  Which
	change Change
}

// way is between which sockets media last crossed.
type way struct{ from, to netip.AddrPort }

// New puts him between two houses, of which these are the outside addresses. He
// takes the network's rule; it has none beside him. His own exchanges are in one of
// these groups, which are names of package keyexchange; x25519 where none is named.
func New(net *memnet.Network, a, b netip.Addr, groups ...string) *Man {
	if len(groups) == 0 {
		groups = []string{keyexchange.GroupX25519}
	}
	m := &Man{net: net, a: a, b: b, groups: groups, speech: make(map[[sample]byte]bool), within: make(map[transaction]bool)}
	net.Tap(m.listen)
	net.Tap(m.passed)
	net.SetRule(m.judge)
	return m
}

// Streams are connections of TCP on which he sits as well, for houses that speak
// SIP over them.
func (m *Man) Streams(delay time.Duration) *memnet.Streams {
	m.streams = &memnet.Streams{Delay: delay, Rule: m.judge, Tap: m.passed}
	return m.streams
}

// Cut ends the connections between the houses.
func (m *Man) Cut() {
	m.mu.Lock()
	m.touches()
	m.mu.Unlock()
	m.streams.Cut(m.a, m.b)
}

// config allows what every sipward does.
func (m *Man) config() keyexchange.Config {
	c := keyexchange.Config{Groups: m.groups}
	for _, s := range srtp.Suites() {
		if s.Common {
			c.Suites = append(c.Suites, keyexchange.Suite{Name: s.Name, KeyLen: s.KeyLen, SaltLen: s.SaltLen})
		}
	}
	return c
}

// On has him make changes to the messages of a kind, one after the other and
// behind those that were asked for before. They run while he is at work: a change
// must not call his methods, but may start a goroutine that does.
func (m *Man) On(which Which, changes ...Change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range changes {
		m.orders = append(m.orders, order{which, c})
	}
}

// Kept gives the messages of a kind that came to him, as they came, oldest first.
func (m *Man) Kept(which Which) (out []*sip.Message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.kept {
		if which(k) {
			out = append(out, k.Clone())
		}
	}
	return out
}

// Touched counts the messages that went on otherwise than they came, or not at all,
// and those that he wrote himself.
func (m *Man) Touched() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.touched
}

// Began is when he first did something of that kind, zero for never.
func (m *Man) Began() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.began
}

// touches notes that he does something. mu is held.
func (m *Man) touches() {
	if m.touched++; m.began.IsZero() {
		m.began = time.Now()
	}
}

// Send puts a message of his own on the wire, from one house's address to the
// other's.
func (m *Man) Send(from, to netip.AddrPort, msg *sip.Message) error {
	m.mu.Lock()
	m.touches()
	m.mu.Unlock()
	if m.streams != nil {
		return m.streams.Inject(from.Addr(), to.Addr(), msg.Bytes())
	}
	return m.net.Inject(from, to, msg.Bytes())
}

// judge is the rule of the network.
func (m *Man) judge(from, to netip.AddrPort, b []byte) memnet.Verdict {
	if !m.crosses(from, to) {
		return memnet.Verdict{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !isSIP(b) {
		return m.media(from, to, b)
	}
	msg, err := sip.Parse(bytes.Clone(b))
	if err != nil {
		return memnet.Verdict{}
	}
	for _, f := range m.forks {
		if f.claims(from.Addr(), msg) { // it is no message to the callee
			go f.take(msg, f.onTheirs)
			return memnet.Verdict{Drop: true}
		}
	}
	m.kept = append(m.kept, msg.Clone())
	if Invites(msg) && msg.To().Tag() != "" {
		m.within[transactionOf(msg)] = true
	}
	before := msg.Bytes()
	for _, o := range m.orders {
		if !o.which(msg) {
			continue
		}
		if msg = o.change(msg); msg == nil {
			m.touches()
			return memnet.Verdict{Drop: true}
		}
	}
	after := msg.Bytes()
	if bytes.Equal(before, after) {
		return memnet.Verdict{}
	}
	m.touches()
	return memnet.Verdict{Payload: after}
}

// passed is the tap: forks look at what is on its way.
func (m *Man) passed(d memnet.Datagram) {
	if !m.crosses(d.From, d.To) || !isSIP(d.Payload) {
		return
	}
	msg, err := sip.Parse(d.Payload)
	if err != nil {
		return
	}
	m.mu.Lock()
	forks := m.forks
	m.mu.Unlock()
	for _, f := range forks {
		f.pass(d.From, d.To, msg)
	}
}

func (m *Man) crosses(from, to netip.AddrPort) bool {
	f, t := from.Addr(), to.Addr()
	return f == m.a && t == m.b || f == m.b && t == m.a
}

func isSIP(b []byte) bool { return bytes.Contains(b[:min(len(b), 400)], []byte("SIP/2.0")) }
