package memnet

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestDelayAndJitterKeepTheOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := New(Options{Seed: 7, Delay: 50 * time.Millisecond, Jitter: 40 * time.Millisecond})
		defer n.Close()
		a, b := open(t, n, alice), open(t, n, bob)
		start := time.Now()
		for _, s := range numbers(50) {
			write(t, a, bob, s)
		}
		read(t, b)
		if took := time.Since(start); took < 50*time.Millisecond || took >= 90*time.Millisecond {
			t.Errorf("arrived after %v", took)
		}
		if got := drain(t, b); !slices.Equal(got, numbers(50)[1:]) {
			t.Errorf("jitter changed the order: %v", got)
		}
	})
}

func TestFaultsHappenAsOftenAsAsked(t *testing.T) {
	t.Parallel()
	const count = 1000
	tests := []struct {
		name string
		opts Options
		of   func(Stats) uint64
	}{
		{"loss", Options{Seed: 1, Loss: 0.1}, func(s Stats) uint64 { return s.Lost }},
		{"duplicate", Options{Seed: 1, Duplicate: 0.1}, func(s Stats) uint64 { return s.Duplicated }},
		{"reorder", Options{Seed: 1, Reorder: 0.1}, func(s Stats) uint64 { return s.Reordered }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tt.opts.QueueLen = 2 * count
				n := New(tt.opts)
				defer n.Close()
				a, b := open(t, n, alice), open(t, n, bob)
				for _, s := range numbers(count) {
					write(t, a, bob, s)
					time.Sleep(time.Millisecond) // the bubble's clock, so that late ones are overtaken
				}
				got := drain(t, b)
				s := n.Stats()
				if f := tt.of(s); f < count/10-40 || f > count/10+40 {
					t.Errorf("happened %d times in %d, want about %d", f, count, count/10)
				}
				if want := count - s.Lost + s.Duplicated; uint64(len(got)) != want || s.Delivered != want {
					t.Errorf("%d read, %d delivered, want %d", len(got), s.Delivered, want)
				}
				inOrder := slices.IsSortedFunc(got, func(x, y string) int {
					return len(x)*10000 - len(y)*10000 + strings.Compare(x, y)
				})
				if inOrder != (s.Reordered == 0) {
					t.Errorf("in order %v with %d reordered", inOrder, s.Reordered)
				}
			})
		})
	}
}

func TestSameSeedSameFate(t *testing.T) {
	t.Parallel()
	run := func(seed uint64, crowded bool) (got []string) {
		synctest.Test(t, func(t *testing.T) {
			n := New(Options{Seed: seed, Loss: 0.2, Duplicate: 0.2, Reorder: 0.2, Jitter: 30 * time.Millisecond, Delay: time.Millisecond})
			defer n.Close()
			a, b := open(t, n, alice), open(t, n, bob)
			if crowded { // traffic of another link must not shift this one's fate
				other := open(t, n, netip.MustParseAddrPort("192.0.2.9:9"))
				go func() {
					for range 300 {
						_, _ = other.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(alice))
					}
				}()
			}
			for _, s := range numbers(200) {
				write(t, a, bob, s)
				time.Sleep(10 * time.Millisecond)
			}
			got = drain(t, b)
		})
		return got
	}
	first := run(42, false)
	if again := run(42, true); !slices.Equal(first, again) {
		t.Errorf("seed 42 gave\n%v\nthen\n%v", first, again)
	}
	if other := run(43, false); slices.Equal(first, other) {
		t.Error("seed 43 gave what seed 42 gave")
	}
}

func TestRulesAndTaps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := New(Options{Delay: time.Second})
		defer n.Close()
		a, b := open(t, n, alice), open(t, n, bob)
		var seen []Datagram
		remove := n.Tap(func(d Datagram) { seen = append(seen, d) })

		n.SetRule(DropFirst(1, func(_, _ netip.AddrPort, b []byte) bool { return bytes.HasPrefix(b, []byte("ACK")) }))
		for _, s := range []string{"INVITE", "ACK 1", "ACK 2"} {
			write(t, a, bob, s)
		}
		if got := drain(t, b); !slices.Equal(got, []string{"INVITE", "ACK 2"}) {
			t.Errorf("dropping the first ACK left %q", got)
		}

		n.SetRule(func(from, to netip.AddrPort, b []byte) Verdict {
			switch {
			case from != alice || to != bob:
				t.Errorf("rule asked for %v to %v", from, to)
			case string(b) == "late":
				return Verdict{Delay: time.Second}
			case string(b) == "twice":
				return Verdict{Copies: 1}
			case string(b) == "other":
				return Verdict{Payload: []byte("changed")}
			}
			return Verdict{}
		})
		for _, s := range []string{"late", "twice", "other"} {
			write(t, a, bob, s)
		}
		if err := n.Inject(netip.MustParseAddrPort("198.51.100.66:66"), bob, []byte("forged")); err != nil {
			t.Fatal(err)
		}
		if got := drain(t, b); !slices.Equal(got, []string{"twice", "twice", "changed", "forged", "late"}) {
			t.Errorf("rule left %q", got)
		}
		remove()
		n.SetRule(nil)
		write(t, a, bob, "late")
		if got := drain(t, b); !slices.Equal(got, []string{"late"}) {
			t.Errorf("without a rule %q", got)
		}

		var log []string
		for _, d := range seen {
			log = append(log, fmt.Sprintf("%s %d", d.Payload, d.Copies))
			if d.To != bob || d.Time.IsZero() {
				t.Errorf("tap saw %+v", d)
			}
		}
		want := []string{"INVITE 1", "ACK 1 0", "ACK 2 1", "late 1", "twice 2", "other 1", "forged 1"}
		if !slices.Equal(log, want) {
			t.Errorf("tap saw %q, want %q", log, want)
		}
		if seen[6].From.Addr().String() != "198.51.100.66" {
			t.Errorf("forged source shown as %v", seen[6].From)
		}
	})
}

func TestAddressTakenAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := New(Options{Delay: time.Second})
		defer n.Close()
		a, b := open(t, n, alice), open(t, n, bob)
		write(t, b, alice, "on its way")
		n.TakeAway(alice.Addr())
		if _, err := a.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(bob)); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("written from an address that is gone: %v", err)
		}
		if _, err := n.ListenPacket(netip.AddrPortFrom(alice.Addr(), 1)); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("opened at an address that is gone: %v", err)
		}
		write(t, b, alice, "to nobody")
		if got := drain(t, a); len(got) != 0 {
			t.Errorf("heard %q", got)
		}
		if err := a.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		n.GiveBack(alice.Addr())
		write(t, b, alice, "again")
		if got, _ := read(t, a); got != "again" {
			t.Errorf("read %q", got)
		}
		write(t, a, bob, "back")
		if got, _ := read(t, b); got != "back" {
			t.Errorf("read %q", got)
		}
	})
}
