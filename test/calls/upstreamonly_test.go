package calls

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/auth"
)

// Where own phones have passwords, a listener for accounts elsewhere lets its
// phones call through their registrar alone: no route, no trunk and no own phone
// is theirs.
func TestListenerForAccountsElsewhere(t *testing.T) {
	t.Parallel()
	evilAddr, helpAddr := netip.MustParseAddrPort("203.0.113.88:5060"), netip.MustParseAddrPort("10.1.0.9:5060")
	o := worldOptions{modeA: policy.Prefer, routesA: []string{"+49*", "sip:*@" + outsideB.String(), "outside"}}
	o.optionsA = func(o *b2bua.Options) {
		withAccounts("carol").optionsB(o)
		o.Domains = []string{"a.example"}
		o.Listeners[0].Accounts = b2bua.AccountsElsewhere
		o.Emergency = route.Emergency{Numbers: []string{"112"}, Target: route.Target{URI: "sip:help@" + helpAddr.String(), Host: helpAddr.Addr().String(), Side: route.Inside}}
		o.Peer = func(host string, _ netip.Addr) string {
			if host == evilAddr.Addr().String() {
				return "carrier"
			}
			return ""
		}
		o.Trunks = []b2bua.Trunk{{Peer: "carrier", From: sip.URI{Scheme: "sip", User: "office", Host: "carrier.example"}, Credentials: auth.Credentials{User: "office", Password: "secret"}}}
	}
	inBubble(t, o, func(t *testing.T, w *world) {
		e := w.elsewhere(t)
		defer e.close()
		evil := w.phone("evil", evilAddr, outsideA)
		defer evil.close()
		invited := 0
		evil.first = func(in *sip.Incoming) bool {
			if in.Method == "INVITE" {
				invited++
				return false
			}
			in.Reply(200, "", sip.Field{Name: "Contact", Value: in.Get("Contact") + ";expires=300"})
			return true
		}
		help := w.phone("help", helpAddr, insideA)
		defer help.close()
		host := providerAddr.Addr().String()

		refused := func(why, as, to string) {
			t.Helper()
			w.alice.as = as
			w.alice.call(to)
			w.alice.await("refused 403")
			if got := w.alice.answer.Get("Warning"); !strings.Contains(got, why) {
				t.Errorf("%s to %s: %s", as, to, got)
			}
			// What begins no call has no other way.
			for _, method := range []string{"MESSAGE", "SUBSCRIBE"} {
				res := w.alice.post(w.alice.draft(method, to, "", sip.Field{Name: "Event", Value: "dialog"}))
				if res == nil || res.Status != 403 || !strings.Contains(res.Get("Warning"), why) {
					t.Errorf("%s as %s to %s: %+v", method, as, to, res)
				}
			}
		}
		me := "sip:alice@" + host
		refused("has not registered", me, "sip:bob@"+host)
		refused("has not registered", "sip:carol@a.example", "sip:bob@b.example")

		contact := "<sip:alice@" + alicePhone.String() + ">"
		if res := w.registerElsewhere(alicePhone, "pw-alice", contact, ""); res.Status != 200 {
			t.Fatal(res.Status)
		}
		for registrar, to := range map[string]string{"sip:a.example": "sip:carol@a.example", "sip:" + evilAddr.Addr().String(): me} {
			n := asked.Add(1)
			answers := w.ask(alicePhone, insideA, fmt.Sprintf("REGISTER %[1]s SIP/2.0\r\nVia: SIP/2.0/UDP %[2]v;branch=z9hG4bKonly%[3]d;rport\r\nFrom: <%[4]s>;tag=u\r\nTo: <%[4]s>\r\n"+
				"Call-ID: only%[3]d\r\nCSeq: 1 REGISTER\r\nContact: %[5]s\r\nContent-Length: 0\r\n\r\n", registrar, alicePhone, n, to, contact))
			if len(answers) != 1 || answers[0].Status != 403 {
				t.Errorf("REGISTER %s for %s: %+v", registrar, to, answers)
			}
		}
		refused("addresses at "+host+" alone", me, "sip:bob@b.example")
		refused("addresses at "+host+" alone", me, "sip:alice@a.example")
		refused("addresses at "+host+" alone", me, "sip:carol@"+insideA.String())
		refused("has not registered", "sip:mallory@"+host, "sip:bob@"+host)
		refused("has not registered", "sip:carol@a.example", "sip:carol@a.example")
		if n := len(w.b.proxy.Calls()); n != 0 {
			t.Errorf("%d calls reached a route", n)
		}

		// The registrar asks for the password, also for numbers that a route has.
		w.alice.as = me
		for _, to := range []string{"sip:+4930@" + host, "sip:bob@" + host} {
			w.alice.fields = nil
			w.alice.call(to)
			w.alice.await("refused 407")
			w.alice.fields = []sip.Field{proof(t, w.alice.answer, "INVITE", to)}
			w.alice.call(to)
			w.alice.await("answered")
			e.await("acked")
			w.alice.hangup()
			w.alice.await("bye answered")
		}
		if res := w.alice.post(w.alice.draft("MESSAGE", "sip:bob@"+host, "hello")); res == nil || res.Status != 401 && res.Status != 407 {
			t.Errorf("the registrar is not asked about a MESSAGE: %+v", res)
		}
		w.alice.fields = nil
		w.alice.call("sip:112@b.example")
		w.alice.await("answered")
		help.await("acked")
		w.alice.hangup()
		w.alice.await("bye answered")

		// Another phone does not become this one by its From, and a trunk is not
		// for those who have registered at its peer.
		mallory := w.phone("mallory", netip.MustParseAddrPort("10.1.0.66:5060"), insideA)
		defer mallory.close()
		mallory.as = me
		mallory.call("sip:bob@" + host)
		mallory.await("refused 403")
		n := asked.Add(1)
		answers := w.ask(alicePhone, insideA, fmt.Sprintf("REGISTER sip:%[1]v SIP/2.0\r\nVia: SIP/2.0/UDP %[2]v;branch=z9hG4bKonly%[3]d;rport\r\nFrom: <sip:x@%[1]v>;tag=u\r\nTo: <sip:x@%[1]v>\r\n"+
			"Call-ID: only%[3]d\r\nCSeq: 1 REGISTER\r\nContact: %[4]s\r\nContent-Length: 0\r\n\r\n", evilAddr.Addr(), alicePhone, n, contact))
		if len(answers) != 1 || answers[0].Status != 200 {
			t.Fatalf("%+v", answers)
		}
		refused("an account of this sipward", "sip:x@"+evilAddr.Addr().String(), "sip:+4930@"+evilAddr.Addr().String())
		if invited != 0 {
			t.Errorf("%d INVITEs to the trunk's peer", invited)
		}

		e.call(e.contact)
		w.alice.await("acked")
	})
}
