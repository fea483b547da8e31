package media

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// epollEvents is how many ready sockets one system call names.
const epollEvents = 64

// epoll serves UDP sockets with one loop. It is level-triggered: a socket that
// holds more than was read is named again.
type epoll struct {
	worker *worker
	log    *slog.Logger
	fd     int
	wake   int // eventfd that ends the loop
	done   chan struct{}
	pace   pace // of the loop alone

	// Guarded by the worker's lock.
	sockets  sockets
	round    uint32
	stopping bool
	in       inbox
	out      outbox
}

// startTransport gives the worker an epoll loop, and has done so before the
// loop runs: it flushes through the worker.
func startTransport(w *worker, o Options) error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("media: %w", os.NewSyscallError("epoll_create1", err))
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: noSocket})
		if err != nil {
			unix.Close(wake)
		}
	}
	if err != nil {
		unix.Close(fd)
		return fmt.Errorf("media: %w", os.NewSyscallError("eventfd", err))
	}
	t := &epoll{worker: w, log: o.Log, fd: fd, wake: wake, done: make(chan struct{}), pace: pace{bound: o.Coalesce}}
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
	for pause := time.Duration(0); ; {
		n, err := t.ready(events, pause)
		if err != nil {
			t.log.Error("media worker stopped", "error", os.NewSyscallError("epoll_wait", err))
			return
		}
		t.worker.lock()
		now := t.worker.now()
		packets := 0
		t.round++
		for i := range events[:n] {
			if s := t.sockets.get(events[i].Fd, events[i].Pad); s != nil {
				packets += t.read(s, now)
			}
		}
		stop := t.stopping
		t.worker.unlock()
		if stop {
			return
		}
		if pause = t.pace.pause(packets, now); n == len(events) {
			pause = yield // more are ready now
		}
	}
}

// yield is a pause that only lets other goroutines run.
const yield = -1

// ready waits for sockets to read. Where others need the processor meanwhile
// they have it; only what never blocks hides from the scheduler.
func (t *epoll) ready(events []unix.EpollEvent, pause time.Duration) (int, error) {
	switch {
	case pause == yield:
		runtime.Gosched()
	case pause > 0:
		time.Sleep(pause)
	}
	if pause != 0 {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(t.fd), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
		if errno == 0 && n > 0 {
			return int(n), nil
		}
	}
	n, err := unix.EpollWait(t.fd, events, -1)
	if errors.Is(err, unix.EINTR) {
		return 0, nil
	}
	return n, err
}

// read takes what a socket holds, within bounds, and sends what comes of it.
func (t *epoll) read(s *epollSocket, now time.Duration) int {
	burst := s.round+1 == t.round
	s.round = t.round
	if !burst {
		// Most sockets hold one packet: the plain system call is the cheaper.
		n := t.in.readOne(s.fd)
		if n > 0 {
			t.dispatch(s, 0, now)
			t.out.flush()
		}
		return n
	}
	n := t.in.read(s.fd)
	for i := range n {
		t.dispatch(s, i, now)
	}
	t.out.flush()
	return n
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
	index int32  // in sockets
	round uint32 // of the loop that read it last
	ipv6  bool
	scope uint32 // interface of a link-local address
	zone  string

	to   netip.AddrPort        // where name points: the last destination
	name unix.RawSockaddrInet6 // holds an IPv4 address too
	size uint32                // of name
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
	event := unix.EpollEvent{Events: unix.EPOLLIN}
	event.Fd, event.Pad = t.sockets.add(s)
	if err := unix.EpollCtl(t.fd, unix.EPOLL_CTL_ADD, s.fd, &event); err != nil {
		t.sockets.remove(s)
		unix.Close(s.fd)
		return nil, fmt.Errorf("media: %s: %w", addr, os.NewSyscallError("epoll_ctl", err))
	}
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
	if to == s.to || s.address(to) {
		s.epoll.out.add(s, pkt)
	}
}

// address writes a destination as the system takes it; false where it is of
// the other family.
func (s *epollSocket) address(to netip.AddrPort) bool {
	if to.Addr().Is6() != s.ipv6 {
		return false
	}
	s.to = to
	if s.ipv6 {
		s.name = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: to.Addr().As16()}
		if to.Addr().IsLinkLocalUnicast() {
			s.name.Scope_id = s.scope
		}
		setPort(&s.name.Port, to.Port())
		s.size = unix.SizeofSockaddrInet6
		return true
	}
	name := (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.name))
	*name = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: to.Addr().As4()}
	setPort(&name.Port, to.Port())
	s.size = unix.SizeofSockaddrInet4
	return true
}

// close under the worker's lock: nothing is queued for the socket, as every
// holder of the lock flushes before the next.
func (s *epollSocket) close() {
	s.epoll.out.flush()
	s.epoll.sockets.remove(s)
	unix.Close(s.fd) // leaves the epoll set with its last descriptor
}

// wait has nothing to wait for: reads happen under the lock.
func (s *epollSocket) wait() {}
