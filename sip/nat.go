package sip

import (
	"net/netip"
	"strconv"
	"sync"
)

// maxMapped bounds the peers that a listener remembers a translation for.
const maxMapped = 1024

// mappings hold where peers see a listener that stands behind a NAT, as they say
// in our Via (RFC 3581). Some NATs show each peer another address. The zero value
// is empty.
type mappings struct {
	mu   sync.Mutex
	seen map[netip.AddrPort]netip.AddrPort // by peer
}

func (m *mappings) of(peer netip.AddrPort) (netip.AddrPort, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, ok := m.seen[peer]
	return at, ok
}

func (m *mappings) set(peer, at netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen == nil {
		m.seen = map[netip.AddrPort]netip.AddrPort{}
	}
	if _, known := m.seen[peer]; !known {
		for old := range m.seen {
			if len(m.seen) < maxMapped {
				break
			}
			delete(m.seen, old) // any one: its next response tells again
		}
	}
	m.seen[peer] = at
}

// clear forgets all: the listener has another socket.
func (m *mappings) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.seen)
}

func (m *mappings) forget(peer netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.seen, peer)
}

// learn takes from our Via in a response to a request on this flow where the peer
// saw the request come from. What the peer says matters to itself alone: it is
// what the peer will be told to send to. A listener that was told what to
// advertise needs no such advice.
func (f Flow) learn(via Via) {
	l := f.listener
	at := l.bound.Load()
	if at.advertise != at.local || via.Host != at.local.Addr().String() {
		return // the second: a request of the socket before this one
	}
	received, _ := param(via.Params, "received")
	rport, _ := param(via.Params, "rport")
	addr, err := netip.ParseAddr(received)
	addr = addr.Unmap()
	port, perr := strconv.ParseUint(rport, 10, 16)
	switch {
	case err != nil || perr != nil || port == 0 || addr.Is4() != at.local.Addr().Is4() ||
		addr.IsUnspecified() || addr.IsMulticast() || addr.Zone() != "":
		return
	case addr == at.local.Addr().WithZone(""):
		l.mapped.forget(f.remote)
	default:
		l.mapped.set(f.remote, netip.AddrPortFrom(addr, uint16(port)))
	}
}

// ContactURI returns the URI under which the peer of this flow reaches a dialog:
// where it has seen this end behind a NAT, else what the listener advertises.
func (f Flow) ContactURI(user string) URI {
	u := f.listener.ContactURI(user)
	if at, ok := f.listener.mapped.of(f.remote); ok {
		u.Host, u.Port = at.Addr().String(), int(at.Port())
	}
	return u
}

// Translated says whether a NAT stands between this end and the peer, as far as
// can be known: the peer has said so, or this end has an address of a private
// network, advertises no other, and the peer has none.
func (f Flow) Translated() bool {
	if _, ok := f.listener.mapped.of(f.remote); ok {
		return true
	}
	at := f.listener.bound.Load()
	return at.advertise == at.local && unreachable(at.local.Addr(), f.remote.Addr())
}

// sharedSpace are the addresses between a provider's NAT and its customers (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

func ofPrivateNetwork(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLinkLocalUnicast() || sharedSpace.Contains(a)
}

// unreachable says whether an address belongs to a private network that somebody
// with the other address is not in.
func unreachable(a, from netip.Addr) bool {
	return ofPrivateNetwork(a) && !ofPrivateNetwork(from) && !from.IsLoopback()
}

// translated says whether the sender of a request has a NAT before it: the Contact
// is the very address that its Via names, and the request came from another.
func translated(m *Message, flow Flow) bool {
	vias := m.Values("Via")
	if len(vias) != 1 { // there are proxies before it
		return false
	}
	via, err := ParseVia(vias[0])
	if err != nil {
		return false
	}
	sentBy, err := netip.ParseAddr(via.Host)
	contact, ok := contactOf(m, URI{}).Addr()
	return err == nil && ok && contact == sentBy.Unmap() && contact != flow.remote.Addr()
}
