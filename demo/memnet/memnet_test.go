package memnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var (
	alice = netip.MustParseAddrPort("192.0.2.1:5060")
	bob   = netip.MustParseAddrPort("192.0.2.2:5060")
	carol = netip.MustParseAddrPort("[2001:db8::3]:5060")
)

// open makes a socket that the test's end closes.
func open(t *testing.T, n *Network, addr netip.AddrPort) net.PacketConn {
	t.Helper()
	c, err := n.ListenPacket(addr)
	if err != nil {
		t.Fatalf("ListenPacket(%v): %v", addr, err)
	}
	return c
}

func write(t *testing.T, c net.PacketConn, to netip.AddrPort, s string) {
	t.Helper()
	if size, err := c.WriteTo([]byte(s), net.UDPAddrFromAddrPort(to)); err != nil || size != len(s) {
		t.Fatalf("WriteTo(%q) = %d, %v", s, size, err)
	}
}

func read(t *testing.T, c net.PacketConn) (string, netip.AddrPort) {
	t.Helper()
	b := make([]byte, 2048)
	size, from, err := c.ReadFrom(b)
	if err != nil {
		t.Fatalf("ReadFrom: %v", err)
	}
	return string(b[:size]), from.(*net.UDPAddr).AddrPort()
}

// drain reads until nothing has come for a minute.
func drain(t *testing.T, c net.PacketConn) []string {
	t.Helper()
	var got []string
	b := make([]byte, 2048)
	for {
		if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatalf("SetReadDeadline: %v", err)
		}
		size, _, err := c.ReadFrom(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return got
		}
		if err != nil {
			t.Fatalf("ReadFrom: %v", err)
		}
		got = append(got, string(b[:size]))
	}
}

func numbers(count int) []string {
	var out []string
	for i := range count {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

func TestDatagramArrivesWhole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := New(Options{})
		defer n.Close()
		a, b := open(t, n, alice), open(t, n, bob)

		buf := []byte("hello")
		if _, err := a.WriteTo(buf, b.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		copy(buf, "xxxxx") // the writer's buffer is its own again
		write(t, a, bob, "")
		if got, from := read(t, b); got != "hello" || from != alice {
			t.Errorf("read %q from %v, want hello from %v", got, from, alice)
		}
		if got, _ := read(t, b); got != "" {
			t.Errorf("read %q, want an empty datagram", got)
		}

		write(t, a, bob, "a long datagram")
		write(t, a, bob, "next")
		short := make([]byte, 6)
		if size, _, err := b.ReadFrom(short); err != nil || string(short[:size]) != "a long" {
			t.Errorf("read %q, %v, want the datagram cut at 6 octets", short[:size], err)
		}
		if got, _ := read(t, b); got != "next" {
			t.Errorf("read %q: the rest of a cut datagram must be gone", got)
		}
	})
}

func TestListenErrors(t *testing.T) {
	t.Parallel()
	n := New(Options{})
	defer n.Close()
	a := open(t, n, alice)
	if local, ok := a.LocalAddr().(*net.UDPAddr); !ok || local.AddrPort() != alice {
		t.Errorf("LocalAddr is %v", a.LocalAddr())
	}
	tests := []struct {
		addr string
		want error
	}{
		{"192.0.2.1:5060", syscall.EADDRINUSE},
		{"[::ffff:192.0.2.1]:5060", syscall.EADDRINUSE},
		{"0.0.0.0:5060", syscall.EADDRNOTAVAIL},
		{"[::]:5060", syscall.EADDRNOTAVAIL},
	}
	for _, tt := range tests {
		_, err := n.ListenPacket(netip.MustParseAddrPort(tt.addr))
		if !errors.Is(err, tt.want) {
			t.Errorf("ListenPacket(%s): %v, want %v", tt.addr, err, tt.want)
		}
		if op := (*net.OpError)(nil); !errors.As(err, &op) || op.Op != "listen" {
			t.Errorf("ListenPacket(%s): %v is no *net.OpError of listen", tt.addr, err)
		}
	}

	first := open(t, n, netip.AddrPortFrom(alice.Addr(), 0)).LocalAddr().String()
	second := open(t, n, netip.AddrPortFrom(alice.Addr(), 0)).LocalAddr().String()
	if first != "192.0.2.1:49152" || second != "192.0.2.1:49153" {
		t.Errorf("port 0 gave %s and %s", first, second)
	}

	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	open(t, n, alice) // the address is free again
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := n.ListenPacket(bob); !errors.Is(err, net.ErrClosed) {
		t.Errorf("ListenPacket on a closed network: %v", err)
	}
}

func TestWriteErrors(t *testing.T) {
	t.Parallel()
	n := New(Options{})
	defer n.Close()
	a := open(t, n, alice)
	tests := []struct {
		name string
		to   net.Addr
		b    []byte
		want error
	}{
		{"too long", net.UDPAddrFromAddrPort(bob), make([]byte, 65508), syscall.EMSGSIZE},
		{"other family", net.UDPAddrFromAddrPort(carol), []byte("x"), syscall.EAFNOSUPPORT},
		{"port 0", &net.UDPAddr{IP: net.IPv4(192, 0, 2, 2)}, []byte("x"), syscall.EINVAL},
		{"no address", &net.UDPAddr{Port: 5060}, []byte("x"), syscall.EINVAL},
	}
	for _, tt := range tests {
		if _, err := a.WriteTo(tt.b, tt.to); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	for _, to := range []net.Addr{nil, (*net.UDPAddr)(nil), &net.TCPAddr{}} {
		if _, err := a.WriteTo([]byte("x"), to); err == nil {
			t.Errorf("WriteTo(%T) succeeded", to)
		}
	}
	if _, err := a.WriteTo(make([]byte, 65507), net.UDPAddrFromAddrPort(bob)); err != nil {
		t.Errorf("the longest datagram to nobody: %v", err)
	}
	if got := n.Stats(); got != (Stats{Written: 1, NoSocket: 1}) {
		t.Errorf("Stats %+v", got)
	}
	_ = a.Close()
	if _, err := a.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(bob)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("WriteTo on a closed socket: %v", err)
	}
}

func TestCloseWakesReaders(t *testing.T) {
	t.Parallel()
	for _, whole := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n := New(Options{})
			defer n.Close()
			a := open(t, n, alice)
			woken := make(chan error)
			for range 3 {
				go func() {
					_, _, err := a.ReadFrom(make([]byte, 10))
					woken <- err
				}()
			}
			synctest.Wait()
			if whole {
				_ = n.Close()
			} else {
				_ = a.Close()
			}
			for range 3 {
				if err := <-woken; !errors.Is(err, net.ErrClosed) {
					t.Errorf("reader woke with %v", err)
				}
			}
			if err := a.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
				t.Errorf("SetDeadline on a closed socket: %v", err)
			}
		})
	}
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := New(Options{})
		defer n.Close()
		a := open(t, n, alice)
		start := time.Now()
		wait := func() (time.Duration, error) {
			_, _, err := a.ReadFrom(make([]byte, 10))
			return time.Since(start), err
		}

		_ = a.SetReadDeadline(start.Add(time.Second))
		took, err := wait()
		if took != time.Second || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after %v: %v", took, err)
		}
		if ne := net.Error(nil); !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("%v does not say Timeout", err)
		}

		// A deadline that moves holds for the reader that waits already.
		_ = a.SetReadDeadline(start.Add(time.Hour))
		time.AfterFunc(time.Second, func() { _ = a.SetReadDeadline(start.Add(3 * time.Second)) })
		if took, err := wait(); took != 3*time.Second || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after %v: %v", took, err)
		}

		// One that is gone lets a datagram through.
		_ = a.SetReadDeadline(start.Add(4 * time.Second))
		time.AfterFunc(500*time.Millisecond, func() { _ = a.SetReadDeadline(time.Time{}) })
		time.AfterFunc(time.Hour, func() { _ = n.Inject(bob, alice, []byte("x")) })
		if took, err := wait(); took != 3*time.Second+time.Hour || err != nil {
			t.Errorf("after %v: %v", took, err)
		}

		// One that has passed wins over what waits.
		_ = n.Inject(bob, alice, []byte("x"))
		_ = a.SetDeadline(time.Now())
		if _, err := wait(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("passed deadline: %v", err)
		}
		if _, err := a.WriteTo([]byte("x"), a.LocalAddr()); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("WriteTo with a passed deadline: %v", err)
		}
	})
}

func TestFullQueueDrops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := New(Options{QueueLen: 3})
		defer n.Close()
		a, b := open(t, n, alice), open(t, n, bob)
		for _, s := range numbers(5) {
			write(t, a, bob, s)
		}
		if got := drain(t, b); !slices.Equal(got, numbers(3)) {
			t.Errorf("got %q", got)
		}
		if s := n.Stats(); s.QueueFull != 2 || s.Delivered != 3 {
			t.Errorf("Stats %+v", s)
		}
	})
}

func TestCloseForgetsWhatIsInTransit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := New(Options{Delay: time.Second})
		defer n.Close()
		a, b := open(t, n, alice), open(t, n, bob)
		write(t, a, bob, "x")
		_ = b.Close()
		time.Sleep(2 * time.Second)
		if s := n.Stats(); s.NoSocket != 1 || s.Delivered != 0 {
			t.Errorf("Stats %+v", s)
		}
		write(t, a, bob, "y")
		_ = n.Close()
		time.Sleep(2 * time.Second)
		if s := n.Stats(); s.NoSocket != 1 || s.Delivered != 0 {
			t.Errorf("Stats after Close %+v", s)
		}
	})
}

// Sockets serve goroutines that know nothing of each other; the race detector
// judges.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := New(Options{Jitter: time.Millisecond, Duplicate: 0.5, Reorder: 0.5})
		defer n.Close()
		a, b := open(t, n, alice), open(t, n, bob)
		count := 0
		n.Tap(func(Datagram) { count++ })
		for range 8 {
			go func() {
				for range 50 {
					_, _ = a.WriteTo([]byte("x"), b.LocalAddr())
					n.SetRule(nil)
					_ = b.SetReadDeadline(time.Now().Add(time.Minute))
				}
			}()
		}
		got := drain(t, b)
		if s := n.Stats(); count != 400 || uint64(len(got)) != s.Delivered || s.Delivered != 400+s.Duplicated {
			t.Errorf("%d tapped, %d read, %+v", count, len(got), s)
		}
	})
}

func BenchmarkWriteRead(b *testing.B) {
	n := New(Options{})
	defer n.Close()
	from, err := n.ListenPacket(alice)
	if err != nil {
		b.Fatal(err)
	}
	to, err := n.ListenPacket(bob)
	if err != nil {
		b.Fatal(err)
	}
	payload, buf := make([]byte, 172), make([]byte, 1500)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = from.WriteTo(payload, to.LocalAddr())
		_, _, _ = to.ReadFrom(buf)
	}
}
