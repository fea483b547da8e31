package sip

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a stream listener in memory, so that the limits of time can be
// tested in a bubble.
type pipes struct {
	incoming chan net.Conn
	closed   chan struct{}
	port     atomic.Uint32
	once     sync.Once
}

type pipeEnd struct {
	net.Conn
	remote net.Addr
}

func (e pipeEnd) RemoteAddr() net.Addr { return e.remote }

func newPipes() *pipes { return &pipes{incoming: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.incoming:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return net.TCPAddrFromAddrPort(aliceAddr) }

// connect returns the far end of a new inbound connection.
func (p *pipes) connect() net.Conn {
	near, far := net.Pipe()
	p.incoming <- pipeEnd{near, net.TCPAddrFromAddrPort(netip.AddrPortFrom(carolAddr.Addr(), uint16(20000+p.port.Add(1))))}
	return far
}

func inPipes(t *testing.T, dial func(context.Context, netip.AddrPort) (net.Conn, error), f func(p *pipes, s *Stack, l *Listener)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		s := NewStack(Options{Log: quietLog, Handler: echoing})
		l, err := s.Listen(ListenerOptions{Stream: p, Dial: dial})
		if err != nil {
			t.Fatal(err)
		}
		f(p, s, l)
		s.Close()
		// The bubble ends only if no goroutine of the stack is left.
	})
}

const tcpOptions = "OPTIONS sip:a@h SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.3;branch=z9hG4bK1\r\nFrom: <sip:c@h>;tag=1\r\nTo: <sip:a@h>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"

// endOf notes when the other side closes a connection.
func endOf(c net.Conn, start time.Time) *atomic.Int64 {
	var at atomic.Int64
	go func() {
		io.Copy(io.Discard, c)
		at.Store(int64(time.Since(start)))
	}()
	return &at
}

func TestSlowLorisIsClosed(t *testing.T) {
	for _, tt := range []struct {
		name  string
		speak func(c net.Conn)
		want  time.Duration // when the connection is closed; 0: never
	}{
		{"silence", func(net.Conn) {}, messageTimeout},
		{"keep-alives alone", func(c net.Conn) {
			for range 100 {
				time.Sleep(time.Second)
				c.Write([]byte("\r\n\r\n"))
			}
		}, messageTimeout},
		{"one octet a second", func(c net.Conn) {
			for i := range 100 {
				time.Sleep(time.Second)
				c.Write([]byte{tcpOptions[i]})
			}
		}, messageTimeout},
		{"half a message behind a whole one", func(c net.Conn) {
			time.Sleep(time.Second)
			c.Write([]byte(tcpOptions))
			time.Sleep(time.Hour)
			for i := range 100 {
				c.Write([]byte{tcpOptions[i]})
				time.Sleep(time.Second)
			}
		}, time.Hour + time.Second + messageTimeout},
		{"a body that never ends", func(c net.Conn) {
			c.Write([]byte(tcpOptions + "OPTIONS sip:a@h SIP/2.0\r\nContent-Length: 60000\r\n\r\n"))
			for range 100 {
				time.Sleep(time.Second)
				c.Write([]byte("x"))
			}
		}, messageTimeout},
		{"a quiet phone", func(c net.Conn) { c.Write([]byte(tcpOptions)) }, 0},
		{"a slow but honest one", func(c net.Conn) {
			for range 10 {
				c.Write([]byte(tcpOptions[:100]))
				time.Sleep(messageTimeout - time.Second)
				c.Write([]byte(tcpOptions[100:]))
			}
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inPipes(t, nil, func(p *pipes, _ *Stack, l *Listener) {
				c := p.connect()
				start := time.Now()
				at := endOf(c, start)
				go tt.speak(c)
				time.Sleep(3 * time.Hour)
				synctest.Wait()
				if got := time.Duration(at.Load()); got != tt.want {
					t.Errorf("closed after %v, want %v", got, tt.want)
				}
				if n := connections(l); (n == 0) != (tt.want != 0) {
					t.Errorf("%d connections are left", n)
				}
			})
		})
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	inPipes(t, nil, func(p *pipes, _ *Stack, l *Listener) {
		start := time.Now()
		var ends []*atomic.Int64
		for i := range maxStreams {
			c := p.connect()
			ends = append(ends, endOf(c, start))
			c.Write([]byte(tcpOptions))
			if i == 9 {
				time.Sleep(time.Second) // the first ten are the quietest
			}
		}
		time.Sleep(quietTime / 2)
		over := endOf(p.connect(), start)
		synctest.Wait()
		if connections(l) != maxStreams || over.Load() == 0 {
			t.Errorf("%d connections; the one too many is open", connections(l))
		}
		time.Sleep(quietTime/2 - time.Second/2) // the first ten, and none of the others, were quiet for quietTime
		var fresh []*atomic.Int64
		for range 12 {
			c := p.connect()
			fresh = append(fresh, endOf(c, start))
		}
		synctest.Wait()
		closed := 0
		for i, at := range ends {
			if at.Load() != 0 {
				if closed++; i >= 10 {
					t.Errorf("connection %d was closed", i)
				}
			}
		}
		open := 0
		for _, at := range fresh {
			if at.Load() == 0 {
				open++
			}
		}
		if closed != 10 || open != 10 || connections(l) != maxStreams {
			t.Errorf("%d quiet ones made room for %d of 12; %d in all", closed, open, connections(l))
		}
	})
}

// A peer that takes nothing holds up its own connection, for a while, and
// nobody else's.
func TestAPeerThatDoesNotRead(t *testing.T) {
	inPipes(t, nil, func(p *pipes, _ *Stack, l *Listener) {
		deaf, good := p.connect(), p.connect()
		start := time.Now()
		go func() {
			for range 1000 {
				if _, err := deaf.Write([]byte(tcpOptions)); err != nil {
					return
				}
			}
		}()
		synctest.Wait()
		go good.Write([]byte(tcpOptions))
		g := &tcpPeer{t: t, Conn: good}
		g.next("200 OPTIONS")
		if time.Since(start) > time.Second {
			t.Errorf("the other one waited %v", time.Since(start))
		}
		time.Sleep(streamTimeout)
		synctest.Wait()
		if connections(l) != 1 {
			t.Errorf("%d connections are left", connections(l))
		}
	})
}

// A peer that can be dialled and then takes nothing ends a call with a
// transport error, and the stack's end ends everything that waits for it.
func TestADialledPeerThatDoesNotRead(t *testing.T) {
	var far []net.Conn
	inPipes(t, func(context.Context, netip.AddrPort) (net.Conn, error) {
		near, f := net.Pipe()
		far = append(far, f)
		return near, nil
	}, func(_ *pipes, s *Stack, l *Listener) {
		users := make([]*user, maxOutgoing+10)
		for i := range users {
			users[i] = newUser()
			users[i].dial(t, s, l, bobAddr)
		}
		synctest.Wait()
		full := 0
		for _, u := range users {
			if len(u.events()) != 0 {
				full++
			}
		}
		if full == 0 || full > 10 || len(far) != 1 {
			t.Errorf("%d calls failed at once, %d connections", full, len(far))
		}
		time.Sleep(streamTimeout)
		synctest.Wait()
		for i, u := range users {
			if got := u.events(); len(got) != 1 || !strings.HasPrefix(got[0], "refused: "+ErrTransport.Error()+": ") {
				t.Fatalf("call %d: %q", i, got)
			}
		}
		if s.Dialogs() != 0 {
			t.Errorf("%d Call-IDs in use", s.Dialogs())
		}
	})
}

// A dial that takes long is given up.
func TestADialThatHangs(t *testing.T) {
	inPipes(t, func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}, func(_ *pipes, s *Stack, l *Listener) {
		u := newUser()
		u.dial(t, s, l, bobAddr)
		time.Sleep(streamTimeout)
		synctest.Wait()
		if got := u.events(); len(got) != 1 || got[0] != "refused: "+ErrTransport.Error()+": context deadline exceeded" {
			t.Errorf("heard %q", got)
		}
	})
}
