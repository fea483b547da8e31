package calls

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/auth"
)

// peers lets both houses list each other, trusted as said.
func peers(o worldOptions, aTrusts, bTrusts bool) worldOptions {
	list := func(before func(*b2bua.Options), addr netip.Addr, domain string, trusted bool) func(*b2bua.Options) {
		return func(o *b2bua.Options) {
			if before != nil {
				before(o)
			}
			o.Peer = func(host string, from netip.Addr) string {
				if from == addr || host == domain || host == addr.String() {
					return "partner"
				}
				return ""
			}
			// The same routes, with the name of the peer to whom they lead.
			var err error
			if o.Routes, err = route.NewTable([]route.Route{
				{Match: route.MustPattern("*@" + domain), To: "sip:" + addr.String(), Side: route.Outside, Peer: "partner"},
				{Match: route.MustPattern("alice"), To: "sip:alice@" + alicePhone.String(), Side: route.Inside},
				{Match: route.MustPattern("bob"), To: "sip:bob@" + bobPhone.String(), Side: route.Inside},
			}); err != nil {
				panic(err)
			}
			o.Trusted = func(peer string) bool { return trusted && peer == "partner" }
		}
	}
	o.optionsA = list(o.optionsA, outsideB.Addr(), "b.example", aTrusts)
	o.optionsB = list(o.optionsB, outsideA.Addr(), "a.example", bTrusts)
	return o
}

// identified are header fields that say who calls, and some that say too much.
func identified(at string) []sip.Field {
	return []sip.Field{
		{Name: "P-Asserted-Identity", Value: `"Alice ` + at + `" <sip:217@` + at + `:5060>, <tel:+4930217>, <sip:third@x.example>`},
		{Name: "Diversion", Value: `<sip:300@` + at + `>;reason=unconditional`},
		{Name: "Diversion", Value: `<sip:301@b.example>;via="` + at + `"`},
		{Name: "History-Info", Value: `<sip:302@` + at + `;x=` + at + `>;index=1, <sip:303@c.example>;index=1.1`},
		{Name: "X-Account", Value: "42"},
		{Name: "User-to-User", Value: "56a390f3d2b7310023a2;encoding=hex"},
		{Name: "X-Where", Value: "desk at " + at},
		{Name: "X-Escaped", Value: "http://" + strings.ReplaceAll(at, ".", "%2E") + "/card"},
		{Name: "X-Phone", Value: "a plain phone indeed"},
		{Name: "X-Long", Value: strings.Repeat("x", 513)},
		{Name: "Call-Info", Value: "<http://[::ffff:" + at + "]/picture.png>"},
		{Name: "Join", Value: "secret@inside"},
		{Name: "Geolocation", Value: "<cid:secret@x.example>"},
		{Name: "P-Access-Network-Info", Value: "secret"},
		{Name: "Remote-Party-ID", Value: "<sip:secret@x.example>"},
	}
}

// Between trusted peers, and there alone, it is told who calls and who answers.
// What is inside is told to nobody.
func TestIdentityCrossesBetweenTrustedPeers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ a, b bool }{{true, true}, {true, false}, {false, true}, {false, false}} {
		inBubble(t, peers(worldOptions{}, c.a, c.b), func(t *testing.T, w *world) {
			fromA, fromB := w.leaving(outsideA), w.leaving(outsideB)
			w.alice.fields, w.bob.answers = identified("10.1.0.2"), identified("10.2.0.2")
			w.up()
			said := func(m *sip.Message) string {
				var out []string
				for _, f := range m.Fields {
					switch f.Name {
					case "P-Asserted-Identity", "Diversion", "History-Info", "User-to-User", "Privacy":
						out = append(out, f.Name+": "+f.Value)
					default:
						if strings.HasPrefix(f.Name, "X-") || f.Name == "Call-Info" || f.Name == "Join" {
							out = append(out, f.Name+": "+f.Value)
						}
					}
				}
				return strings.Join(out, "\n")
			}
			want := func(addr netip.AddrPort) string {
				return strings.ReplaceAll(`P-Asserted-Identity: <sip:217@ADDR>
P-Asserted-Identity: <tel:+4930217>
Diversion: <sip:300@ADDR>;reason=unconditional
History-Info: <sip:302@ADDR>;index=1
History-Info: <sip:303@c.example>;index=1.1
X-Account: 42
User-to-User: 56a390f3d2b7310023a2;encoding=hex`, "ADDR", addr.Addr().String())
			}
			check := func(where, got, want string, told bool) {
				if !told {
					want = ""
				}
				if got != want {
					t.Errorf("trust %v: %s\n%s\nwant\n%s", c, where, got, want)
				}
			}
			wire := func(messages []string, begin string) *sip.Message {
				for _, m := range messages {
					if strings.HasPrefix(m, begin) {
						if parsed, err := sip.Parse([]byte(m)); err == nil && (parsed.IsRequest() || strings.HasSuffix(parsed.Get("CSeq"), "INVITE")) {
							return parsed
						}
					}
				}
				t.Fatalf("no %s", begin)
				return nil
			}
			check("the INVITE leaves with", said(wire(*fromA, "INVITE ")), want(outsideA), c.a)
			check("bob's phone hears", said(w.bob.lastReq), want(outsideA), c.a && c.b)
			check("the 200 leaves with", said(wire(*fromB, "SIP/2.0 200 ")), want(outsideB), c.b)
			check("the 180 leaves with", said(wire(*fromB, "SIP/2.0 180 ")), want(outsideB), c.b)
			check("alice's phone hears", said(w.alice.answer), want(outsideB), c.a && c.b)

			w.bob.do(func(d *sipDialog) {
				d.Bye(nil, sip.Field{Name: "Reason", Value: `Q.850;cause=16;text="bye"`})
			})
			if got := w.alice.await("bye"); got != map[bool]string{true: `bye Q.850;cause=16;text="bye"`, false: "bye "}[c.a && c.b] {
				t.Errorf("trust %v: alice hears %q", c, got)
			}
		})
	}
}

// Nobody outside is believed who is no trusted peer: not by an address that is no
// peer's, whatever From it writes.
func TestStrangersIdentityIsNotShown(t *testing.T) {
	t.Parallel()
	inBubble(t, peers(worldOptions{modeB: "prefer"}, true, true), func(t *testing.T, w *world) {
		m := w.raw(strangerAddr)
		defer m.conn.Close()
		msg := strings.Replace(request("INVITE", "sip:bob@b.example", phoneSDP(strangerAddr.Addr(), 4000), 1), "sip:mallory@evil.example", "sip:mallory@a.example", 1)
		msg = strings.Replace(msg, "CSeq:", "P-Asserted-Identity: \"The bank\" <sip:bank@b.example>\r\nDiversion: <sip:boss@b.example>\r\nHistory-Info: <sip:boss@b.example>;index=1\r\nX-Account: 1\r\nAlert-Info: <http://x>;info=alert-autoanswer\r\nCSeq:", 1)
		m.send(outsideB, msg)
		w.bob.await("invited")
		for _, name := range []string{"P-Asserted-Identity", "Diversion", "History-Info", "X-Account", "Alert-Info"} {
			if w.bob.lastReq.Has(name) {
				t.Errorf("bob's phone is told %s: %s", name, w.bob.lastReq.Get(name))
			}
		}
	})
}

// Who wants to be anonymous is: a trusted peer gets the identity together with the
// wish, others get neither, and the callee's phone never the identity.
func TestPrivacyAndIdentity(t *testing.T) {
	t.Parallel()
	for privacy, hidden := range map[string]bool{"id": true, "header;user": true, "none": false, "id;critical": true, "history": false} {
		for _, trusted := range []bool{true, false} {
			inBubble(t, peers(worldOptions{}, trusted, true), func(t *testing.T, w *world) {
				out := w.leaving(outsideA)
				w.alice.fields = []sip.Field{{Name: "Privacy", Value: privacy}, {Name: "P-Asserted-Identity", Value: "<sip:alice@a.example>"}, {Name: "Diversion", Value: "<sip:alice2@a.example>"}}
				w.up()
				invite := (*out)[0]
				if got := strings.Contains(invite, "P-Asserted-Identity: <sip:alice@a.example>"); got != trusted {
					t.Errorf("%s, trusted %v: asserted %v\n%s", privacy, trusted, got, invite)
				}
				if got := strings.Contains(invite, "\r\nPrivacy: "); got != trusted || trusted && hidden && !strings.Contains(invite, "id") {
					t.Errorf("%s, trusted %v: the wish goes on: %v", privacy, trusted, got)
				}
				if got := strings.Contains(invite, "From: \"Anonymous\" <sip:anonymous@anonymous.invalid>"); got != hidden {
					t.Errorf("%s, trusted %v: anonymous %v", privacy, trusted, got)
				}
				if hidden && !trusted && strings.Contains(invite, "alice") {
					t.Errorf("%s: alice is in\n%s", privacy, invite)
				}
				if got := strings.Contains(string(w.bob.lastReq.Bytes()), "alice"); got == hidden && (hidden || trusted) {
					t.Errorf("%s, trusted %v: bob's phone hears of alice: %v\n%s", privacy, trusted, got, w.bob.lastReq.Bytes())
				}
			})
		}
	}
}

// Where phones have passwords, what was proved is asserted, not what the phone
// says; in an answer it is whose phone was called.
func TestProvedIdentityIsAsserted(t *testing.T) {
	t.Parallel()
	o := peers(withAccounts("carol"), true, true)
	o.modeA, o.modeB = "prefer", "prefer"
	inBubble(t, o, func(t *testing.T, w *world) {
		out := w.leaving(outsideB)
		msg := strings.Replace(insideCall(bobsMobile, "carol", "sip:alice@a.example"), "CSeq:", "P-Asserted-Identity: <sip:boss@b.example>\r\nCSeq:", 1)
		challenge := w.ask(bobsMobile, insideB, msg)
		if len(challenge) != 1 || challenge[0].Status != 407 {
			t.Fatalf("got %v", challenge)
		}
		var fields []string
		for _, f := range challenge[0].Fields {
			if f.Name == "Proxy-Authenticate" {
				fields = append(fields, f.Value)
			}
		}
		value, err := auth.Answer(auth.Credentials{User: "carol", Password: "pw-carol"}, fields, "", auth.Request{Method: "INVITE", URI: "sip:alice@a.example"})
		if err != nil {
			t.Fatal(err)
		}
		msg = strings.Replace(msg, "CSeq: 1 INVITE", "CSeq: 2 INVITE\r\nProxy-Authorization: "+value, 1)
		w.ask(bobsMobile, insideB, strings.Replace(msg, "branch=z9hG4bK", "branch=z9hG4bKagain", 1))
		w.alice.await("invited")
		if got := w.alice.lastReq.Values("P-Asserted-Identity"); len(got) != 1 || got[0] != "<sip:carol@b.example>" {
			t.Errorf("alice's phone is told %q", got)
		}
		if strings.Contains(strings.Join(*out, ""), "boss") {
			t.Error("a phone speaks for somebody else")
		}

		mobile := w.phone("mobile", netip.MustParseAddrPort("10.2.0.4:5060"), insideB)
		defer mobile.close()
		mobile.answers = []sip.Field{{Name: "P-Asserted-Identity", Value: "<sip:boss@b.example>"}}
		if res := w.register(mobile.lis.Local(), insideB, "carol", "pw-carol", "600"); res == nil || res.Status != 200 {
			t.Fatalf("REGISTER: %+v", res)
		}
		w.alice.call("sip:carol@b.example")
		w.alice.await("answered")
		if got := w.alice.answer.Values("P-Asserted-Identity"); len(got) != 1 || got[0] != "<sip:carol@b.example>" {
			t.Errorf("in the answer alice's phone is told %q", got)
		}
	})
}

// Whatever happens in a call, nothing that leaves tells an address of the inside,
// a Call-ID from there, or what the phones are; to trusted peers neither.
func TestNothingOfTheInsideLeaves(t *testing.T) {
	t.Parallel()
	for _, trusted := range []bool{true, false} {
		inBubble(t, peers(worldOptions{}, trusted, trusted), func(t *testing.T, w *world) {
			var outside []string
			inside := map[string]bool{"10.1.0.": true, "10.2.0.": true, "10%2E": true, "plain phone": true, "secret": true}
			w.net.Tap(func(d memnet.Datagram) {
				if !isSIP(d.Payload) {
					return
				}
				if between(d.From, d.To) {
					outside = append(outside, string(d.Payload))
				} else if m, err := sip.Parse(d.Payload); err == nil {
					inside[m.CallID()] = true
				}
			})
			w.alice.fields, w.bob.answers = identified("10.1.0.2"), identified("10.2.0.2")
			w.alice.fields = append(w.alice.fields, sip.Field{Name: "Subject", Value: "at 10.1.0.2"})
			w.bob.phrase = "Ringing at 10.2.0.2"
			w.up()
			w.talk(5)
			w.alice.reinvite(phoneSDP(alicePhone.Addr(), 4002))
			w.bob.do(func(d *sipDialog) {
				d.Do("INFO", "application/media_control+xml", []byte("<media_control/>"), func(*sip.Message, error) {}, sip.Field{Name: "X-Where", Value: "10.2.0.2"})
			})
			w.alice.await("info")
			w.bob.do(func(d *sipDialog) { d.Bye(nil, sip.Field{Name: "Reason", Value: `SIP;text="10.2.0.2"`}) })
			w.alice.await("bye")
			for _, status := range []int{486, 404, 603, 302} {
				w.bob.refuse, w.bob.phrase = status, "gone from 10.2.0.2"
				w.alice.call("sip:bob@b.example")
				w.alice.await("refused")
			}
			w.bob.refuse, w.bob.manual = 0, true
			w.alice.call("sip:bob@b.example")
			w.alice.await("180")
			w.alice.do(func(d *sipDialog) { d.Cancel() })
			w.alice.await("refused")
			w.alice.call("sip:bob@b.example")
			w.alice.await("180")
			time.Sleep(4 * time.Minute) // nobody answers
			synctest.Wait()
			if len(outside) < 30 || len(inside) < 10 {
				t.Fatalf("%d messages crossed, %d secrets", len(outside), len(inside))
			}
			for _, m := range outside {
				for secret := range inside {
					if strings.Contains(m, secret) {
						t.Errorf("trusted %v: %q crosses in\n%s", trusted, secret, m)
					}
				}
			}
		})
	}
}
