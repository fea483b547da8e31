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

const (
	// epollEvents is how many ready sockets one system call names.
	epollEvents = 128
	// behindRounds is after how many rounds without a pause, all of them full,
	// a worker counts as behind its packets.
	behindRounds = 8
)

// epoll serves UDP sockets with one loop. It is level-triggered: a socket that
// holds more than was read is named again.
type epoll struct {
	worker *worker
	log    *slog.Logger
	fd     int
	wake   int // eventfd that ends the loop
	gate   *gate
	ring   *ring // nil: the system has none
	noted  bool  // that it has failed; of the loop alone
	done   chan struct{}
	pace   pace // of the loop alone

	// Guarded by the worker's lock.
	sockets  sockets
	round    uint32
	rush     int // full rounds in a row
	stopping bool
	in       inbox
	out      outbox
	from     [batch]*epollSocket // of the packets in the inbox
	full     [batch]*epollSocket // that may hold more than one
	fetched  uint64              // made of what fetch read, which so has to be read
}

// startTransport gives the worker an epoll loop, and has done so before the
// loop runs: it flushes through the worker.
func startTransport(w *worker, o Options) error {
	t := &epoll{worker: w, log: o.Log, done: make(chan struct{}), pace: pace{bound: o.Coalesce}}
	if err := t.create(); err != nil {
		return fmt.Errorf("media: %w", err)
	}
	var none error
	if !o.NoRing {
		t.ring, none = newRing(batch)
	}
	if none != nil {
		t.log.Debug("media is read and sent packet by packet", "why", none)
	}
	t.in.init(t.ring)
	t.out.init(t.ring)
	w.net = t
	go t.run()
	return nil
}

// create opens the loop's descriptors.
func (t *epoll) create() (err error) {
	if t.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if t.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return errors.Join(os.NewSyscallError("eventfd", err), unix.Close(t.fd))
	}
	err = unix.EpollCtl(t.fd, unix.EPOLL_CTL_ADD, t.wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: noSocket})
	if err == nil {
		t.gate, err = newGate(t.fd)
	}
	if err != nil {
		return errors.Join(err, unix.Close(t.wake), unix.Close(t.fd))
	}
	return nil
}

// run reads sockets as they become ready. The lock is taken once for all that
// one wait names.
func (t *epoll) run() {
	defer close(t.done)
	events := make([]unix.EpollEvent, epollEvents)
	n, packets, now := 0, 0, t.worker.now()
	for {
		pause, busy := t.pace.pause(packets, now, t.worker.now())
		var err error
		if n, err = t.ready(events, n == len(events) || busy && pause == 0, pause); err != nil {
			t.log.Error("media worker stopped", "error", err)
			return
		}
		t.worker.lock()
		now = t.worker.now()
		t.round++
		if t.rush++; n < len(events) {
			t.rush = 0
		}
		packets = 0
		for i := 0; i < n; i += batch {
			packets += t.serve(events[i:min(i+batch, n)], now)
		}
		stop, failed := t.stopping, t.ring.failed()
		t.worker.unlock()
		t.noteRing(failed)
		if stop {
			return
		}
	}
}

// noteRing says once that the ring has failed, and by what; from then on datagrams
// go one by one.
func (t *epoll) noteRing(failed unix.Errno) {
	if failed != 0 && !t.noted {
		t.noted = true
		t.log.Warn("media is read and sent packet by packet from now on", "error", os.NewSyscallError("io_uring_enter", failed))
	}
}

// ready gives sockets to read: at once where more are ready, else once the pause is
// over and there are any.
func (t *epoll) ready(events []unix.EpollEvent, more bool, pause time.Duration) (int, error) {
	if more {
		runtime.Gosched()
		if n, errno := pollNow(t.fd, events); n > 0 || errno != 0 {
			return n, fault(errno)
		}
	}
	if pause > 0 {
		return t.gate.pause(pause, events)
	}
	return t.gate.wait(events)
}

// serve relays what sockets hold and says how many packets that were. It takes some packets, then works on them,
// then sends: the system's code for each step is long, and going through it
// many times in a row is cheaper than in turns.
//
// Most sockets hold one packet. One that was ready in the round before too may
// hold more, and so may any once the worker is behind. With a ring it is asked
// several times in a row. Without, where the plain system call is the cheaper one
// for a single packet, it is read by one that takes many.
func (t *epoll) serve(events []unix.EpollEvent, now time.Duration) (packets int) {
	ring := t.ring.carries(len(events))
	full := 0
	for i := range events {
		s := t.sockets.get(events[i].Fd, events[i].Pad)
		if s == nil {
			continue
		}
		more := s.round+1 == t.round || t.rush >= behindRounds
		s.round = t.round
		asks := s.depth.asks(more)
		if asks > 1 && !ring {
			t.full[full] = s
			full++
			continue
		}
		if t.in.count+asks > batch {
			packets += t.work(now)
		}
		for range asks {
			t.from[t.in.count] = s
			t.in.want(s.fd)
		}
	}
	packets += t.work(now)
	for _, s := range t.full[:full] {
		n := t.in.read(s.fd)
		s.depth.held(n)
		packets += n
		for i := range n {
			t.dispatch(s, i, now)
		}
		t.out.flush()
	}
	return packets
}

// work relays what was asked for, and says how many packets there were.
func (t *epoll) work(now time.Duration) (packets int) {
	from := t.from[:t.in.count]
	t.fetch(from)
	t.in.take()
	held := 0 // by the socket of this place
	for i, s := range from {
		if t.in.got[i] {
			t.dispatch(s, i, now)
			packets++
			held++
		}
		if i+1 == len(from) || from[i+1] != s {
			s.depth.held(held)
			held = 0
		}
	}
	t.out.flush()
	return packets
}

func (t *epoll) dispatch(s *epollSocket, i int, now time.Duration) {
	src, pkt := t.in.packet(i)
	if s.scope != 0 && src.Addr().IsLinkLocalUnicast() {
		src = netip.AddrPortFrom(src.Addr().WithZone(s.zone), src.Port())
	}
	s.port.receive(src, pkt, now)
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
	if t.ring != nil {
		err = t.ring.close()
	}
	return errors.Join(err, t.gate.close(), unix.Close(t.wake), unix.Close(t.fd))
}

// epollSocket is one non-blocking UDP socket. It fills a cache line.
type epollSocket struct {
	epoll *epoll
	port  *port
	fd    int
	index int32  // in sockets
	round uint32 // of the loop that read it last
	depth depth
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
	if to.Addr().Is6() == s.ipv6 {
		s.epoll.out.add(s, pkt, to)
	}
}

// address writes a destination of the socket's family as the system takes it, and
// says how long that is. A name that holds IPv6 addresses holds IPv4 ones too.
func (s *epollSocket) address(name *unix.RawSockaddrInet6, to netip.AddrPort) uint32 {
	if !s.ipv6 {
		name := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		*name = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: to.Addr().As4()}
		setPort(&name.Port, to.Port())
		return unix.SizeofSockaddrInet4
	}
	*name = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: to.Addr().As16()}
	if to.Addr().IsLinkLocalUnicast() {
		name.Scope_id = s.scope
	}
	setPort(&name.Port, to.Port())
	return unix.SizeofSockaddrInet6
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
