package sip

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/memnet"
)

func TestKeepAliveOverUDP(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		s, l := w.stack(aliceAddr, nil)
		bob, _ := w.stack(bobAddr, nil)
		stop := s.KeepAlive(l.Flow(bobAddr), 20*time.Second, func(err error) { t.Error(err) })
		time.Sleep(65 * time.Second)
		w.wantTimes("keep-alives", w.sent(aliceAddr, "?"), seconds(20, 40, 60))
		if got := w.wires(aliceAddr, "")[0].wire; got != "\r\n\r\n" || bob.Malformed() != 0 {
			t.Errorf("sent %q, %d malformed", got, bob.Malformed())
		}
		stop()
		stop()
		time.Sleep(time.Hour)
		w.wantTimes("keep-alives", w.sent(aliceAddr, "?"), seconds(20, 40, 60))
		start := time.Since(w.start)
		s.KeepAlive(l.Flow(bobAddr), 0, nil) // no flood
		time.Sleep(2500 * time.Millisecond)
		if got := w.sent(aliceAddr, "?")[3:]; len(got) != 2 || got[0] != start+time.Second {
			t.Errorf("keep-alives at %v", got)
		}
		s.Close()
		s.KeepAlive(l.Flow(bobAddr), time.Second, nil)()
	})
}

// far is a scripted peer's end of a connection that the stack dialled; it notes
// what comes.
type far struct {
	net.Conn
	mu  sync.Mutex
	got strings.Builder
	end time.Time
}

func (f *far) heard() (string, time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.got.String(), f.end
}

// listen reads; answer, where given, makes of each read what is written back.
func (f *far) listen(answer func(string) string) {
	b := make([]byte, 4096)
	for {
		n, err := f.Read(b)
		f.mu.Lock()
		if err != nil {
			f.end = time.Now()
			f.mu.Unlock()
			return
		}
		f.got.Write(b[:n])
		f.mu.Unlock()
		if answer != nil {
			if out := answer(string(b[:n])); out != "" {
				f.Write([]byte(out))
			}
		}
	}
}

// inKeptPipes gives a stack that dials peers which answer so.
func inKeptPipes(t *testing.T, answer func(string) string, f func(s *Stack, l *Listener, dialed func() []*far)) {
	t.Helper()
	var mu sync.Mutex
	var all []*far
	inPipes(t, func(context.Context, netip.AddrPort) (net.Conn, error) {
		near, end := net.Pipe()
		peer := &far{Conn: end}
		mu.Lock()
		all = append(all, peer)
		mu.Unlock()
		go peer.listen(answer)
		return near, nil
	}, func(_ *pipes, s *Stack, l *Listener) {
		f(s, l, func() []*far {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return all
		})
	})
}

// open makes the stack dial bob, with a message that needs no answer.
func open(l *Listener) {
	l.Flow(bobAddr).send([]byte("x"), nil)
	synctest.Wait()
}

// answering gives the peer something to answer a keep-alive with.
func answering(with string) func(string) string {
	return func(s string) string {
		if s == "\r\n\r\n" {
			return with
		}
		return ""
	}
}

func TestKeepAliveOnAConnection(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer func(string) string
		want   time.Duration // until the connection is closed; 0: it is not
	}{
		{"pongs", answering("\r\n"), 0},
		{"something else", answering(tcpOptions), 0},
		{"silence", nil, 30*time.Second + pongTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inKeptPipes(t, tt.answer, func(s *Stack, l *Listener, dialed func() []*far) {
				open(l)
				start := time.Now()
				var lost []error
				stop := s.KeepAlive(l.Flow(bobAddr), 30*time.Second, func(err error) { lost = append(lost, err) })
				time.Sleep(10*time.Minute + 15*time.Second)
				peers := dialed()
				if len(peers) != 1 {
					t.Fatalf("%d connections", len(peers))
				}
				got, end := peers[0].heard()
				if tt.want == 0 {
					if len(lost) != 0 || !end.IsZero() || strings.Count(got, "\r\n\r\n") < 20 {
						t.Errorf("lost %v, heard %q", lost, got)
					}
					if tt.name == "pongs" && got != "x"+strings.Repeat("\r\n\r\n", 20) { // and no pongs of pongs
						t.Errorf("heard %q", got)
					}
				} else if len(lost) != 1 || !errors.Is(lost[0], ErrNoPong) || end.Sub(start) != tt.want {
					t.Errorf("lost %v after %v", lost, end.Sub(start))
				}
				stop()
			})
		})
	}
}

// A connection that takes long to answer is not closed; a peer that pings as
// well gets its pongs.
func TestKeepAlivesOfBothSides(t *testing.T) {
	inKeptPipes(t, func(s string) string {
		if s == "\r\n\r\n" {
			time.Sleep(pongTimeout - time.Second)
			return "\r\n"
		}
		return ""
	}, func(s *Stack, l *Listener, dialed func() []*far) {
		open(l)
		stop := s.KeepAlive(l.Flow(bobAddr), 30*time.Second, func(err error) { t.Error(err) })
		peer := dialed()[0]
		time.Sleep(time.Second)
		for range 30 { // among them some while a pong is due
			peer.Write([]byte("\r\n\r\n"))
			time.Sleep(7 * time.Second)
		}
		time.Sleep(15 * time.Second)
		got, _ := peer.heard()
		pings := strings.Count(got, "\r\n\r\n")
		if n := len(strings.ReplaceAll(got, "x", "")) / 2; n != 30+2*7 || pings < 7 {
			t.Errorf("%d line ends: %q", n, got)
		}
		stop()
	})
}

func TestKeepAliveFollowsItsPeer(t *testing.T) {
	inKeptPipes(t, answering("\r\n"), func(s *Stack, l *Listener, dialed func() []*far) {
		var lost []error
		stop := s.KeepAlive(l.Flow(bobAddr), 30*time.Second, func(err error) { lost = append(lost, err) })
		time.Sleep(5 * time.Minute)
		if n := len(dialed()); n != 0 {
			t.Fatalf("a keep-alive opened %d connections", n)
		}
		for i := range 3 {
			open(l)
			time.Sleep(time.Minute)
			peer := dialed()[i]
			if got, _ := peer.heard(); got != "x\r\n\r\n\r\n\r\n" {
				t.Errorf("connection %d heard %q", i, got)
			}
			peer.Close()
			synctest.Wait()
			if len(lost) != i+1 || errors.Is(lost[i], ErrNoPong) {
				t.Errorf("lost %v", lost)
			}
		}
		open(l)
		time.Sleep(time.Minute)
		stop()
		dialed()[3].Close()
		synctest.Wait()
		if len(lost) != 3 {
			t.Errorf("told of %v behind stop", lost)
		}
	})
}

// A flow that a message came in on names its connection.
func TestKeepAliveOfAnInboundConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		lost := make(chan error, 1)
		var s *Stack
		s = NewStack(Options{Log: quietLog, Handler: func(in *Incoming) {
			s.KeepAlive(in.Flow, time.Minute, func(err error) { lost <- err })
			in.Reply(200, "")
		}})
		if _, err := s.Listen(ListenerOptions{Stream: p}); err != nil {
			t.Fatal(err)
		}
		c := p.connect()
		start := time.Now()
		at := endOf(c, start)
		c.Write([]byte(tcpOptions))
		if err := <-lost; !errors.Is(err, ErrNoPong) || time.Since(start) != time.Minute+pongTimeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		synctest.Wait()
		if at.Load() == 0 {
			t.Error("the connection is open")
		}
		s.Close()
	})
}
