package registrar

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// clock is a clock that a test moves.
type clock struct{ now time.Time }

func newClock() *clock { return &clock{time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time { return c.now }

func newTest(t testing.TB, o Options) *Registrar {
	t.Helper()
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var source = Source{Network: "udp", Listener: "phones", Remote: netip.MustParseAddrPort("192.0.2.7:5060")}

// shown prints bindings, "contact+seconds left q" each.
func shown(bindings []Binding, now time.Time) string {
	var all []string
	for _, b := range bindings {
		text := fmt.Sprintf("%s+%d", strings.TrimPrefix(b.Contact, "sip:"), b.Expires.Sub(now)/time.Second)
		if b.Q != 1000 {
			text += fmt.Sprintf(" q%d", b.Q)
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// set is a change of one contact for so many seconds.
func set(contact string, seconds int) Change {
	return Change{Contact: contact, Expires: time.Duration(seconds) * time.Second, Q: 1000}
}

func request(callID string, cseq uint32, changes ...Change) Request {
	return Request{CallID: callID, CSeq: cseq, Source: source, Changes: changes}
}

const alice = "sip:alice@a.example"

// RFC 3261 section 10.3, request by request. Every step is a request for alice
// and what becomes of it.
func TestRegister(t *testing.T) {
	t.Parallel()
	type step struct {
		after int // seconds since the step before
		req   Request
		want  string // the bindings, or "error: " and status and reason
	}
	unsaid := Change{Contact: "sip:a@h1", Expires: Unsaid, Q: 1000}
	const overtaken = "error: 500 " + overtakenReason
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"made, refreshed, removed", []step{
			{0, request("x", 1, set("sip:a@h1", 600)), "a@h1+600"},
			{100, request("x", 2), "a@h1+500"},
			{0, request("x", 2, set("sip:a@h1", 600)), "a@h1+600"},
			{0, request("x", 3, set("sip:a@h1", 0)), ""},
			{0, request("x", 4, set("sip:a@h1", 0)), ""},
		}},
		{"the newest first, then by q", []step{
			{0, request("x", 1, set("sip:a@h1", 600)), "a@h1+600"},
			{1, request("y", 1, set("sip:a@h2", 600)), "a@h2+600, a@h1+599"},
			{1, request("z", 1, Change{"sip:a@h3", 600 * time.Second, 300}, Change{"sip:a@h4", 600 * time.Second, 700}), "a@h2+599, a@h1+598, a@h4+600 q700, a@h3+600 q300"},
			{1, request("x", 2, set("sip:a@h1", 600)), "a@h1+600, a@h2+598, a@h4+599 q700, a@h3+599 q300"},
			{1, request("y", 2, Change{"sip:a@h2", 600 * time.Second, 0}), "a@h1+599, a@h4+598 q700, a@h3+598 q300, a@h2+600 q0"},
		}},
		{"an interval of the registrar's", []step{
			{0, request("x", 1, unsaid), "a@h1+3600"},
			{0, request("x", 2, set("sip:a@h1", 4294967295)), "a@h1+7200"},
			{0, request("x", 3, set("sip:a@h1", 7200)), "a@h1+7200"},
			{0, request("x", 4, set("sip:a@h1", 60)), "a@h1+60"},
			{0, request("x", 5, set("sip:a@h1", 59)), "error: 423 the interval is shorter than 1m0s, 1m0s"},
			{0, request("x", 6, set("sip:a@h2", 600), set("sip:a@h1", 1)), "error: 423 the interval is shorter than 1m0s, 1m0s"},
			{0, request("x", 7), "a@h1+60"},
		}},
		{"expired at the instant said", []step{
			{0, request("x", 1, set("sip:a@h1", 60), set("sip:a@h2", 61)), "a@h1+60, a@h2+61"},
			{59, request("x", 1), "a@h1+1, a@h2+2"},
			{1, request("x", 1), "a@h2+1"},
			{1, request("x", 1), ""},
			// The binding is gone, and with it the order of requests.
			{0, request("x", 1, set("sip:a@h1", 60)), "a@h1+60"},
		}},
		{"order within a Call-ID", []step{
			{0, request("x", 5, set("sip:a@h1", 600)), "a@h1+600"},
			{0, request("x", 5, set("sip:a@h1", 700)), overtaken},
			{0, request("x", 4, set("sip:a@h1", 0)), overtaken},
			{0, request("x", 4, set("sip:a@h2", 600)), "a@h1+600, a@h2+600"}, // another contact
			{0, request("y", 1, set("sip:a@h1", 800)), "a@h1+800, a@h2+600"}, // another Call-ID: a phone that was restarted
			{0, request("x", 6, set("sip:a@h1", 0)), "a@h2+600"},
		}},
		{"all or nothing", []step{
			{0, request("x", 5, set("sip:a@h1", 600)), "a@h1+600"},
			{0, request("x", 5, set("sip:a@h2", 600), set("sip:a@h1", 600)), overtaken},
			{0, request("x", 6, set("sip:a@h2", 600), set("mailto:a@h3", 600)), "error: 400 address \"mailto:a@h3\": begins with none of sip:, sips:, tel:"},
			{0, request("x", 7), "a@h1+600"},
			{0, request("x", 7, set("sip:a@h2", 600), set("sip:a@h1", 0)), "a@h2+600"},
		}},
		{"one contact twice in a request: the last counts", []step{
			{0, request("x", 1, set("sip:a@h1", 600), set("sip:a@H1", 700)), "a@H1+700"},
			{0, request("x", 2, set("sip:a@h1", 600), set("sip:a@h1", 0)), ""},
			{0, request("x", 3, set("sip:a@h1", 0), set("sip:a@h1", 600)), "a@h1+600"},
		}},
		{"all contacts removed", []step{
			{0, request("x", 5, set("sip:a@h1", 600)), "a@h1+600"},
			{0, request("y", 5, set("sip:a@h2", 600)), "a@h1+600, a@h2+600"},
			{0, request("x", 5, set("*", 0)), overtaken},
			{0, request("x", 6), "a@h1+600, a@h2+600"},
			{0, request("x", 6, set("*", 0)), ""},
			{0, request("x", 7, set("*", 0)), ""},
			{0, request("x", 8, set("sip:a@h1", 600)), "a@h1+600"},
			{0, request("z", 1, set("*", 0)), ""},
		}},
		{"a star with more", []step{
			{0, request("x", 1, set("sip:a@h1", 600)), "a@h1+600"},
			{0, request("x", 2, set("*", 600)), "error: 400 Contact: * stands alone and with Expires: 0"},
			{0, request("x", 2, Change{Contact: "*", Expires: Unsaid}), "error: 400 Contact: * stands alone and with Expires: 0"},
			{0, request("x", 2, set("*", 0), set("sip:a@h2", 600)), "error: 400 Contact: * stands alone and with Expires: 0"},
			{0, request("x", 2, set("sip:a@h1", 0), set("*", 0)), "error: 400 Contact: * stands alone and with Expires: 0"},
			{0, request("x", 3), "a@h1+600"},
		}},
		{"as many as a user may have", []step{
			{0, request("x", 1, set("sip:a@h1", 600), set("sip:a@h2", 700), set("sip:a@h3", 800), set("sip:a@h4", 900)), "a@h1+600, a@h2+700, a@h3+800, a@h4+900"},
			{0, request("y", 1, set("sip:a@h5", 600)), "error: 403 more than 4 contacts for one address; remove one, or wait until one expires"},
			{0, request("x", 2, set("sip:a@h1", 0), set("sip:a@h5", 600)), "a@h2+700, a@h3+800, a@h4+900, a@h5+600"},
			{0, request("x", 3, set("sip:a@h2", 700)), "a@h2+700, a@h3+800, a@h4+900, a@h5+600"},
			{600, request("y", 2, set("sip:a@h6", 600)), "a@h6+600, a@h2+100, a@h3+200, a@h4+300"},
			{0, request("x", 4, set("sip:a@h1", 0), set("sip:a@h1", 0), set("sip:a@h1", 0), set("sip:a@h1", 0), set("sip:a@h1", 0), set("sip:a@h1", 0), set("sip:a@h1", 0), set("sip:a@h1", 0), set("sip:a@h1", 0)), "error: 400 more than 8 contacts in one request"},
		}},
		{"what cannot be", []step{
			{0, request("", 1, set("sip:a@h1", 600)), "error: 400 the Call-ID has not 1 to 512 octets of UTF-8"},
			{0, request(strings.Repeat("x", 513), 1, set("sip:a@h1", 600)), "error: 400 the Call-ID has not 1 to 512 octets of UTF-8"},
			{0, request("\xff", 1, set("sip:a@h1", 600)), "error: 400 the Call-ID has not 1 to 512 octets of UTF-8"},
			{0, request("x", 1, Change{"sip:a@h1", -2, 0}), "error: 400 an interval of -2ns"},
			{0, request("x", 1, Change{"sip:a@h1", 61500 * time.Millisecond, 0}), "error: 400 an interval of 1m1.5s"},
			{0, request("x", 1, Change{"sip:a@h1", time.Minute, 1001}), "error: 400 a q value of 1001 thousandths"},
			{0, request("x", 1, Change{"sip:a@h1", time.Minute, -1}), "error: 400 a q value of -1 thousandths"},
			{0, request("x", 1, set("sip:a@h1?Route=%3Csip:evil%3E", 600)), "error: 400 a contact has headers in its address, which nobody is to put into requests from here"},
			{0, request("x", 1, set("sip:a@h1;x;X=1", 600)), "error: 400 a contact has the same parameter twice"},
			{0, request("x", 1, set("sip:\xffa@h1", 600)), "error: 400 a contact is not of at most 2048 octets of UTF-8"},
			{0, request("x", 1, set("tel:110", 600)), "error: 400 address \"tel:110\": tel: cannot be called from here, only sip:"},
			{0, Request{CallID: "x", CSeq: 1, Source: Source{Listener: "\xff"}, Changes: []Change{set("sip:a@h1", 600)}}, "error: 500 the names of a network, a listener and a zone have at most 64 octets of UTF-8"},
		}},
		{"the greatest CSeq", []step{
			{0, request("x", 1<<31-1, set("sip:a@h1", 600)), "a@h1+600"},
			{0, request("x", 1<<32-1, set("sip:a@h1", 700)), "a@h1+700"},
			{0, request("x", 0, set("sip:a@h1", 800)), overtaken},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClock()
			k := newKeeper()
			r := newTest(t, Options{Keeper: k, MaxPerUser: 4, MaxExpires: 2 * time.Hour, Now: c.Now})
			for i, s := range tt.steps {
				c.now = c.now.Add(time.Duration(s.after) * time.Second)
				before := shown(r.Lookup(alice), c.now)
				bindings, err := r.Register(alice, s.req)
				got := shown(bindings, c.now)
				looked := got
				if err != nil {
					refusal := err.(*Refusal)
					got = fmt.Sprintf("error: %d %s", refusal.Status, refusal)
					if refusal.MinExpires != 0 {
						got += fmt.Sprintf(", %v", refusal.MinExpires)
					}
					looked = before
				}
				if got != s.want {
					t.Fatalf("step %d: got  %s\nwant %s", i, got, s.want)
				}
				if again := shown(r.Lookup(alice), c.now); again != looked {
					t.Fatalf("step %d: Lookup finds %s, not %s", i, again, looked)
				}
				// A registrar that starts now knows the same.
				restarted := newTest(t, Options{Keeper: k, MaxPerUser: 4, MaxExpires: 2 * time.Hour, Now: c.Now})
				if again := shown(restarted.Lookup(alice), c.now); again != looked {
					t.Fatalf("step %d: a restart finds %s, not %s", i, again, looked)
				}
			}
		})
	}
}

func TestBindingHoldsTheRequest(t *testing.T) {
	t.Parallel()
	c := newClock()
	r := newTest(t, Options{Now: c.Now})
	got, err := r.Register("SIP:al%69ce@A.example:5070;transport=udp", Request{CallID: "x", CSeq: 7, Source: source, Changes: []Change{{"sip:a@h1;ob", 2 * time.Minute, 500}}})
	want := Binding{AOR: alice, Contact: "sip:a@h1;ob", Source: source, CallID: "x", CSeq: 7, Updated: c.now, Expires: c.now.Add(2 * time.Minute), Q: 500}
	if err != nil || len(got) != 1 || got[0] != want {
		t.Fatalf("got %+v, %v", got, err)
	}
	got[0].Contact = "sip:changed@h1" // the caller's own copy
	if again := r.Lookup(alice); len(again) != 1 || again[0] != want {
		t.Errorf("Lookup: %+v", again)
	}
	if _, err := r.Register("sip:a.example", request("x", 1)); err == nil || err.(*Refusal).Status != 400 {
		t.Errorf("an address without a user: %v", err)
	}
	if got := r.Lookup("nonsense"); got != nil {
		t.Errorf("an address that cannot be read: %v", got)
	}
}

func TestBoundOfAll(t *testing.T) {
	t.Parallel()
	c := newClock()
	r := newTest(t, Options{MaxBindings: 3, Now: c.Now, Keeper: newKeeper()})
	register := func(user string, cseq uint32, changes ...Change) string {
		_, err := r.Register("sip:"+user+"@a.example", request(user, cseq, changes...))
		var refusal *Refusal
		if errors.As(err, &refusal) {
			return fmt.Sprint(refusal.Status)
		}
		return "ok"
	}
	for i, s := range []struct{ got, want string }{
		{register("a", 1, set("sip:a@h1", 60), set("sip:a@h2", 600)), "ok"},
		{register("b", 1, set("sip:b@h1", 600), set("sip:b@h2", 600)), "503"},
		{register("b", 2, set("sip:b@h1", 600)), "ok"},
		{register("c", 1, set("sip:c@h1", 600)), "503"},
		{register("b", 3, set("sip:b@h1", 600)), "ok"},
		{register("b", 4, set("sip:b@h1", 0)), "ok"},
		{register("c", 2, set("sip:c@h1", 600)), "ok"},
		{register("b", 5, set("sip:b@h1", 600)), "503"},
	} {
		if s.got != s.want {
			t.Errorf("step %d: %s, want %s", i, s.got, s.want)
		}
	}
	// What has expired makes room without waiting for a sweep; so does one's own.
	c.now = c.now.Add(time.Minute)
	if got := register("b", 6, set("sip:b@h1", 600)); got != "ok" {
		t.Errorf("behind an expiry: %s", got)
	}
	if got := register("b", 7, set("sip:b@h2", 600)); got != "503" {
		t.Errorf("full again: %s", got)
	}
	if r.total != 3 || r.Len() != 3 {
		t.Errorf("%d bindings counted, %d held", r.total, r.Len())
	}
	c.now = c.now.Add(time.Hour)
	if n, err := r.Sweep(); n != 3 || err != nil || r.total != 0 || len(r.users) != 0 {
		t.Errorf("swept %d, %v; %d bindings and %d users left", n, err, r.total, len(r.users))
	}
}

func TestOptionsRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		o    Options
		want string
	}{
		{Options{MaxPerUser: -1}, "bindings for a user"},
		{Options{MaxPerUser: limitPerUser + 1}, "bindings for a user"},
		{Options{MaxBindings: -1}, "bindings in all"},
		{Options{MinExpires: time.Hour + time.Second}, "shortest interval"},
		{Options{MinExpires: 1500 * time.Millisecond}, "shortest interval"},
		{Options{MinExpires: -time.Second}, "shortest interval"},
		{Options{MaxExpires: time.Second}, "longest interval"},
		{Options{MaxExpires: maxInterval + time.Second}, "longest interval"},
		{Options{MaxExpires: time.Hour + 1}, "longest interval"},
		{Options{Keeper: &keeper{fail: errors.New("no disk")}}, "loading the bindings: no disk"},
	} {
		if _, err := New(tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: got %v, want %q", tt.o, err, tt.want)
		}
	}
}
