package demo

import (
	"errors"
	"net"
	"net/netip"
	"sync"

	"github.com/sipward/sipward/sip/sdp"
)

// relay carries the media of one m-line across the wire: what comes in on one
// link goes out on the other, to where the session description said.
type relay struct {
	w     *Wire
	sides [2]pair // by link

	mu     sync.Mutex
	remote [2]ends   // by link
	keys   *recoding // by the man in the middle; nil on a wire that only listens
	closed bool
}

// ends is where a sipward takes the media of one m-line.
type ends struct{ rtp, rtcp netip.AddrPort }

func (w *Wire) newRelay(p *passing, index int) (*relay, error) {
	r := &relay{w: w}
	for link, f := range w.faces {
		var err error
		if r.sides[link], err = listenPair(w.o.Network, f.local.Addr()); err != nil {
			r.close()
			return nil, err
		}
	}
	r.keys = p.deceit.recoding(index)
	for link, side := range r.sides {
		w.wg.Add(2)
		go r.carry(Link(link), side.rtp, false)
		go r.carry(Link(link), side.rtcp, true)
	}
	return r, nil
}

// setRemote takes the addresses out of what the sipward on a link has said.
func (r *relay) setRemote(l Link, m sdp.Media) {
	addr := addrOf(m.Addr)
	var to ends
	if addr.IsValid() && !addr.IsUnspecified() {
		to.rtp = netip.AddrPortFrom(addr, uint16(m.Port))
		if at := addrOf(m.RTCPAddr); at.IsValid() {
			addr = at
		}
		to.rtcp = netip.AddrPortFrom(addr, uint16(m.RTCPPort))
		if m.Mux {
			to.rtcp = to.rtp
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remote[l] = to
}

// carry reads one socket of a link until it is closed.
func (r *relay) carry(in Link, c net.PacketConn, rtcp bool) {
	defer r.w.wg.Done()
	buf := make([]byte, 2048)
	for faults := 0; ; {
		n, from, err := c.ReadFrom(buf)
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
		b := buf[:n]
		r.w.see(Sighting{Link: in, Kind: kindOfDatagram(b), From: localOf(from), To: localOf(c.LocalAddr()), Data: b})
		r.mu.Lock()
		if r.keys == nil {
			r.emit(in.other(), rtcp, b)
		} else {
			r.keys.recode(r, in, rtcp, b)
		}
		r.mu.Unlock()
	}
}

// emit sends a datagram out on a link. The caller holds mu.
func (r *relay) emit(out Link, rtcp bool, b []byte) {
	c, to := r.sides[out].rtp, r.remote[out].rtp
	if rtcp {
		c, to = r.sides[out].rtcp, r.remote[out].rtcp
	}
	if r.closed || !to.IsValid() || to.Port() == 0 {
		return
	}
	r.w.see(Sighting{Link: out, Sent: true, Kind: kindOfDatagram(b), From: localOf(c.LocalAddr()), To: to, Data: b})
	if _, err := c.WriteTo(b, net.UDPAddrFromAddrPort(to)); err != nil {
		r.w.o.Log.Debug("wire: not sent", "error", err)
	}
}

func kindOfDatagram(b []byte) Kind {
	switch {
	case isRTCP(b):
		return RTCP
	case isRTP(b):
		return RTP
	}
	return Other
}

func (r *relay) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, s := range r.sides {
		s.close()
	}
	if r.keys != nil {
		r.keys.erase()
	}
}
