package console

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/sipward/sipward/b2bua"
)

// What a client may take of the server's time and memory.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 30 * time.Second // of a whole answer; event streams set their own for each event
	idleTimeout       = 60 * time.Second
	maxHeaderBytes    = 16 << 10
	maxConnections    = 256 // event streams among them
)

// Source is where the server sees calls. All methods are called from many
// goroutines at once.
type Source interface {
	// Calls returns copies of the live calls, in any order.
	Calls() []b2bua.View
	// Call returns a copy of the live call with this id.
	Call(id string) (b2bua.View, bool)
	// Subscribe delivers every event from now on to a channel that holds
	// buffer of them. The source never waits for the reader: it closes the
	// channel when an event finds no room. cancel ends the subscription; the
	// server calls it once, also after the channel was closed.
	Subscribe(buffer int) (events <-chan b2bua.Event, cancel func())
}

// Options says what a Server shows and to whom.
type Options struct {
	Source   Source          // required
	Counters func() Counters // nil: /metrics leaves these figures out
	Status   func() Status   // nil: /api/status answers 404
	// Unblock lets a source try again, the zero Addr every one, and says how many
	// entries of Status.Blocked that took away. nil: /api/unblock answers 404.
	Unblock func(source netip.Addr, user string) int
	// SaySAS takes somebody's word about the string of a call: it is
	// b2bua.Proxy.SaySAS. nil: /api/calls/{id}/sas answers 404.
	SaySAS func(ctx context.Context, call string, s b2bua.Said) (b2bua.View, error)
	Trust  Trust // nil: /api/trust answers 404
	// Listen is the configured address host:port. The server does not open
	// it; it judges it, and takes its host as one of its own names.
	Listen string
	Hosts  []string // further names of this server in Host, without port: those of a reverse proxy
	// Token and TokenFile are two ways to give the one token; both empty:
	// none. See ReadToken.
	Token     string
	TokenFile string
	Version   string       // for sipward_build_info
	Log       *slog.Logger // nil: no log
}

// Server serves the HTTP interface. Make it with New.
type Server struct {
	source   Source
	log      *slog.Logger
	http     *http.Server
	names    map[string]bool // lower-case hosts that are this server's
	token    [sha256.Size]byte
	hasToken bool
	metrics  *metrics
	status   func() Status
	unblock  func(source netip.Addr, user string) int
	saySAS   func(ctx context.Context, call string, s b2bua.Said) (b2bua.View, error)
	trust    Trust

	mu       sync.Mutex
	stopping bool
	readers  int // open event streams
	streams  sync.WaitGroup
	stop     chan struct{} // closed when stopping becomes true
}

// New makes a server. It fails when the token is unusable, and when Listen can
// be reached from other machines and there is no token.
func New(o Options) (*Server, error) {
	if o.Source == nil {
		return nil, errors.New("console: no source of calls")
	}
	s := &Server{source: o.Source, status: o.Status, unblock: o.Unblock, saySAS: o.SaySAS, trust: o.Trust, log: o.Log, names: map[string]bool{}, stop: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := s.takeToken(o.Token, o.TokenFile); err != nil {
		return nil, err
	}
	if o.Listen != "" {
		host, _, err := net.SplitHostPort(o.Listen)
		if err != nil {
			return nil, fmt.Errorf("console: listen address %q is not host:port", o.Listen)
		}
		if !isLoopback(host) && !s.hasToken {
			return nil, errOpen(o.Listen)
		}
		s.addName(host)
	}
	for _, h := range o.Hosts {
		if _, err := netip.ParseAddr(h); err != nil && (h == "" || strings.ContainsAny(h, ":/ ")) {
			return nil, fmt.Errorf("console: further host %q is not a bare host name or address", h)
		}
		s.addName(h)
	}
	s.metrics = newMetrics(s, o.Counters, o.Version)
	s.http = &http.Server{
		Handler:           s.guard(s.routes()),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	return s, nil
}

func errOpen(addr string) error {
	return fmt.Errorf("console: other machines can reach %s and there is no token: listen on 127.0.0.1, "+
		"or name a token file (make one with: umask 077; openssl rand -hex 32 > console.token)", addr)
}

// takeToken keeps the token's digest: equal lengths to compare, and no secret
// in memory longer than needed.
func (s *Server) takeToken(token, file string) error {
	switch {
	case token != "" && file != "":
		return errors.New("console: both a token and a token file are given: keep one")
	case file != "":
		t, err := ReadToken(file)
		if err != nil {
			return err
		}
		token = t
	case token == "":
		return nil
	}
	if err := checkToken(token); err != nil {
		return fmt.Errorf("console: %w", err)
	}
	s.token, s.hasToken = sha256.Sum256([]byte(token)), true
	return nil
}

// addName takes a host as one of the server's names. The unspecified address
// is none: guard takes the address that a connection reached instead.
func (s *Server) addName(host string) {
	host = strings.ToLower(strings.Trim(strings.TrimSpace(host), "[]"))
	if a, err := netip.ParseAddr(host); err == nil {
		if a.IsUnspecified() {
			return
		}
		host = a.Unmap().String()
	}
	if host != "" {
		s.names[host] = true
	}
}

// Serve answers connections until Shutdown, and then returns nil. It closes ln
// in every case, and refuses one that other machines can reach while there is
// no token.
func (s *Server) Serve(ln net.Listener) error {
	if !s.hasToken {
		host, _, err := net.SplitHostPort(ln.Addr().String())
		if err != nil || !isLoopback(host) {
			ln.Close()
			return errOpen(ln.Addr().String())
		}
	}
	err := s.http.Serve(&limitedListener{Listener: ln, room: maxConnections})
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("console: %w", err)
}

// Shutdown ends the event streams, lets the other answers finish until ctx is
// done, and cuts off what is left then. No goroutine of the server remains
// when it returns nil; the error is ctx's.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.stopping {
		s.stopping = true
		close(s.stop)
	}
	s.mu.Unlock()
	if err := s.http.Shutdown(ctx); err != nil {
		s.http.Close()
		s.streams.Wait()
		return fmt.Errorf("console: not every connection ended in time: %w", err)
	}
	s.streams.Wait()
	return nil
}

// limitedListener closes connections beyond room at once, so that one who
// opens many costs a bounded number of goroutines and buffers.
type limitedListener struct {
	net.Listener
	mu   sync.Mutex
	room int
}

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		taken := l.room > 0
		if taken {
			l.room--
		}
		l.mu.Unlock()
		if taken {
			return &limitedConn{Conn: c, free: sync.OnceFunc(l.free)}, nil
		}
		c.Close()
	}
}

func (l *limitedListener) free() {
	l.mu.Lock()
	l.room++
	l.mu.Unlock()
}

type limitedConn struct {
	net.Conn
	free func()
}

// CloseWrite is what net/http looks for on a connection that it ends while the
// client may still be sending: without it the client can lose the answer.
func (c *limitedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.free()
	return err
}
