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

// An ACK that still waited when the connection ended on which it was to go leaves
// over another one: who has answered may not repeat the answer, and one that repeats
// it does so half a second later.
func TestAnACKThatWasNotWrittenLeavesOverAnotherConnection(t *testing.T) {
	for _, status := range []int{200, 486} {
		t.Run(itoa(status), func(t *testing.T) {
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
				u := newUser()
				u.dial(t, s, l, bobAddr)
				synctest.Wait()
				res := NewResponse(deaf.next("INVITE"), status, "", "b")
				res.Add("Contact", "<sip:b@"+bobAddr.String()+";transport=tcp>")
				deaf.write(string(res.Bytes()))
				synctest.Wait()
				want := []string{"ACK"}
				if status < 300 {
					u.do(func() { u.dialog.Bye(nil) })
					want = append(want, "BYE")
				}
				start := time.Now()
				deaf.Close()
				if got := c.next().names(); !slices.Equal(got, want) || len(c.to) != 1 || c.to[0] != bobAddr || time.Since(start) != 0 {
					t.Errorf("got %q at %v, after %v", got, c.to, time.Since(start))
				}
			})
		})
	}
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
