package calls

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/auth"
)

// Phones with passwords are asked for them, and speak for themselves alone.
func TestMessagesAreGuarded(t *testing.T) {
	t.Parallel()
	o := withAccounts("carol", "dave")
	accounts := o.optionsB
	o.modeA, o.modeB = policy.Prefer, policy.Prefer
	o.optionsB = func(b *b2bua.Options) {
		accounts(b)
		b.Emergency = route.Emergency{Numbers: []string{"112"}}
		b.Emergency.Target.Host = outsideA.Addr().String()
	}
	inBubble(t, o, func(t *testing.T, w *world) {
		left := 0
		w.net.Tap(func(d memnet.Datagram) {
			if d.From == outsideB {
				left++
			}
		})
		ask := func(method, from, to, password string) int {
			w.bob.as = from
			m := w.bob.draft(method, to, "hello", plain)
			res := w.bob.post(m)
			if res == nil || res.Status != 407 || password == "" {
				return res.Status
			}
			value, err := auth.Answer(auth.Credentials{User: "carol", Password: password}, challengesOf(res), "", auth.Request{Method: method, URI: to, Body: m.Body})
			if err != nil {
				t.Fatal(err)
			}
			m.Set("CSeq", "2 "+method)
			m.Add("Proxy-Authorization", value)
			return w.bob.post(m).Status
		}
		for _, method := range []string{"MESSAGE", "SUBSCRIBE", "PUBLISH", "INFO", "NOTIFY"} {
			for name, c := range map[string]struct {
				from, to, password string
				want               int
			}{
				"no password":         {"sip:carol@b.example", "sip:alice@a.example", "", 407},
				"a wrong one":         {"sip:carol@b.example", "sip:alice@a.example", "guess", 407},
				"another user's From": {"sip:dave@b.example", "sip:alice@a.example", "pw-carol", 403},
				"a foreign domain":    {"sip:carol@a.example", "sip:alice@a.example", "pw-carol", 403},
				"nobody":              {"sip:carol@b.example", "sip:erin@b.example", "pw-carol", 404},
				"a phone away":        {"sip:carol@b.example", "sip:dave@b.example", "pw-carol", 480},
				"an emergency":        {"sip:carol@b.example", "sip:112@b.example", "pw-carol", 403},
			} {
				if got := ask(method, c.from, c.to, c.password); got != c.want {
					t.Errorf("%s, %s: %d, want %d", method, name, got, c.want)
				}
				time.Sleep(time.Minute)
			}
		}
		if left != 0 {
			t.Errorf("%d datagrams left", left)
		}
		// With the right password and name it goes, and the password stays.
		var got *sip.Message
		w.alice.first = func(in *sip.Incoming) bool { got = in.Message; in.Reply(200, ""); return true }
		if status := ask("MESSAGE", "sip:carol@b.example", "sip:alice@a.example", "pw-carol"); status != 403 || got != nil {
			t.Errorf("house A does not list house B, and answered %d", status)
		}
	})
}

// Strangers get the one answer, whatever they send and whomever they name, and
// no request of theirs dials or reaches anything: a REFER to a premium number
// least of all. A listed peer's REFER dials nothing either.
func TestStrangersReachNobody(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{modeA: policy.Prefer, modeB: policy.Prefer}, func(t *testing.T, w *world) {
		dialled := 0
		w.net.Tap(func(d memnet.Datagram) {
			if m, err := sip.Parse(d.Payload); err == nil && m.IsRequest() && (d.From == insideB || d.From == outsideB) {
				dialled++
			}
		})
		m := w.raw(strangerAddr)
		defer m.conn.Close()
		answers := map[string]int{}
		n := 0
		for _, method := range []string{"MESSAGE", "SUBSCRIBE", "NOTIFY", "PUBLISH", "INFO", "REFER"} {
			for _, to := range []string{"sip:bob@b.example", "sip:nobody@b.example", "tel:+4930123"} {
				n++
				req := strings.Replace(request(method, to, "", 4000+n), "CSeq:", "Event: dialog\r\nRefer-To: <sip:+49900123456@b.example>\r\nRequire: teleport\r\nCSeq:", 1)
				m.send(outsideB, req)
				for _, got := range m.drain() {
					answers[normal(got)]++
				}
				time.Sleep(10 * time.Second)
			}
		}
		if len(answers) != 1 || dialled != 0 {
			t.Errorf("%d different answers %v, %d requests went on", len(answers), answers, dialled)
		}
		for a, count := range answers {
			if count != n || !strings.HasPrefix(a, "SIP/2.0 403") {
				t.Errorf("%d of %d got %q", count, n, a)
			}
		}
	})
	inBubble(t, prefer(), func(t *testing.T, w *world) {
		dialled := 0
		w.up()
		w.net.Tap(func(d memnet.Datagram) {
			if m, err := sip.Parse(d.Payload); err == nil && m.IsRequest() && m.Method != "REFER" {
				dialled++
			}
		})
		refer := sip.Field{Name: "Refer-To", Value: "<sip:+49900123456@b.example>"}
		if err := w.net.Inject(outsideA, outsideB, []byte(strings.Replace(request("REFER", "sip:bob@b.example", "", 1), "CSeq:", refer.Name+": "+refer.Value+"\r\nCSeq:", 1))); err != nil {
			t.Fatal(err)
		}
		if res := w.alice.post(w.alice.draft("REFER", "sip:bob@b.example", "", refer)); res == nil || res.Status != 405 {
			t.Errorf("REFER outside a call: %+v", res)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if dialled != 0 || len(w.a.proxy.Calls())+len(w.b.proxy.Calls()) != 2 {
			t.Errorf("%d requests behind a REFER", dialled)
		}
	})
}

// Requests that wait for their answers are bounded for each source, and one
// that nobody answers leaves nothing behind.
func TestMessagesUnderWayAreBounded(t *testing.T) {
	t.Parallel()
	inBubble(t, prefer(), func(t *testing.T, w *world) {
		w.net.SetRule(lose(bobPhone))
		statuses := map[int]int{}
		answers := make(chan int, 300)
		for range 250 {
			m := w.alice.draft("MESSAGE", "sip:bob@b.example", "hello", plain)
			if err := w.alice.stack.Request(sip.RequestOptions{Flow: w.alice.lis.Flow(w.alice.proxy), Message: m, Queue: &w.alice.queue, Handle: func(res *sip.Message, err error) {
				if err != nil {
					answers <- 0
				} else if res.Status >= 200 {
					answers <- res.Status
				}
			}}); err != nil {
				t.Fatal(err)
			}
		}
		for range 250 {
			statuses[<-answers]++
		}
		if statuses[503] != 50 || statuses[200] != 0 {
			t.Errorf("answers: %v", statuses)
		}
		w.net.SetRule(nil)
		time.Sleep(time.Minute)
		w.bob.takes("MESSAGE", 200)
		if res := w.alice.post(w.alice.draft("MESSAGE", "sip:bob@b.example", "hello", plain)); res == nil || res.Status != 200 {
			t.Errorf("afterwards: %+v", res)
		}
	})
}
