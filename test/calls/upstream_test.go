package calls

import (
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/auth"
)

// elsewhere is a provider's registrar and proxy in one: it asks for passwords
// and remembers where the customer said that it is.
type elsewhere struct {
	*phone
	challenger *auth.Challenger
	contact    string
	seen       []string     // requests with the right password
	lose       int          // answers to REGISTER that are lost
	grant      []sip.Field  // of its answers to REGISTER
	last       *sip.Message // that had the right password
}

func (w *world) elsewhere(t *testing.T) *elsewhere {
	e := &elsewhere{phone: w.phone("provider", providerAddr, outsideA)}
	var err error
	if e.challenger, err = auth.New(auth.Options{Realm: "b.example", Users: passwords{"alice"}}); err != nil {
		t.Fatal(err)
	}
	e.first = func(in *sip.Incoming) bool {
		given, field, status := "Proxy-Authorization", "Proxy-Authenticate", 407
		if in.Method == "REGISTER" {
			given, field, status = "Authorization", "WWW-Authenticate", 401
		}
		if e.challenger.Verify(in.Values(given), auth.Request{Method: in.Method, URI: in.URI.String()}).Verdict != auth.OK {
			var fields []sip.Field
			for _, c := range e.challenger.Challenge(false) {
				fields = append(fields, sip.Field{Name: field, Value: c})
			}
			in.Reply(status, "", fields...)
			return true
		}
		e.seen, e.last = append(e.seen, in.Method+" "+in.From().URI.AOR()), in.Message
		if in.Method != "REGISTER" {
			return false
		}
		a, _ := sip.ParseAddress(in.Get("Contact"))
		e.contact = a.URI.String()
		if e.lose > 0 {
			e.lose--
			return true
		}
		in.Reply(200, "", append([]sip.Field{{Name: "Contact", Value: "<" + e.contact + ">;expires=300"}}, e.grant...)...)
		return true
	}
	return e
}

// registerElsewhere registers a phone of house A as alice at the provider, and
// returns the last answer. extra are more lines of the REGISTER.
func (w *world) registerElsewhere(from netip.AddrPort, password, contact, extra string) *sip.Message {
	w.t.Helper()
	host := providerAddr.Addr().String()
	session := auth.NewSession(auth.Credentials{User: "alice", Password: password})
	authorization := ""
	for try := 1; ; try++ {
		n := asked.Add(1)
		answers := w.ask(from, insideA, fmt.Sprintf("REGISTER sip:%[1]s SIP/2.0\r\nVia: SIP/2.0/UDP %[2]v;branch=z9hG4bKel%[3]d;rport\r\nFrom: <sip:alice@%[1]s>;tag=u\r\nTo: <sip:alice@%[1]s>\r\n"+
			"Call-ID: el-%[2]v\r\nCSeq: %[3]d REGISTER\r\nContact: %[4]s\r\nExpires: 3600\r\n%[5]s%[6]sContent-Length: 0\r\n\r\n", host, from, n, contact, authorization, extra))
		if len(answers) != 1 {
			w.t.Fatalf("%d answers", len(answers))
		}
		if answers[0].Status != 401 || try == 2 {
			return answers[0]
		}
		value, err := session.Answer(answers[0].Values("WWW-Authenticate"), "", auth.Request{Method: "REGISTER", URI: "sip:" + host})
		if err != nil {
			w.t.Fatal(err)
		}
		authorization = "Authorization: " + value + "\r\n"
	}
}

// proof answers the question for alice's password.
func proof(t *testing.T, res *sip.Message, method, uri string) sip.Field {
	t.Helper()
	value, err := auth.Answer(auth.Credentials{User: "alice", Password: "pw-alice"}, res.Values("Proxy-Authenticate"), "", auth.Request{Method: method, URI: uri})
	if err != nil {
		t.Fatal(err)
	}
	return sip.Field{Name: "Proxy-Authorization", Value: value}
}

// A phone keeps its account elsewhere: it registers through sipward, is asked
// for its password by the far registrar alone, calls out and is called.
func TestAccountElsewhere(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{modeA: policy.Prefer}, func(t *testing.T, w *world) {
		e := w.elsewhere(t)
		defer e.close()
		var keepAlives atomic.Int64
		w.net.Tap(func(d memnet.Datagram) {
			if d.From == outsideA && d.To == providerAddr && string(d.Payload) == "\r\n\r\n" {
				keepAlives.Add(1)
			}
		})
		host := providerAddr.Addr().String()
		session := auth.NewSession(auth.Credentials{User: "alice", Password: "pw-alice"})
		authorization := ""
		var res *sip.Message
		for seq := 1; seq <= 2; seq++ {
			answers := w.ask(alicePhone, insideA, fmt.Sprintf("REGISTER sip:%[1]s SIP/2.0\r\nVia: SIP/2.0/UDP %[2]v;branch=z9hG4bKup%[3]d;rport\r\nFrom: <sip:alice@%[1]s>;tag=u\r\nTo: <sip:alice@%[1]s>\r\n"+
				"Call-ID: up\r\nCSeq: %[3]d REGISTER\r\nContact: <sip:alice@%[2]v>\r\nExpires: 3600\r\n%[4]sContent-Length: 0\r\n\r\n", host, alicePhone, seq, authorization))
			if len(answers) != 1 {
				t.Fatalf("%d answers", len(answers))
			}
			res = answers[0]
			if seq == 1 {
				if res.Status != 401 {
					t.Fatalf("not asked for a password but %d", res.Status)
				}
				value, err := session.Answer(res.Values("WWW-Authenticate"), "", auth.Request{Method: "REGISTER", URI: "sip:" + host})
				if err != nil {
					t.Fatal(err)
				}
				authorization = "Authorization: " + value + "\r\n"
			}
		}
		if res.Status != 200 || res.Get("Contact") != "<sip:alice@"+alicePhone.String()+">;expires=300" {
			t.Fatalf("REGISTER: %d, Contact %q", res.Status, res.Get("Contact"))
		}
		if !strings.Contains(e.contact, "@"+outsideA.String()) || strings.Contains(e.contact, "alice") || strings.Contains(e.contact, "10.1.") {
			t.Errorf("the registrar knows %s", e.contact)
		}

		// Called: the registrar sends the INVITE to the contact it knows.
		e.call(e.contact)
		w.alice.await("acked")
		e.await("answered")
		if v := w.a.proxy.Calls(); len(v) != 1 || v[0].To != "sip:alice@"+host || v[0].Direction != "inbound" {
			t.Errorf("%+v", v)
		}
		e.hangup()
		w.alice.await("bye")

		// Calling: the question for the password reaches the phone, its answer the provider.
		w.alice.as = "sip:alice@" + host
		w.alice.call("sip:bob@" + host)
		w.alice.await("refused 407")
		value, err := auth.Answer(auth.Credentials{User: "alice", Password: "pw-alice"}, w.alice.answer.Values("Proxy-Authenticate"), "", auth.Request{Method: "INVITE", URI: "sip:bob@" + host})
		if err != nil {
			t.Fatal(err)
		}
		w.alice.fields = []sip.Field{{Name: "Proxy-Authorization", Value: value}}
		w.alice.call("sip:bob@" + host)
		w.alice.await("answered")
		if last := e.seen[len(e.seen)-1]; last != "INVITE sip:alice@"+host {
			t.Errorf("the provider saw %s", last)
		}
		w.alice.hangup()
		w.alice.await("bye answered")
		time.Sleep(2 * time.Minute)
		if n := keepAlives.Load(); n < 4 {
			t.Errorf("%d keep-alives in two minutes", n)
		}

		// Expired: the token leads nowhere any more, and nothing is kept open.
		time.Sleep(5 * time.Minute)
		before := keepAlives.Load()
		e.call(e.contact)
		e.await("refused 403")
		time.Sleep(2 * time.Minute)
		if n := keepAlives.Load() - before; n != 0 {
			t.Errorf("%d keep-alives for an account that has expired", n)
		}
	})
}

// Where phones have passwords here, an account elsewhere is no way around them:
// neither a REGISTER for somebody's name nor one that a friendly registrar
// grants lets anybody dial.
func TestAccountElsewhereIsNoWayAroundPasswords(t *testing.T) {
	t.Parallel()
	inBubble(t, withAccounts("carol"), func(t *testing.T, w *world) {
		for _, name := range []string{"sip:carol@b.example", "sip:mallory@evil.example"} {
			n := asked.Add(1)
			w.ask(bobPhone, insideB, fmt.Sprintf("REGISTER sip:%[1]s SIP/2.0\r\nVia: SIP/2.0/UDP %[2]v;branch=z9hG4bKev%[3]d;rport\r\nFrom: <%[4]s>;tag=u\r\nTo: <%[4]s>\r\n"+
				"Call-ID: evil%[3]d\r\nCSeq: 1 REGISTER\r\nContact: <sip:x@%[2]v>\r\nContent-Length: 0\r\n\r\n", providerAddr, bobPhone, n, name))
			msg := strings.Replace(request("INVITE", "sip:alice@a.example", phoneSDP(bobPhone.Addr(), 4000), 80000+int(n)), "<sip:mallory@evil.example>", "<"+name+">", 1)
			msg = strings.Replace(msg, "203.0.113.66:5060;branch", bobPhone.String()+";rport;branch", 1)
			answers := w.ask(bobPhone, insideB, msg)
			if len(answers) != 1 || answers[0].Status != 407 {
				t.Errorf("%s: %d answers, not one question for a password", name, len(answers))
			}
			if n := len(w.b.proxy.Calls()); n != 0 {
				t.Errorf("%s: %d calls", name, n)
			}
		}
	})
}
