package media

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/sipward/sipward/media/srtp"
)

// Session relays one RTP m-line between two ends. Its methods may be called
// from any goroutine.
type Session struct {
	engine *Engine
	worker *worker

	// Guarded by the worker's lock.
	active time.Duration
	taps   *taps          // nil until used
	timers [2]*time.Timer // erase keys that a rekeying replaced
	closed bool
	ports  [2][2]port // of each end: RTP, RTCP
	_      [32]byte   // layout_test.go
	ends   [2]end
}

func newSession(e *Engine, w *worker) *Session {
	s := &Session{engine: e, worker: w, active: w.now()}
	for i := range s.ends {
		for j := range s.ports[i] {
			s.ports[i][j] = port{session: s, end: End(i), rtcp: j == 1}
		}
		s.ends[i].rtp.port = &s.ports[i][0]
		s.ends[i].rtcp.port = &s.ports[i][1]
	}
	return s
}

// bind opens the sockets of both ends.
func (s *Session) bind(addrs [2]netip.Addr) error {
	for i, addr := range addrs {
		addr = addr.Unmap()
		if !addr.IsValid() || addr.IsUnspecified() {
			return fmt.Errorf("media: %v is no address of one interface", addr)
		}
		if _, err := s.engine.ports.take(addr, func(pair netip.AddrPort) error {
			return s.bindPair(&s.ports[i], pair)
		}); err != nil {
			return err
		}
	}
	return nil
}

// bindPair opens the RTP socket of an end and the RTCP socket after it, in the
// place of those that it has.
func (s *Session) bindPair(ports *[2]port, pair netip.AddrPort) error {
	var opened, replaced []socket
	open := func() error {
		s.worker.lock()
		defer s.worker.unlock()
		if s.closed {
			return ErrClosed
		}
		for j := range ports {
			local := netip.AddrPortFrom(pair.Addr(), pair.Port()+uint16(j))
			socket, err := s.worker.net.open(local, &ports[j])
			if err != nil {
				for _, o := range opened {
					o.close()
				}
				return err
			}
			opened = append(opened, socket)
		}
		for j := range ports {
			if old := ports[j].socket; old != nil {
				old.close()
				replaced = append(replaced, old)
			}
			ports[j].socket = opened[j]
			ports[j].local = netip.AddrPortFrom(pair.Addr(), pair.Port()+uint16(j))
		}
		return nil
	}
	err := open()
	if err != nil {
		for _, o := range opened {
			o.wait()
		}
	}
	for _, r := range replaced {
		r.wait()
	}
	return err
}

// Local is where the session takes RTP and RTCP of an end's peer.
func (s *Session) Local(e End) (rtp, rtcp netip.AddrPort) {
	s.worker.lock()
	defer s.worker.unlock()
	return s.ports[e][0].local, s.ports[e][1].local
}

// SetRemote says where an end's peer is. The port and, with NAT, the address
// learned from its packets stay until SetRemote names another RTP address or
// another signalling address; for two seconds after that, what still comes from
// the old port is heard and settles nothing. Without an RTP address the peer holds: nothing
// is sent to it, and its packets are still heard.
func (s *Session) SetRemote(e End, r Remote) {
	s.do(func(now time.Duration) { s.ends[e].setRemote(r, now) })
}

// SetMode sets what an end takes and gives. Protected needs keys, which
// Protect sets and which stay through Closed and Waiting; without them the end
// is Closed. Plain, Passing and Opaque erase the keys: nothing else ever lets
// octets leave as they came from an end that was protected.
func (s *Session) SetMode(e End, m Mode) {
	s.do(func(now time.Duration) {
		end := &s.ends[e]
		switch {
		case m != end.mode && (m == Plain || m == Passing || m == Opaque):
			end.keys.erase()
			end.numbering.pause() // what passes in clear is not numbered
		case m == Protected && end.keys.recv == nil, m < Closed, m > Opaque:
			m = Closed
		}
		end.mode = m
		s.resume(e, now)
	})
}

// Protect gives an end new keys and makes it Protected. Packets kept in the
// mode Waiting go out at once, or with SendAfterConfirm when the peer has
// shown that it has the keys. Called again it rekeys: rollover counters start
// at 0 under the new keys, SSRCs and sequence numbers go on, and packets under
// the old keys are heard until the first one under the new keys verifies, at
// most 5 s, and 200 ms longer those that it has overtaken. Errors leave
// everything as it was: ErrKeyReuse, ErrClosed, or a suite or key length that
// package srtp does not take.
func (s *Session) Protect(e End, k Keys, o ProtectOptions) error {
	fresh, err := newKeyPair(k)
	if err != nil {
		return err
	}
	err = ErrClosed
	s.do(func(now time.Duration) {
		end := &s.ends[e]
		if err = end.keys.install(fresh, o, now); err != nil {
			return
		}
		if end.numbering == nil {
			end.numbering = newNumbering()
		}
		s.expireOld(e, now)
		end.rtcpFrom, end.rtcpIndex = 0, 0 // indices begin anew
		end.mode, end.expecting = Protected, false
		s.resume(e, now)
	})
	if err != nil {
		fresh.erase()
	}
	return err
}

// expireOld sees to it that the keys before those of now are erased in time.
func (s *Session) expireOld(e End, now time.Duration) {
	if s.timers[e] != nil {
		s.timers[e].Stop()
	}
	keys := &s.ends[e].keys
	if keys.old != nil {
		s.timers[e] = time.AfterFunc(keys.oldTill-now, func() {
			s.do(func(now time.Duration) { keys.expire(now) })
		})
	}
}

// Expect says whether the peer of a Protected end may send under keys that
// this end does not have yet, as their last part is on its way and media is
// faster than signalling: the newest 64 packets that do not verify are kept,
// none for more than 200 ms, until Protect brings the keys.
func (s *Session) Expect(e End, expected bool) {
	s.do(func(time.Duration) {
		end := &s.ends[e]
		if end.expecting && !expected {
			end.stats.DroppedAuth += uint64(len(end.in.packets))
			end.in.drop()
		}
		end.expecting = expected
	})
}

// Release lets an end send under keys which SendAfterConfirm holds back: the
// peer has shown otherwise that it has them, such as in another session of the
// same exchange. It does nothing where nothing is held back, and ends nothing
// of the wait for the first packet that verifies here.
func (s *Session) Release(e End) {
	s.do(func(now time.Duration) {
		keys := &s.ends[e].keys
		keys.known = true
		if keys.release() {
			s.resume(e, now)
		}
	})
}

// Probe lets relays and NATs on the way to an end's peer learn where this end
// is: an empty datagram to its RTP address (RFC 6263 §4.1) and, where the end
// may send under its keys, an SRTCP packet with an empty receiver report to
// its RTCP address. With ProbeBefore, while all else is held back, the RTP
// address gets one too: the peer learns where RTP is to go to although none
// comes, and has its confirmation where RTCP does not get through. It sends
// nothing to a peer that holds.
func (s *Session) Probe(e End) {
	s.do(func(now time.Duration) {
		end := &s.ends[e]
		if from, to, ok := end.destination(kindRTP); ok {
			from.socket.send(s.worker.net.buffer(), to)
		}
		keys, held := end.keys.probing()
		if end.mode != Protected || keys == nil {
			return
		}
		s.report(end, keys, kindRTCP)
		if held && !end.remote.Mux {
			s.report(end, keys, kindRTP)
		}
	})
}

// report sends an SRTCP packet with an empty receiver report to where packets of
// a kind go.
func (s *Session) report(e *end, keys *srtp.Context, where kind) {
	from, to, ok := e.destination(where)
	if !ok {
		return
	}
	report := appendEmptyReport(s.worker.net.buffer(), e.numbering.streams[0].own)
	if report, err := keys.ProtectRTCP(report[:0], report); err == nil {
		e.emit(from, to, report)
	}
}

// Stats counts both ends' packets, indexed by End.
func (s *Session) Stats() [2]Stats {
	var stats [2]Stats
	s.worker.lock()
	defer s.worker.unlock()
	for i := range s.ends {
		stats[i] = s.ends[i].stats
		stats[i].Lost = s.ends[i].arrivals.total()
	}
	return stats
}

// LastActivity is when the last packet of either peer was accepted, or when
// the session was opened.
func (s *Session) LastActivity() time.Time {
	s.worker.lock()
	defer s.worker.unlock()
	return s.worker.start.Add(s.active)
}

// Close erases the keys, closes the sockets and gives the ports back;
// idempotent. When it returns no packet of the session is under way any more.
func (s *Session) Close() {
	if s.release() {
		s.engine.forget(s)
	}
}

// release is Close without the engine's books.
func (s *Session) release() bool {
	first := false
	s.do(func(time.Duration) {
		first, s.closed = true, true
		if s.taps != nil {
			s.taps.drop()
		}
		for i := range s.ends {
			e := &s.ends[i]
			e.mode = Closed
			e.keys.erase()
			e.in.drop()
			e.out.drop()
			if s.timers[i] != nil {
				s.timers[i].Stop()
			}
			for j := range s.ports[i] {
				if socket := s.ports[i][j].socket; socket != nil {
					socket.close()
				}
			}
		}
	})
	if !first {
		return false
	}
	for i := range s.ports {
		for j := range s.ports[i] {
			if socket := s.ports[i][j].socket; socket != nil {
				socket.wait()
			}
		}
		if s.ports[i][0].socket != nil {
			s.engine.ports.release(s.ports[i][0].local)
		}
	}
	return true
}

// do runs f under the worker's lock, unless the session is closed.
func (s *Session) do(f func(now time.Duration)) {
	s.worker.lock()
	defer s.worker.unlock()
	if !s.closed {
		f(s.worker.now())
	}
}
