package sip

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A response that still waited when its connection ended goes where Via says.
func TestAResponseThatWasNotWrittenGoesBackOverAnotherConnection(t *testing.T) {
	withCallees(t, func(c *callees, far *pipes, s *Stack, l *Listener) {
		deaf := far.connect()
		r := &remote{addr: carolAddr}
		for _, id := range []string{"1", "2", "3"} {
			deaf.Write(r.request("OPTIONS", "Call-ID", id, "Via", "SIP/2.0/TCP "+carolAddr.String()+";branch=z9hG4bK-"+id).Bytes())
		}
		synctest.Wait()
		deaf.Close()
		p := c.next()
		if got := p.names(); !slices.Equal(got, []string{"200 OPTIONS", "200 OPTIONS", "200 OPTIONS"}) || c.to[0] != carolAddr {
			t.Errorf("%q at %v", got, c.to)
		}
	})
}

// silenced is a callee whose first connection is deaf: it reads what it is asked for
// by name, and holds up who writes.
func silenced(t *testing.T, f func(c *callees, deaf func() *tcpPeer, s *Stack, l *Listener)) {
	t.Helper()
	c := &callees{t: t}
	var deaf *tcpPeer
	dial := func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		if deaf != nil {
			return c.dial(ctx, to)
		}
		near, far := net.Pipe()
		deaf = &tcpPeer{t: t, Conn: far}
		return near, nil
	}
	inPipes(t, dial, func(_ *pipes, s *Stack, l *Listener) {
		f(c, func() *tcpPeer { synctest.Wait(); return deaf }, s, l)
	})
}

// ends lets the connection go and wants what was held up on the next one, at once.
func (c *callees) ends(deaf *tcpPeer, want ...string) {
	c.t.Helper()
	synctest.Wait()
	start := time.Now()
	deaf.Close()
	if got := c.next().names(); !slices.Equal(got, want) || len(c.to) != 1 || c.to[0] != bobAddr || time.Since(start) != 0 {
		c.t.Errorf("got %q at %v, after %v", got, c.to, time.Since(start))
	}
}

// An ACK that still waited when the connection ended on which it was to go leaves
// over another one: who has answered may not repeat the answer, and one that repeats
// it does so half a second later.
func TestAnACKThatWasNotWrittenLeavesOverAnotherConnection(t *testing.T) {
	for _, status := range []int{200, 486} {
		t.Run(itoa(status), func(t *testing.T) {
			silenced(t, func(c *callees, peer func() *tcpPeer, s *Stack, l *Listener) {
				u := newUser()
				u.dial(t, s, l, bobAddr)
				deaf := peer()
				res := NewResponse(deaf.next("INVITE"), status, "", "b")
				res.Add("Contact", "<sip:b@"+bobAddr.String()+";transport=tcp>")
				deaf.write(string(res.Bytes()))
				synctest.Wait()
				want := []string{"ACK"}
				if status < 300 {
					u.do(func() { u.dialog.Bye(nil) })
					want = append(want, "BYE")
				}
				c.ends(deaf, want...)
			})
		})
	}
}

// So it does in a dialog that keeps the connection, since the far end has sent a
// request on it: to where that was dialled, as the BYE behind it, whatever the
// Contact says.
func TestAnACKLeavesWhereItsByeDoes(t *testing.T) {
	for _, contact := range []string{bobAddr.String(), carolAddr.String(), "bob.example"} {
		t.Run(contact, func(t *testing.T) {
			silenced(t, func(c *callees, peer func() *tcpPeer, s *Stack, l *Listener) {
				u := newUser()
				u.dial(t, s, l, bobAddr)
				deaf := peer()
				answer := func(contact string) *Message {
					res := NewResponse(deaf.next("INVITE"), 200, "", "b")
					res.Add("Contact", "<sip:b@"+contact+";transport=tcp>")
					deaf.write(string(res.Bytes()))
					return res
				}
				res := answer(bobAddr.String())
				deaf.next("ACK")
				info := (&remote{addr: bobAddr}).request("INFO", "Via", "SIP/2.0/TCP "+bobAddr.String()+";branch=z9hG4bK-i",
					"From", res.Get("To"), "To", res.Get("From"), "Call-ID", res.CallID(), "CSeq", "7 INFO")
				deaf.write(string(info.Bytes()))
				deaf.next("200 INFO")
				u.do(func() {
					u.dialog.Do("INVITE", "", nil, func(res *Message, err error) {
						if err == nil && res.Status == 200 {
							u.dialog.Ack(res, "", nil)
						}
					})
				})
				answer(contact)
				synctest.Wait()
				u.do(func() { u.dialog.Bye(nil) })
				c.ends(deaf, "ACK", "BYE")
			})
		})
	}
}

// The answer to a keep-alive is for the connection alone that it came on.
func TestNoConnectionIsOpenedForAPong(t *testing.T) {
	silenced(t, func(c *callees, peer func() *tcpPeer, s *Stack, l *Listener) {
		newUser().dial(t, s, l, bobAddr)
		deaf := peer()
		deaf.write(string(NewResponse(deaf.next("INVITE"), 486, "", "b").Bytes()))
		deaf.next("ACK")
		deaf.write("\r\n\r\n")
		synctest.Wait()
		deaf.Close()
		synctest.Wait()
		if len(c.conns) != 0 {
			t.Errorf("%d connections were opened", len(c.conns))
		}
	})
}

// What was queued when a stack closes still leaves, unless its peer does not take
// it, for which one second is enough.
func TestCloseWritesWhatIsQueued(t *testing.T) {
	withCallees(t, func(c *callees, far *pipes, s *Stack, l *Listener) {
		slow, deaf := far.connect(), far.connect()
		r := &remote{addr: carolAddr}
		for _, id := range []string{"1", "2", "3"} {
			for _, conn := range []net.Conn{slow, deaf} {
				conn.Write(r.request("OPTIONS", "Call-ID", id).Bytes())
			}
		}
		synctest.Wait()
		start := time.Now()
		closed := make(chan struct{})
		go func() {
			s.Close()
			close(closed)
		}()
		synctest.Wait()
		p := listening(t, slow)
		if got := p.names(); len(got) != 3 {
			t.Errorf("got %q behind the close", got)
		}
		if _, open := <-p.heard; open || time.Since(start) != 0 {
			t.Error("the connection is still open")
		}
		<-closed
		if took := time.Since(start); took != flushTime {
			t.Errorf("Close took %v, want %v", took, flushTime)
		}
	})
}

// A request that waits when the stack closes tells nobody.
func TestCloseTellsNobodyOfRequestsThatWait(t *testing.T) {
	withCallees(t, func(c *callees, _ *pipes, s *Stack, l *Listener) {
		heard := c.asked(s, l.Flow(bobAddr), "OPTIONS")
		p := c.next()
		p.expect("OPTIONS")
		start := time.Now()
		s.Close()
		want(t, "OPTIONS", heard)
		if time.Since(start) != 0 || len(c.conns) != 0 {
			t.Errorf("%v, %d connections", time.Since(start), len(c.conns))
		}
	})
}
