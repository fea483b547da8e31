package calls

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route/registrar"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/auth"
)

// listed makes each house a listed peer of the other.
func listed(o worldOptions) worldOptions {
	o.peerB = func(_ string, addr netip.Addr) string {
		if addr == outsideA.Addr() {
			return "house-a"
		}
		return ""
	}
	return o
}

// prefer is a world in which messages may cross: nothing has to be encrypted.
func prefer() worldOptions {
	o := listed(worldOptions{modeA: policy.Prefer, modeB: policy.Prefer})
	o.optionsB = func(b *b2bua.Options) {
		b.Listeners[0].Networks = []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16")}
	}
	return o
}

// draft is a request outside dialogs of a phone at its house.
func (p *phone) draft(method, to, body string, fields ...sip.Field) *sip.Message {
	uri, err := sip.ParseURI(to)
	if err != nil {
		p.t.Fatal(err)
	}
	self := "sip:" + p.name + "@" + p.name[:1] + ".example"
	if p.as != "" {
		self = p.as
	}
	n := asked.Add(1)
	m := &sip.Message{Method: method, URI: uri, Body: []byte(body)}
	m.Add("Max-Forwards", "70")
	m.Add("From", fmt.Sprintf("<%s>;tag=f%d", self, n))
	m.Add("To", "<"+to+">")
	m.Add("Call-ID", fmt.Sprintf("draft-%d", n))
	m.Add("CSeq", "1 "+method)
	m.Add("Contact", "<sip:"+p.name+"@"+p.lis.Local().String()+">")
	m.Fields = append(m.Fields, fields...)
	return m
}

// post sends a request and returns its final response; nil: there was none.
func (p *phone) post(m *sip.Message) *sip.Message {
	p.t.Helper()
	answer := make(chan *sip.Message, 1)
	err := p.stack.Request(sip.RequestOptions{Flow: p.lis.Flow(p.proxy), Message: m, Queue: &p.queue, Handle: func(res *sip.Message, err error) {
		if err != nil || res.Status >= 200 {
			answer <- res
		}
	}})
	if err != nil {
		p.t.Fatal(err)
	}
	res := <-answer
	synctest.Wait() // what other phones got of it is written down
	return res
}

// takes makes a phone answer requests of one method; what it got is returned.
func (p *phone) takes(method string, status int, fields ...sip.Field) *[]*sip.Message {
	got := new([]*sip.Message)
	before := p.first
	p.first = func(in *sip.Incoming) bool {
		if in.Method != method {
			return before != nil && before(in)
		}
		if tx := in.Serve(&p.queue); tx != nil {
			p.queue.Post(func() {
				*got = append(*got, in.Message)
				tx.Reply(status, "", fields...)
			})
		}
		return true
	}
	return got
}

var plain = sip.Field{Name: "Content-Type", Value: "text/plain"}

func TestMessageToTheOtherHouse(t *testing.T) {
	t.Parallel()
	inBubble(t, prefer(), func(t *testing.T, w *world) {
		var wire []string
		w.net.Tap(func(d memnet.Datagram) {
			if between(d.From, d.To) {
				wire = append(wire, string(d.Payload))
			}
		})
		got := w.bob.takes("MESSAGE", 200)
		m := w.alice.draft("MESSAGE", "sip:bob@b.example", "the printer is 10.1.0.9", plain,
			sip.Field{Name: "Subject", Value: "see 10.1.0.7"}, sip.Field{Name: "X-Phone", Value: "10.1.0.2"}, sip.Field{Name: "Authorization", Value: `Digest username="alice", uri="sip:b.example"`})
		if res := w.alice.post(m); res == nil || res.Status != 200 {
			t.Fatalf("got %+v", res)
		}
		if len(*got) != 1 || string((*got)[0].Body) != "the printer is 10.1.0.9" || (*got)[0].ContentType() != "text/plain" {
			t.Fatalf("bob got %+v", *got)
		}
		if b := (*got)[0]; b.CallID() == m.CallID() || b.From().Tag() == m.From().Tag() || b.From().URI.AOR() != "sip:alice@a.example" || b.Has("Contact") || b.Get("Max-Forwards") != "68" {
			t.Errorf("bob got %s", b.Bytes())
		}
		if len(wire) != 2 {
			t.Errorf("%d datagrams between the houses", len(wire))
		}
		for _, d := range wire {
			head, _, _ := strings.Cut(d, "\r\n\r\n")
			if strings.Contains(head, "10.1.") || strings.Contains(head, "10.2.") || strings.Contains(head, "X-Phone") {
				t.Errorf("left the house:\n%s", head)
			}
		}
	})
}

// What must be encrypted is refused with a sentence, and nothing has left.
func TestRequireKeepsMessagesIn(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]worldOptions{"sender": listed(worldOptions{modeB: policy.Prefer}), "receiver": listed(worldOptions{modeA: policy.Prefer})} {
		inBubble(t, o, func(t *testing.T, w *world) {
			left := 0
			w.net.Tap(func(d memnet.Datagram) {
				if d.From == outsideA {
					left++
				}
			})
			for _, method := range []string{"MESSAGE", "SUBSCRIBE", "PUBLISH", "INFO", "NOTIFY"} {
				got := w.bob.takes(method, 200)
				res := w.alice.post(w.alice.draft(method, "sip:bob@b.example", "hello", plain))
				if res == nil || res.Status != 403 || !strings.Contains(res.Get("Warning"), "must be encrypted") || len(*got) != 0 {
					t.Errorf("%s requires, %s: %+v, bob got %d", name, method, res, len(*got))
				}
			}
			if name == "sender" && left != 0 {
				t.Errorf("%d datagrams left", left)
			}
			if n := w.a.proxy.Counters().Subscriptions + w.b.proxy.Counters().Subscriptions; n != 0 {
				t.Errorf("%d subscriptions", n)
			}
		})
	}
}

// All phones of a user get a message, and the first that takes it answers for
// all; where none does, the word that says most comes back.
func TestMessageToAllPhonesOfAUser(t *testing.T) {
	t.Parallel()
	o := worldOptions{optionsB: func(b *b2bua.Options) {
		b.Registrar, _ = registrar.New(registrar.Options{})
		b.Domains = []string{"b.example"}
	}}
	inBubble(t, o, func(t *testing.T, w *world) {
		desk, mobile := w.phone("desk", netip.MustParseAddrPort("10.2.0.4:5060"), insideB), w.phone("mobile", bobsMobile, insideB)
		defer desk.close()
		defer mobile.close()
		for _, p := range []*phone{desk, mobile} {
			if res := w.register(p.lis.Local(), insideB, "carol", "", "600"); res == nil || res.Status != 200 {
				t.Fatalf("REGISTER: %+v", res)
			}
		}
		onDesk, onMobile := desk.takes("MESSAGE", 415), mobile.takes("MESSAGE", 200)
		if res := w.bob.post(w.bob.draft("MESSAGE", "sip:carol@b.example", "hello", plain)); res == nil || res.Status != 200 {
			t.Errorf("one takes it: %+v", res)
		}
		if len(*onDesk) != 1 || len(*onMobile) != 1 {
			t.Errorf("%d and %d phones got it", len(*onDesk), len(*onMobile))
		}
		mobile.takes("MESSAGE", 480)
		if res := w.bob.post(w.bob.draft("MESSAGE", "sip:carol@b.example", "hello", plain)); res == nil || res.Status != 415 {
			t.Errorf("none takes it: %+v", res)
		}
		// One phone is asked for what one phone knows; nobody for a mailbox.
		time.Sleep(time.Second)
		w.register(mobile.lis.Local(), insideB, "carol", "", "600")
		onDesk, onMobile = desk.takes("SUBSCRIBE", 200), mobile.takes("SUBSCRIBE", 489)
		for event, want := range map[string]int{"dialog": 489, "message-summary": 489} {
			if res := w.bob.post(w.bob.draft("SUBSCRIBE", "sip:carol@b.example", "", sip.Field{Name: "Event", Value: event})); res == nil || res.Status != want {
				t.Errorf("SUBSCRIBE for %s: %+v", event, res)
			}
		}
		if len(*onDesk) != 0 || len(*onMobile) != 1 {
			t.Errorf("%d times asked on the desk, %d on the phone that was registered last", len(*onDesk), len(*onMobile))
		}
		for to, want := range map[string]int{"sip:nobody@b.example": 404, "sip:carol@b.example": 489} {
			if res := w.bob.post(w.bob.draft("PUBLISH", to, "<presence/>")); res == nil || res.Status != want {
				t.Errorf("PUBLISH to %s: %+v", to, res)
			}
		}
	})
}

// What is published goes to the server that the address names, and its tag and
// its refusals come back.
func TestPublish(t *testing.T) {
	t.Parallel()
	inBubble(t, prefer(), func(t *testing.T, w *world) {
		server := w.phone("presence", providerAddr, outsideA)
		defer server.close()
		tag, body := "", ""
		server.first = func(in *sip.Incoming) bool {
			if given := in.Get("SIP-If-Match"); given != tag {
				in.Reply(412, "Conditional Request Failed")
				return true
			}
			if in.Get("Expires") == "1" {
				in.Reply(423, "", sip.Field{Name: "Min-Expires", Value: "60"})
				return true
			}
			tag += "x"
			body = string(in.Body)
			in.Reply(200, "", sip.Field{Name: "SIP-ETag", Value: tag}, sip.Field{Name: "Expires", Value: in.Get("Expires")})
			return true
		}
		to := "sip:carol@" + providerAddr.Addr().String()
		for i, c := range []struct{ match, expires, want, field, value string }{
			{"", "3600", "200 OK", "SIP-ETag", "x"},
			{"x", "1800", "200 OK", "SIP-ETag", "xx"},
			{"x", "1800", "412 Conditional Request Failed", "SIP-ETag", ""},
			{"xx", "1", "423 Interval Too Brief", "Min-Expires", "60"},
		} {
			m := w.alice.draft("PUBLISH", to, "<contact>sip:alice@10.1.0.2:5060</contact>", sip.Field{Name: "Event", Value: "presence"},
				sip.Field{Name: "Expires", Value: c.expires}, sip.Field{Name: "Content-Type", Value: "application/pidf+xml"})
			if c.match != "" {
				m.Add("SIP-If-Match", c.match)
			}
			res := w.alice.post(m)
			if res == nil || fmt.Sprint(res.Status, " ", res.Reason) != c.want || res.Get(c.field) != c.value {
				t.Errorf("%d: %+v", i, res)
			}
		}
		if want := "<contact>sip:alice@" + outsideA.Addr().String() + ":5060</contact>"; body != want {
			t.Errorf("published %q, want %q", body, want)
		}
	})
}

func challengesOf(res *sip.Message) (out []string) {
	for _, f := range res.Fields {
		if slices.Contains([]string{"WWW-Authenticate", "Proxy-Authenticate"}, f.Name) {
			out = append(out, f.Value)
		}
	}
	return out
}

// A message to a provider leaves as the trunk's account, and the provider's
// question for the password is answered once, by the trunk.
func TestMessageThroughATrunk(t *testing.T) {
	t.Parallel()
	for password, want := range map[string]int{"pw-customer": 200, "wrong": 403} {
		o := worldOptions{modeA: policy.Prefer, optionsA: func(a *b2bua.Options) {
			a.Peer = func(host string, _ netip.Addr) string {
				if host == providerAddr.Addr().String() {
					return "provider"
				}
				return ""
			}
			a.Trunks = []b2bua.Trunk{{Peer: "provider", From: sip.URI{Scheme: "sip", User: "customer", Host: "provider.example"},
				Credentials: auth.Credentials{User: "customer", Password: password}}}
		}}
		inBubble(t, o, func(t *testing.T, w *world) {
			challenger, err := auth.New(auth.Options{Realm: "b.example", Users: passwords{"customer"}})
			if err != nil {
				t.Fatal(err)
			}
			provider := w.phone("provider", providerAddr, outsideA)
			defer provider.close()
			var callers []string
			provider.first = func(in *sip.Incoming) bool {
				callers = append(callers, in.From().URI.AOR())
				if challenger.Verify(in.Values("Proxy-Authorization"), auth.Request{Method: in.Method, URI: in.URI.String(), Body: in.Body}).Verdict == auth.OK {
					in.Reply(200, "")
					return true
				}
				var fields []sip.Field
				for _, c := range challenger.Challenge(false) {
					fields = append(fields, sip.Field{Name: "Proxy-Authenticate", Value: c})
				}
				in.Reply(407, "", fields...)
				return true
			}
			m := w.alice.draft("MESSAGE", "sip:+4930555@"+providerAddr.Addr().String(), "hello", plain)
			res := w.alice.post(m)
			if res == nil || res.Status != want || res.Has("Proxy-Authenticate") {
				t.Errorf("password %s: %+v", password, res)
			}
			if !slices.Equal(callers, []string{"sip:customer@provider.example", "sip:customer@provider.example"}) {
				t.Errorf("the provider was asked by %v", callers)
			}
		})
	}
}

// Where the first server of a domain is out of service, the next one is asked.
func TestMessageGoesToTheNextServer(t *testing.T) {
	t.Parallel()
	o := prefer()
	o.dnsA = twoServers{}
	inBubble(t, o, func(t *testing.T, w *world) {
		one, two := w.phone("one", providerAddr, outsideA), w.phone("two", netip.MustParseAddrPort("198.51.100.51:5060"), outsideA)
		defer one.close()
		defer two.close()
		first, second := one.takes("MESSAGE", 503), two.takes("MESSAGE", 200)
		if res := w.alice.post(w.alice.draft("MESSAGE", "sip:carol@far.example", "hello", plain)); res == nil || res.Status != 200 {
			t.Errorf("got %+v", res)
		}
		if len(*first) != 1 || len(*second) != 1 || (*first)[0].CallID() == (*second)[0].CallID() {
			t.Errorf("asked %d and %d times", len(*first), len(*second))
		}
		one.takes("MESSAGE", 404)
		if res := w.alice.post(w.alice.draft("MESSAGE", "sip:carol@far.example", "hello", plain)); res == nil || res.Status != 404 || len(*second) != 1 {
			t.Errorf("a refusal: %+v, and the next server was asked %d times", res, len(*second)-1)
		}
		one.takes("MESSAGE", 503)
		two.takes("MESSAGE", 503)
		if res := w.alice.post(w.alice.draft("MESSAGE", "sip:carol@far.example", "hello", plain)); res == nil || res.Status != 500 {
			t.Errorf("both out of service: %+v", res)
		}
		if res := w.alice.post(w.alice.draft("MESSAGE", "sip:carol@nowhere.example", "hello", plain)); res == nil || res.Status != 502 {
			t.Errorf("a domain that is not there: %+v", res)
		}
	})
}

// twoServers knows one domain, which has two.
type twoServers struct{ noDNS }

func (twoServers) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if host != "far.example" {
		return noDNS{}.LookupNetIP(ctx, network, host)
	}
	return []netip.Addr{providerAddr.Addr(), netip.MustParseAddr("198.51.100.51")}, nil
}
