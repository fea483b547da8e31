package sip

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// inSecurePipes is inPipes with TLS; the stack is alice.example.
func inSecurePipes(t *testing.T, dial func(context.Context, netip.AddrPort) (net.Conn, error), f func(ca *authority, p *pipes, s *Stack, l *Listener)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := newAuthority(t, "test authority") // of the bubble's time
		p := newPipes()
		s := NewStack(Options{Log: quietLog, Handler: echoing})
		l, err := s.Listen(ListenerOptions{Stream: p, Dial: dial, TLS: ca.with(ca.issue(t, named("alice.example")))})
		if err != nil {
			t.Fatal(err)
		}
		f(ca, p, s, l)
		s.Close()
		// The bubble ends only if no goroutine of the stack is left.
	})
}

func (ca *authority) client(c net.Conn) *tls.Conn {
	return tls.Client(c, &tls.Config{RootCAs: ca.pool, ServerName: "alice.example"})
}

// Whoever is slow in the handshake is closed, and holds up nobody.
func TestSlowLorisInTheHandshake(t *testing.T) {
	// The beginning of a ClientHello of 500 octets.
	hello := append([]byte{22, 3, 1, 1, 244, 1, 0, 1, 240, 3, 3}, make([]byte, 490)...)
	for _, tt := range []struct {
		name  string
		speak func(c net.Conn)
	}{
		{"silence", func(net.Conn) {}},
		{"one octet a second", func(c net.Conn) {
			for _, b := range hello {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inSecurePipes(t, nil, func(ca *authority, p *pipes, _ *Stack, l *Listener) {
				start := time.Now()
				c := p.connect()
				at := endOf(c, start)
				go tt.speak(c)
				synctest.Wait()
				good := &tcpPeer{t: t, Conn: ca.client(p.connect())}
				good.write(tcpOptions)
				good.next("200 OPTIONS")
				if took := time.Since(start); took > 100*time.Millisecond {
					t.Errorf("the other one waited %v", took)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if got := time.Duration(at.Load()); got != handshakeTimeout || connections(l) != 1 {
					t.Errorf("closed after %v, want %v; %d connections are left", got, handshakeTimeout, connections(l))
				}
				go good.Close()
			})
		})
	}
}

// Behind the handshake the limits of a stream hold.
func TestSlowLorisBehindTheHandshake(t *testing.T) {
	inSecurePipes(t, nil, func(ca *authority, p *pipes, _ *Stack, l *Listener) {
		start := time.Now()
		c := ca.client(p.connect())
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		at := endOf(c, start)
		for i := range 40 {
			c.Write([]byte{tcpOptions[i]})
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if got := time.Duration(at.Load()); got != messageTimeout || connections(l) != 0 {
			t.Errorf("closed after %v, want %v", got, messageTimeout)
		}
	})
}

// Those who only begin handshakes close each other; who is through stays.
func TestHandshakesAreLimited(t *testing.T) {
	inSecurePipes(t, nil, func(ca *authority, p *pipes, _ *Stack, l *Listener) {
		start := time.Now()
		through := &tcpPeer{t: t, Conn: ca.client(p.connect())}
		through.write(tcpOptions)
		through.next("200 OPTIONS")
		first := endOf(p.connect(), start)
		time.Sleep(time.Millisecond)
		for range maxHandshakes - 1 {
			endOf(p.connect(), start)
		}
		synctest.Wait()
		if first.Load() != 0 || connections(l) != maxHandshakes+1 {
			t.Errorf("closed too soon; %d connections", connections(l))
		}
		late := &tcpPeer{t: t, Conn: ca.client(p.connect())}
		late.write(tcpOptions)
		late.next("200 OPTIONS")
		synctest.Wait()
		if first.Load() == 0 || connections(l) != maxHandshakes+1 {
			t.Errorf("the oldest is open; %d connections", connections(l))
		}
		through.write(tcpOptions)
		through.next("200 OPTIONS")
		go through.Close()
		go late.Close()
	})
}

// The end of a stack ends handshakes, on either side.
func TestCloseEndsHandshakes(t *testing.T) {
	dial := func(context.Context, netip.AddrPort) (net.Conn, error) {
		near, far := net.Pipe()
		go far.Read(make([]byte, 1)) // and no more
		return near, nil
	}
	inSecurePipes(t, dial, func(_ *authority, p *pipes, s *Stack, l *Listener) {
		start := time.Now()
		at := endOf(p.connect(), start)
		u := newUser()
		u.dialTo(t, s, l.FlowTo(bobAddr, "bob.example"))
		synctest.Wait()
		time.Sleep(time.Second)
		s.Close()
		synctest.Wait()
		if took := time.Since(start); took != time.Second || time.Duration(at.Load()) != time.Second {
			t.Errorf("Close took %v", took-time.Second)
		}
	})
}

// A peer that takes the connection and never shakes hands ends the call with
// words.
func TestADialledPeerThatDoesNotShakeHands(t *testing.T) {
	dial := func(context.Context, netip.AddrPort) (net.Conn, error) {
		near, far := net.Pipe()
		endOf(far, time.Now())
		return near, nil
	}
	inSecurePipes(t, dial, func(_ *authority, _ *pipes, s *Stack, l *Listener) {
		start := time.Now()
		u := newUser()
		var after time.Duration
		u.refused = func(_ *Message, err error) {
			after = time.Since(start)
			if !errors.Is(err, ErrTransport) || !strings.Contains(err.Error(), "bob.example did not finish the TLS handshake") {
				t.Errorf("%v", err)
			}
		}
		u.dialTo(t, s, l.FlowTo(bobAddr, "bob.example"))
		time.Sleep(time.Minute)
		synctest.Wait()
		if after != streamTimeout || connections(l) != 0 {
			t.Errorf("after %v, want %v; %d connections", after, streamTimeout, connections(l))
		}
	})
}

// A peer that ends the connection behind the handshake, before it says anything,
// fails the call at once; one that has said something is connected to anew, a few
// times.
func TestAPeerThatGoesBehindTheHandshake(t *testing.T) {
	for _, tt := range []struct {
		name   string
		speaks bool
		want   int32 // connections
	}{{"at once", false, 1}, {"behind a response", true, 1 + maxAnew}} {
		t.Run(tt.name, func(t *testing.T) {
			var ca *authority
			var dialled atomic.Int32
			dial := func(context.Context, netip.AddrPort) (net.Conn, error) {
				dialled.Add(1)
				near, far := net.Pipe()
				server := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{*ca.issue(t, named("bob.example"))}})
				go func() {
					p := &tcpPeer{t: t, Conn: server}
					inv := p.next("INVITE")
					if tt.speaks {
						inv.Set("Call-ID", "another") // not of this call, but a word
						p.write(string(NewResponse(inv, 100, "", "").Bytes()))
					}
					far.Close()
				}()
				return near, nil
			}
			inSecurePipes(t, dial, func(a *authority, _ *pipes, s *Stack, l *Listener) {
				ca = a
				start := time.Now()
				u := newUser()
				after := time.Duration(-1)
				u.refused = func(*Message, error) { after = time.Since(start) }
				u.dialTo(t, s, l.FlowTo(bobAddr, "bob.example"))
				time.Sleep(time.Minute)
				synctest.Wait()
				if after != 0 || dialled.Load() != tt.want {
					t.Errorf("after %v and %d connections, want %d at once", after, dialled.Load(), tt.want)
				}
			})
		})
	}
}
