package calls

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
)

// insideCall is an INVITE of somebody at one address inside.
func insideCall(from netip.AddrPort, user, uri string) string {
	msg := strings.Replace(request("INVITE", uri, phoneSDP(from.Addr(), 4000), 200000+int(asked.Add(1))), "<sip:mallory@evil.example>", "<sip:"+user+"@b.example>", 1)
	return strings.Replace(msg, "203.0.113.66:5060;branch", from.String()+";rport;branch", 1)
}

// open has houses that talk to each other and to everybody else.
func open() worldOptions {
	return worldOptions{modeA: policy.Prefer, modeB: policy.Prefer}
}

// A user inside has so many calls at once and no more, whoever else calls from
// the same address; an ended call makes room.
func TestCallsPerUser(t *testing.T) {
	t.Parallel()
	inBubble(t, limited(open(), b2bua.Limits{CallsPerUser: 2}), func(t *testing.T, w *world) {
		w.alice.manual = true
		first := insideCall(bobsMobile, "erin", "sip:alice@a.example")
		w.ask(bobsMobile, insideB, first)
		w.ask(bobsMobile, insideB, insideCall(bobsMobile, "erin", "sip:alice@a.example"))
		if n := len(w.b.proxy.Calls()); n != 2 {
			t.Fatalf("%d calls, want 2", n)
		}
		answers := w.ask(bobsMobile, insideB, insideCall(bobsMobile, "erin", "sip:alice@a.example"))
		if len(answers) != 1 || answers[0].Status != 503 || answers[0].Get("Retry-After") == "" || !strings.Contains(answers[0].Get("Warning"), "this user has 2 calls already") {
			t.Errorf("the third: %v", answers)
		}
		w.ask(bobsMobile, insideB, insideCall(bobsMobile, "frank", "sip:alice@a.example"))
		if n := len(w.b.proxy.Calls()); n != 3 {
			t.Errorf("%d calls, want 3: the neighbour's as well", n)
		}
		cancel := strings.Replace(first, "INVITE sip:", "CANCEL sip:", 1)
		cancel = strings.Replace(cancel, "CSeq: 1 INVITE", "CSeq: 1 CANCEL", 1)
		w.ask(bobsMobile, insideB, cancel[:strings.Index(cancel, "Content-Type")]+"Content-Length: 0\r\n\r\n")
		w.ask(bobsMobile, insideB, insideCall(bobsMobile, "erin", "sip:alice@a.example"))
		if n := len(w.b.proxy.Calls()); n != 3 {
			t.Errorf("%d calls, want 3 after one was given up", n)
		}
	})
}

// A stranger has so many calls at once, then the answer that everybody gets; a
// listed peer has as many as there are.
func TestCallsPerSource(t *testing.T) {
	t.Parallel()
	for _, listed := range []bool{false, true} {
		o := limited(open(), b2bua.Limits{CallsPerSource: 2})
		o.peerB = func(_ string, addr netip.Addr) string {
			if listed && addr == strangerAddr.Addr() {
				return "partner"
			}
			return ""
		}
		o.rulesB.ListedPeers = policy.Prefer
		inBubble(t, o, func(t *testing.T, w *world) {
			w.bob.manual = true
			m := w.raw(strangerAddr)
			defer m.conn.Close()
			refused := 0
			for i := range 4 {
				m.send(outsideB, request("INVITE", "sip:bob@b.example", phoneSDP(strangerAddr.Addr(), 4000), i))
				for _, got := range m.drain() {
					if strings.HasPrefix(got, "SIP/2.0 403 Forbidden\r\n") && !strings.Contains(got, "Warning") {
						refused++
					}
				}
			}
			want := 2
			if listed {
				want = 4
			}
			if n := len(w.b.proxy.Calls()); n != want || refused != 4-want {
				t.Errorf("listed %v: %d calls, %d refused", listed, n, refused)
			}
		})
	}
}

// Strangers leave room for those inside.
func TestStrangersLeaveRoom(t *testing.T) {
	t.Parallel()
	inBubble(t, limited(open(), b2bua.Limits{Calls: 4}), func(t *testing.T, w *world) {
		w.bob.manual, w.alice.manual = true, true
		for i := range 5 {
			addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(100 + i)}), 5060)
			w.ask(addr, outsideB, request("INVITE", "sip:bob@b.example", phoneSDP(addr.Addr(), 4000), i))
		}
		// None of them has proved that its address is its own: a handful is one.
		if n := len(w.b.proxy.Calls()); n != 1 {
			t.Errorf("%d calls of strangers, want 1", n)
		}
		for range 4 {
			w.ask(bobsMobile, insideB, insideCall(bobsMobile, "erin", "sip:alice@a.example"))
		}
		if n := len(w.b.proxy.Calls()); n != 4 {
			t.Errorf("%d calls, want 4", n)
		}
	})
}

// Emergency calls are under no limit of any kind.
func TestNoLimitHoldsAnEmergencyCall(t *testing.T) {
	t.Parallel()
	o := limited(withAccounts("carol"), b2bua.Limits{Calls: 1, CallsPerUser: 1, RequestsPerUser: 0.1})
	accounts := o.optionsB
	o.modeA = policy.Prefer
	o.optionsB = func(b *b2bua.Options) {
		accounts(b)
		b.Emergency = route.Emergency{Numbers: []string{"112"}, Target: route.Target{URI: "sip:alice@a.example", Host: outsideA.Addr().String(), Port: int(outsideA.Port()), Side: route.Outside}}
	}
	inBubble(t, o, func(t *testing.T, w *world) {
		w.alice.manual = true
		for range 300 { // far beyond what one address may begin
			w.net.Inject(bobsMobile, insideB, []byte(insideCall(bobsMobile, "carol", "sip:nobody@b.example")))
		}
		for range 10 { // and shut out for guessing
			w.net.Inject(bobsMobile, insideB, []byte(strings.ReplaceAll(guess("REGISTER", bobsMobile.Addr(), int(asked.Add(1))), "user", "carol")))
		}
		synctest.Wait()
		for range 5 {
			w.ask(bobsMobile, insideB, insideCall(bobsMobile, "carol", "sip:112@b.example"))
		}
		if n := len(w.b.proxy.Calls()); n != 5 {
			t.Errorf("%d emergency calls of 5", n)
		}
	})
}

// After a power cut all phones behind a PBX register, and call, within seconds;
// one phone that has gone mad is put off.
func TestPBXIsNoFlood(t *testing.T) {
	t.Parallel()
	o := limited(withAccounts("carol"), limits)
	accounts := o.optionsB
	o.optionsB = func(b *b2bua.Options) {
		accounts(b)
		b.Auth = nil
	}
	inBubble(t, o, func(t *testing.T, w *world) {
		for round := range 2 {
			for i := range 500 {
				if res := w.register(bobsMobile, insideB, fmt.Sprint("phone", i), "", "600"); res == nil || res.Status != 200 {
					t.Fatalf("phone %d in round %d: %+v", i, round, res)
				}
			}
		}
		status := map[int]int{}
		for range 1000 {
			for _, res := range w.ask(bobsMobile, insideB, insideCall(bobsMobile, "phone7", "sip:nobody@b.example")) {
				status[res.Status]++
			}
		}
		// 100 ms apart: exactly its rate.
		if status[404] != 1000 {
			t.Fatalf("at its rate: %v", status)
		}
		for range 200 {
			w.net.Inject(bobsMobile, insideB, []byte(insideCall(bobsMobile, "phone7", "sip:nobody@b.example")))
		}
		synctest.Wait()
		blocked := w.b.proxy.Blocked()
		if len(blocked) != 1 || blocked[0].Source != bobsMobile.Addr().String() || blocked[0].User != "phone7@b.example" || blocked[0].Why != "too many requests" {
			t.Errorf("blocked: %+v", blocked)
		}
		time.Sleep(5 * time.Second)
		var last string
		for _, res := range w.ask(bobsMobile, insideB, insideCall(bobsMobile, "phone7", "sip:nobody@b.example")) {
			last = fmt.Sprint(res.Status, " ", res.Get("Retry-After"), " ", res.Get("Warning"))
		}
		if !strings.HasPrefix(last, "503 ") || !strings.Contains(last, "more requests than sipward takes from one user; try again in ") {
			t.Errorf("put off with %q", last)
		}
		if res := w.ask(bobsMobile, insideB, insideCall(bobsMobile, "phone8", "sip:nobody@b.example")); len(res) != 1 || res[0].Status != 404 {
			t.Errorf("the phone beside it: %v", res)
		}
		time.Sleep(10 * time.Second)
		if res := w.ask(bobsMobile, insideB, insideCall(bobsMobile, "phone7", "sip:nobody@b.example")); len(res) != 1 || res[0].Status != 404 {
			t.Errorf("after its term: %v", res)
		}
	})
}

// A stranger who goes on and on is shut out, longer each time; but not one who had
// a call here lately, whose address somebody else may be writing.
func TestStrangersAreShutOut(t *testing.T) {
	t.Parallel()
	inBubble(t, limited(open(), limits), func(t *testing.T, w *world) {
		w.up() // house A, a stranger to house B, has a call with it
		w.alice.hangup()
		w.alice.await("bye answered")
		terms := []time.Duration{}
		for range 4 {
			for i := range 200 {
				for _, from := range []netip.AddrPort{strangerAddr, outsideA} {
					w.net.Inject(from, outsideB, []byte(request("INVITE", "sip:nobody@b.example", phoneSDP(strangerAddr.Addr(), 4000), int(asked.Add(1))+i)))
				}
			}
			synctest.Wait()
			var until time.Time
			for _, b := range w.b.proxy.Blocked() {
				if b.Source == strangerAddr.Addr().String() {
					until = b.Until
				}
			}
			terms = append(terms, time.Until(until))
			if got := w.ask(strangerAddr, outsideB, request("OPTIONS", "sip:b.example", "", int(asked.Add(1)))); len(got) != 0 {
				t.Errorf("answered in its term: %v", got)
			}
			time.Sleep(time.Until(until) + time.Second)
		}
		for i, d := range terms {
			if d < 5*time.Second || i > 0 && d < terms[i-1] {
				t.Errorf("terms %v", terms)
			}
		}
		if terms[3] < 2*terms[0] {
			t.Errorf("terms do not grow: %v", terms)
		}
		for range 400 {
			w.net.Inject(outsideA, outsideB, []byte(request("OPTIONS", "sip:b.example", "", int(asked.Add(1)))))
		}
		time.Sleep(2 * time.Second)
		w.up()
	})
}

// Forged wrong answers over UDP shut out whom they name, but not the phone itself
// that proved its password before: neither its registration nor its calls.
func TestForgersDoNotSilenceAPhone(t *testing.T) {
	t.Parallel()
	inBubble(t, limited(withAccounts("carol"), limits), func(t *testing.T, w *world) {
		if res := w.register(bobsMobile, insideB, "carol", "pw-carol", "3600"); res == nil || res.Status != 200 {
			t.Fatalf("REGISTER: %+v", res)
		}
		for round := range 5 {
			for range 30 {
				n := int(asked.Add(1))
				forged := strings.ReplaceAll(guess("REGISTER", bobsMobile.Addr(), n), fmt.Sprint("user", n), "carol")
				w.net.Inject(bobsMobile, insideB, []byte(forged))
			}
			synctest.Wait()
			if !slices.ContainsFunc(w.b.proxy.Blocked(), func(b b2bua.Blocked) bool { return b.User == "carol" && b.Source == bobsMobile.Addr().String() }) {
				t.Fatalf("not blocked: %+v", w.b.proxy.Blocked())
			}
			time.Sleep(2 * time.Second)
			if res := w.register(bobsMobile, insideB, "carol", "pw-carol", "3600"); res == nil || res.Status != 200 {
				t.Fatalf("round %d: %+v", round, res)
			}
		}
		// From elsewhere, where nothing was proved, there is no such grace.
		for range 30 {
			n := int(asked.Add(1))
			w.net.Inject(bobPhone, insideB, []byte(strings.ReplaceAll(guess("REGISTER", bobPhone.Addr(), n), fmt.Sprint("user", n), "carol")))
		}
		synctest.Wait()
		if res := w.register(bobPhone, insideB, "carol", "pw-carol", "3600"); res != nil {
			t.Errorf("from elsewhere: %+v", res)
		}
	})
}

// From outside nobody can tell who is a user here: not by an INVITE to one whose
// phone is off, and not by any other method, whether the phone is on or off.
func TestOutsidersCannotTellUsers(t *testing.T) {
	t.Parallel()
	inBubble(t, limited(withAccounts("carol", "dave"), limits), func(t *testing.T, w *world) {
		if res := w.register(bobsMobile, insideB, "dave", "pw-dave", "3600"); res == nil || res.Status != 200 {
			t.Fatalf("REGISTER: %+v", res)
		}
		m := w.raw(strangerAddr)
		defer m.conn.Close()
		for _, method := range []string{"INVITE", "REGISTER", "OPTIONS", "MESSAGE", "SUBSCRIBE", "NOTIFY", "PUBLISH", "REFER", "INFO", "UPDATE", "CANCEL", "BYE"} {
			answers := map[string]string{}
			users := []string{"carol", "xarol"}
			if method != "INVITE" {
				users = append(users, "dave", "bob")
			}
			for _, user := range users {
				body := ""
				if method == "INVITE" {
					body = phoneSDP(strangerAddr.Addr(), 4000)
				}
				time.Sleep(10 * time.Second)
				began := time.Now()
				m.send(outsideB, strings.Replace(request(method, "sip:"+user+"@b.example", body, 7), "Call-ID: stranger7", fmt.Sprint("Call-ID: ", user, method), 1))
				got := m.drain()
				if len(got) != 1 || time.Since(began) != 0 {
					t.Fatalf("%s %s: %d answers after %v: %q", method, user, len(got), time.Since(began), got)
				}
				answers[user] = normal(got[0])
			}
			for user, got := range answers {
				if got != answers["xarol"] {
					t.Errorf("%s %s is answered\n%s\nand where there is no such user\n%s", method, user, got, answers["xarol"])
				}
			}
		}
	})
}
