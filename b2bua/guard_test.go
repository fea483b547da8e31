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
		if may, _ := g.answer(networkOf(addr), now); may {
			answered++
		}
		g.request(suspected(networkOf(addr), ""), now, 1)
	}
	if g.answers.len() != maxSources || g.requests.len() != maxSources {
		t.Errorf("%d and %d sources remembered", g.answers.len(), g.requests.len())
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
			if may, _ := g.answer(networkOf(netip.MustParseAddr(addr)), now); may {
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
	if m.paths.len() != maxPaths || !m.has(fmt.Sprint(2*maxPaths-1), now.Add(time.Hour)) || m.has("0", now.Add(time.Hour)) {
		t.Errorf("%d paths, or not the newest", m.paths.len())
	}
}

func TestRecentForgetsTheLongestUnused(t *testing.T) {
	t.Parallel()
	r := newRecent[int, string](3)
	for i := range 3 {
		*r.use(i) = fmt.Sprint(i)
	}
	r.use(0)  // now 1 is the longest unused
	r.find(1) // which asking does not change
	r.use(3)
	r.forget(2)
	r.forget(7)
	for key, want := range map[int]bool{0: true, 1: false, 2: false, 3: true} {
		if got := r.find(key) != nil; got != want {
			t.Errorf("%d remembered: %v, want %v", key, got, want)
		}
	}
	if *r.find(0) != "0" || r.len() != 2 || r.order.Len() != 2 {
		t.Errorf("%q, %d entries, %d in order", *r.find(0), r.len(), r.order.Len())
	}
}

func TestJailIsBounded(t *testing.T) {
	t.Parallel()
	j := newJail()
	now := time.Unix(1000, 0)
	long := strings.Repeat("x", 60_000)
	for i := range 100_000 {
		s := suspected(single(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})), long)
		j.note(s, wrongOfPhone, now)
		j.vouch(voucher{netip.AddrPortFrom(s.source.Addr(), 5060), long}, now)
	}
	if j.inmates.len() > maxInmates || j.vouched.len() > maxVouchers {
		t.Errorf("%d and %d remembered", j.inmates.len(), j.vouched.len())
	}
	for s := range j.inmates.entries {
		if len(s.user) > maxUserName {
			t.Fatalf("a name of %d octets is kept", len(s.user))
		}
	}
	for v := range j.vouched.entries {
		if len(v.user) > maxUserName {
			t.Fatalf("a name of %d octets is kept", len(v.user))
		}
	}
}

// Each term is twice the one before, up to the longest, and long silence makes
// all good.
func TestTermsDouble(t *testing.T) {
	t.Parallel()
	j := newJail()
	now := time.Unix(1000, 0)
	s := suspected(single(netip.MustParseAddr("192.0.2.1")), "carol")
	for i := range wrongOfPhone.free {
		if j.note(s, wrongOfPhone, now) || !j.held(now, wrongPasswords, s).IsZero() {
			t.Fatalf("held after %d", i+1)
		}
	}
	want := firstTerm
	for range 12 {
		if !j.note(s, wrongOfPhone, now) {
			t.Fatal("one more was free")
		}
		until := j.held(now, wrongPasswords, s)
		if got := until.Sub(now); got != want {
			t.Fatalf("a term of %v, want %v", got, want)
		}
		if !j.held(now, tooManyRequests, s).IsZero() {
			t.Fatal("held for another offence")
		}
		now = until
		want = min(2*want, wrongOfPhone.longest)
	}
	now = now.Add(forgiven + time.Second)
	if j.note(s, wrongOfPhone, now) {
		t.Error("not forgiven")
	}
}

func TestUnblockByNetwork(t *testing.T) {
	t.Parallel()
	p := &Proxy{jail: newJail()}
	for range tooMany.free + 1 {
		p.jail.note(suspected(networkOf(netip.MustParseAddr("2001:db8::1")), ""), tooMany, time.Now())
	}
	if b := p.Blocked(); len(b) != 1 || b[0].Source != "2001:db8::/64" || b[0].Why != tooManyRequests || b[0].Count != tooMany.free+1 {
		t.Fatalf("blocked: %+v", b)
	}
	if n := p.Unblock(netip.MustParseAddr("2001:db8:0:1::1"), ""); n != 0 {
		t.Errorf("%d unblocked in another network", n)
	}
	if n := p.Unblock(netip.MustParseAddr("2001:db8::ffff"), "carol"); n != 0 {
		t.Errorf("%d unblocked of another user", n)
	}
	if n := p.Unblock(netip.MustParseAddr("2001:db8::ffff"), ""); n != 1 || len(p.Blocked()) != 0 {
		t.Errorf("%d unblocked, %d left", n, len(p.Blocked()))
	}
}
