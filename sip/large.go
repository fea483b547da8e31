package sip

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxDatagram = 1300             // octets of a request over UDP, the path's MTU being unknown (RFC 3261 section 18.1.1)
	largeWait   = 2 * time.Second  // for a TCP connection; then the request goes over UDP after all
	shunTime    = 10 * time.Minute // for which who let nobody connect is not tried again
	maxShunned  = 1024
)

// SetLargeVia names the TCP listener over which requests of more than 1300
// octets leave that would leave from this UDP listener (RFC 3261 section
// 18.1.1); nil: none, and they leave as fragments. A peer that refuses the
// connection, or has not taken it within 2 s, gets the request over UDP; one
// that did not answer at all is asked over UDP alone for the next 10 minutes.
// Responses always go where their request came from.
func (l *Listener) SetLargeVia(tcp *Listener) error {
	if tcp != nil && (l.Network != "udp" || tcp.Network != "tcp" || tcp.stack != l.stack || tcp.Local().Addr().Is4() != l.Local().Addr().Is4()) {
		return errors.New("sip: large requests of a UDP listener need a TCP listener of the same stack and family")
	}
	l.largeVia.Store(tcp)
	return nil
}

// large returns the TCP flow on which a request of that size is to leave; ok is
// false where it leaves on f.
func (f Flow) large(wire []byte) (tcp Flow, ok bool) {
	via := f.listener.largeVia.Load()
	if via == nil || len(wire) <= maxDatagram || via.shunned.has(f.remote) {
		return Flow{}, false
	}
	return via.Flow(f.remote), true
}

// over returns the request as it leaves on another flow: the topmost Via, which
// is ours, names that transport. The branch stays, it is one transaction.
func (m *Message) over(f Flow) *Message {
	via, _ := ParseVia(m.Fields[0].Value)
	m = m.Clone()
	m.Fields[0].Value = f.listener.via(via.Branch())
	return m
}

// startLarge begins over TCP, and over UDP where that cannot be.
func (t *clientTx) startLarge(tcp Flow) {
	flow, req, wire := t.flow, t.req, t.wire
	t.flow, t.req = tcp, req.over(tcp)
	t.wire, t.wait = t.req.Bytes(), &awaited{}
	t.attempt(tcp, outgoing{b: t.wire, wait: t.wait}, func() {
		if t.pending() && !t.stack.closing() {
			t.wait.forget()
			t.flow, t.req, t.wire = flow, req, wire
			t.startSmall()
		}
	})
}

// ackLarge sends an ACK, the one of that index, over TCP, and over UDP where
// that cannot be; its repetitions follow it.
func (d *Dialog) ackLarge(t *clientTx, index int, ack *Message, tcp Flow) {
	small := t.acks[index]
	wire := ack.over(tcp).Bytes()
	t.acks[index].wire, t.acks[index].flow = wire, tcp
	d.attempt(tcp, outgoing{b: wire}, func() {
		if index < len(t.acks) { // else the transaction has ended meanwhile
			t.acks[index] = small
		}
		if !d.stack.closing() {
			small.flow.send(small.wire, nil)
		}
	})
}

// attempt sends a message on a connection. Where it could not leave within
// largeWait it never will, and instead runs on the queue, once; so it does where
// the connection ends on which a request waits.
func (p place) attempt(f Flow, o outgoing, instead func()) {
	o.claim = new(atomic.Bool)
	given := false
	give := func() {
		if !given {
			given = true
			instead()
		}
	}
	if o.wait != nil {
		o.wait.ended = func(*cut) { p.queue.Post(give) }
	} else {
		o.fail = func(error) { p.queue.Post(give) }
	}
	f.listener.bound.Load().streams.send(f, o)
	p.after(largeWait, func() {
		if o.claim.CompareAndSwap(false, true) {
			if !given {
				f.listener.shunned.add(f.remote)
			}
			give()
		}
	})
}

// shunned remembers who cannot be connected to. The zero value is empty.
type shunned struct {
	mu    sync.Mutex
	until map[netip.AddrPort]time.Time
}

func (s *shunned) has(a netip.AddrPort) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	until, ok := s.until[a]
	if ok && !time.Now().Before(until) {
		delete(s.until, a)
		ok = false
	}
	return ok
}

func (s *shunned) add(a netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until == nil {
		s.until = map[netip.AddrPort]time.Time{}
	}
	for old := range s.until {
		if len(s.until) < maxShunned {
			break
		}
		delete(s.until, old) // any one: it is tried once more
	}
	s.until[a] = time.Now().Add(shunTime)
}
