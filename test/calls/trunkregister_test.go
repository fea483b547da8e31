package calls

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
)

// A registration from its first challenge to its end: renewed in time without
// being asked, asked again where a nonce is stale, longer where the provider
// wants that, kept open and taken back.
func TestTrunkStaysRegistered(t *testing.T) {
	t.Parallel()
	inBubble(t, withTrunk(oneAddress(), nil, nil), func(t *testing.T, w *world) {
		p := w.provider(providerAddr)
		defer p.close()
		var keepAlives atomic.Int64
		w.net.Tap(func(d memnet.Datagram) {
			if d.From == outsideA && d.To == providerAddr && string(d.Payload) == "\r\n\r\n" {
				keepAlives.Add(1)
			}
		})
		time.Sleep(5 * time.Second)
		contact := p.customer()
		if !strings.Contains(contact, "@"+outsideA.String()) || strings.Contains(contact, "customer") || strings.Contains(contact, "4930") {
			t.Fatalf("registered is %q", contact)
		}
		var first *sip.Message
		p.set(func() { first = p.registers[len(p.registers)-1] })
		if first.To().URI.AOR() != "sip:4930123@provider.example" || first.From().URI.AOR() != "sip:4930123@provider.example" || first.URI.String() != "sip:provider.example" || first.Get("Expires") != "300" {
			t.Errorf("REGISTER %s, From %s, To %s, Expires %s", first.URI, first.Get("From"), first.Get("To"), first.Get("Expires"))
		}
		if s := w.trunk(); s.State != "registered" || s.Server != "udp "+providerAddr.String() || !s.Until.After(time.Now().Add(280*time.Second)) || s.Reason != "" {
			t.Errorf("%+v", s)
		}
		// An hour passes: the nonce becomes old once, and nothing else is asked.
		before, began := p.registered(), time.Now()
		for range 360 {
			time.Sleep(10 * time.Second)
			if s := w.trunk(); s.State != "registered" || !s.Until.After(time.Now()) {
				t.Fatalf("after %v: %+v", time.Since(began), s)
			}
		}
		p.set(func() {
			challenged := 0
			for i, m := range p.registers[before:] {
				if m.CallID() != first.CallID() || m.Get("Contact") != first.Get("Contact") {
					t.Errorf("REGISTER %d is of another registration: %s", i, m.Get("Contact"))
				}
				if strings.Contains(m.Get("Authorization"), "nc=00000001") {
					challenged++
				}
			}
			if n := len(p.registers) - before; n < 14 || n > 22 || challenged != 1 {
				t.Errorf("%d REGISTERs in an hour of five minutes each, %d of them with a new nonce", n, challenged)
			}
			p.least, p.expires = "1800", "1800"
		})
		if n := keepAlives.Load(); n < 100 {
			t.Errorf("%d keep-alives in an hour", n)
		}
		time.Sleep(10 * time.Minute)
		if s := w.trunk(); s.State != "registered" || !s.Until.After(time.Now().Add(15*time.Minute)) {
			t.Errorf("where the provider wants half an hour: %+v", s)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		if err := w.a.proxy.Shutdown(ctx); err != nil || p.customer() != "" || time.Since(start) > 2*time.Second {
			t.Errorf("after the end: %v, registered is %q, it took %v", err, p.customer(), time.Since(start))
		}
	})
}

// What is lost on the way is sent again, and a provider that was away is found
// when it is back, though its nonces are of another key; meanwhile it is asked
// less and less.
func TestTrunkOutlivesLossAndRestart(t *testing.T) {
	t.Parallel()
	inBubble(t, withTrunk(oneAddress(), nil, nil), func(t *testing.T, w *world) {
		var lost, sent atomic.Int64
		w.net.SetRule(memnet.DropFirst(6, func(from, to netip.AddrPort, b []byte) bool {
			drop := from == outsideA && strings.HasPrefix(string(b), "REGISTER ") || to == outsideA && strings.Contains(string(b), "REGISTER\r\n")
			if drop {
				lost.Add(1)
			}
			return drop
		}))
		p := w.provider(providerAddr)
		time.Sleep(time.Minute)
		if s := w.trunk(); s.State != "registered" || lost.Load() < 6 {
			t.Fatalf("%+v, %d lost", s, lost.Load())
		}
		w.net.Tap(func(d memnet.Datagram) {
			if d.From == outsideA && strings.HasPrefix(string(d.Payload), "REGISTER ") {
				sent.Add(1)
			}
		})
		p.close()
		time.Sleep(time.Hour)
		if s := w.trunk(); s.State != "failing" || !strings.Contains(s.Reason, providerAddr.String()+" does not answer") || s.Retry.Before(time.Now().Add(-time.Minute)) {
			t.Errorf("without a provider: %+v", s)
		}
		// 11 datagrams a try, a try in about five minutes.
		if n := sent.Load(); n < 11*8 || n > 11*25 {
			t.Errorf("%d REGISTERs in an hour without an answer", n)
		}
		again := w.provider(providerAddr)
		defer again.close()
		time.Sleep(6 * time.Minute)
		if s := w.trunk(); s.State != "registered" || again.customer() == "" {
			t.Errorf("after the provider has come back: %+v", s)
		}
	})
}

// A wrong password is not tried again and again, and is said with what to do.
func TestTrunkWithAWrongPassword(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]int{"wrong password": 0, "forbidden": 403} {
		log := &lines{}
		o := withTrunk(oneAddress(), log, func(o *b2bua.Options) {
			if refuse == 0 {
				o.Trunks[0].Credentials.Password = "pw-secret-mistake"
			}
		})
		inBubble(t, o, func(t *testing.T, w *world) {
			p := w.provider(providerAddr)
			defer p.close()
			p.set(func() { p.status = refuse })
			time.Sleep(5 * time.Minute)
			if s := w.trunk(); s.State != "refused" || !strings.Contains(s.Reason, "password") || s.Retry.Before(time.Now().Add(40*time.Minute)) {
				t.Errorf("%s: %+v", name, s)
			}
			if log.with("level=ERROR", "the provider refuses the registration", "fix=", "password") != 1 {
				t.Errorf("%s: the log says\n%s", name, log.b.String())
			}
			time.Sleep(24*time.Hour - 5*time.Minute)
			if n := p.registered(); n > 2*28 || n < 2*20 {
				t.Errorf("%s: %d REGISTERs in a day", name, n)
			}
			if log.with("pw-") != 0 {
				t.Errorf("%s: the log holds the password", name)
			}
		})
	}
}

// Of two servers the one that answers holds the registration, and calls go there
// first.
func TestTrunkRegistersAtTheSecondServer(t *testing.T) {
	t.Parallel()
	names := dns{srv: map[string][]string{"udp": {"one.provider.example", "two.provider.example"}},
		a: map[string]netip.Addr{"one.provider.example": deadServer, "two.provider.example": providerAddr.Addr()}}
	inBubble(t, withTrunk(names, nil, nil), func(t *testing.T, w *world) {
		p := w.provider(providerAddr)
		defer p.close()
		time.Sleep(time.Minute)
		if s := w.trunk(); s.State != "registered" || s.Server != "udp "+providerAddr.String() {
			t.Fatalf("%+v", s)
		}
		start := time.Now()
		w.alice.call("sip:030555@a.example")
		w.alice.await("answered")
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("the call took %v to be answered: it went to the other server first", took)
		}
		w.alice.hangup()
		w.alice.await("bye answered")
	})
}

// Over TCP the connection is what calls come in by: when it ends there is a new one
// at once, and not one after the other where they end all the time.
func TestTrunkReopensItsConnection(t *testing.T) {
	t.Parallel()
	names := oneAddress()
	names.srv = map[string][]string{"tcp": {"provider.example"}}
	streams := &memnet.Streams{}
	log := &lines{}
	inBubble(t, withTrunk(names, log, func(o *b2bua.Options) {
		o.Listeners = append(o.Listeners, b2bua.Listener{Name: "internet", Side: policy.Outside, Stream: streams.Listen(outsideA), Dial: streams.From(outsideA.Addr())})
		o.Trunks[0].Server.Network = "tcp"
	}), func(t *testing.T, w *world) {
		p := w.provider(providerAddr)
		defer p.close()
		at := streams.Listen(providerAddr)
		if _, err := p.stack.Listen(sip.ListenerOptions{Name: "tcp", Stream: at, Dial: streams.From(providerAddr.Addr())}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if s := w.trunk(); s.State != "registered" || s.Server != "tcp "+providerAddr.String() || !strings.Contains(p.customer(), "transport=tcp") {
			t.Fatalf("%+v, %s", s, p.customer())
		}
		for i, quiet := range []time.Duration{2 * time.Minute, 90 * time.Second} { // with keep-alives before, and without
			time.Sleep(quiet)
			before := p.registered()
			if n := at.Cut(); n != 1 {
				t.Fatalf("%d connections", n)
			}
			time.Sleep(time.Second)
			if n := p.registered() - before; n != 1 || w.trunk().State != "registered" {
				t.Errorf("cut %d: %d REGISTERs, %+v", i, n, w.trunk())
			}
		}
		before := p.registered()
		for range 600 {
			at.Cut()
			time.Sleep(time.Second)
		}
		if n := p.registered() - before; n < 2 || n > 30 {
			t.Errorf("%d REGISTERs in ten minutes of cut connections", n)
		}
		if log.with("level=INFO", "has ended") < 3 {
			t.Error("the log does not say that the connection has ended")
		}
		time.Sleep(10 * time.Minute)
		if s := w.trunk(); s.State != "registered" {
			t.Errorf("in the end: %+v", s)
		}
	})
}

// registerAt registers a phone of house A, which asks for no passwords.
func (w *world) registerAt(t *testing.T, at netip.AddrPort, user string) {
	t.Helper()
	n := asked.Add(1)
	answers := w.ask(at, insideA, fmt.Sprintf("REGISTER sip:a.example SIP/2.0\r\nVia: SIP/2.0/UDP %[1]v;branch=z9hG4bKt%[2]d;rport\r\nFrom: <sip:%[3]s@a.example>;tag=%[2]d\r\nTo: <sip:%[3]s@a.example>\r\n"+
		"Call-ID: t%[2]d\r\nCSeq: 1 REGISTER\r\nContact: <sip:%[3]s@%[1]v>;expires=600\r\nContent-Length: 0\r\n\r\n", at, n, user))
	if len(answers) != 1 || answers[0].Status != 200 {
		t.Fatalf("REGISTER of %s: %d answers", user, len(answers))
	}
}
