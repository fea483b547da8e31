package calls

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/auth"
)

// talker is a phone's side of one subscription: what it asks within the dialog.
type talker struct {
	*phone
	callID, self, far string // Call-ID; From and To with their tags
	target            sip.URI
	seq               int
}

func (k *talker) say(method, body string, fields ...sip.Field) *sip.Message {
	k.t.Helper()
	k.seq++
	m := &sip.Message{Method: method, URI: k.target, Body: []byte(body)}
	m.Add("Max-Forwards", "70")
	m.Add("From", k.self)
	m.Add("To", k.far)
	m.Add("Call-ID", k.callID)
	m.Add("CSeq", fmt.Sprint(k.seq, " ", method))
	m.Add("Contact", "<sip:"+k.name+"@"+k.lis.Local().String()+">")
	m.Add("Event", "dialog")
	for _, f := range fields {
		m.Set(f.Name, f.Value)
	}
	return k.post(m)
}

func state(s string) sip.Field { return sip.Field{Name: "Subscription-State", Value: s} }

func expires(s int) sip.Field { return sip.Field{Name: "Expires", Value: fmt.Sprint(s)} }

// notifier makes a phone grant each SUBSCRIBE as long as it asks for. A
// talker of each new subscription comes out.
func (p *phone) notifier() <-chan *talker {
	talkers := make(chan *talker, 2000)
	n := 0
	p.first = func(in *sip.Incoming) bool {
		if in.Method != "SUBSCRIBE" {
			return false
		}
		tx := in.Serve(&p.queue)
		if tx == nil {
			return true
		}
		p.queue.Post(func() {
			n++
			res := sip.NewResponse(in.Message, 200, "", fmt.Sprint("n", n))
			res.Add("Contact", "<sip:"+p.name+"@"+p.lis.Local().String()+">")
			res.Add("Expires", in.Get("Expires"))
			if in.To().Tag() == "" {
				contact, _ := sip.ParseAddress(in.Get("Contact"))
				talkers <- &talker{phone: p, callID: in.CallID(), self: res.Get("To"), far: in.Get("From"), target: contact.URI}
			}
			p.event("subscribe " + in.Get("Expires"))
			tx.Respond(res)
		})
		return true
	}
	return talkers
}

// subscribe asks for a subscription; the NOTIFYs that follow are events.
func (p *phone) subscribe(to string, seconds int) (*talker, *sip.Message) {
	p.t.Helper()
	p.first = func(in *sip.Incoming) bool {
		if in.Method != "NOTIFY" {
			return false
		}
		if tx := in.Serve(&p.queue); tx != nil {
			p.queue.Post(func() {
				p.lastReq = in.Message
				tx.Reply(200, "")
				p.event("notified " + in.Get("Subscription-State"))
			})
		}
		return true
	}
	m := p.draft("SUBSCRIBE", to, "", sip.Field{Name: "Event", Value: "dialog"}, expires(seconds))
	res := p.post(m)
	if res == nil || res.Status != 200 {
		return nil, res
	}
	contact, _ := sip.ParseAddress(res.Get("Contact"))
	return &talker{phone: p, callID: m.CallID(), self: m.Get("From"), far: res.Get("To"), target: contact.URI, seq: 1}, res
}

// subscriptions are those of both houses.
func (w *world) subscriptions() int {
	return w.a.proxy.Counters().Subscriptions + w.b.proxy.Counters().Subscriptions
}

func TestSubscription(t *testing.T) {
	t.Parallel()
	inBubble(t, prefer(), func(t *testing.T, w *world) {
		var wire []string
		w.net.Tap(func(d memnet.Datagram) {
			if between(d.From, d.To) {
				wire = append(wire, string(d.Payload))
			}
		})
		notifiers := w.bob.notifier()
		alice, res := w.alice.subscribe("sip:bob@b.example", 600)
		if res.Status != 200 || res.Get("Expires") != "600" || !strings.Contains(res.Get("Contact"), "@"+insideA.String()) {
			t.Fatalf("SUBSCRIBE: %s", res.Bytes())
		}
		bob := <-notifiers
		for _, s := range []string{"active;expires=600", "active;expires=590"} {
			if res := bob.say("NOTIFY", `<target uri="sip:bob@`+bobPhone.String()+`"/>`, state(s), sip.Field{Name: "Content-Type", Value: "application/dialog-info+xml"}); res == nil || res.Status != 200 {
				t.Fatalf("NOTIFY: %+v", res)
			}
			w.alice.await("notified " + s)
		}
		got := w.alice.lastReq
		if string(got.Body) != `<target uri="sip:bob@`+outsideB.Addr().String()+`:5060"/>` || got.ContentType() != "application/dialog-info+xml" || got.Get("Event") != "dialog" {
			t.Errorf("alice was notified with %s", got.Bytes())
		}
		// Refreshed, it lasts beyond its first end; wrong questions change nothing.
		time.Sleep(9 * time.Minute)
		if res := alice.say("SUBSCRIBE", "", expires(900)); res == nil || res.Status != 200 || res.Get("Expires") != "900" {
			t.Fatalf("refresh: %+v", res)
		}
		if res := alice.say("NOTIFY", ""); res.Status != 405 {
			t.Errorf("NOTIFY by the subscriber: %d", res.Status)
		}
		if res := alice.say("SUBSCRIBE", "", sip.Field{Name: "Event", Value: "presence"}); res.Status != 489 {
			t.Errorf("another event: %d", res.Status)
		}
		if res := alice.say("SUBSCRIBE", "", sip.Field{Name: "Require", Value: "teleport"}); res.Status != 420 {
			t.Errorf("an unknown extension: %d", res.Status)
		}
		if res := alice.say("SUBSCRIBE", "", sip.Field{Name: "Max-Forwards", Value: "0"}); res.Status != 483 {
			t.Errorf("Max-Forwards used up: %d", res.Status)
		}
		invite := fmt.Sprintf("INVITE %s SIP/2.0\r\nVia: SIP/2.0/UDP %v;branch=z9hG4bKin;rport\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: 99 INVITE\r\nContent-Length: 0\r\n\r\n", alice.target.String(), alicePhone, alice.self, alice.far, alice.callID)
		if answers := w.ask(alicePhone, insideA, invite); len(answers) != 1 || answers[0].Status != 481 {
			t.Errorf("an INVITE within a subscription: %d answers", len(answers))
		}
		forged := *alice
		forged.self = strings.Replace(forged.self, ";tag=", ";tag=x", 1)
		if res := forged.say("SUBSCRIBE", "", expires(0)); res.Status != 481 {
			t.Errorf("another dialog's SUBSCRIBE: %d", res.Status)
		}
		old := *alice
		old.seq = 0
		if res := old.say("SUBSCRIBE", "", expires(0)); res.Status != 500 {
			t.Errorf("an old SUBSCRIBE: %d", res.Status)
		}
		time.Sleep(14 * time.Minute)
		if n := w.subscriptions(); n != 2 {
			t.Fatalf("%d subscriptions at the houses, want one each", n)
		}
		// Given up: the last NOTIFY still comes, and then nothing is left.
		if res := alice.say("SUBSCRIBE", "", expires(0)); res == nil || res.Status != 200 {
			t.Fatalf("unsubscribing: %+v", res)
		}
		if res := bob.say("NOTIFY", "", state("terminated;reason=timeout")); res == nil || res.Status != 200 {
			t.Errorf("the last NOTIFY: %+v", res)
		}
		w.alice.await("notified terminated;reason=timeout")
		if n := w.subscriptions(); n != 0 {
			t.Errorf("%d subscriptions left", n)
		}
		if res := bob.say("NOTIFY", "", state("active")); res == nil || res.Status != 481 {
			t.Errorf("a NOTIFY behind the end: %+v", res)
		}
		if res := alice.say("SUBSCRIBE", "", expires(600)); res == nil || res.Status != 481 {
			t.Errorf("a refresh behind the end: %+v", res)
		}
		for _, d := range wire {
			if strings.Contains(d, "10.1.") || strings.Contains(d, "10.2.") {
				t.Errorf("left a house:\n%s", d)
			}
		}
	})
}

// A NOTIFY that is faster than the answer to its SUBSCRIBE reaches the
// subscriber, and the subscription is the same one.
func TestNotifyBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	for _, fetch := range []bool{false, true} {
		inBubble(t, prefer(), func(t *testing.T, w *world) {
			w.bob.first = func(in *sip.Incoming) bool {
				tx := in.Serve(&w.bob.queue)
				if tx == nil {
					return true
				}
				res := sip.NewResponse(in.Message, 202, "", "n1")
				res.Add("Contact", "<sip:bob@"+bobPhone.String()+">")
				res.Add("Expires", in.Get("Expires"))
				contact, _ := sip.ParseAddress(in.Get("Contact"))
				k := &talker{phone: w.bob, callID: in.CallID(), self: res.Get("To"), far: in.Get("From"), target: contact.URI}
				go func() {
					s := "active;expires=60"
					if fetch {
						s = "terminated;reason=timeout"
					}
					if got := k.say("NOTIFY", "", state(s)); got == nil || got.Status != 200 {
						t.Errorf("the early NOTIFY: %+v", got)
					}
					stranger := *k
					stranger.self = "<sip:bob@b.example>;tag=n2"
					if got := stranger.say("NOTIFY", "", state("active")); got == nil || got.Status != 481 {
						t.Errorf("another fork's NOTIFY: %+v", got)
					}
					w.bob.queue.Post(func() { tx.Respond(res) })
					if !fetch {
						time.Sleep(time.Second)
						if got := k.say("NOTIFY", "", state("terminated;reason=noresource")); got == nil || got.Status != 200 {
							t.Errorf("the last NOTIFY: %+v", got)
						}
					}
					w.bob.event("done")
				}()
				return true
			}
			seconds := 60
			if fetch {
				seconds = 0
			}
			// The answer is passed as it is: 202.
			if _, res := w.alice.subscribe("sip:bob@b.example", seconds); res == nil || res.Status != 202 {
				t.Fatalf("SUBSCRIBE: %+v", res)
			}
			if len(w.alice.events) == 0 {
				t.Error("no NOTIFY came before the answer")
			}
			w.bob.await("done")
			w.alice.await("notified terminated")
			synctest.Wait()
			if n := w.subscriptions(); n != 0 {
				t.Errorf("%d subscriptions left", n)
			}
		})
	}
}

// Whatever is lost or comes twice: the subscription lives as long as it should,
// each state arrives once, and nothing stays behind.
func TestSubscriptionsOverABadNetwork(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		o := prefer()
		o.net = memnet.Options{Seed: seed, Loss: 0.05, Duplicate: 0.05, Reorder: 0.05, Delay: 15 * time.Millisecond, Jitter: 10 * time.Millisecond}
		inBubble(t, o, func(t *testing.T, w *world) {
			notifiers := w.bob.notifier()
			alice, res := w.alice.subscribe("sip:bob@b.example", 120)
			if alice == nil {
				t.Fatalf("seed %d: SUBSCRIBE: %+v", seed, res)
			}
			bob := <-notifiers
			for i := range 20 {
				if res := bob.say("NOTIFY", "", state(fmt.Sprintf("active;expires=100;n=%d", i))); res == nil || res.Status != 200 {
					t.Fatalf("seed %d: NOTIFY %d: %+v", seed, i, res)
				}
				if i%5 == 0 {
					if res := alice.say("SUBSCRIBE", "", expires(120)); res == nil || res.Status != 200 {
						t.Fatalf("seed %d: refresh: %+v", seed, res)
					}
				}
				time.Sleep(20 * time.Second)
			}
			if res := bob.say("NOTIFY", "", state("terminated")); res == nil || res.Status != 200 {
				t.Errorf("seed %d: the last NOTIFY: %+v", seed, res)
			}
			w.alice.await("notified terminated")
			if n := w.subscriptions(); n != 0 {
				t.Errorf("seed %d: %d subscriptions left", seed, n)
			}
		})
	}
}

// Whoever vanishes, the other side's house forgets the subscription: at the
// first NOTIFY that nobody answers, or when its time is over.
func TestSubscribersAndNotifiersVanish(t *testing.T) {
	t.Parallel()
	for name, story := range map[string]func(t *testing.T, w *world, alice, bob *talker){
		"subscriber": func(t *testing.T, w *world, alice, bob *talker) {
			w.net.SetRule(lose(alicePhone))
			if res := bob.say("NOTIFY", "", state("active;expires=500")); res != nil && res.Status < 400 {
				t.Errorf("somebody answered: %+v", res)
			}
			time.Sleep(time.Minute)
		},
		"subscriber, and nobody notices": func(t *testing.T, w *world, alice, bob *talker) {
			w.net.SetRule(lose(alicePhone))
			time.Sleep(11 * time.Minute)
		},
		"subscriber that was started again": func(t *testing.T, w *world, alice, bob *talker) {
			w.alice.first = func(in *sip.Incoming) bool { in.Reply(481, ""); return true }
			if res := bob.say("NOTIFY", "", state("active")); res == nil || res.Status != 481 {
				t.Errorf("got %+v", res)
			}
		},
		"notifier": func(t *testing.T, w *world, alice, bob *talker) {
			w.net.SetRule(lose(bobPhone))
			if res := alice.say("SUBSCRIBE", "", expires(600)); res != nil && res.Status < 400 {
				t.Errorf("somebody answered: %+v", res)
			}
			if n := w.subscriptions(); n == 0 {
				t.Error("one lost refresh ended a subscription that has time left")
			}
			time.Sleep(11 * time.Minute)
		},
		"notifier that was started again": func(t *testing.T, w *world, alice, bob *talker) {
			w.bob.first = func(in *sip.Incoming) bool { in.Reply(481, ""); return true }
			if res := alice.say("SUBSCRIBE", "", expires(600)); res == nil || res.Status != 481 {
				t.Errorf("got %+v", res)
			}
		},
		"the other house": func(t *testing.T, w *world, alice, bob *talker) {
			w.net.SetRule(lose(outsideA))
			bob.say("NOTIFY", "", state("active"))
			time.Sleep(11 * time.Minute)
		},
	} {
		inBubble(t, prefer(), func(t *testing.T, w *world) {
			notifiers := w.bob.notifier()
			alice, _ := w.alice.subscribe("sip:bob@b.example", 600)
			if n := w.subscriptions(); n != 2 {
				t.Fatalf("%d subscriptions, want one at each house", n)
			}
			story(t, w, alice, <-notifiers)
			if n := w.subscriptions(); n != 0 {
				t.Errorf("%s vanished: %d subscriptions left", name, n)
			}
		})
	}
}

// lose drops what comes from or goes to an address.
func lose(who netip.AddrPort) memnet.Rule {
	return func(from, to netip.AddrPort, _ []byte) memnet.Verdict {
		return memnet.Verdict{Drop: from == who || to == who}
	}
}

// Subscriptions are bounded: those of a source, and the time of each.
func TestSubscriptionsAreBounded(t *testing.T) {
	t.Parallel()
	inBubble(t, prefer(), func(t *testing.T, w *world) {
		notifiers := w.bob.notifier()
		_, res := w.alice.subscribe("sip:bob@b.example", 30*24*3600)
		if d := res.Get("Expires"); d != "86368" { // a day, less what is on its way at its end
			t.Errorf("a month became %s seconds", d)
		}
		granted := 1
		for range 1020 {
			if k, res := w.alice.subscribe("sip:bob@b.example", 3600); k != nil {
				granted++
			} else if res.Status != 503 || res.Get("Retry-After") == "" {
				t.Fatalf("one too many: %+v", res)
			}
		}
		if granted != 1000 || len(notifiers) != granted {
			t.Errorf("%d granted, %d of them by bob", granted, len(notifiers))
		}
		time.Sleep(2 * time.Hour)
		if n := w.subscriptions(); n != 2 {
			t.Errorf("%d left after two hours, not the one that lasts a day", n/2)
		}
		time.Sleep(23 * time.Hour)
		if n := w.subscriptions(); n != 0 {
			t.Errorf("%d left", n)
		}
	})
}

// A lamp for messages that wait: the phone asks the PBX where its account is,
// answers its question for the password, and is notified; and where the PBX
// notifies unasked, at the contact that it knows, that reaches the phone too.
func TestMessageLampOfAnAccountElsewhere(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{modeA: policy.Prefer}, func(t *testing.T, w *world) {
		e := w.elsewhere(t)
		defer e.close()
		host := providerAddr.Addr().String()
		w.alice.as = "sip:alice@" + host
		credentials := auth.Credentials{User: "alice", Password: "pw-alice"}
		// proved sends a request, and again with the password.
		proved := func(m *sip.Message) *sip.Message {
			t.Helper()
			res := w.alice.post(m)
			if res == nil || res.Status != 401 && res.Status != 407 {
				t.Fatalf("not asked for a password: %+v", res)
			}
			value, err := auth.Answer(credentials, challengesOf(res), "", auth.Request{Method: m.Method, URI: m.URI.String()})
			if err != nil {
				t.Fatal(err)
			}
			m.Set("CSeq", "2 "+m.Method)
			m.Add(map[int]string{401: "Authorization", 407: "Proxy-Authorization"}[res.Status], value)
			return w.alice.post(m)
		}
		register := w.alice.draft("REGISTER", "sip:"+host, "", expires(300))
		register.Set("To", "<sip:alice@"+host+">")
		if res := proved(register); res == nil || res.Status != 200 {
			t.Fatalf("REGISTER: %+v", res)
		}

		asks := e.first
		grants := e.notifier()
		granting := e.first
		e.first = func(in *sip.Incoming) bool { return asks(in) || granting(in) }
		w.alice.subscribe("sip:"+host, 300) // refused, but NOTIFYs are taken from here on
		res := proved(w.alice.draft("SUBSCRIBE", "sip:mailbox@"+host, "", sip.Field{Name: "Event", Value: "message-summary"}, expires(300)))
		if res == nil || res.Status != 200 {
			t.Fatalf("SUBSCRIBE: %+v", res)
		}
		if last := e.seen[len(e.seen)-1]; last != "SUBSCRIBE sip:alice@"+host {
			t.Errorf("the PBX saw %s", last)
		}
		lamp := "Messages-Waiting: yes\r\nMessage-Account: sip:alice@" + host + "\r\nVoice-Message: 2/8 (0/2)\r\n"
		pbx := <-grants
		say := func(s string) *sip.Message {
			pbx.seq++
			m := pbx.draft("NOTIFY", pbx.target.String(), lamp, sip.Field{Name: "Event", Value: "message-summary"}, state(s), sip.Field{Name: "Content-Type", Value: "application/simple-message-summary"})
			m.Set("From", pbx.self)
			m.Set("To", pbx.far)
			m.Set("Call-ID", pbx.callID)
			m.Set("CSeq", fmt.Sprint(pbx.seq, " NOTIFY"))
			return pbx.post(m)
		}
		if res := say("active"); res == nil || res.Status != 200 {
			t.Fatalf("NOTIFY: %+v", res)
		}
		w.alice.await("notified active")
		if string(w.alice.lastReq.Body) != lamp {
			t.Errorf("the lamp arrived as %q", w.alice.lastReq.Body)
		}
		if res := say("terminated"); res == nil || res.Status != 200 || w.subscriptions() != 0 {
			t.Errorf("the last NOTIFY: %+v; %d subscriptions left", res, w.subscriptions())
		}
		w.alice.await("notified terminated")

		unasked := func() *sip.Message {
			return e.post(e.draft("NOTIFY", e.contact, lamp, sip.Field{Name: "Event", Value: "message-summary"}, state("active;expires=0"), sip.Field{Name: "Content-Type", Value: "application/simple-message-summary"}))
		}
		if res := unasked(); res == nil || res.Status != 200 {
			t.Fatalf("unasked: %+v", res)
		}
		w.alice.await("notified active;expires=0")
		if string(w.alice.lastReq.Body) != lamp || w.alice.lastReq.URI.Host != alicePhone.Addr().String() {
			t.Errorf("unasked, the lamp arrived as %s", w.alice.lastReq.Bytes())
		}
		// Who keeps state for long must be a listed peer; and an account that is over leads nowhere.
		if res := e.post(e.draft("SUBSCRIBE", e.contact, "", sip.Field{Name: "Event", Value: "dialog"})); res == nil || res.Status != 403 {
			t.Errorf("SUBSCRIBE by a stranger: %+v", res)
		}
		time.Sleep(10 * time.Minute)
		if res := unasked(); res == nil || res.Status != 403 {
			t.Errorf("behind the end of the account: %+v", res)
		}
	})
}
