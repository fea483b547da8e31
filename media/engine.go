package media

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"
)

// ErrClosed says that the engine or the session was closed.
var ErrClosed = errors.New("media: closed")

// The range of ports where Options names none: below what systems give to
// outgoing connections.
const (
	defaultPortMin = 16384
	defaultPortMax = 32767
)

// defaultCoalesce is where Options name no bound: well below what a jitter
// buffer or a person notices.
const defaultCoalesce = time.Millisecond

// Options of an Engine.
type Options struct {
	// PortMin and PortMax bound the ports of media, both included; 0 and 0
	// mean 16384 to 32767. A session takes an even port and the next one at
	// each of its two addresses.
	PortMin, PortMax int
	// Workers is how many workers share the sessions; 0 means one per CPU.
	Workers int
	// Coalesce bounds how long a busy worker lets packets gather, so that one
	// wake-up serves many calls; 0 means 1 ms, negative means not at all. A
	// worker with few packets never waits.
	Coalesce time.Duration
	// NoRing has media read and sent packet by packet on Linux, as it is where
	// the system does not allow io_uring(7).
	NoRing bool
	// Listen opens a socket at exactly this address; nil means UDP. Tests give
	// sockets in memory.
	Listen func(netip.AddrPort) (net.PacketConn, error)
	// Log hears of faults of the machine, never of packets; nil means none.
	Log *slog.Logger
}

// Engine owns the workers and the ports of all sessions.
type Engine struct {
	start time.Time
	ports *ports

	mu       sync.Mutex
	workers  []*worker
	sessions map[*Session]struct{}
	closed   bool
	alive    *time.Timer // of the keep-alives; nil while no session wants any
}

// NewEngine starts the workers. Errors: a range of ports without an even and
// an odd one, or a system that gives no epoll.
func NewEngine(o Options) (*Engine, error) {
	if o.PortMin == 0 && o.PortMax == 0 {
		o.PortMin, o.PortMax = defaultPortMin, defaultPortMax
	}
	ports, err := newPorts(o.PortMin, o.PortMax)
	if err != nil {
		return nil, err
	}
	if o.Workers < 0 {
		return nil, fmt.Errorf("media: %d workers", o.Workers)
	}
	if o.Workers == 0 {
		o.Workers = runtime.NumCPU()
	}
	if o.Coalesce == 0 {
		o.Coalesce = defaultCoalesce
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{
		start:    time.Now(),
		ports:    ports,
		sessions: map[*Session]struct{}{},
	}
	for range o.Workers {
		w := &worker{start: e.start}
		if o.Listen != nil {
			w.net = newPortable(w, o.Listen)
		} else if err = startTransport(w, o); err != nil {
			return nil, errors.Join(err, e.Close())
		}
		e.workers = append(e.workers, w)
	}
	return e, nil
}

// Close closes every session and ends the workers; idempotent.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.closed = true
	if e.alive != nil {
		e.alive.Stop()
	}
	open := make([]*Session, 0, len(e.sessions))
	for s := range e.sessions {
		open = append(open, s)
	}
	workers := e.workers
	e.workers = nil
	e.mu.Unlock()

	for _, s := range open {
		s.Close()
	}
	var errs []error
	for _, w := range workers {
		errs = append(errs, w.net.close())
	}
	return errors.Join(errs...)
}

// Open makes a session that relays one RTP m-line between end A at local
// address a and end B at local address b. Both ends start Closed. Errors:
// ErrNoPorts, ErrClosed, or that of the socket, such as an address which is
// not this machine's.
func (e *Engine) Open(a, b netip.Addr) (*Session, error) {
	return e.open(func(s *Session) error { return s.bind([2]netip.Addr{a, b}) })
}

// open makes a session whose sockets bind opens.
func (e *Engine) open(bind func(*Session) error) (*Session, error) {
	w, err := e.assign()
	if err != nil {
		return nil, err
	}
	s := newSession(e, w)
	err = bind(s)
	if err == nil && !e.remember(s) {
		err = ErrClosed
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// assign picks the worker with the fewest sessions.
func (e *Engine) assign() (*worker, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, ErrClosed
	}
	least := e.workers[0]
	for _, w := range e.workers[1:] {
		if w.sessions < least.sessions {
			least = w
		}
	}
	least.sessions++
	return least, nil
}

// remember puts a session into the books; not once the engine is closed.
func (e *Engine) remember(s *Session) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.sessions[s] = struct{}{}
	}
	return !e.closed
}

// forget takes a closed session out of the books.
func (e *Engine) forget(s *Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.sessions, s)
	s.worker.sessions--
}
