package memnet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestStreams(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddrPort("192.0.2.2:5060")
		var tapped []string
		n := &Streams{Tap: func(d Datagram) { tapped = append(tapped, d.To.String()+" "+string(d.Payload)) }, Delay: 10 * time.Millisecond, Rule: func(from, to netip.AddrPort, m []byte) Verdict {
			switch string(m) {
			case "drop":
				return Verdict{Drop: true}
			case "change":
				return Verdict{Payload: []byte(from.Addr().String() + " to " + to.Addr().String())}
			}
			return Verdict{}
		}}
		if _, err := n.From(a)(context.Background(), b); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("nobody listens: %v", err)
		}
		l := n.Listen(b)
		accepted := make(chan net.Conn, 1)
		go func() {
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
			}
			accepted <- c
		}()
		near, err := n.From(a)(context.Background(), b)
		if err != nil {
			t.Fatal(err)
		}
		far := <-accepted
		if far.RemoteAddr().String() != near.LocalAddr().String() || near.RemoteAddr().String() != b.String() {
			t.Errorf("%v to %v", near.LocalAddr(), near.RemoteAddr())
		}
		heard := func(c net.Conn, want string) {
			t.Helper()
			buf := make([]byte, 100)
			if k, err := c.Read(buf); err != nil || string(buf[:k]) != want {
				t.Errorf("heard %q, %v; want %q", buf[:k], err, want)
			}
		}
		start := time.Now()
		go func() {
			for _, m := range []string{"as it is", "drop", "change"} {
				if k, err := near.Write([]byte(m)); err != nil || k != len(m) {
					t.Errorf("%q: %d, %v", m, k, err)
				}
			}
			if err := n.Inject(b.Addr(), a, []byte("drop")); err != nil {
				t.Error(err)
			}
		}()
		heard(far, "as it is")
		if took := time.Since(start); took != n.Delay {
			t.Errorf("it took %v", took)
		}
		heard(far, "192.0.2.1 to 192.0.2.2")
		heard(near, "drop")
		synctest.Wait()
		if want := []string{b.String() + " as it is", b.String() + " change"}; !slices.Equal(tapped, want) {
			t.Errorf("tapped %q, want %q", tapped, want)
		}
		if n := l.Cut(); n != 1 {
			t.Errorf("%d connections were cut", n)
		}
		near.Close()
		if err := n.Inject(a, b.Addr(), []byte("x")); err == nil {
			t.Error("written where there is no connection")
		}
		go l.Accept()
		near, err = n.From(a)(context.Background(), b)
		if err != nil {
			t.Fatal(err)
		}
		if k := n.Cut(b.Addr(), netip.MustParseAddr("192.0.2.3")); k != 0 {
			t.Errorf("%d connections of others were cut", k)
		}
		if k := n.Cut(b.Addr(), a); k != 1 {
			t.Errorf("%d connections were cut", k)
		}
		if _, err := near.Read(make([]byte, 1)); err == nil {
			t.Error("read from a connection that was cut")
		}
		l.Close()
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}
