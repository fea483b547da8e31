package sip

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// piped is the far end of a connection in a bubble, and what is read there.
type piped struct {
	*tcpPeer
	heard chan *Message
}

// listening reads what arrives until the connection ends.
func listening(t *testing.T, c net.Conn) *piped {
	p := &piped{&tcpPeer{t: t, Conn: c}, make(chan *Message, 100)}
	go func() {
		defer close(p.heard)
		b := make([]byte, 4096)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			p.frames.write(b[:n])
			for m, _ := p.frames.next(); m != nil; m, _ = p.frames.next() {
				p.heard <- m
			}
		}
	}()
	return p
}

// names lists what has come and was not listed before.
func (p *piped) names() (out []string) {
	synctest.Wait()
	for len(p.heard) > 0 {
		out = append(out, what((<-p.heard).Bytes()))
	}
	return out
}

func (p *piped) expect(name string) *Message {
	p.t.Helper()
	synctest.Wait()
	select {
	case m := <-p.heard:
		if m != nil && what(m.Bytes()) == name {
			return m
		}
		p.t.Fatalf("got %v, want %s", m, name)
	default:
		p.t.Fatalf("no %s", name)
	}
	return nil
}

func (p *piped) answer(req *Message, status int, fields ...Field) {
	p.t.Helper()
	res := NewResponse(req, status, "", "b")
	res.Fields = append(res.Fields, fields...)
	p.write(string(res.Bytes()))
	synctest.Wait()
}

// callees are who is dialled in a bubble; next is the next connection that was
// opened to them. Without room they refuse.
type callees struct {
	t     *testing.T
	conns []*piped
	to    []netip.AddrPort
	gone  bool
	queue Queue // of what is asked
}

func (c *callees) dial(_ context.Context, to netip.AddrPort) (net.Conn, error) {
	if c.gone {
		return nil, syscall.ECONNREFUSED
	}
	near, far := net.Pipe()
	c.conns, c.to = append(c.conns, listening(c.t, far)), append(c.to, to)
	return near, nil
}

func (c *callees) next() *piped {
	c.t.Helper()
	synctest.Wait()
	if len(c.conns) == 0 {
		c.t.Fatal("nobody connected")
	}
	p := c.conns[0]
	c.conns = c.conns[1:]
	return p
}

func withCallees(t *testing.T, f func(c *callees, p *pipes, s *Stack, l *Listener)) {
	t.Helper()
	c := &callees{t: t}
	inPipes(t, c.dial, func(p *pipes, s *Stack, l *Listener) { f(c, p, s, l) })
}

// asked sends a request outside dialogs and returns where its end is noted.
func (c *callees) asked(s *Stack, f Flow, method string) *[]string {
	c.t.Helper()
	var heard []string
	m := &Message{Method: method, URI: URI{Scheme: "sip", Host: "far"}}
	m.Fields = []Field{{"From", "<sip:a@a>;tag=1"}, {"To", "<sip:b@b>"}, {"Call-ID", newToken()}, {"CSeq", "1 " + method}, {"Max-Forwards", "70"}}
	if err := s.Request(RequestOptions{Flow: f, Message: m, Queue: &c.queue, Handle: func(res *Message, err error) {
		if err != nil {
			heard = append(heard, outcome(err))
		} else {
			heard = append(heard, itoa(res.Status))
		}
	}}); err != nil {
		c.t.Fatal(err)
	}
	synctest.Wait()
	return &heard
}

func outcome(err error) string {
	switch {
	case errors.Is(err, ErrTransport):
		return "transport"
	case errors.Is(err, ErrTimeout):
		return "timeout"
	}
	return err.Error()
}

func want(t *testing.T, what string, got *[]string, want ...string) {
	t.Helper()
	synctest.Wait()
	if !slices.Equal(*got, want) {
		t.Errorf("%s: heard %q, want %q", what, *got, want)
	}
}

// A connection that was in use ends while a request waits for its answer: the
// request is sent once more over a new one, which it may have been the first to
// miss.
func TestARequestWhoseConnectionEndsIsSentAnew(t *testing.T) {
	withCallees(t, func(c *callees, _ *pipes, s *Stack, l *Listener) {
		before := c.asked(s, l.Flow(bobAddr), "OPTIONS")
		p := c.next()
		p.answer(p.expect("OPTIONS"), 200)
		want(t, "before", before, "200")
		one, two := c.asked(s, l.Flow(bobAddr), "MESSAGE"), c.asked(s, l.Flow(bobAddr), "PUBLISH")
		first := p.expect("MESSAGE")
		p.expect("PUBLISH")
		start := time.Now()
		p.Close()
		p = c.next()
		again := p.expect("MESSAGE")
		if again.Get("Via") != first.Get("Via") {
			t.Errorf("Via %s, then %s: it is one transaction", first.Get("Via"), again.Get("Via"))
		}
		publish := p.expect("PUBLISH") // in their order
		p.answer(again, 202)
		p.answer(publish, 200)
		want(t, "MESSAGE", one, "202")
		want(t, "PUBLISH", two, "200")
		if len(c.conns) != 0 || time.Since(start) != 0 {
			t.Errorf("%d more connections, after %v", len(c.conns), time.Since(start))
		}
	})
}

// Who has gone is known at once.
func TestARequestWhosePeerHasGoneFailsAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name string
		then func(c *callees)
	}{
		{"nobody listens any more", func(c *callees) { c.gone = true; c.conns[0].Close() }},
		{"the new connection ends without a word", func(c *callees) {
			c.next().Close()
			p := c.next()
			p.expect("MESSAGE")
			p.Close()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			withCallees(t, func(c *callees, _ *pipes, s *Stack, l *Listener) {
				before := c.asked(s, l.Flow(bobAddr), "OPTIONS")
				synctest.Wait()
				c.conns[0].answer(c.conns[0].expect("OPTIONS"), 200)
				want(t, "before", before, "200")
				heard := c.asked(s, l.Flow(bobAddr), "MESSAGE")
				c.conns[0].expect("MESSAGE")
				start := time.Now()
				tt.then(c)
				want(t, "MESSAGE", heard, "transport")
				if time.Since(start) != 0 || len(c.conns) > 1 {
					t.Errorf("%v and %d connections later", time.Since(start), len(c.conns))
				}
			})
		})
	}
}

// A fresh connection that its peer ends without a word is not tried again: there
// is no reason why the next one should fare better.
func TestAFreshConnectionThatEndsFailsItsRequests(t *testing.T) {
	withCallees(t, func(c *callees, _ *pipes, s *Stack, l *Listener) {
		heard := c.asked(s, l.Flow(bobAddr), "REGISTER")
		p := c.next()
		p.expect("REGISTER")
		p.Close()
		want(t, "REGISTER", heard, "transport")
		if len(c.conns) != 0 {
			t.Error("tried again")
		}
	})
}

// A peer that answers 100 and hangs up, over and over, does not keep a request
// going for ever.
func TestARequestIsSentAnewAFewTimes(t *testing.T) {
	withCallees(t, func(c *callees, _ *pipes, s *Stack, l *Listener) {
		u := newUser()
		u.dial(t, s, l, bobAddr)
		sent := 0
		for synctest.Wait(); len(c.conns) > 0; synctest.Wait() {
			if sent++; sent > 100 {
				t.Fatal("no end")
			}
			p := c.next()
			p.answer(p.expect("INVITE"), 100)
			p.Close()
		}
		if got := u.events(); sent != 1+maxAnew || len(got) != 1 || !strings.HasPrefix(got[0], "refused: sip: the connection has ended before the answer") {
			t.Errorf("sent %d times; heard %q", sent, got)
		}
	})
}

// A ringing phone whose connection ends may answer over another one (RFC 3261
// section 18.2.2): the INVITE, sent anew, brings it one.
func TestAnINVITEThatRingsOutlivesItsConnection(t *testing.T) {
	withCallees(t, func(c *callees, _ *pipes, s *Stack, l *Listener) {
		u := newUser()
		u.dial(t, s, l, bobAddr)
		p := c.next()
		contact := Field{"Contact", "<sip:b@" + bobAddr.String() + ";transport=tcp>"}
		p.answer(p.expect("INVITE"), 180, contact)
		time.Sleep(100 * time.Second)
		p.Close()
		p = c.next()
		invite := p.expect("INVITE")
		p.answer(invite, 180, contact)
		p.answer(invite, 200, contact)
		p.expect("ACK")
		if got := u.events(); !slices.Equal(got, []string{"180", "180", "answer"}) {
			t.Errorf("heard %q", got)
		}
		over := false
		u.do(func() { u.dialog.Bye(func() { over = true }) })
		p.expect("BYE")
		c.gone = true
		p.Close()
		synctest.Wait()
		if !over {
			t.Error("the BYE still waits")
		}
	})
}

// An INVITE that nobody can have seen the end of is given up at once, and yet a
// late 2xx of it is released.
func TestAnINVITEThatWasLostReleasesALateAnswer(t *testing.T) {
	withCallees(t, func(c *callees, far *pipes, s *Stack, l *Listener) {
		u := newUser()
		u.dial(t, s, l, bobAddr)
		p := c.next()
		invite := p.expect("INVITE")
		p.answer(invite, 180)
		c.gone = true
		p.Close()
		synctest.Wait()
		if got := u.events(); len(got) != 2 || got[1] != "refused: "+ErrTransport.Error()+": connection refused" {
			t.Errorf("heard %q", got)
		}
		c.gone = false
		p = listening(t, far.connect())
		p.answer(invite, 200, Field{"Contact", "<sip:b@" + bobAddr.String() + ";transport=tcp>"})
		if got := c.next().names(); !slices.Equal(got, []string{"ACK", "BYE"}) {
			t.Errorf("got %q", got)
		}
	})
}

// taken is a call that came over a connection of the caller's.
func taken(t *testing.T, u *user, p *piped, contact string) (invite *Message, to string) {
	t.Helper()
	r := &remote{addr: carolAddr}
	invite = r.request("INVITE", "Via", "SIP/2.0/TCP "+carolAddr.String()+";branch=z9hG4bK-i", "Contact", contact)
	p.write(string(invite.Bytes()))
	p.expect("100 INVITE")
	to = p.expect("200 INVITE").Get("To")
	p.write(string(r.request("ACK", "Via", "SIP/2.0/TCP "+carolAddr.String()+";branch=z9hG4bK-a", "To", to).Bytes()))
	synctest.Wait()
	return invite, to
}

// A BYE that waits on the connection of the caller, which ends: where the caller
// has said that it listens the BYE goes there, else it is over at once, and is not
// dialled to the port that the connection came from.
func TestAByeOverAConnectionThatThePeerHadOpened(t *testing.T) {
	for _, tt := range []struct {
		name, contact string
		to            []netip.AddrPort
	}{
		{"listens", "<sip:carol@" + carolAddr.String() + ";transport=tcp>", []netip.AddrPort{carolAddr}},
		{"behind a NAT", "<sip:carol@phone.invalid;transport=tcp>", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := newUser()
			withCallees(t, func(c *callees, far *pipes, s *Stack, l *Listener) {
				s.handler = u.taking(func() { u.dialog.Answer("", nil) })
				p := listening(t, far.connect())
				taken(t, u, p, tt.contact)
				over := false
				u.do(func() { u.dialog.Bye(func() { over = true }) })
				p.expect("BYE")
				start := time.Now()
				p.Close()
				if tt.to != nil {
					back := c.next()
					back.answer(back.expect("BYE"), 200)
				}
				synctest.Wait()
				if !over || time.Since(start) != 0 || !slices.Equal(c.to, tt.to) {
					t.Errorf("over %v after %v, dialled %v", over, time.Since(start), c.to)
				}
			})
		})
	}
}

// A far end that sends its re-INVITE anew, over another connection, is reached
// over that one.
func TestARequestThatComesAnewBringsItsConnection(t *testing.T) {
	u := newUser()
	withCallees(t, func(c *callees, far *pipes, s *Stack, l *Listener) {
		s.handler = u.taking(func() { u.dialog.Answer("", nil) })
		p := listening(t, far.connect())
		_, to := taken(t, u, p, "<sip:carol@phone.invalid;transport=tcp>")
		u.request = func(*ServerTx) {} // a phone that takes its time
		again := (&remote{addr: carolAddr}).request("INVITE", "Via", "SIP/2.0/TCP "+carolAddr.String()+";branch=z9hG4bK-r", "To", to, "CSeq", "2 INVITE")
		p.write(string(again.Bytes()))
		p.expect("100 INVITE")
		p.Close()
		p = listening(t, far.connect())
		p.write(string(again.Bytes()))
		p.expect("100 INVITE")
		u.do(func() { u.dialog.Bye(nil) })
		if got := p.names(); !slices.Contains(got, "BYE") || len(c.to) != 0 {
			t.Errorf("got %q, dialled %v", got, c.to)
		}
	})
}

// A phone that rings has lost its connection, and nobody can open one to it: its
// answer over the next one that it opens is waited for, for 64*T1.
func TestARingingPhoneThatConnectsAgain(t *testing.T) {
	for _, tt := range []struct {
		name   string
		comes  time.Duration
		events []string
	}{
		{"in time", 10 * time.Second, []string{"180", "answer"}},
		{"never", time.Hour, []string{"180", "refused: transport"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			withCallees(t, func(c *callees, far *pipes, s *Stack, l *Listener) {
				var flow Flow
				s.handler = func(in *Incoming) { flow = in.Flow; in.Reply(200, "") }
				p := listening(t, far.connect())
				p.write(tcpOptions)
				p.expect("200 OPTIONS")
				u := newUser()
				u.refused = func(_ *Message, err error) {
					u.mu.Lock()
					u.heard[len(u.heard)-1] = "refused: " + outcome(err)
					u.mu.Unlock()
				}
				u.dialTo(t, s, flow)
				invite := p.expect("INVITE")
				p.answer(invite, 180)
				p.Close()
				time.Sleep(tt.comes)
				if tt.comes < 64*T1 {
					p = listening(t, far.connect())
					p.answer(invite, 200, Field{"Contact", "<sip:b@phone.invalid>"})
				}
				synctest.Wait()
				if got := u.events(); !slices.Equal(got, tt.events) || len(c.to) != 0 && tt.comes == time.Hour {
					t.Errorf("heard %q, dialled %v", got, c.to)
				}
			})
		})
	}
}

// A connection that serves for years holds nothing of what was answered.
func TestAConnectionForgetsWhatWasAnswered(t *testing.T) {
	withCallees(t, func(c *callees, _ *pipes, s *Stack, l *Listener) {
		var p *piped
		for range 10 {
			c.asked(s, l.Flow(bobAddr), "OPTIONS")
			if p == nil {
				p = c.next()
			}
			p.answer(p.expect("OPTIONS"), 404)
		}
		unanswered := c.asked(s, l.Flow(bobAddr), "OPTIONS")
		time.Sleep(64 * T1)
		want(t, "the last one", unanswered, "timeout")
		if conn := l.bound.Load().streams.standing(peerKey{addr: bobAddr}); conn == nil || conn.waiting.Len() != 0 {
			t.Errorf("%+v", conn)
		}
	})
}
