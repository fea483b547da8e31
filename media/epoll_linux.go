package media

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// readBatch is how many datagrams one system call takes, and readRounds
	// how often a socket that stays full is read before others have a turn.
	readBatch  = 16
	readRounds = 4
	// epollEvents is how many ready sockets one system call names.
	epollEvents = 64
)

// epoll serves UDP sockets with one loop: level-triggered, so that a socket
// which is not read to its end is named again.
type epoll struct {
	worker *worker
	log    *slog.Logger
	fd     int
	wake   int // eventfd that ends the loop
	done   chan struct{}

	// Guarded by the worker's lock.
	sockets  map[int32]*epollSocket
	stopping bool
	in       inbox
	out      outbox
}

// startTransport gives the worker an epoll loop, and has done so before the
// loop runs: it flushes through the worker.
func startTransport(w *worker, log *slog.Logger) error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("media: %w", os.NewSyscallError("epoll_create1", err))
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wake)})
		if err != nil {
			unix.Close(wake)
		}
	}
	if err != nil {
		unix.Close(fd)
		return fmt.Errorf("media: %w", os.NewSyscallError("eventfd", err))
	}
	t := &epoll{worker: w, log: log, fd: fd, wake: wake, done: make(chan struct{}), sockets: map[int32]*epollSocket{}}
	t.in.init()
	t.out.init()
	w.net = t
	go t.run()
	return nil
}

// run reads sockets as they become ready. The lock is taken once for all that
// one wait names.
func (t *epoll) run() {
	defer close(t.done)
	events := make([]unix.EpollEvent, epollEvents)
	for {
		n, err := unix.EpollWait(t.fd, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			t.log.Error("media worker stopped", "error", os.NewSyscallError("epoll_wait", err))
			return
		}
		t.worker.lock()
		for _, event := range events[:max(n, 0)] {
			// A socket closed since the wait is not in the map. If its number
			// was given to another already, that one is read in vain.
			if s := t.sockets[event.Fd]; s != nil {
				t.read(s)
			}
		}
		stop := t.stopping
		t.worker.unlock()
		if stop {
			return
		}
	}
}

// read takes what a socket holds, within bounds, and sends what comes of it.
func (t *epoll) read(s *epollSocket) {
	for range readRounds {
		n := t.in.read(s.fd)
		now := t.worker.now()
		for i := range n {
			t.dispatch(s, i, now)
		}
		t.out.flush()
		if n < readBatch {
			return
		}
	}
}

func (t *epoll) dispatch(s *epollSocket, i int, now time.Duration) {
	src, pkt := t.in.packet(i)
	if s.scope != 0 && src.Addr().IsLinkLocalUnicast() {
		src = netip.AddrPortFrom(src.Addr().WithZone(s.zone), src.Port())
	}
	s.port.session.receive(s.port, src, pkt, now)
}

func (t *epoll) buffer() []byte { return t.out.buffer() }

func (t *epoll) flush() { t.out.flush() }

func (t *epoll) close() error {
	t.worker.lock()
	again := t.stopping
	t.stopping = true
	t.worker.unlock()
	if again {
		return nil
	}
	_, err := unix.Write(t.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	if err != nil {
		return fmt.Errorf("media: %w", os.NewSyscallError("write", err))
	}
	<-t.done
	return errors.Join(unix.Close(t.wake), unix.Close(t.fd))
}

// epollSocket is one non-blocking UDP socket.
type epollSocket struct {
	epoll *epoll
	port  *port
	fd    int
	ipv6  bool
	scope uint32 // interface of a link-local address
	zone  string
}

// open binds to exactly this address.
func (t *epoll) open(addr netip.AddrPort, p *port) (socket, error) {
	if t.stopping {
		return nil, ErrClosed
	}
	s := &epollSocket{epoll: t, port: p, ipv6: addr.Addr().Is6(), zone: addr.Addr().Zone()}
	if s.zone != "" {
		i, err := net.InterfaceByName(s.zone)
		if err != nil {
			return nil, fmt.Errorf("media: %s: %w", addr, err)
		}
		s.scope = uint32(i.Index)
	}
	if err := s.bind(addr); err != nil {
		return nil, fmt.Errorf("media: %s: %w", addr, err)
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(s.fd)}
	if err := unix.EpollCtl(t.fd, unix.EPOLL_CTL_ADD, s.fd, &event); err != nil {
		unix.Close(s.fd)
		return nil, fmt.Errorf("media: %s: %w", addr, os.NewSyscallError("epoll_ctl", err))
	}
	t.sockets[int32(s.fd)] = s
	return s, nil
}

func (s *epollSocket) bind(addr netip.AddrPort) (err error) {
	family := unix.AF_INET
	var local unix.Sockaddr
	if s.ipv6 {
		family = unix.AF_INET6
		local = &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16(), ZoneId: s.scope}
	} else {
		local = &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	}
	s.fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	if err = unix.Bind(s.fd, local); err != nil {
		unix.Close(s.fd)
		return os.NewSyscallError("bind", err)
	}
	return nil
}

func (s *epollSocket) send(pkt []byte, to netip.AddrPort) {
	if to.Addr().Is6() == s.ipv6 {
		s.epoll.out.add(s, pkt, to)
	}
}

// close under the worker's lock: nothing is queued for the socket, as every
// holder of the lock flushes before the next.
func (s *epollSocket) close() {
	s.epoll.out.flush()
	delete(s.epoll.sockets, int32(s.fd))
	unix.Close(s.fd) // leaves the epoll set with its last descriptor
}

// wait has nothing to wait for: reads happen under the lock.
func (s *epollSocket) wait() {}
