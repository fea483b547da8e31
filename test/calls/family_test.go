package calls

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
)

// six is the IPv6 address that stands for one of the world's.
func six(ap netip.AddrPort) netip.AddrPort {
	b := netip.MustParseAddr("2001:db8::").As16()
	v4 := ap.Addr().As4()
	copy(b[12:], v4[:])
	return netip.AddrPortFrom(netip.AddrFrom16(b), ap.Port())
}

// addressLine matches what names an address family in SDP.
var addressLine = regexp.MustCompile(`(?m)^(?:[oc]=|a=rtcp:).*\bIN (IP[46]) (\S+)`)

// Either side of a sipward may speak IPv4 or IPv6; each leg's messages name
// addresses of its own family, and none of the other leg's.
func TestFamiliesMix(t *testing.T) {
	t.Parallel()
	all := []netip.AddrPort{alicePhone, insideA, outsideA, outsideB, insideB, bobPhone}
	for name, sixth := range map[string][]netip.AddrPort{
		"IPv4 inside, IPv6 outside":       {outsideA, outsideB},
		"IPv6 inside, IPv4 outside":       {alicePhone, insideA, insideB, bobPhone},
		"IPv6 everywhere":                 all,
		"IPv4 at the caller, IPv6 beyond": {outsideA, outsideB, insideB, bobPhone},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := func(ap netip.AddrPort) netip.AddrPort {
				for _, s := range sixth {
					if s == ap {
						return six(ap)
					}
				}
				return ap
			}
			inBubble(t, worldOptions{at: at}, func(t *testing.T, w *world) {
				bodies := 0
				w.net.Tap(func(d memnet.Datagram) {
					if !isSIP(d.Payload) {
						return
					}
					m := string(d.Payload)
					want := "IP4"
					if d.From.Addr().Is6() {
						want = "IP6"
					}
					for _, line := range addressLine.FindAllStringSubmatch(m, -1) {
						bodies++
						if addr, err := netip.ParseAddr(line[2]); line[1] != want || err != nil || addr != d.From.Addr() {
							t.Errorf("%v sends %q", d.From, line[0])
						}
					}
					for _, other := range all {
						if o := at(other).Addr(); o != d.From.Addr() && o != d.To.Addr() && strings.Contains(m, o.String()) {
							t.Errorf("%v tells %v of %v:\n%s", d.From, d.To, o, m)
						}
					}
				})
				w.up()
				if b, a := w.talk(20); b != 20 || a != 20 {
					t.Errorf("bob heard %d, alice %d of 20", b, a)
				}
				va, vb := w.views()
				if va.SASWords == "" || va.SASWords != vb.SASWords || va.Protection != "srtp" {
					t.Errorf("%+v and %+v", va, vb)
				}
				w.bob.reinvite(string(w.bob.body()))
				w.alice.await("reinvited")
				if bodies < 24 { // o= and c= of two offers and two answers, on three legs
					t.Errorf("%d address lines seen", bodies)
				}
				w.bob.hangup()
				w.bob.await("bye answered")
				w.alice.await("bye")
				w.none()
			})
		})
	}
}

// An IPv6 network is left for another one.
func TestMoveOverIPv6(t *testing.T) {
	t.Parallel()
	at := func(ap netip.AddrPort) netip.AddrPort {
		if ap == outsideA || ap == outsideB {
			return six(ap)
		}
		return ap
	}
	o := lan
	o.at = at
	inBubble(t, o, func(t *testing.T, w *world) {
		w.up()
		w.talk(10)
		before, _ := w.views()
		w.net.TakeAway(at(outsideA).Addr())
		if err := w.a.proxy.Move("internet", "udp", b2bua.Place{Packet: w.listen(six(awayA))}); err != nil {
			t.Fatal(err)
		}
		w.heardWithin(2 * time.Second)
		w.bob.await("reinvited")
		if after, _ := w.views(); after.SASWords != before.SASWords || !strings.HasPrefix(after.Legs[1].Media, "["+six(awayA).Addr().String()+"]") {
			t.Errorf("%+v", after)
		}
	})
}
