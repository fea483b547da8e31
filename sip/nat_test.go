package sip

import (
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/sipward/sipward/demo/memnet"
)

var homeAddr = netip.MustParseAddrPort("192.168.7.2:5060")

// What a peer says in our Via is what it is told to send to.
func TestContactAsThePeerSeesIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, via, contact string }{
		{"a NAT", ";received=192.0.2.77;rport=40001", "192.0.2.77:40001"},
		{"none", ";received=192.168.7.2;rport=5060", "192.168.7.2:5060"},
		{"another port at the same address", ";received=192.168.7.2;rport=5099", "192.168.7.2:5060"},
		{"no port", ";received=192.0.2.77;rport", "192.168.7.2:5060"},
		{"port 0", ";received=192.0.2.77;rport=0", "192.168.7.2:5060"},
		{"no such port", ";received=192.0.2.77;rport=65536", "192.168.7.2:5060"},
		{"no address", ";rport=40001", "192.168.7.2:5060"},
		{"a name", ";received=evil.example;rport=40001", "192.168.7.2:5060"},
		{"everywhere", ";received=0.0.0.0;rport=40001", "192.168.7.2:5060"},
		{"many", ";received=224.0.0.1;rport=40001", "192.168.7.2:5060"},
		{"another family", ";received=2001:db8::1;rport=40001", "192.168.7.2:5060"},
		{"the family in disguise", ";received=::ffff:192.0.2.77;rport=40001", "192.0.2.77:40001"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, memnet.Options{}, func(w *world) {
				s, l := w.stack(homeAddr, nil)
				bob, flow := w.remote(bobAddr), l.Flow(bobAddr)
				answered := make(chan int, 1)
				req := bob.request("OPTIONS")
				req.Remove("Via")
				if err := s.Request(RequestOptions{Flow: flow, Message: req, Queue: &Queue{Log: quietLog}, Handle: func(res *Message, _ error) { answered <- res.Status }}); err != nil {
					t.Fatal(err)
				}
				got := bob.next("OPTIONS")
				branch, _ := ParseVia(got.Get("Via"))
				got.Set("Via", "SIP/2.0/UDP "+homeAddr.String()+";branch="+branch.Branch()+c.via)
				bob.respond(homeAddr, got, 200, "bob")
				<-answered
				if got := flow.ContactURI("u").String(); got != "sip:u@"+c.contact {
					t.Errorf("told to send to %s, want %s", got, c.contact)
				}
				if got := l.Flow(carolAddr).ContactURI("u").String(); got != "sip:u@"+homeAddr.String() {
					t.Errorf("somebody else is told to send to %s", got)
				}
			})
		})
	}
}

// A listener that advertises an address does so whatever a peer says.
func TestAdvertisedAddressStays(t *testing.T) {
	t.Parallel()
	l := &Listener{Network: "udp"}
	l.bound.Store(&binding{local: homeAddr, advertise: aliceAddr})
	f := Flow{listener: l, remote: bobAddr}
	f.learn(Via{Params: ";received=192.0.2.77;rport=40001"})
	if got := f.ContactURI("u"); got.Host != aliceAddr.Addr().String() || got.Port != int(aliceAddr.Port()) {
		t.Errorf("told to send to %s", got)
	}
	if f.Translated() {
		t.Error("taken for one behind a NAT")
	}
}

func TestMappingsAreBounded(t *testing.T) {
	t.Parallel()
	var m mappings
	for i := range 2 * maxMapped {
		m.set(netip.AddrPortFrom(bobAddr.Addr(), uint16(i+1)), aliceAddr)
	}
	if len(m.seen) != maxMapped {
		t.Errorf("%d translations are kept, want %d", len(m.seen), maxMapped)
	}
}

// A peer behind a NAT is reached where its packets come from, whatever its Contact
// says; one that is not is reached at its Contact.
func TestRequestsToAPeerBehindNAT(t *testing.T) {
	t.Parallel()
	elsewhere := netip.MustParseAddrPort("10.9.9.9:5060")
	for _, c := range []struct {
		name         string
		from         netip.AddrPort
		via, contact string
		want         netip.AddrPort
	}{
		{"private address", bobAddr, "192.168.7.2:5060", "192.168.7.2:5060", bobAddr},
		{"private address behind a proxy", bobAddr, bobAddr.String(), "192.168.7.2:5060", bobAddr},
		{"shared address", bobAddr, bobAddr.String(), "100.64.0.9:5060", bobAddr},
		{"private network within a private network", elsewhere, "192.168.7.2:5060", "192.168.7.2:5060", elsewhere},
		{"no NAT, another phone of the network", elsewhere, elsewhere.String(), "10.9.9.7:5060", netip.MustParseAddrPort("10.9.9.7:5060")},
		{"no NAT, another address", bobAddr, bobAddr.String(), carolAddr.String(), carolAddr},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, memnet.Options{}, func(w *world) {
				u := newUser()
				_, l := w.stack(aliceAddr, u.taking(func() { u.dialog.Answer("", nil) }))
				from := w.remote(c.from)
				from.send(aliceAddr, from.request("INVITE", "Via", "SIP/2.0/UDP "+c.via+";branch=z9hG4bKnat;rport", "Contact", "<sip:carol@"+c.contact+">"))
				ok := from.next("200 INVITE")
				from.send(aliceAddr, from.request("ACK", "To", ok.Get("To")))
				synctest.Wait()
				u.do(func() { u.dialog.Bye(nil) })
				synctest.Wait()
				byes := w.wires(l.Local(), "BYE")
				if len(byes) == 0 {
					t.Fatal("no BYE")
				}
				if byes[0].to != c.want {
					t.Errorf("the BYE went to %v, want %v", byes[0].to, c.want)
				}
			})
		})
	}
}
