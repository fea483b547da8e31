package calls

import (
	"net/netip"
	"testing"
	"time"

	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
)

var (
	homeA   = netip.MustParseAddrPort("192.168.7.2:5060") // of Alice's sipward, behind the router
	routerA = netip.MustParseAddr("192.0.2.77")
)

// router is a NAT as they are in homes, of the strict kind: every address that is
// talked to sees another port, and only what it sends comes in, as long as not more
// than 30 s pass without a packet.
type router struct {
	ways map[uint16]*way // by port outside
}

type way struct {
	inside, peer netip.AddrPort
	last         time.Time
}

const routerForgets = 30 * time.Second

func newRouter() *router { return &router{ways: map[uint16]*way{}} }

// pass is the network's rule.
func (r *router) pass(from, to netip.AddrPort, _ []byte) memnet.Verdict {
	now := time.Now()
	switch {
	case from.Addr() == homeA.Addr():
		for port, w := range r.ways {
			if w.inside == from && w.peer == to && now.Sub(w.last) < routerForgets {
				w.last = now
				return memnet.Verdict{From: netip.AddrPortFrom(routerA, port)}
			}
		}
		port := 40000 + uint16(len(r.ways))
		r.ways[port] = &way{from, to, now}
		return memnet.Verdict{From: netip.AddrPortFrom(routerA, port)}
	case to.Addr() == routerA:
		w := r.ways[to.Port()]
		if w == nil || w.peer != from || now.Sub(w.last) >= routerForgets {
			return memnet.Verdict{Drop: true}
		}
		w.last = now
		return memnet.Verdict{To: w.inside}
	case to.Addr() == homeA.Addr(): // nobody outside knows the way to an address of a home
		return memnet.Verdict{Drop: true}
	}
	return memnet.Verdict{}
}

// inHome is the usual world with Alice's sipward behind a router.
func inHome(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	inBubble(t, worldOptions{outsideA: homeA, modeA: policy.Prefer, modeB: policy.Prefer}, func(t *testing.T, w *world) {
		w.net.SetRule(newRouter().pass)
		f(t, w)
	})
}

// Behind a router that nobody has told anything, Alice calls a sipward on the
// Internet. Its answers, its media and its BYE find the way back, also after a
// silence.
func TestCallFromBehindNAT(t *testing.T) {
	t.Parallel()
	inHome(t, func(t *testing.T, w *world) {
		w.up()
		for i := range 2 {
			if i > 0 {
				time.Sleep(100 * time.Second) // without media: both hold their breath
			}
			// The first words may come before the far sipward knows the way.
			if bob, alice := w.talk(100); bob < 95 || alice < 95 {
				t.Errorf("bob heard %d, alice %d of 100 packets", bob, alice)
			}
			if a, b := w.views(); a.Protection != "srtp" || b.Protection != "srtp" || a.SASWords == "" || a.SASWords != b.SASWords {
				t.Errorf("shown as %+v and %+v", a, b)
			}
		}
		w.bob.hangup()
		w.alice.await("bye")
		w.bob.await("bye answered")
	})
}

// A provider that knows nothing of NATs finds Alice at the address that it sees
// itself.
func TestAccountElsewhereFromBehindNAT(t *testing.T) {
	t.Parallel()
	inHome(t, func(t *testing.T, w *world) {
		e := w.elsewhere(t)
		defer e.close()
		if res := w.registerElsewhere(alicePhone, "pw-alice", "<sip:alice@"+alicePhone.String()+">", ""); res.Status != 200 {
			t.Fatalf("REGISTER: %d", res.Status)
		}
		u, _ := sip.ParseURI(e.contact)
		addr, ok := u.Addr()
		if !ok || addr != routerA {
			t.Fatalf("the registrar knows %s, want an address at %v", e.contact, routerA)
		}
		time.Sleep(2 * time.Minute)
		e.proxy = netip.AddrPortFrom(addr, uint16(u.Port))
		e.call(e.contact)
		w.alice.await("acked")
		e.await("answered")
		time.Sleep(2 * time.Minute)
		e.hangup()
		w.alice.await("bye")
	})
}
