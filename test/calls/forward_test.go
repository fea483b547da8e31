package calls

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

// redirects lets a phone send callers elsewhere.
func (p *phone) redirects(contacts ...string) {
	p.refuse = 302
	p.answers = nil
	for _, c := range contacts {
		p.answers = append(p.answers, sip.Field{Name: "Contact", Value: c})
	}
}

// A phone inside sends its callers on: to a colleague, to the other house, to the
// best of its Contacts that can be had.
func TestForwardedByAPhone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		contacts []string
		carol    int // what carol answers, 0: the call
		want     string
	}{
		"to a colleague":     {[]string{"<sip:dave@b.example:5062>"}, 0, "dave"},
		"to the caller's":    {[]string{"<sip:carol@a.example>"}, 0, "carol"},
		"by weight":          {[]string{"<sip:dave@b.example>;q=0.3", "<sip:carol@a.example>;q=0.7"}, 0, "carol"},
		"the next one":       {[]string{"<sip:dave@b.example>;q=0.3", "<sip:carol@a.example>;q=0.7"}, 486, "dave"},
		"back to itself":     {[]string{"<sip:bob@b.example>", "<sip:dave@b.example>"}, 0, "dave"},
		"to itself alone":    {[]string{"<sip:bob@b.example>"}, 0, "refused 480"},
		"to nothing":         {nil, 0, "refused 480"},
		"to what is no call": {[]string{"<tel:112>", "<mailto:bob@b.example>", "<sip:"}, 0, "refused 480"},
	} {
		inBubble(t, withColleagues(worldOptions{net: memnet.Options{Delay: 5 * time.Millisecond}}), func(t *testing.T, w *world) {
			carol := w.phone("carol", carolPhone, insideA, func(p *phone) { p.refuse = c.carol })
			defer carol.close()
			dave := w.phone("dave", davePhone, insideB)
			defer dave.close()
			clear := w.tapClear()
			w.bob.redirects(c.contacts...)
			w.alice.call("sip:bob@b.example")
			got := w.alice.await("answered", "refused")
			if strings.HasPrefix(got, "refused") {
				if !strings.HasPrefix(got, c.want) {
					t.Errorf("%s: %s", name, got)
				}
				w.none()
				return
			}
			there := map[string]*phone{"carol": carol, "dave": dave}[c.want]
			there.await("acked")
			w.hear(w.alice, there)
			va, vb := w.a.proxy.Calls(), w.b.proxy.Calls()
			if len(vb) != 1 || vb[0].Protection != "srtp" || !strings.HasPrefix(vb[0].To, "sip:"+c.want+"@") || !strings.Contains(vb[0].Reason, "forwarded by sip:bob@b.example") || vb[0].Continues != "" {
				t.Errorf("%s: %+v", name, vb)
			}
			if len(va) == 0 || va[0].SASWords == "" {
				t.Errorf("%s: %+v", name, va)
			}
			if f := there.lastReq; c.want == "dave" && !strings.HasPrefix(f.Get("Diversion"), "<sip:bob@b.example>;") {
				t.Errorf("%s: Diversion %q", name, f.Get("Diversion"))
			}
			w.alice.hangup()
			there.await("bye")
			w.none()
			if *clear != 0 {
				t.Errorf("%s: %d packets in clear", name, *clear)
			}
		})
	}
}

// Two phones that send callers to each other, or further and further, end it.
func TestForwardingEnds(t *testing.T) {
	t.Parallel()
	inBubble(t, withColleagues(worldOptions{}), func(t *testing.T, w *world) {
		dave := w.phone("dave", davePhone, insideB)
		defer dave.close()
		w.bob.redirects("<sip:dave@b.example>")
		dave.redirects("<sip:bob@b.example>")
		w.alice.call("sip:bob@b.example")
		if got := w.alice.await("answered", "refused"); !strings.HasPrefix(got, "refused 480") {
			t.Error(got)
		}
		invites := 0
		w.net.Tap(func(d memnet.Datagram) {
			if d.From == insideB && strings.HasPrefix(string(d.Payload), "INVITE ") {
				invites++
			}
		})
		dave.redirects("<sip:bob@b.example;x=1>", "<sip:Dave@b.example>", "<sip:dave@b.example:5062>")
		w.alice.call("sip:bob@b.example")
		if got := w.alice.await("answered", "refused"); !strings.HasPrefix(got, "refused") {
			t.Error(got)
		}
		synctest.Wait()
		if invites > 5 {
			t.Errorf("%d INVITEs", invites)
		}
		w.none()
	})
}

// Somebody outside who redirects has nobody called at an account's cost, nobody
// inside, and nobody by a route; the address of another place outside is followed,
// protected as before, with a new share.
func TestForwardedByAStranger(t *testing.T) {
	t.Parallel()
	elsewhere := netip.MustParseAddrPort("203.0.113.77:5060")
	for name, c := range map[string]struct {
		contact string
		want    string
	}{
		"to the outside":     {"<sip:eve@203.0.113.77>", "answered"},
		"to a premium alias": {"<sip:00900123456@a.example>", "refused 480"},
		"to the provider":    {"<sip:00900123456@" + providerAddr.String() + ">", "refused 480"},
		"to the inside":      {"<sip:alice@" + alicePhone.String() + ">", "refused 480"},
		"to the registrar":   {"<sip:alice@" + insideA.String() + ">", "refused 480"},
		"to the loopback":    {"<sip:alice@127.0.0.1>", "refused 480"},
		"to a name inside":   {"<sip:alice@inside.example>", "refused 502"},
		"to help":            {"<sip:112@203.0.113.77>", "refused 480"},
	} {
		o := worldOptions{modeA: policy.Prefer, dnsA: dns{a: map[string]netip.Addr{"inside.example": alicePhone.Addr()}}, optionsA: func(a *b2bua.Options) {
			a.Domains = []string{"a.example"}
			a.Emergency = route.Emergency{Numbers: []string{"112"}, Target: route.Target{URI: "sip:112@" + carolPhone.String(), Host: carolPhone.Addr().String(), Port: 5060, Side: route.Inside}}
			a.Listeners[0].Networks = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}
			a.Peer = func(host string, addr netip.Addr) string {
				if addr == providerAddr.Addr() {
					return "provider"
				}
				return ""
			}
			a.Aliases = nil
			table, err := route.NewTable([]route.Route{
				{Match: route.MustPattern("00*"), From: route.Inside, To: "sip:*@" + providerAddr.String(), Side: route.Outside, Peer: "provider", Transfer: true},
				{Match: route.MustPattern("alice"), To: "sip:alice@" + alicePhone.String(), Side: route.Inside},
			})
			if err != nil {
				panic(err)
			}
			a.Routes = table
			a.Trunks = []b2bua.Trunk{{Peer: "provider", From: sip.URI{Scheme: "sip", User: "4930", Host: "provider.example"}}}
		}}
		inBubble(t, o, func(t *testing.T, w *world) {
			mallory := w.phone("mallory", strangerAddr, outsideA)
			defer mallory.close()
			eve := w.phone("eve", elsewhere, outsideA)
			defer eve.close()
			mallory.redirects(c.contact)
			var shares []string
			w.net.Tap(func(d memnet.Datagram) {
				m, err := sip.Parse(d.Payload)
				if err != nil || m.Method != "INVITE" || d.From.Addr() != outsideA.Addr() && d.From.Addr() != insideA.Addr() {
					return
				}
				if d.To != strangerAddr && d.To != elsewhere {
					t.Errorf("%s: INVITE to %s", name, d.To)
				}
				if v := value(string(m.Body), "dh-init"); len(shares) == 0 || shares[len(shares)-1] != v {
					shares = append(shares, v)
				}
				if d.To == elsewhere && m.Has("Authorization") {
					t.Errorf("%s: %s", name, m.Bytes())
				}
			})
			w.alice.fields = []sip.Field{{Name: "Authorization", Value: `Digest username="alice", realm="x", nonce="n", uri="sip:x", response="00000000000000000000000000000000"`}}
			w.alice.call("sip:mallory@" + strangerAddr.Addr().String())
			if got := w.alice.await("answered", "refused"); !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: %s", name, got)
			} else if c.want == "answered" {
				eve.await("acked")
				if len(shares) != 2 || shares[0] == "" || shares[0] == shares[1] {
					t.Errorf("%s: shares %q", name, shares)
				}
				w.alice.hangup()
				eve.await("bye")
			}
			w.none()
		})
	}
}
