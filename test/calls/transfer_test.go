package calls

import (
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

var (
	carolPhone = netip.MustParseAddrPort("10.1.0.3:5060") // at house A
	davePhone  = netip.MustParseAddrPort("10.2.0.3:5060") // at house B
)

// Who holds the call while it is transferred holds its new party too, and that
// party is told of it.
func TestTransferOfWhoHolds(t *testing.T) {
	t.Parallel()
	inBubble(t, withColleagues(worldOptions{net: memnet.Options{Delay: 5 * time.Millisecond}}), func(t *testing.T, w *world) {
		carol := w.phone("carol", carolPhone, insideA)
		defer carol.close()
		w.alice.refers()
		w.up()
		body := w.bob.body()
		held := strings.Replace(string(body), "a=sendrecv", "a=sendonly", 1)
		w.bob.body = func() []byte { return []byte(held) }
		if got := w.bob.reinvite(held); got != "200" {
			t.Fatalf("hold: %s", got)
		}
		w.alice.await("reinvited")
		if got := w.alice.refer("<sip:carol@a.example>"); got != "202" {
			t.Fatalf("REFER: %s", got)
		}
		w.alice.await("bye")
		carol.await("reinvited")
		if !strings.Contains(string(carol.reinvited.Body), "a=sendonly") {
			t.Errorf("carol does not know that she is held:\n%s", carol.reinvited.Body)
		}
		w.bob.body = func() []byte { return body }
		if got := w.bob.reinvite(string(body)); got != "200" {
			t.Fatalf("resume: %s", got)
		}
		w.hear(w.bob, carol)
	})
}

// The phone that has called transfers the person it called to a colleague.
func TestBlindTransfer(t *testing.T) {
	t.Parallel()
	inBubble(t, withColleagues(worldOptions{net: memnet.Options{Delay: 5 * time.Millisecond}}), func(t *testing.T, w *world) {
		carol := w.phone("carol", carolPhone, insideA, func(p *phone) { p.manual = true })
		defer carol.close()
		clear := w.tapClear()
		told := w.alice.refers()
		w.up()
		w.hear(w.alice, w.bob)
		before, _ := w.views()
		events, cancel := w.a.proxy.Subscribe(100)
		defer cancel()
		if got := w.alice.reinvite(strings.Replace(string(w.alice.body()), "a=sendrecv", "a=sendonly", 1)); got != "200" {
			t.Fatalf("hold: %s", got)
		}
		w.bob.await("reinvited")
		if got := w.alice.refer("<sip:carol@a.example>"); got != "202" {
			t.Fatalf("REFER: %s", got)
		}
		carol.await("invited")
		if f := carol.lastReq.From(); f.URI.User != "bob" || !strings.Contains(carol.lastReq.Get("Referred-By"), "alice@") {
			t.Errorf("carol is called by %s, referred by %q", f, carol.lastReq.Get("Referred-By"))
		}
		if strings.Contains(string(carol.lastReq.Body), "sendonly") || strings.Contains(string(carol.lastReq.Body), "recvonly") {
			t.Errorf("carol is offered a held session:\n%s", carol.lastReq.Body)
		}
		w.alice.await("told SIP/2.0 180")
		carol.do(func(d *sipDialog) { d.Answer("application/sdp", carol.body()) })
		w.bob.await("reinvited")
		w.alice.await("told SIP/2.0 200")
		w.hear(w.bob, carol)
		w.alice.await("bye")
		synctest.Wait()
		if want := []string{"SIP/2.0 100 Trying active", "SIP/2.0 180 Ringing active", "SIP/2.0 200 OK terminated"}; !slices.Equal(*told, want) {
			t.Errorf("alice was told %q", *told)
		}
		va, vb := w.views()
		if va.ID == before.ID || va.Continues != before.ID || va.From != "sip:bob@b.example" || va.To != "sip:carol@a.example" || va.State != "established" || va.Protection != "srtp" || va.Trust != "encrypted" ||
			!strings.Contains(va.Reason, "transferred by sip:alice@a.example") || va.SASWords != vb.SASWords {
			t.Errorf("%+v\n%+v", va, vb)
		}
		var seen []string
		for len(events) > 0 {
			e := <-events
			seen = append(seen, e.Type+" "+e.Call.Reason)
		}
		if !slices.ContainsFunc(seen, func(s string) bool { return s == "call-changed transferred to sip:carol@a.example" }) ||
			!slices.ContainsFunc(seen, func(s string) bool { return s == "call-ended transferred to sip:carol@a.example" }) {
			t.Errorf("events %q", seen)
		}
		carol.hangup()
		w.bob.await("bye")
		w.none()
		if *clear != 0 {
			t.Errorf("%d packets in clear", *clear)
		}
	})
}

// The person called transfers the caller to somebody outside: one more exchange,
// and what crosses both legs is protected.
func TestBlindTransferToTheOutside(t *testing.T) {
	t.Parallel()
	inBubble(t, withColleagues(worldOptions{net: memnet.Options{Delay: 5 * time.Millisecond}}), func(t *testing.T, w *world) {
		carol := w.phone("carol", carolPhone, insideA)
		defer carol.close()
		clear := w.tapClear()
		w.bob.refers()
		w.up()
		_, before := w.views()
		if got := w.bob.refer("<sip:carol@a.example>"); got != "202" {
			t.Fatalf("REFER: %s", got)
		}
		carol.await("acked")
		w.bob.await("told SIP/2.0 200")
		w.bob.hangup()
		w.bob.await("bye answered")
		w.hear(w.alice, carol)
		synctest.Wait()
		vb := w.b.proxy.Calls()
		if len(vb) != 1 || vb[0].Protection != "srtp" || vb[0].SASWords == before.SASWords || vb[0].Legs[0].Side != "outside" || vb[0].Legs[1].Side != "outside" {
			t.Errorf("%+v", vb)
		}
		if n := len(w.a.proxy.Calls()); n != 2 {
			t.Errorf("%d calls at house A", n)
		}
		w.alice.hangup()
		carol.await("bye")
		w.none()
		if *clear != 0 {
			t.Errorf("%d packets in clear", *clear)
		}
	})
}

// A transfer that does not come about leaves the call as it was.
func TestBlindTransferFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		to     string
		status string
		told   string
	}{
		"busy":             {"<sip:carol@a.example>", "202", "SIP/2.0 486"},
		"nobody":           {"<sip:nobody@a.example:5062>", "202", "SIP/2.0 "},
		"another method":   {"<sip:carol@a.example;method=BYE>", "403", ""},
		"no SIP address":   {"<tel:112>", "400", ""},
		"no address":       {"<carol", "400", ""},
		"a foreign dialog": {"<sip:carol@a.example?Replaces=x%3Bto-tag%3D1%3Bfrom-tag%3D2>", "403", ""},
	} {
		inBubble(t, withColleagues(worldOptions{}), func(t *testing.T, w *world) {
			carol := w.phone("carol", carolPhone, insideA, func(p *phone) { p.refuse = 486 })
			defer carol.close()
			w.alice.refers()
			w.up()
			time.Sleep(time.Second)
			if got := w.alice.refer(c.to); got != c.status {
				t.Fatalf("%s: REFER: %s", name, got)
			}
			if c.told != "" {
				w.alice.await("told " + c.told)
			}
			w.hear(w.alice, w.bob)
			if va, _ := w.views(); va.State != "established" || va.Protection != "srtp" {
				t.Errorf("%s: %+v", name, va)
			}
			w.bob.hangup()
			w.alice.await("bye")
			w.none()
		})
	}
}

// Who stays hangs up while the target rings; or the transferor has left and the
// target refuses.
func TestPartiesLeaveDuringATransfer(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"stays", "transferor", "shutdown"} {
		inBubble(t, withColleagues(worldOptions{net: memnet.Options{Delay: 5 * time.Millisecond}}), func(t *testing.T, w *world) {
			carol := w.phone("carol", carolPhone, insideA, func(p *phone) { p.manual = true })
			defer carol.close()
			w.alice.refers()
			w.up()
			time.Sleep(time.Second)
			if got := w.alice.refer("<sip:carol@a.example>"); got != "202" {
				t.Fatalf("REFER: %s", got)
			}
			carol.await("invited")
			switch who {
			case "stays":
				w.bob.hangup()
				carol.await("cancelled")
				w.alice.await("bye")
			case "transferor":
				w.alice.hangup()
				w.alice.await("bye answered")
				time.Sleep(time.Second)
				if n := len(w.b.proxy.Calls()); n != 1 {
					t.Errorf("%d calls at house B: bob does not wait", n)
				}
				carol.do(func(d *sipDialog) { d.Refuse(486, "") })
				w.bob.await("bye")
			case "shutdown":
				return // close does it, and counts what stays behind
			}
			time.Sleep(time.Second)
			w.none()
		})
	}
}

// A phone joins its two calls: with a person outside and with a colleague, with
// two outside, in either order.
func TestAttendedTransfer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ first, then string }{
		"outside, then inside":  {"sip:bob@b.example", "sip:carol@a.example"},
		"inside, then outside":  {"sip:carol@a.example", "sip:bob@b.example"},
		"outside, then outside": {"sip:bob@b.example", "sip:dave@b.example"},
	} {
		inBubble(t, withColleagues(worldOptions{net: memnet.Options{Delay: 5 * time.Millisecond}}), func(t *testing.T, w *world) {
			carol := w.phone("carol", carolPhone, insideA)
			defer carol.close()
			dave := w.phone("dave", davePhone, insideB)
			defer dave.close()
			who := map[string]*phone{"bob": w.bob, "carol": carol, "dave": dave}
			user := func(uri string) *phone { return who[strings.TrimPrefix(uri, "sip:")[:strings.IndexByte(uri, '@')-4]] }
			one, other := user(c.first), user(c.then)
			clear := w.tapClear()
			told := w.alice.refers()
			w.alice.call(c.first)
			w.alice.await("answered")
			one.await("acked")
			time.Sleep(time.Second)
			if got := w.alice.reinvite(strings.Replace(string(w.alice.body()), "a=sendrecv", "a=inactive", 1)); got != "200" {
				t.Fatalf("%s: hold: %s", name, got)
			}
			d := w.alice.second(c.then)
			other.await("acked")
			w.hear(w.alice, other)
			if got := w.alice.referOn(d, c.then); got != "202" {
				t.Fatalf("%s: REFER: %s", name, got)
			}
			w.alice.await("told SIP/2.0 200")
			w.hear(one, other)
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if len(*told) != 2 || w.alice.dialog == nil {
				t.Errorf("%s: alice was told %q", name, *told)
			}
			va := w.a.proxy.Calls()
			if len(va) != 1 || va[0].State != "established" || va[0].Protection != "srtp" || va[0].Continues == "" ||
				va[0].From != strings.Replace(c.first, "carol@", "carol@", 1) || va[0].To != c.then {
				t.Errorf("%s: %+v", name, va)
			}
			one.hangup()
			other.await("bye")
			w.none()
			if *clear != 0 {
				t.Errorf("%s: %d packets in clear", name, *clear)
			}
		})
	}
}

// Transfers over a network that loses, doubles and reorders: in the end who
// stays and the target have one call, and nothing stays behind.
func TestTransfersOverABadNetwork(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		inBubble(t, withColleagues(worldOptions{net: memnet.Options{Seed: seed, Loss: 0.1, Duplicate: 0.05, Reorder: 0.1, Delay: 15 * time.Millisecond, Jitter: 10 * time.Millisecond}}), func(t *testing.T, w *world) {
			carol := w.phone("carol", carolPhone, insideA)
			defer carol.close()
			clear := w.tapClear()
			told := w.alice.refers()
			w.alice.call("sip:bob@b.example")
			w.alice.await("answered")
			w.bob.await("acked")
			time.Sleep(35 * time.Second)
			if seed%2 == 0 {
				if got := w.alice.refer("<sip:carol@a.example>"); got != "202" {
					t.Fatalf("seed %d: REFER: %s", seed, got)
				}
			} else {
				d := w.alice.second("sip:carol@a.example")
				time.Sleep(35 * time.Second)
				if got := w.alice.referOn(d, "sip:carol@a.example"); got != "202" {
					t.Fatalf("seed %d: REFER: %s", seed, got)
				}
			}
			carol.await("acked")
			time.Sleep(time.Minute)
			synctest.Wait()
			va, vb := w.views()
			if va.State != "established" || vb.State != "established" || va.Protection != "srtp" || va.SASWords != vb.SASWords || va.Continues == "" {
				t.Errorf("seed %d: told %q\n%+v\n%+v", seed, *told, va, vb)
			}
			w.bob.hangup()
			carol.await("bye")
			time.Sleep(3 * time.Minute)
			w.none()
			for _, h := range []*house{w.a, w.b} {
				if n := h.proxy.Dialogs(); n != 0 {
					t.Errorf("seed %d: %d dialogs left", seed, n)
				}
			}
			if *clear != 0 {
				t.Errorf("seed %d: %d packets in clear", seed, *clear)
			}
		})
	}
}

// Who may have sipward call somebody, and whom.
func TestTransfersAreGuarded(t *testing.T) {
	t.Parallel()
	premium := "<sip:00900123456@b.example>"
	for name, c := range map[string]struct {
		transfer bool // the route to the trunk is open
		from     string
		want     string
		leaves   bool
	}{
		"from outside":                        {true, "stranger", "603", false},
		"from inside to a trunk":              {false, "bob", "403", false},
		"from inside to a trunk that is open": {true, "bob", "202", true},
	} {
		o := worldOptions{modeB: policy.Prefer, optionsB: func(b *b2bua.Options) {
			b.Peer = func(host string, addr netip.Addr) string {
				if addr == providerAddr.Addr() {
					return "provider"
				}
				return ""
			}
			table, err := route.NewTable([]route.Route{
				{Match: route.MustPattern("00*"), From: route.Inside, To: "sip:*@" + providerAddr.String(), Side: route.Outside, Peer: "provider", Transfer: c.transfer},
				{Match: route.MustPattern("bob"), To: "sip:bob@" + bobPhone.String(), Side: route.Inside},
			})
			if err != nil {
				panic(err)
			}
			b.Routes = table
			b.Trunks = []b2bua.Trunk{{Peer: "provider", From: sip.URI{Scheme: "sip", User: "4930", Host: "provider.example"}}}
		}}
		inBubble(t, o, func(t *testing.T, w *world) {
			mallory := w.phone("mallory", strangerAddr, outsideB)
			defer mallory.close()
			mallory.call("sip:bob@b.example")
			mallory.await("answered")
			w.bob.await("acked")
			time.Sleep(time.Minute)
			var dialled atomic.Int32
			w.net.Tap(func(d memnet.Datagram) {
				if strings.HasPrefix(string(d.Payload), "INVITE ") && d.To == providerAddr {
					dialled.Add(1)
				}
			})
			asks := w.bob
			if c.from == "stranger" {
				asks = mallory
			}
			asks.refers()
			if got := asks.refer(premium); got != c.want {
				t.Errorf("%s: %s", name, got)
			}
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if n := dialled.Load(); (n > 0) != c.leaves {
				t.Errorf("%s: %d INVITEs to the provider", name, n)
			}
			time.Sleep(time.Minute)
			if n := len(w.b.proxy.Calls()); n != 1 {
				t.Errorf("%s: %d calls", name, n)
			}
			mallory.hangup()
			w.bob.await("bye")
		})
	}
}
