package calls

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

// Whoever reads the token on its way cannot use it from elsewhere, and whoever
// sends from the provider's address without it is nobody.
func TestTrunkCallsNeedTokenAndSource(t *testing.T) {
	t.Parallel()
	log := &lines{}
	inBubble(t, withTrunk(oneAddress(), log, nil), func(t *testing.T, w *world) {
		p := w.provider(providerAddr)
		defer p.close()
		time.Sleep(5 * time.Second)
		w.registerAt(t, alicePhone, "carol")
		mallory := w.raw(strangerAddr)
		defer mallory.conn.Close()
		for i := range 3 {
			m := strings.Replace(request("INVITE", p.customer(), phoneSDP(strangerAddr.Addr(), 4000), i), "To: <"+p.customer()+">", "To: <sip:+4930123100@provider.example>", 1)
			mallory.send(outsideA, m)
			time.Sleep(10 * time.Second)
		}
		for _, m := range mallory.drain() {
			if !strings.HasPrefix(m, "SIP/2.0 403 ") {
				t.Errorf("a stranger with the token got %s", firstLine([]byte(m)))
			}
		}
		if n := log.with("level=WARN", "not its provider's"); n != 1 {
			t.Errorf("warned %d times", n)
		}
		p.call("sip:x" + strings.TrimPrefix(p.customer(), "sip:t"))
		if got := p.await("refused", "answered"); !strings.HasPrefix(got, "refused 403") {
			t.Errorf("the provider's address without the token: %s", got)
		}
		if len(w.a.proxy.Calls()) != 0 || len(w.alice.events) != 0 {
			t.Error("something has rung")
		}
	})
}

// Many phones, one account: numbers leave as the provider writes them, each phone
// with its own or the main one, and the provider's calls find the phone by the
// number that was called. What the provider asks within a call is answered too.
func TestManyPhonesOneAccount(t *testing.T) {
	t.Parallel()
	for _, identity := range []b2bua.Identity{b2bua.IdentityFrom, b2bua.IdentityPreferred, b2bua.IdentityAsserted} {
		inBubble(t, withTrunk(oneAddress(), nil, func(o *b2bua.Options) { o.Trunks[0].Identity = identity }), func(t *testing.T, w *world) {
			p := w.provider(providerAddr)
			defer p.close()
			davesPhone := netip.MustParseAddrPort("10.1.0.3:5060")
			dave := w.phone("dave", davesPhone, insideA)
			defer dave.close()
			w.registerAt(t, alicePhone, "carol")
			w.registerAt(t, davesPhone, "dave")
			time.Sleep(5 * time.Second)

			for _, c := range []struct {
				phone         *phone
				as, dial      string
				called, shown string
				private       bool
			}{
				{w.alice, "carol", "030555", "+4930555", "+4930123100", false},
				{dave, "dave", "0044201234", "+44201234", "+49301230", false},
				{w.alice, "carol", "030555", "+4930555", "+49301230", true},
			} {
				c.phone.as, c.phone.fields = "sip:"+c.as+"@a.example", nil
				if c.private {
					c.phone.fields = []sip.Field{{Name: "Privacy", Value: "id"}}
				}
				c.phone.call("sip:" + c.dial + "@a.example")
				c.phone.await("answered")
				p.await("acked")
				invites := p.invited()
				in := invites[len(invites)-1]
				shown, main := "<sip:"+c.shown+"@provider.example>", "sip:+49301230@provider.example"
				want := map[string]string{"Privacy": "", "P-Preferred-Identity": "", "P-Asserted-Identity": ""}
				from := main
				switch identity {
				case b2bua.IdentityPreferred:
					want["P-Preferred-Identity"] = shown
				case b2bua.IdentityAsserted:
					want["P-Asserted-Identity"] = shown
				default:
					from = strings.Trim(shown, "<>")
				}
				if c.private {
					from, want["Privacy"] = "sip:anonymous@anonymous.invalid", "id"
				}
				for name, value := range want {
					if got := in.Get(name); got != value {
						t.Errorf("%s, %s: %s is %q, want %q", identity, c.as, name, got, value)
					}
				}
				called := "sip:" + c.called + "@provider.example"
				if got := in.From().URI.AOR(); got != from || in.URI.String() != called || in.To().URI.String() != called {
					t.Errorf("%s, %s: INVITE %s, From %s, To %s; want %s from %s", identity, c.as, in.URI, got, in.To().URI, called, from)
				}
				for _, m := range invites {
					if strings.Contains(string(m.Bytes()), "10.1.") || strings.Contains(string(m.Bytes()), "a.example") {
						t.Errorf("the provider sees the inside:\n%s", m.Bytes())
					}
				}
				c.phone.do(func(d *sipDialog) {
					d.Do("INVITE", "application/sdp", c.phone.body(), func(res *sip.Message, err error) {
						if err == nil && res.Status >= 200 && res.Status < 300 {
							d.Ack(res, "", nil)
							c.phone.event("changed")
						}
					})
				})
				c.phone.await("changed")
				p.await("reinvited")
				c.phone.hangup()
				p.await("bye")
			}
			time.Sleep(time.Second)
			p.set(func() {
				if got := strings.Join(p.asked, " "); got != strings.TrimSpace(strings.Repeat("INVITE BYE ", 3)) {
					t.Errorf("asked within the calls: %s", got)
				}
			})

			for _, c := range []struct {
				to, called string // To, P-Called-Party-ID
				phone      *phone
			}{
				{"sip:+4930123100@provider.example", "", w.alice}, {"sip:030123200@provider.example", "", dave},
				{"sip:4930123@provider.example", "<sip:4930123200@provider.example>", dave}, {"sip:4930123@provider.example", "", nil},
			} {
				uri, _ := sip.ParseURI(p.customer())
				to, _ := sip.ParseURI(c.to)
				var fields []sip.Field
				if c.called != "" {
					fields = append(fields, sip.Field{Name: "P-Called-Party-ID", Value: c.called})
				}
				p.queue.Post(func() {
					d, err := p.stack.Dial(sip.Dial{Flow: p.lis.Flow(outsideA), URI: uri, From: sip.Address{URI: sip.URI{Scheme: "sip", User: "+4917", Host: "provider.example"}}, To: sip.Address{URI: to},
						ContactUser: "x", Fields: fields, ContentType: "application/sdp", Body: p.body(), Queue: &p.queue, User: p.phone})
					if err != nil {
						t.Error(err)
					}
					p.dialog = d
				})
				if c.phone == nil {
					if got := p.await("answered", "refused"); !strings.HasPrefix(got, "refused 404") {
						t.Errorf("a number that nobody has: %s", got)
					}
					continue
				}
				p.await("answered")
				c.phone.await("acked")
				if v := w.a.proxy.Calls(); len(v) != 1 || v[0].Direction != "inbound" || v[0].From != "sip:+4917@provider.example" || !strings.HasPrefix(v[0].To, "sip:+4930123") {
					t.Errorf("%+v", v)
				}
				c.phone.hangup() // so that the BYE goes to the provider, which asks
				p.await("bye")
				c.phone.await("bye answered")
			}
			w.none()
		})
	}
}

// What the provider sends beside calls finds the phone by the number, too, and a
// message to a number leaves as a call to it would.
func TestMessagesByATrunk(t *testing.T) {
	t.Parallel()
	inBubble(t, withTrunk(oneAddress(), nil, nil), func(t *testing.T, w *world) {
		p := w.provider(providerAddr)
		defer p.close()
		got := make(chan string, 10)
		w.alice.first = func(in *sip.Incoming) bool {
			got <- in.Method + " " + string(in.Body)
			in.Reply(200, "")
			return true
		}
		w.registerAt(t, alicePhone, "carol")
		time.Sleep(5 * time.Second)
		send := func(s *sip.Stack, l *sip.Listener, to netip.AddrPort, uri, from, called string) int {
			n := asked.Add(1)
			u, _ := sip.ParseURI(uri)
			m := &sip.Message{Method: "MESSAGE", URI: u}
			for _, f := range [][2]string{{"Max-Forwards", "70"}, {"From", "<" + from + ">;tag=x"}, {"To", "<" + called + ">"}, {"Call-ID", fmt.Sprint("m", n)}, {"CSeq", "1 MESSAGE"}} {
				m.Add(f[0], f[1])
			}
			m.SetBody("text/plain", []byte("hello"))
			status := make(chan int, 1)
			if err := s.Request(sip.RequestOptions{Flow: l.Flow(to), Message: m, Queue: &sip.Queue{}, Handle: func(res *sip.Message, err error) {
				if err != nil {
					status <- 0
				} else if res.Status >= 200 {
					status <- res.Status
				}
			}}); err != nil {
				t.Fatal(err)
			}
			return <-status
		}
		if status := send(p.stack, p.lis, outsideA, p.customer(), "sip:+4917@provider.example", "sip:+4930123100@provider.example"); status != 200 {
			t.Errorf("in: %d", status)
		} else if m := <-got; m != "MESSAGE hello" {
			t.Error(m)
		}
		if status := send(w.alice.stack, w.alice.lis, insideA, "sip:030555@a.example", "sip:carol@a.example", "sip:030555@a.example"); status != 200 {
			t.Errorf("out: %d", status)
		}
		var messages []*sip.Message
		p.set(func() { messages = slices.Clone(p.messages) })
		if len(messages) != 2 { // the second with the password
			t.Errorf("%d messages", len(messages))
		}
		for _, m := range messages {
			if m.URI.String() != "sip:+4930555@provider.example" || m.From().URI.AOR() != "sip:+4930123100@provider.example" || m.To().URI.AOR() != "sip:+4930555@provider.example" {
				t.Errorf("%s", m.Bytes())
			}
		}
		if status := send(p.stack, p.lis, outsideA, p.customer(), "sip:+4917@provider.example", "sip:00900@provider.example"); status != 404 {
			t.Errorf("from outside to outside: %d", status)
		}
	})
}

// Nobody outside calls at the account's cost, whatever the routes say.
func TestOutsideNeverLeavesByATrunk(t *testing.T) {
	t.Parallel()
	inBubble(t, withTrunk(oneAddress(), nil, nil), func(t *testing.T, w *world) {
		p := w.provider(providerAddr)
		defer p.close()
		time.Sleep(5 * time.Second)
		mallory := w.phone("mallory", strangerAddr, outsideA)
		defer mallory.close()
		for _, to := range []string{"sip:00900123456@a.example", "sip:00900123456@provider.example", "sip:00900123456@" + outsideA.String()} {
			mallory.call(to)
			if got := mallory.await("refused", "answered"); !strings.HasPrefix(got, "refused 403") {
				t.Errorf("%s: %s", to, got)
			}
		}
		// Nor by the provider's own call.
		uri, _ := sip.ParseURI(p.customer())
		p.queue.Post(func() {
			to, _ := sip.ParseURI("sip:00900123456@provider.example")
			p.dialog, _ = p.stack.Dial(sip.Dial{Flow: p.lis.Flow(outsideA), URI: uri, From: sip.Address{URI: to}, To: sip.Address{URI: to},
				ContentType: "application/sdp", Body: p.body(), Queue: &p.queue, User: p.phone})
		})
		if got := p.await("refused", "answered"); !strings.HasPrefix(got, "refused 404") {
			t.Errorf("by the provider's own call: %s", got)
		}
		if n := len(p.invited()); n != 0 {
			t.Errorf("%d INVITEs have left", n)
		}
	})
}

// A provider that knows this sipward by its address is not registered with. Its
// calls are led by the number they name, and nothing is kept open.
func TestTrunkOfFixedAddress(t *testing.T) {
	t.Parallel()
	inBubble(t, withTrunk(oneAddress(), nil, func(o *b2bua.Options) {
		o.Trunks[0].Server = route.Target{}
		o.Peer = func(host string, addr netip.Addr) string {
			if host == "provider.example" || addr == providerAddr.Addr() {
				return "provider"
			}
			return ""
		}
	}), func(t *testing.T, w *world) {
		p := w.phone("pbx", providerAddr, outsideA)
		defer p.close()
		sent := make(chan string, 10)
		p.first = func(in *sip.Incoming) bool {
			sent <- in.Method + " " + in.URI.String()
			return false
		}
		w.registerAt(t, alicePhone, "carol")
		p.call("sip:030123100@" + outsideA.String())
		p.await("answered")
		w.alice.await("acked")
		w.alice.hangup()
		w.alice.await("bye answered")
		w.alice.as = "sip:carol@a.example"
		w.alice.call("sip:030555@a.example")
		w.alice.await("answered")
		if got := <-sent; got != "INVITE sip:+4930555@provider.example" {
			t.Error(got)
		}
		w.alice.hangup()
		w.alice.await("bye answered")
		time.Sleep(time.Hour)
		if s := w.trunk(); s.State != "fixed" || len(sent) != 0 {
			t.Errorf("%+v, %d more requests", s, len(sent))
		}
	})
}
