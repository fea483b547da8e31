package calls

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
)

// The proxies that a registrar names are the way of the phone's calls to its
// domain, and those inside that a REGISTER came through the way of calls to the
// phone. A phone that names sipward as its route is served like any other.
func TestServiceRouteAndPath(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{modeA: policy.Prefer}, func(t *testing.T, w *world) {
		e := w.elsewhere(t)
		defer e.close()
		edge := w.phone("edge", netip.MustParseAddrPort("203.0.113.77:5070"), outsideA)
		defer edge.close()
		edge.refuse = 486
		host := providerAddr.Addr().String()
		services := []string{"<sip:203.0.113.77:5070;lr>", "<sip:inner.b.example;lr>"}
		e.grant = []sip.Field{{Name: "Service-Route", Value: strings.Join(services, ", ")}}
		path := "<sip:10.1.0.9;lr>"
		res := w.registerElsewhere(alicePhone, "pw-alice", "<sip:alice@"+alicePhone.String()+">", "Supported: path\r\nPath: "+path+"\r\nRoute: <sip:"+insideA.String()+";lr>\r\n")
		if res.Status != 200 || res.Has("Service-Route") || !slices.Equal(res.Values("Path"), []string{path}) {
			t.Fatalf("%d, Service-Route %q, Path %q", res.Status, res.Get("Service-Route"), res.Get("Path"))
		}
		if e.last.Has("Path") || e.last.Has("Route") || strings.Contains(string(e.last.Bytes()), "10.1.") {
			t.Errorf("the registrar sees\n%s", e.last.Bytes())
		}

		w.alice.as = "sip:alice@" + host
		w.alice.fields = []sip.Field{{Name: "Route", Value: "<sip:" + insideA.String() + ";lr>"}}
		w.alice.call("sip:bob@" + host)
		edge.await("invited")
		w.alice.await("refused 486")
		if got := edge.lastReq; !slices.Equal(got.Values("Route"), services) || got.URI.String() != "sip:bob@"+host {
			t.Errorf("%s with Route %q", got.URI.String(), got.Values("Route"))
		}
		// Another domain is none of the registrar's business.
		w.alice.call("sip:bob@b.example")
		w.bob.await("acked")
		w.alice.await("answered")
		w.alice.hangup()
		w.alice.await("bye answered")
		// Nor are calls of somebody else.
		w.alice.as = "sip:mallory@" + host
		w.alice.call("sip:bob@" + host)
		w.alice.await("refused 407")

		e.call(e.contact)
		e.await("answered")
		w.alice.await("acked")
		if got := w.alice.lastReq; !slices.Equal(got.Values("Route"), []string{path}) {
			t.Errorf("the phone is called with Route %q", got.Values("Route"))
		}
		w.alice.hangup()
		w.alice.await("bye answered")

		// Registered anew without, calls go to the registrar again.
		e.grant = []sip.Field{{Name: "Service-Route", Value: "<sip:203.0.113.77:5070>"}} // a strict router
		if res := w.registerElsewhere(alicePhone, "pw-alice", "<sip:alice@"+alicePhone.String()+">", ""); res.Status != 200 || res.Has("Path") {
			t.Fatalf("%d", res.Status)
		}
		w.alice.as = "sip:alice@" + host
		w.alice.call("sip:bob@" + host)
		w.alice.await("refused 407")
		for _, bad := range []string{"Path: <sip:10.1.0.9>\r\n", "Path: nonsense\r\n"} {
			if res := w.registerElsewhere(alicePhone, "pw-alice", "<sip:alice@"+alicePhone.String()+">", bad); res.Status != 400 {
				t.Errorf("%q: %d", bad, res.Status)
			}
		}
		if res := w.registerElsewhere(alicePhone, "pw-alice", "<sip:alice@"+alicePhone.String()+">", "Require: path, gruu\r\n"); res.Status != 420 || res.Get("Unsupported") != "gruu" {
			t.Errorf("%d, Unsupported %q", res.Status, res.Get("Unsupported"))
		}
	})
}

// The far end may ask for the phone's password within a dialog as well, in calls
// of both directions.
func TestPasswordsWithinDialogs(t *testing.T) {
	t.Parallel()
	for _, direction := range []string{"outbound", "inbound"} {
		t.Run(direction, func(t *testing.T) {
			t.Parallel()
			inBubble(t, worldOptions{modeA: policy.Prefer}, func(t *testing.T, w *world) {
				e := w.elsewhere(t)
				defer e.close()
				var proofs []string
				e.within = func(tx *sip.ServerTx) bool {
					if v := tx.Request.Get("Proxy-Authorization"); v != "" {
						proofs = append(proofs, tx.Request.Method+" "+v)
						return false
					}
					var fields []sip.Field
					for _, c := range e.challenger.Challenge(false) {
						fields = append(fields, sip.Field{Name: "Proxy-Authenticate", Value: c})
					}
					tx.Reply(407, "", fields...)
					return true
				}
				host := providerAddr.Addr().String()
				if res := w.registerElsewhere(alicePhone, "pw-alice", "<sip:alice@"+alicePhone.String()+">", ""); res.Status != 200 {
					t.Fatal(res.Status)
				}
				w.alice.as = "sip:alice@" + host
				if direction == "outbound" {
					w.alice.call("sip:bob@" + host)
					w.alice.await("refused 407")
					w.alice.fields = []sip.Field{proof(t, w.alice.answer, "INVITE", "sip:bob@"+host)}
					w.alice.call("sip:bob@" + host)
					w.alice.await("answered")
					e.await("acked")
					if got, want := e.ack.Get("Proxy-Authorization"), w.alice.fields[0].Value; got != want {
						t.Errorf("the ACK has %q, the INVITE %q", got, want)
					}
				} else {
					e.call(e.contact)
					w.alice.await("acked")
				}
				time.Sleep(time.Second)
				const uri = "sip:whatever@10.1.0.1:5062"
				var sent []string
				for _, method := range []string{"INVITE", "INFO", "BYE"} {
					body, kind := []byte(nil), ""
					if method == "INVITE" {
						body, kind = w.alice.body(), "application/sdp"
					}
					answered := make(chan *sip.Message, 1)
					do := func(fields ...sip.Field) *sip.Message {
						w.alice.do(func(d *sip.Dialog) {
							d.Do(method, kind, body, func(res *sip.Message, err error) {
								if err != nil {
									t.Errorf("%s: %v", method, err)
									close(answered)
								} else if res.Status >= 200 {
									if method == "INVITE" && res.Status < 300 {
										d.Ack(res, "", nil)
									}
									answered <- res
								}
							}, fields...)
						})
						return <-answered
					}
					res := do()
					if res == nil || res.Status != 407 {
						t.Fatalf("%s is answered %+v", method, res)
					}
					p := proof(t, res, method, uri)
					sent = append(sent, method+" "+p.Value)
					if res = do(p); res == nil || res.Status != 200 {
						t.Fatalf("%s with the password is answered %+v", method, res)
					}
					time.Sleep(time.Second)
				}
				synctest.Wait()
				if !slices.Equal(proofs, sent) {
					t.Errorf("the phone has sent\n%q, the provider got\n%q", sent, proofs)
				}
				if n := len(w.a.proxy.Calls()); n != 0 {
					t.Errorf("%d calls are left", n)
				}
			})
		})
	}
}

// A phone that hangs up without the password that it is asked for is gone all
// the same, and so is one whose provider says nothing.
func TestByeWithoutPassword(t *testing.T) {
	t.Parallel()
	for _, silent := range []bool{false, true} {
		inBubble(t, worldOptions{modeA: policy.Prefer}, func(t *testing.T, w *world) {
			e := w.elsewhere(t)
			defer e.close()
			byes := 0
			e.within = func(tx *sip.ServerTx) bool {
				byes++
				if !silent {
					tx.Reply(407, "", sip.Field{Name: "Proxy-Authenticate", Value: e.challenger.Challenge(false)[0]})
				}
				return true
			}
			if res := w.registerElsewhere(alicePhone, "pw-alice", "<sip:alice@"+alicePhone.String()+">", ""); res.Status != 200 {
				t.Fatal(res.Status)
			}
			e.call(e.contact)
			w.alice.await("acked")
			time.Sleep(time.Second)
			w.alice.hangup()
			w.alice.await("bye answered")
			time.Sleep(15 * time.Second)
			synctest.Wait()
			if n := len(w.a.proxy.Calls()); n != 0 || byes == 0 {
				t.Errorf("silent %v: %d calls are left, %d BYEs", silent, n, byes)
			}
		})
	}
}

// Others inside cannot take calls of a phone: a registrar that they run, or a
// password that they do not have, changes nothing for its account.
func TestAccountElsewhereIsNotTaken(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{modeA: policy.Prefer}, func(t *testing.T, w *world) {
		e := w.elsewhere(t)
		defer e.close()
		mallory := w.phone("mallory", netip.MustParseAddrPort("10.1.0.66:5060"), insideA)
		defer mallory.close()
		evil := w.phone("evil", netip.MustParseAddrPort("203.0.113.88:5060"), outsideA)
		defer evil.close()
		evil.first = func(in *sip.Incoming) bool { // grants whatever it is asked for
			in.Reply(200, "", sip.Field{Name: "Contact", Value: in.Get("Contact") + ";expires=300"})
			return true
		}
		contact := "<sip:alice@" + alicePhone.String() + ">"
		if res := w.registerElsewhere(alicePhone, "pw-alice", contact, ""); res.Status != 200 {
			t.Fatal(res.Status)
		}
		if res := w.registerElsewhere(mallory.lis.Local(), "guess", contact, ""); res.Status != 401 {
			t.Errorf("a wrong password: %d", res.Status)
		}
		for _, c := range []string{contact, "*"} {
			msg := "REGISTER sip:203.0.113.88 SIP/2.0\r\nVia: SIP/2.0/UDP 10.1.0.66:5060;branch=z9hG4bKevil" + c[:1] + ";rport\r\nFrom: <sip:alice@" + providerAddr.Addr().String() + ">;tag=u\r\n" +
				"To: <sip:alice@" + providerAddr.Addr().String() + ">\r\nCall-ID: evil\r\nCSeq: 1 REGISTER\r\nContact: " + c + "\r\nExpires: 0\r\nContent-Length: 0\r\n\r\n"
			if answers := w.ask(mallory.lis.Local(), insideA, msg); len(answers) != 1 || answers[0].Status != 200 {
				t.Errorf("%s: %+v", c, answers)
			}
		}
		e.call(e.contact)
		w.alice.await("acked")
		e.await("answered")
		e.hangup()
		w.alice.await("bye")

		// The registrar's own word ends it.
		e.grant = nil
		e.first = func(in *sip.Incoming) bool { in.Reply(200, ""); return true }
		if res := w.registerElsewhere(alicePhone, "pw-alice", "*", ""); res.Status != 200 {
			t.Fatal(res.Status)
		}
		e.call(e.contact)
		e.await("refused 403")
	})
}

// A phone with an instance comes back from another port as the same one.
func TestInstanceKeepsItsContact(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{modeA: policy.Prefer}, func(t *testing.T, w *world) {
		e := w.elsewhere(t)
		defer e.close()
		const instance = `;+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"`
		if res := w.registerElsewhere(netip.MustParseAddrPort("10.1.0.2:40000"), "pw-alice", "<sip:alice@10.1.0.2:40000>"+instance, ""); res.Status != 200 {
			t.Fatal(res.Status)
		}
		before := e.contact
		if res := w.registerElsewhere(alicePhone, "pw-alice", "<sip:alice@"+alicePhone.String()+">"+instance, ""); res.Status != 200 {
			t.Fatal(res.Status)
		}
		if e.contact != before || strings.Contains(e.contact, "uuid") {
			t.Errorf("%s became %s", before, e.contact)
		}
		e.call(e.contact)
		w.alice.await("acked")
	})
}
