package media

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func newTestRing(t *testing.T) *ring {
	t.Helper()
	r, err := newRing(batch)
	if err != nil {
		t.Skipf("this system gives none: %v", err)
	}
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// A full batch goes out and comes back by the ring, each datagram in its place,
// from who sent it; a socket without any, and one that is none, are told apart.
func TestRing(t *testing.T) {
	t.Parallel()
	r := newTestRing(t)
	var in inbox
	var out outbox
	in.init(r)
	out.init(r)
	var sockets []*epollSocket
	for range batch {
		s := &epollSocket{epoll: &epoll{}}
		if err := s.bind(netip.AddrPortFrom(loopback, 0)); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(s.fd)
		sockets = append(sockets, s)
	}
	addr := func(s *epollSocket) netip.AddrPort {
		name, err := unix.Getsockname(s.fd)
		if err != nil {
			t.Fatal(err)
		}
		return netip.AddrPortFrom(loopback, uint16(name.(*unix.SockaddrInet4).Port))
	}
	for round := range 100 { // around the queues many times
		for i, s := range sockets {
			out.add(s, append(out.buffer(), byte(round), byte(i)), addr(sockets[(i+1)%batch]))
		}
		out.flush()
		for i, s := range sockets {
			if i == 7 {
				in.want(-1)
				continue
			}
			in.want(s.fd)
		}
		in.take()
		for i := range sockets {
			if in.got[i] != (i != 7) {
				t.Fatalf("place %d: got is %v", i, in.got[i])
			}
			if i == 7 {
				continue
			}
			from := (i + batch - 1) % batch
			if src, pkt := in.packet(i); src != addr(sockets[from]) || !bytes.Equal(pkt, []byte{byte(round), byte(from)}) {
				t.Fatalf("place %d has %v of %v", i, pkt, src)
			}
		}
		in.want(sockets[7].fd) // its datagram, then those that hold none
		for _, s := range sockets[8:12] {
			in.want(s.fd)
		}
		in.take()
		if !in.got[0] || in.got[1] || in.got[2] || in.got[3] || in.got[4] {
			t.Fatalf("of one full and four empty sockets: %v", in.got[:5])
		}
	}
	if r.broken != 0 {
		t.Errorf("broken: %v", r.broken)
	}
}

// A ring that stops working costs a batch at most; calls go on without it, and
// the log says so once.
func TestBrokenRing(t *testing.T) {
	t.Parallel()
	newTestRing(t)
	var log logged
	e := newTestEngine(t, Options{Workers: 1, Log: slog.New(slog.NewTextHandler(&log, nil))})
	phone, far := newPeer(t, loopback), newPeer(t, loopback)
	var to []netip.AddrPort
	var sessions []*Session
	for range 2 * batch {
		s := openSession(t, e)
		sessions = append(sessions, s)
		s.SetRemote(A, phone.remote())
		s.SetRemote(B, far.remote())
		s.SetMode(A, Plain)
		s.SetMode(B, Plain)
		rtp, _ := s.Local(A)
		to = append(to, rtp)
	}
	loop := e.workers[0].net.(*epoll)
	e.workers[0].lock()
	real := loop.ring.fd
	loop.ring.fd = -1
	for i, addr := range to { // more than one batch is ready at once
		phone.send(phone.rtp, voice(1, uint16(i)), addr)
	}
	e.workers[0].unlock()
	// It may be somebody else than the loop whose packets find it broken.
	probing := make(chan struct{})
	go func() {
		defer close(probing)
		for range 200 {
			sessions[0].worker.lock()
			for range 2 * ringFrom {
				s := sessions[0].ports[B][0].socket
				s.send(append(loop.buffer(), 0), netip.AddrPortFrom(loopback, 9))
			}
			sessions[0].worker.unlock()
		}
	}()
	defer func() { <-probing }()
	defer func() {
		e.workers[0].lock()
		loop.ring.fd = real // to be closed
		e.workers[0].unlock()
	}()
	// Those of a level-triggered socket that were not read are read again.
	for range to {
		far.read(far.rtp)
	}
	for seq := range uint16(3) {
		for _, addr := range to {
			phone.send(phone.rtp, voice(1, 100+seq), addr)
		}
		for range to {
			far.read(far.rtp)
		}
	}
	if n := strings.Count(log.String(), "packet by packet from now on"); n != 1 {
		t.Errorf("said %d times: %s", n, log.String())
	}
}

// logged is a log that several goroutines write.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
