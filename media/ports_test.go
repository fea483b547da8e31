package media

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestPortRanges(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ min, max, first, pairs int }{
		{10000, 10003, 10000, 2}, {10001, 10004, 10002, 1}, {10000, 10001, 10000, 1}, {65534, 65535, 65534, 1},
		{10000, 10000, 0, 0}, {10001, 10002, 0, 0}, {0, 10, 0, 0}, {-4, 10, 0, 0}, {10, 65536, 0, 0}, {20, 10, 0, 0},
	} {
		p, err := newPorts(test.min, test.max)
		if (err == nil) != (test.pairs > 0) {
			t.Errorf("%d-%d: %v", test.min, test.max, err)
		}
		if err == nil && (p.first != test.first || p.pairs != test.pairs) {
			t.Errorf("%d-%d: from %d, %d pairs", test.min, test.max, p.first, p.pairs)
		}
	}
}

func TestPortsAreTakenAndReleased(t *testing.T) {
	t.Parallel()
	p, err := newPorts(10000, 10019)
	if err != nil {
		t.Fatal(err)
	}
	a, b := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
	bind := func(netip.AddrPort) error { return nil }
	starts := map[uint16]bool{}
	taken := map[netip.AddrPort]bool{}
	for range 10 {
		for _, addr := range []netip.Addr{a, b} {
			pair, err := p.take(addr, bind)
			if err != nil || pair.Port()%2 != 0 || taken[pair] || pair.Port() < 10000 || pair.Port() > 10018 {
				t.Fatalf("%v, %v", pair, err)
			}
			taken[pair] = true
		}
	}
	if _, err := p.take(a, bind); !errors.Is(err, ErrNoPorts) || !strings.Contains(err.Error(), "127.0.0.1") || !strings.Contains(err.Error(), "10000 to 10019") {
		t.Errorf("all taken: %v", err)
	}
	p.release(netip.AddrPortFrom(a, 10006))
	if pair, err := p.take(a, bind); err != nil || pair.Port() != 10006 {
		t.Errorf("after release: %v, %v", pair, err)
	}
	for range 200 {
		q, _ := newPorts(10000, 10019)
		pair, _ := q.take(a, bind)
		starts[pair.Port()] = true
	}
	if len(starts) < 5 {
		t.Errorf("first ports are always among %v", starts)
	}
}

// Whose BYE was lost still sends to where the call was: nobody else gets that port
// meanwhile, unless there is no other.
func TestPortsRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, _ := newPorts(10000, 10007)
		addr := netip.MustParseAddr("127.0.0.1")
		take := func() netip.AddrPort {
			t.Helper()
			pair, err := p.take(addr, func(netip.AddrPort) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			return pair
		}
		for range 100 {
			first := take()
			p.release(first)
			others := []netip.AddrPort{take(), take(), take()}
			if slices.Contains(others, first) {
				t.Fatalf("%v was given out again at once", first)
			}
			if last := take(); last != first {
				t.Fatalf("%v was given out, not the one that was left", last)
			}
			for _, pair := range append(others, first) {
				p.release(pair)
			}
			time.Sleep(restTime)
		}
		taken := map[netip.AddrPort]bool{}
		for range 100 {
			pair := take()
			taken[pair] = true
			p.release(pair)
			time.Sleep(restTime)
		}
		if len(taken) != 4 {
			t.Errorf("of four pairs that have rested %d were given out", len(taken))
		}
		if len(p.rests) > 1 || len(p.resting) > 1 {
			t.Errorf("%d and %d pairs are remembered", len(p.rests), len(p.resting))
		}
	})
}

func TestPortsInUseAreSkipped(t *testing.T) {
	t.Parallel()
	p, _ := newPorts(10000, 10009)
	addr := netip.MustParseAddr("127.0.0.1")
	pair, err := p.take(addr, func(pair netip.AddrPort) error {
		if pair.Port() != 10004 {
			return syscall.EADDRINUSE
		}
		return nil
	})
	if err != nil || pair.Port() != 10004 {
		t.Errorf("%v, %v", pair, err)
	}
	tries := 0
	_, err = p.take(addr, func(netip.AddrPort) error { tries++; return syscall.EADDRINUSE })
	if !errors.Is(err, ErrNoPorts) || tries != 4 {
		t.Errorf("%v after %d tries", err, tries)
	}
	tries = 0
	_, err = p.take(addr, func(netip.AddrPort) error { tries++; return syscall.EADDRNOTAVAIL })
	if !errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, ErrNoPorts) || tries != 1 {
		t.Errorf("%v after %d tries", err, tries)
	}
}

func TestArrivals(t *testing.T) {
	t.Parallel()
	var a arrivals
	note := func(ssrc uint32, seq uint16, newest bool, lost uint64) {
		t.Helper()
		if got := a.note(ssrc, seq, 0); got != newest || a.total() != lost {
			t.Errorf("%x/%d: newest %v, lost %d; want %v, %d", ssrc, seq, got, a.total(), newest, lost)
		}
	}
	note(1, 65534, true, 0)
	note(1, 65535, true, 0)
	note(1, 2, true, 2) // 0 and 1 are missing
	note(1, 1, false, 1)
	note(1, 1, false, 0) // a duplicate counts as received, as in RFC 3550
	note(1, 1, false, 0)
	note(2, 10, true, 0)
	note(2, 12, true, 1)
	note(2, 40000, true, 1) // restart
	note(2, 40002, true, 2)
	for ssrc := uint32(3); ssrc < 10; ssrc++ { // more sources than are kept
		note(ssrc, 1, true, 2)
	}
}
