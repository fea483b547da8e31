package b2bua

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

// Place is where a listener is from now on. Without a socket it stays at its own
// and only what its messages name changes.
type Place struct {
	Packet    net.PacketConn
	Stream    net.Listener
	Advertise netip.AddrPort // what Via, Contact and SDP name; zero: the socket's own address
	// Linger is how long a UDP socket that was replaced is still read, where its
	// address is still there.
	Linger time.Duration
	Dial   func(context.Context, netip.AddrPort) (net.Conn, error)
}

// ground is what follows from where the listeners are.
type ground struct {
	hide []netip.Prefix // networks of the inside: no message to the outside names them
	plan route.Plan
}

// survey looks anew where the listeners are. Further addresses are hidden like
// those of the inside.
func (p *Proxy) survey(hidden ...netip.Addr) {
	o := &p.o
	g := &ground{plan: route.Plan{Emergency: o.Emergency, Aliases: o.Aliases, Routes: o.Routes, Peer: o.Peer,
		Home: route.Home{Domains: o.Domains, Registrar: o.Registrar != nil}}}
	for _, l := range p.listeners {
		g.plan.Home.Addresses = append(g.plan.Home.Addresses, l.sip.Local(), l.sip.Advertised())
		if l.Side == policy.Inside {
			g.hide = append(g.hide, l.Networks...)
			hidden = append(hidden, l.sip.Local().Addr())
		}
	}
	for _, addr := range hidden {
		g.hide = append(g.hide, netip.PrefixFrom(addr, addr.BitLen()))
	}
	p.ground.Store(g)
}

// shortGrant is what a phone is told that an account elsewhere is good for where
// the listener that it was registered with may move: only the phone can renew it.
const shortGrant = 2 * time.Minute

// Move takes the listener of that name and transport (udp, tcp, tls) to another
// socket or another advertised address. Calls go on: their media follows at once,
// with the keys and packet numbers that it has, and the far ends are told in a
// re-INVITE. A call whose far end cannot be told within 32 s ends. Move returns
// before that; where it gives an error everything is as it was, and the socket is
// the caller's.
func (p *Proxy) Move(name, network string, to Place) error {
	p.moving.Lock()
	defer p.moving.Unlock()
	l := p.listenerOn(name, network)
	if l == nil {
		return fmt.Errorf("b2bua: there is no listener %s (%s)", name, network)
	}
	old, shown := l.sip.Local(), l.sip.Advertised()
	err := l.sip.Move(sip.MoveOptions{Linger: to.Linger,
		Listener: sip.ListenerOptions{Packet: to.Packet, Stream: to.Stream, Advertise: to.Advertise, Dial: to.Dial}})
	if err != nil {
		return fmt.Errorf("b2bua: %w", err)
	}
	l.settle(to.Advertise)
	if l.Side == policy.Inside {
		p.survey(old.Addr()) // calls and descriptions may still name it
	} else {
		p.survey()
	}
	p.log.Info("address has changed", "listener", name, "network", network, "from", old, "to", l.sip.Local(), "known as", l.sip.Advertised(), "before", shown)
	p.mu.Lock()
	calls := make([]*Call, 0, len(p.calls))
	for _, c := range p.calls {
		calls = append(calls, c)
	}
	p.mu.Unlock()
	for _, c := range calls {
		c.queue.Post(func() { c.moved(l) })
	}
	if l.Side == policy.Outside {
		for _, t := range p.trunks {
			t.start() // providers know the old address
		}
	}
	return nil
}

// Vacate frees the address of a socket of the listener of that name and transport
// that Move has replaced and that is still read, for one that is to be opened there.
func (p *Proxy) Vacate(name, network string, addr netip.AddrPort) {
	if l := p.listenerOn(name, network); l != nil {
		l.sip.Vacate(addr)
	}
}

func (p *Proxy) listenerOn(name, network string) *listener {
	for _, l := range p.listeners {
		if l.Name == name && l.sip.Network == network {
			return l
		}
	}
	return nil
}

// told is how long a phone is told that its account elsewhere is good for, which
// a registrar granted over that flow. The contact there names this side's
// address, so it has to be renewed soon behind a move.
func (p *Proxy) told(flow sip.Flow, granted time.Duration) time.Duration {
	if l := p.listenerOf(flow); l != nil && l.Moves {
		return min(granted, shortGrant)
	}
	return granted
}
