package door

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestRatesIsBounded(t *testing.T) {
	t.Parallel()
	r := newRates()
	now := time.Unix(1000, 0)
	answered := 0
	for i := range 100_000 {
		addr := netip.AddrFrom4([4]byte{203, byte(i >> 16), byte(i >> 8), byte(i)})
		if may, _ := r.answer(Stranger(addr).source, now); may {
			answered++
		}
		r.request(Stranger(addr), now, 1)
	}
	if r.answers.Len() != maxSources || r.requests.Len() != maxSources {
		t.Errorf("%d and %d sources remembered", r.answers.Len(), r.requests.Len())
	}
	if answered != allBurst {
		t.Errorf("%d answers to 100000 sources of one moment, want %v", answered, allBurst)
	}
}

func TestRatesAnswersASourceOnceASecond(t *testing.T) {
	t.Parallel()
	r := newRates()
	now := time.Unix(1000, 0)
	count := func(addr string, n int) (answered int) {
		for range n {
			if may, _ := r.answer(Stranger(netip.MustParseAddr(addr)).source, now); may {
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

func TestJailIsBounded(t *testing.T) {
	t.Parallel()
	j := newJail()
	now := time.Unix(1000, 0)
	long := strings.Repeat("x", 60_000)
	for i := range 100_000 {
		s := Claim(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), long)
		j.note(s, wrongOfPhone, now)
		j.vouch(voucher{netip.AddrPortFrom(s.source.Addr(), 5060), long}, now)
	}
	if j.inmates.Len() > maxInmates || j.vouched.Len() > maxVouchers {
		t.Errorf("%d and %d remembered", j.inmates.Len(), j.vouched.Len())
	}
	for s := range j.inmates.Keys() {
		if len(s.user) > maxUserName {
			t.Fatalf("a name of %d octets is kept", len(s.user))
		}
	}
	for v := range j.vouched.Keys() {
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
	s := Claim(netip.MustParseAddr("192.0.2.1"), "carol")
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
	d, now := New(Limits{}, slog.New(slog.DiscardHandler)), time.Unix(1000, 0)
	for range tooMany.free + 1 {
		d.jail.note(Stranger(netip.MustParseAddr("2001:db8::1")), tooMany, now)
	}
	if b := d.Blocked(now); len(b) != 1 || b[0].Source != "2001:db8::/64" || b[0].Why != tooManyRequests || b[0].Count != tooMany.free+1 {
		t.Fatalf("blocked: %+v", b)
	}
	if n := d.Unblock(netip.MustParseAddr("2001:db8:0:1::1"), "", now); n != 0 {
		t.Errorf("%d unblocked in another network", n)
	}
	if n := d.Unblock(netip.MustParseAddr("2001:db8::ffff"), "carol", now); n != 0 {
		t.Errorf("%d unblocked of another user", n)
	}
	if n := d.Unblock(netip.MustParseAddr("2001:db8::ffff"), "", now); n != 1 || len(d.Blocked(now)) != 0 {
		t.Errorf("%d unblocked, %d left", n, len(d.Blocked(now)))
	}
}

// A call that continues another one is counted for their payer once, and whoever
// leaves last gives the place back.
func TestOnePayerPaysOnceForACallThatGoesOn(t *testing.T) {
	t.Parallel()
	d, carol := New(Limits{CallsPerUser: 1}, slog.New(slog.DiscardHandler)), User("carol")
	var first, next, third Place
	if full := d.Enter(&first, Entry{Payer: carol}); full != "" {
		t.Fatal(full)
	}
	if full := d.Enter(&third, Entry{Calls: 1, Payer: carol}); full != "this user has 1 calls already, which is the limit" {
		t.Errorf("a second call: %q", full)
	}
	if full := d.Enter(&next, Entry{Calls: 1, Payer: carol, Continues: &first}); full != "" {
		t.Errorf("what continues the first: %q", full)
	}
	d.Leave(&first)
	if full := d.Enter(&third, Entry{Calls: 1, Payer: carol}); full == "" {
		t.Error("the payer of a call that goes on was forgotten")
	}
	d.Leave(&next)
	d.Leave(&next) // again
	if full := d.Enter(&third, Entry{Payer: carol}); full != "" || d.paying[carol] != 1 {
		t.Errorf("behind the end of both: %q, %d", full, d.paying[carol])
	}
}

// A phone with a wrong password is not heard any more, the one beside it is, and
// so is whoever has proved itself on its flow before.
func TestWrongPasswordsHoldThePhoneAlone(t *testing.T) {
	t.Parallel()
	d, now := New(Limits{}, slog.New(slog.DiscardHandler)), time.Unix(1000, 0)
	phone, beside := netip.MustParseAddrPort("192.0.2.1:5060"), netip.MustParseAddrPort("192.0.2.1:5070")
	d.RightPassword(beside, "carol", now)
	for i := range wrongOfPhone.free + 1 {
		if _, ok := d.Hears(phone, "carol", now); !ok {
			t.Fatalf("not heard after %d", i)
		}
		if last := d.WrongPassword(phone, "carol", now); last != (i == wrongOfPhone.free) {
			t.Errorf("wrong password %d: last is %v", i+1, last)
		}
	}
	for _, tt := range []struct {
		at       netip.AddrPort
		user     string
		held, ok bool
	}{{phone, "carol", true, false}, {beside, "carol", true, true}, {phone, "dave", false, true}, {phone, "", false, true}} {
		if held, ok := d.Hears(tt.at, tt.user, now); held != tt.held || ok != tt.ok {
			t.Errorf("%s at %v: held %v, heard %v", tt.user, tt.at, held, ok)
		}
	}
	for range wrongOfPhone.free + 1 {
		if d.WrongPassword(phone, "", now) {
			t.Error("who names nobody is held as a phone")
		}
	}
}
