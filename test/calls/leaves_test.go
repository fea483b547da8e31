package calls

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

// leaving collects the SIP messages that a house sends outside.
func (w *world) leaving(from netip.AddrPort) *[]string {
	var out []string
	w.net.Tap(func(d memnet.Datagram) {
		if d.From == from && isSIP(d.Payload) {
			out = append(out, string(d.Payload))
		}
	})
	return &out
}

// Nothing that crosses outside tells an address of the inside, a header field
// that was not asked for, or what the phone is.
func TestWhatLeaves(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{}, func(t *testing.T, w *world) {
		out := w.leaving(outsideA)
		w.alice.fields = []sip.Field{{Name: "P-Asserted-Identity", Value: "<sip:secret@10.1.0.2>"}, {Name: "Diversion", Value: "<sip:secret@10.1.0.2>"},
			{Name: "History-Info", Value: "<sip:secret@10.1.0.2>"}, {Name: "X-Serial", Value: "secret"}, {Name: "Subject", Value: "lunch"}}
		w.up()
		w.talk(5)
		w.alice.hangup()
		w.alice.await("bye answered")
		synctest.Wait()
		if len(*out) < 3 {
			t.Fatalf("%d messages left", len(*out))
		}
		for _, m := range *out {
			for _, inside := range []string{"10.1.0.", "secret", "plain phone"} {
				if strings.Contains(m, inside) {
					t.Errorf("%q leaves in\n%s", inside, m)
				}
			}
		}
		if !strings.Contains((*out)[0], "Subject: lunch") {
			t.Error("the subject does not arrive")
		}
	})
}

func TestPrivacyIsObeyed(t *testing.T) {
	t.Parallel()
	for privacy, hidden := range map[string]bool{"id": true, "header;id": true, "none": false} {
		inBubble(t, worldOptions{}, func(t *testing.T, w *world) {
			out := w.leaving(outsideA)
			w.alice.fields = []sip.Field{{Name: "Privacy", Value: privacy}}
			w.up()
			synctest.Wait()
			for _, m := range *out {
				if strings.Contains(m, "alice") == hidden {
					t.Errorf("Privacy: %s sends\n%s", privacy, m)
				}
			}
		})
	}
}

// Behind a NAT, Via, Contact and SDP name the address that others reach.
func TestAdvertisedAddress(t *testing.T) {
	t.Parallel()
	o := worldOptions{optionsA: func(a *b2bua.Options) {
		a.Listeners[1].Advertise = netip.MustParseAddrPort("203.0.113.7:5070")
	}}
	inBubble(t, o, func(t *testing.T, w *world) {
		out := w.leaving(outsideA)
		w.bob.manual = true
		w.alice.call("sip:bob@b.example")
		w.alice.await("180")
		synctest.Wait()
		m := (*out)[0]
		for _, want := range []string{"Via: SIP/2.0/UDP 203.0.113.7:5070;", "Contact: <sip:alice@203.0.113.7:5070>", "c=IN IP4 203.0.113.7\r\n"} {
			if !strings.Contains(m, want) {
				t.Errorf("no %q in\n%s", want, m)
			}
		}
		if strings.Contains(m, outsideA.Addr().String()) {
			t.Errorf("the socket's own address is in\n%s", m)
		}
		w.alice.queue.Post(func() { w.alice.dialog.Cancel() })
		w.alice.await("refused")
	})
}

func TestNumbersLeadToPeople(t *testing.T) {
	t.Parallel()
	o := worldOptions{optionsA: func(a *b2bua.Options) {
		var err error
		if a.Aliases, err = route.NewAliases([]route.Alias{{Match: route.MustPattern("+49301234"), To: "sip:bob@b.example"}}); err != nil {
			panic(err)
		}
	}}
	inBubble(t, o, func(t *testing.T, w *world) {
		w.alice.call("sip:+49301234@a.example")
		w.alice.await("answered")
		w.bob.await("acked")
		if got := w.bob.lastReq.URI.User; got != "bob" {
			t.Errorf("bob was called as %s", got)
		}
		if v, _ := w.views(); v.To != "sip:+49301234@a.example" {
			t.Errorf("alice's side shows %s", v.To)
		}
	})
}
