package calls

import (
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/route/registrar"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/auth"
)

// passwords are the accounts of a house: user X has the password pw-X.
type passwords []string

func (p passwords) HA1(user string, a auth.Algorithm) (string, bool) {
	for _, u := range p {
		if u == user {
			return auth.HA1(a, user, "b.example", "pw-"+user), true
		}
	}
	return "", false
}
func (passwords) Serves(auth.Algorithm) bool { return true }

// withAccounts gives house B a registrar whose phones have passwords.
func withAccounts(users ...string) worldOptions {
	return worldOptions{optionsB: func(o *b2bua.Options) {
		var err error
		if o.Registrar, err = registrar.New(registrar.Options{}); err != nil {
			panic(err)
		}
		o.Domains = []string{"b.example"}
		if o.Auth, err = auth.New(auth.Options{Realm: "b.example", Users: passwords(users)}); err != nil {
			panic(err)
		}
		o.Users = func(u string) bool { _, ok := passwords(users).HA1(u, auth.MD5); return ok }
	}}
}

// ask sends a request from a phone's own address and returns the answers that
// come to it.
func (w *world) ask(from, to netip.AddrPort, msg string) (answers []*sip.Message) {
	w.t.Helper()
	remove := w.net.Tap(func(d memnet.Datagram) {
		if d.From == to && d.To == from {
			if m, err := sip.Parse(d.Payload); err == nil && !m.IsRequest() && m.Status > 100 {
				answers = append(answers, m)
			}
		}
	})
	defer remove()
	if err := w.net.Inject(from, to, []byte(msg)); err != nil {
		w.t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	synctest.Wait()
	return answers
}

// asked numbers requests, so that no two have the same branch or CSeq.
var asked atomic.Int64

// register registers a phone at its house and returns the final status.
func (w *world) register(at, house netip.AddrPort, user, password, expires string) *sip.Message {
	w.t.Helper()
	session := auth.NewSession(auth.Credentials{User: user, Password: password})
	authorization := ""
	for seq := 1; ; seq++ {
		n := asked.Add(1)
		msg := fmt.Sprintf("REGISTER sip:b.example SIP/2.0\r\nVia: SIP/2.0/UDP %[1]v;branch=z9hG4bKr%[2]d;rport\r\nFrom: <sip:%[3]s@b.example>;tag=%[2]d\r\nTo: <sip:%[3]s@b.example>\r\n"+
			"Call-ID: reg-%[3]s-%[1]v\r\nCSeq: %[4]d REGISTER\r\nContact: <sip:%[3]s@%[1]v>;expires=%[5]s\r\n%[6]sContent-Length: 0\r\n\r\n", at, n, user, n, expires, authorization)
		answers := w.ask(at, house, msg)
		if len(answers) != 1 {
			return nil
		}
		if answers[0].Status != 401 || seq > 1 {
			return answers[0]
		}
		var challenges []string
		for _, f := range answers[0].Fields {
			if f.Name == "WWW-Authenticate" {
				challenges = append(challenges, f.Value)
			}
		}
		value, err := session.Answer(challenges, "", auth.Request{Method: "REGISTER", URI: "sip:b.example"})
		if err != nil {
			w.t.Fatal(err)
		}
		authorization = "Authorization: " + value + "\r\n"
	}
}

var bobsMobile = netip.MustParseAddrPort("10.2.0.3:5060")

// Two phones of one user ring at once; the first that answers has the call,
// the other one is told.
func TestRegisteredPhonesRingTogether(t *testing.T) {
	t.Parallel()
	o := withAccounts("carol")
	inBubble(t, o, func(t *testing.T, w *world) {
		mobile := w.phone("mobile", bobsMobile, insideB)
		defer mobile.close()
		w.bob.manual, mobile.manual = true, true
		for _, at := range []netip.AddrPort{bobPhone, bobsMobile} {
			if res := w.register(at, insideB, "carol", "pw-carol", "600"); res == nil || res.Status != 200 || !strings.Contains(res.Get("Contact"), "expires=") {
				t.Fatalf("REGISTER: %+v", res)
			}
		}
		w.alice.call("sip:carol@b.example")
		w.bob.await("invited")
		mobile.await("invited")
		w.alice.await("180")
		mobile.do(func(d *sipDialog) { d.Answer("application/sdp", mobile.body()) })
		w.alice.await("answered")
		mobile.await("acked")
		w.bob.await("cancelled")
		w.bob, mobile = mobile, w.bob
		if b, a := w.talk(20); b != 20 || a != 20 {
			t.Errorf("the phone that answered heard %d, alice %d of 20", b, a)
		}
		if va, vb := w.views(); va.SASWords == "" || va.SASWords != vb.SASWords {
			t.Errorf("%+v %+v", va, vb)
		}
		w.alice.hangup()
		w.bob.await("bye")
		w.bob, mobile = mobile, w.bob

		// Both answer at the same moment: one has the call, the other is released.
		w.alice.call("sip:carol@b.example")
		w.bob.await("invited")
		mobile.await("invited")
		for _, p := range []*phone{w.bob, mobile} {
			p.do(func(d *sipDialog) { d.Answer("application/sdp", p.body()) })
		}
		w.alice.await("answered")
		time.Sleep(2 * time.Second)
		released := 0
		for _, p := range []*phone{w.bob, mobile} {
			for len(p.events) > 0 {
				if strings.HasPrefix(<-p.events, "bye") {
					released++
				}
			}
		}
		if released != 1 {
			t.Errorf("%d of two phones that answered were released, want 1", released)
		}
		w.alice.hangup()
		w.alice.await("bye answered")

		// One busy, one gone: the caller hears the word that says most.
		w.bob.refuse, mobile.refuse = 480, 486
		w.alice.call("sip:carol@b.example")
		if got := w.alice.await("refused"); !strings.HasPrefix(got, "refused 486") {
			t.Errorf("got %q", got)
		}
		w.none()
	})
}

func TestAccountsAreGuarded(t *testing.T) {
	t.Parallel()
	inBubble(t, withAccounts("carol", "dave"), func(t *testing.T, w *world) {
		rang := 0
		w.net.Tap(func(d memnet.Datagram) {
			if strings.HasPrefix(string(d.Payload), "INVITE ") && (d.From == insideB || d.From == outsideB) {
				rang++
			}
		})
		if res := w.register(bobPhone, insideB, "carol", "wrong", "600"); res == nil || res.Status != 401 {
			t.Errorf("wrong password: %+v", res)
		}
		if res := w.register(bobPhone, insideB, "nobody", "pw-nobody", "600"); res == nil || res.Status != 401 {
			t.Errorf("unknown user: %+v", res)
		}
		if res := w.register(bobPhone, insideB, "carol", "pw-carol", "600"); res == nil || res.Status != 200 {
			t.Fatalf("REGISTER: %+v", res)
		}

		invite := func(from, user, uri, password string) int {
			msg := strings.Replace(request("INVITE", uri, phoneSDP(bobPhone.Addr(), 4000), 70000+int(asked.Add(1))), "<sip:mallory@evil.example>", "<"+from+">", 1)
			msg = strings.Replace(msg, "203.0.113.66:5060;branch", bobPhone.String()+";rport;branch", 1)
			answers := w.ask(bobPhone, insideB, msg)
			if len(answers) != 1 {
				return 0
			}
			if answers[0].Status != 407 || password == "" {
				return answers[0].Status
			}
			value, err := auth.Answer(auth.Credentials{User: user, Password: password}, answers[0].Values("Proxy-Authenticate")[:1], "", auth.Request{Method: "INVITE", URI: uri})
			if err != nil {
				var all []string
				for _, f := range answers[0].Fields {
					if f.Name == "Proxy-Authenticate" {
						all = append(all, f.Value)
					}
				}
				if value, err = auth.Answer(auth.Credentials{User: user, Password: password}, all, "", auth.Request{Method: "INVITE", URI: uri}); err != nil {
					t.Fatal(err)
				}
			}
			msg = strings.Replace(msg, "CSeq: 1 INVITE", "CSeq: 2 INVITE\r\nProxy-Authorization: "+value, 1)
			msg = strings.Replace(msg, "branch=z9hG4bK", "branch=z9hG4bKb", 1)
			answers = w.ask(bobPhone, insideB, msg)
			if len(answers) == 0 {
				return 0
			}
			return answers[0].Status
		}
		for name, c := range map[string]struct {
			from, user, uri, password string
			want                      int
		}{
			"no password":                {"sip:carol@b.example", "carol", "sip:alice@a.example", "", 407},
			"a wrong one":                {"sip:carol@b.example", "carol", "sip:alice@a.example", "guess", 407},
			"another user's From":        {"sip:dave@b.example", "carol", "sip:alice@a.example", "pw-carol", 403},
			"another domain's From":      {"sip:carol@a.example", "carol", "sip:alice@a.example", "pw-carol", 403},
			"no such user":               {"sip:carol@b.example", "carol", "sip:erin@b.example", "pw-carol", 404},
			"a user whose phone is away": {"sip:carol@b.example", "carol", "sip:dave@b.example", "pw-carol", 480},
		} {
			if got := invite(c.from, c.user, c.uri, c.password); got != c.want {
				t.Errorf("%s: %d, want %d", name, got, c.want)
			}
			time.Sleep(time.Minute)
		}
		if rang != 0 {
			t.Errorf("%d INVITEs went on", rang)
		}

		// From outside: known or not, registered or not, one answer.
		m := w.raw(strangerAddr)
		defer m.conn.Close()
		answers := map[string]bool{}
		for i, user := range []string{"dave", "nobody"} {
			m.send(outsideB, request("INVITE", "sip:"+user+"@b.example", phoneSDP(strangerAddr.Addr(), 4000), i))
			for _, got := range m.drain() {
				answers[normal(got)] = true
			}
			time.Sleep(10 * time.Second)
		}
		if len(answers) != 1 {
			t.Errorf("strangers can tell users: %v", answers)
		}
	})
}

// Who guesses passwords gets slower answers, then none.
func TestGuessingIsStopped(t *testing.T) {
	t.Parallel()
	inBubble(t, withAccounts("carol", "dave"), func(t *testing.T, w *world) {
		answered := 0
		for i := range 50 {
			if w.register(bobPhone, insideB, "carol", fmt.Sprint("guess", i), "600") != nil {
				answered++
			}
		}
		if answered < 4 || answered > 6 {
			t.Errorf("%d of 50 guesses of one moment were answered", answered)
		}
		blocked := w.b.proxy.Blocked()
		if len(blocked) != 1 || blocked[0].Source != bobPhone.Addr().String() || blocked[0].Why != "wrong passwords" || blocked[0].User != "carol" {
			t.Errorf("blocked: %v", blocked)
		}
		if n := w.b.proxy.Unblock(bobPhone.Addr(), "dave") + w.b.proxy.Unblock(bobsMobile.Addr(), "carol"); n != 0 {
			t.Errorf("%d others unblocked", n)
		}
		if n := w.b.proxy.Unblock(bobPhone.Addr(), "carol"); n != 1 || len(w.b.proxy.Blocked()) != 0 {
			t.Errorf("%d unblocked, %v left", n, w.b.proxy.Blocked())
		}
		// The phone beside it, with the right password, is heard.
		if res := w.register(bobPhone, insideB, "dave", "pw-dave", "600"); res == nil || res.Status != 200 {
			t.Errorf("the phone beside it: %+v", res)
		}
		// Guessing at many users is no way around.
		answered = 0
		for i := range 200 {
			if w.register(bobsMobile, insideB, fmt.Sprint("user", i), "guess", "600") != nil {
				answered++
			}
		}
		if answered < 40 || answered > 60 {
			t.Errorf("%d of 200 guesses at many users were answered", answered)
		}
		if w.b.proxy.Unblock(bobsMobile.Addr(), "") != 1 || len(w.b.proxy.Blocked()) != 0 {
			t.Errorf("not unblocked: %+v", w.b.proxy.Blocked())
		}
		if res := w.register(bobPhone, insideB, "carol", "pw-carol", "600"); res == nil || res.Status != 200 {
			t.Errorf("the right password afterwards: %+v", res)
		}
	})
}

// An emergency call goes on without a password, beyond the limit of calls and
// without an exchange.
func TestEmergencyCall(t *testing.T) {
	t.Parallel()
	o := withAccounts("carol")
	accounts := o.optionsB
	o.modeA = "prefer"
	o.optionsB = func(b *b2bua.Options) {
		accounts(b)
		b.Limits.Calls = 1
		b.Emergency = route.Emergency{Numbers: []string{"112"}, Target: route.Target{URI: "sip:sos@a.example", Host: outsideA.Addr().String(), Port: int(outsideA.Port()), Side: route.Outside}}
	}
	o.routesA = []string{"sos", "sip:alice@" + alicePhone.String(), "inside"}
	inBubble(t, o, func(t *testing.T, w *world) {
		w.up() // alice to bob: the one call that the limit allows
		for _, to := range []string{"sip:112@b.example", "urn:service:sos.fire"} {
			help := w.phone("erin", bobsMobile, insideB)
			help.call(to)
			help.await("answered", "refused")
			synctest.Wait()
			var v b2bua.View
			for _, c := range w.b.proxy.Calls() {
				if strings.Contains(c.Reason, "emergency") {
					v = c
				}
			}
			if v.State != "established" || v.Protection != "none" {
				t.Errorf("%s: %+v", to, v)
			}
			help.hangup()
			help.await("bye answered")
			help.close()
		}
	})
}

// A rule that requires protection within the inside refuses: nothing there can
// be protected, and a call in clear is not what the rule asks for.
func TestRequireWithinTheInside(t *testing.T) {
	t.Parallel()
	for mode, want := range map[policy.Mode]string{policy.Require: "refused 488", policy.Off: "answered"} {
		o := withAccounts("carol")
		accounts := o.optionsB
		o.optionsB = func(b *b2bua.Options) {
			accounts(b)
			b.Auth = nil
			b.Policy, _ = policy.New(policy.Rules{Inside: mode})
		}
		inBubble(t, o, func(t *testing.T, w *world) {
			mobile := w.phone("mobile", bobsMobile, insideB)
			defer mobile.close()
			if res := w.register(bobsMobile, insideB, "carol", "", "600"); res == nil || res.Status != 200 {
				t.Fatalf("REGISTER: %+v", res)
			}
			w.bob.call("sip:carol@" + insideB.String())
			if got := w.bob.await("answered", "refused"); !strings.HasPrefix(got, want) {
				t.Errorf("%s: %s", mode, got)
			}
		})
	}
}

// A PBX on another port of sipward's own address is not sipward.
func TestOtherPortIsSomebodyElse(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{modeA: policy.Prefer}, func(t *testing.T, w *world) {
		pbx := w.phone("pbx", netip.AddrPortFrom(outsideA.Addr(), 5080), outsideA)
		defer pbx.close()
		w.alice.call("sip:desk@" + pbx.lis.Local().String())
		w.alice.await("answered")
		pbx.await("acked")
	})
}
