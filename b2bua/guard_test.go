package b2bua

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestGuardIsBounded(t *testing.T) {
	t.Parallel()
	g := newGuard()
	now := time.Unix(1000, 0)
	answered := 0
	for i := range 100_000 {
		addr := netip.AddrFrom4([4]byte{203, byte(i >> 16), byte(i >> 8), byte(i)})
		if g.allow(addr, now) {
			answered++
		}
	}
	if len(g.sources) > maxSources || g.order.Len() != len(g.sources) {
		t.Errorf("%d sources remembered, %d in order", len(g.sources), g.order.Len())
	}
	if answered != allBurst {
		t.Errorf("%d answers to 100000 sources of one moment, want %v", answered, allBurst)
	}
}

func TestGuardAnswersASourceOnceASecond(t *testing.T) {
	t.Parallel()
	g := newGuard()
	now := time.Unix(1000, 0)
	count := func(addr string, n int) (answered int) {
		for range n {
			if g.allow(netip.MustParseAddr(addr), now) {
				answered++
			}
		}
		return answered
	}
	if n := count("192.0.2.1", 100); n != sourceBurst {
		t.Errorf("%d answers at once, want %v", n, sourceBurst)
	}
	if n := count("192.0.2.2", 1); n != 1 {
		t.Error("one source took another's answers")
	}
	now = now.Add(2 * time.Second)
	if n := count("192.0.2.1", 100); n != 2 {
		t.Errorf("%d answers after 2 s, want 2", n)
	}
	if n := count("2001:db8::1", 3) + count("2001:db8::ffff:1", 3); n != sourceBurst {
		t.Errorf("%d answers to one /64, want %v", n, sourceBurst)
	}
}

func TestPathMemoryForgets(t *testing.T) {
	t.Parallel()
	m := newPathMemory()
	now := time.Unix(1000, 0)
	m.remember("first", now)
	if !m.has("first", now.Add(pathsLast)) || m.has("second", now) {
		t.Error("remembers the wrong path")
	}
	if m.has("first", now.Add(pathsLast+time.Second)) {
		t.Error("remembers longer than a day")
	}
	for i := range 2 * maxPaths {
		m.remember(fmt.Sprint(i), now.Add(time.Duration(i)))
	}
	if len(m.paths) != maxPaths || !m.has(fmt.Sprint(2*maxPaths-1), now.Add(time.Hour)) || m.has("0", now.Add(time.Hour)) {
		t.Errorf("%d paths, or not the newest", len(m.paths))
	}
}

func TestJailIsBounded(t *testing.T) {
	t.Parallel()
	j := newJail()
	now := time.Unix(1000, 0)
	long := strings.Repeat("x", 60_000)
	for i := range 2 * maxInmates {
		j.wrong(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), long, now.Add(time.Duration(i)))
	}
	if len(j.inmates) > maxInmates {
		t.Errorf("%d remembered", len(j.inmates))
	}
	for s := range j.inmates {
		if len(s.user) > 64 {
			t.Fatalf("a name of %d octets is kept", len(s.user))
		}
	}
}
