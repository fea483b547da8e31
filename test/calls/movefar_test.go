package calls

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

// Over TLS a call goes on over a connection from the new address, on which the
// far end says BYE.
func TestMoveOverTLS(t *testing.T) {
	t.Parallel()
	a, b := newSwarm(t, "alice"), newSwarm(t, "bob")
	cert, trusted := certificate(t, "b.example")
	houseB := secureHouse(t, cert, nil, route.Route{Match: route.MustPattern("*@b.example"), To: "sip:*@" + b.lis.Local().String(), Side: route.Inside})
	own, _ := certificate(t, "a.example")
	houseA := secureHouse(t, own, trusted, route.Route{Match: route.MustPattern("*@b.example"), To: "sip:b.example:" + itoa(int(houseB.outside.Port())) + ";transport=tls", Side: route.Outside})
	defer houseB.stop(t)
	defer houseA.stop(t) // first: its answer to the other one's BYE is still on its way
	a.dial(t, 1, houseA.inside)
	a.wait(t, 1)
	b.wait(t, 1)
	houseA.allEncrypted(t, 1)
	before := houseA.proxy.Calls()[0]
	next, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	events, cancel := houseA.proxy.Subscribe(100)
	defer cancel()
	if err := houseA.proxy.Move("internet", "tls", b2bua.Place{Stream: next}); err != nil {
		t.Fatal(err)
	}
	await := func(kind string) b2bua.View {
		for timeout := time.After(20 * time.Second); ; {
			select {
			case e := <-events:
				if e.Type == kind {
					return e.Call
				}
			case <-timeout:
				t.Fatalf("no %s", kind)
			}
		}
	}
	if v := await("call-changed"); v.SASWords != before.SASWords || v.Protection != "srtp" {
		t.Errorf("%+v", v)
	}
	b.hangup()
	if v := await("call-ended"); strings.Contains(v.Reason, "lost") || strings.Contains(v.Reason, "address") {
		t.Errorf("%+v", v)
	}
}

// An account elsewhere is renewed often where the listener may move, and leads to
// the new address from the phone's next REGISTER on.
func TestAccountElsewhereMoves(t *testing.T) {
	t.Parallel()
	o := worldOptions{modeA: policy.Prefer, optionsA: func(o *b2bua.Options) { o.Listeners[1].Moves = true }}
	inBubble(t, o, func(t *testing.T, w *world) {
		contact := ""
		registrar := w.phone("provider", providerAddr, outsideA)
		defer registrar.close()
		registrar.first = func(in *sip.Incoming) bool {
			if in.Method != "REGISTER" {
				return false
			}
			c, _ := sip.ParseAddress(in.Get("Contact"))
			contact = c.URI.String()
			in.Reply(200, "", sip.Field{Name: "Contact", Value: "<" + contact + ">;expires=3600"})
			return true
		}
		host := providerAddr.Addr().String()
		register := func(seq int, at netip.AddrPort) {
			answers := w.ask(alicePhone, insideA, fmt.Sprintf("REGISTER sip:%[1]s SIP/2.0\r\nVia: SIP/2.0/UDP %[2]v;branch=z9hG4bKmv%[3]d;rport\r\nFrom: <sip:alice@%[1]s>;tag=u\r\nTo: <sip:alice@%[1]s>\r\n"+
				"Call-ID: mv\r\nCSeq: %[3]d REGISTER\r\nContact: <sip:alice@%[2]v>\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n", host, alicePhone, seq))
			if len(answers) != 1 || answers[0].Status != 200 || answers[0].Get("Contact") != "<sip:alice@"+alicePhone.String()+">;expires=120" {
				t.Fatalf("REGISTER: %+v", answers)
			}
			if !strings.Contains(contact, "@"+at.String()) {
				t.Errorf("the registrar knows %s, want %v", contact, at)
			}
		}
		register(1, outsideA)
		w.moves(w.a, outsideA, awayA, 0)
		register(2, awayA)
		registrar.proxy = awayA
		registrar.call(contact)
		w.alice.await("acked")
		registrar.await("answered")
		registrar.hangup()
		w.alice.await("bye")
	})
}
