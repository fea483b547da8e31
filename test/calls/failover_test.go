package calls

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

// twoRecords is a domain with two servers, of which the preferred one is dead.
type twoRecords struct{}

var deadServer = netip.MustParseAddr("198.51.100.99")

func (twoRecords) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if service != "sip" || proto != "udp" || name != "two.example" {
		return "", nil, &net.DNSError{Err: "no such host", IsNotFound: true}
	}
	return "", []*net.SRV{{Target: "dead.two.example", Port: 5060, Priority: 1}, {Target: "alive.two.example", Port: 5060, Priority: 2}}, nil
}

func (twoRecords) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	switch host {
	case "dead.two.example":
		return []netip.Addr{deadServer}, nil
	case "alive.two.example":
		return []netip.Addr{outsideB.Addr()}, nil
	}
	return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
}

// A domain's second server takes the call when the first one is silent or out
// of service, and the exchange that it sees is a new one.
func TestNextServerGetsANewShare(t *testing.T) {
	t.Parallel()
	for _, silent := range []bool{true, false} {
		inBubble(t, worldOptions{dnsA: twoRecords{}}, func(t *testing.T, w *world) {
			var offers []string
			w.net.Tap(func(d memnet.Datagram) {
				if v := value(string(d.Payload), "dh-init"); d.From == outsideA && v != "" && (len(offers) == 0 || offers[len(offers)-1] != v) {
					offers = append(offers, v)
				}
			})
			if !silent {
				server := w.raw(netip.AddrPortFrom(deadServer, 5060))
				defer server.conn.Close()
				go func() {
					for m := range server.got {
						if strings.HasPrefix(m, "INVITE ") {
							head, _, _ := strings.Cut(m, "\r\n\r\n")
							res := strings.Replace(head, firstLine([]byte(m)), "SIP/2.0 503 Service Unavailable", 1)
							res = removeLine(removeLine(res, "Content-Type:"), "Content-Length:") + ";tag=x\r\nContent-Length: 0\r\n\r\n"
							server.conn.WriteTo([]byte(res), net.UDPAddrFromAddrPort(outsideA))
						}
					}
				}()
			}
			start := time.Now()
			w.alice.call("sip:bob@two.example")
			w.alice.await("answered")
			w.bob.await("acked")
			if took := time.Since(start); silent != (took > 30*time.Second) {
				t.Errorf("silent %v: it took %v", silent, took)
			}
			if len(offers) != 2 || offers[0] == offers[1] {
				t.Errorf("offers %q", offers)
			}
			if b, a := w.talk(10); b != 10 || a != 10 {
				t.Errorf("bob heard %d, alice %d of 10", b, a)
			}
		})
	}
}

// Every record is tried in its order, whatever is wrong with the one before, and
// each server sees a share of its own; the servers of a trunk also after the
// password was asked for.
func TestEveryRecordIsTriedWithANewShare(t *testing.T) {
	t.Parallel()
	names := dns{
		srv: map[string][]string{"udp": {"silent.example", "busy.example"}, "tcp": {"refusing.example", "asking.example"}},
		a:   map[string]netip.Addr{"silent.example": deadServer, "busy.example": netip.MustParseAddr("198.51.100.98"), "refusing.example": netip.MustParseAddr("198.51.100.97"), "asking.example": providerAddr.Addr()},
	}
	streams := &memnet.Streams{}
	inBubble(t, withTrunk(names, nil, func(o *b2bua.Options) {
		o.Listeners = append(o.Listeners, b2bua.Listener{Name: "internet", Side: policy.Outside, Stream: streams.Listen(outsideA), Dial: streams.From(outsideA.Addr())})
		o.Trunks[0].Server = route.Target{} // so that no registration leads the call past the others
	}), func(t *testing.T, w *world) {
		var offers []string
		note := func(m *sip.Message) { offers = append(offers, value(string(m.Body), "dh-init")) }
		w.net.Tap(func(d memnet.Datagram) {
			if m, err := sip.Parse(d.Payload); err == nil && d.From == outsideA && d.To.Addr() == deadServer && m.Method == "INVITE" && (len(offers) == 0 || offers[len(offers)-1] != value(string(m.Body), "dh-init")) {
				note(m)
			}
		})
		busy := w.phone("busy", netip.AddrPortFrom(names.a["busy.example"], 5060), outsideA)
		defer busy.close()
		busy.refuse = 503
		busy.first = func(in *sip.Incoming) bool { note(in.Message); return false }
		p := w.provider(providerAddr)
		defer p.close()
		if _, err := p.stack.Listen(sip.ListenerOptions{Name: "tcp", Stream: streams.Listen(providerAddr), Dial: streams.From(providerAddr.Addr())}); err != nil {
			t.Fatal(err)
		}
		w.alice.call("sip:030555@a.example")
		w.alice.await("answered")
		p.await("acked")
		for _, m := range p.invited() {
			note(m)
		}
		// silent, busy, refusing (which sees none), asking, and with the answer to its question.
		if len(offers) != 4 {
			t.Fatalf("offers %q", offers)
		}
		for i, o := range offers {
			if o == "" || slices.Contains(offers[:i], o) {
				t.Errorf("offer %d is empty or an earlier one: %q", i, offers)
			}
		}
		w.alice.hangup()
		p.await("bye")
	})
}
