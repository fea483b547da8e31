package calls

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
)

// faxSDP offers sound and a fax.
func faxSDP(addr netip.Addr) string {
	return phoneSDP(addr, 4000) + "m=image 4100 udptl t38\r\na=T38FaxVersion:0\r\n"
}

// udp opens a socket of a phone's own for what is not sound.
func (w *world) udp(at netip.AddrPort) (net.PacketConn, chan string) {
	c := w.listen(at)
	heard := make(chan string, 100)
	go func() {
		buf := make([]byte, 2000)
		for {
			n, _, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			heard <- string(buf[:n])
		}
	}()
	return c, heard
}

// portOf is the port of an m-line that the phone was told.
func portOf(body []byte, kind string) int {
	var port int
	if _, rest, ok := strings.Cut(string(body), "m="+kind+" "); ok {
		fmt.Sscan(rest, &port)
	}
	return port
}

// A stream that is not RTP is refused where protection is required, relayed
// where it is not, and named in what the call shows.
func TestFaxIsRelayedOrRefused(t *testing.T) {
	t.Parallel()
	for _, mode := range []policy.Mode{policy.Require, policy.Prefer} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			inBubble(t, worldOptions{modeA: mode, modeB: mode}, func(t *testing.T, w *world) {
				clear := w.tapClear()
				stray := 0
				w.net.Tap(func(d memnet.Datagram) {
					if between(d.From, d.To) && strings.Contains(string(d.Payload), "page") {
						stray++
					}
				})
				w.alice.body = func() []byte { return []byte(faxSDP(alicePhone.Addr())) }
				w.bob.body = func() []byte { return []byte(faxSDP(bobPhone.Addr())) }
				if mode == policy.Require { // what the phone is told to do
					w.bob.body = func() []byte {
						return []byte(strings.Replace(faxSDP(bobPhone.Addr()), "m=image 4100", "m=image 0", 1))
					}
				}
				fromAlice, aliceFax := w.udp(netip.AddrPortFrom(alicePhone.Addr(), 4100))
				defer fromAlice.Close()
				fromBob, bobFax := w.udp(netip.AddrPortFrom(bobPhone.Addr(), 4100))
				defer fromBob.Close()
				w.up()
				if b, a := w.talk(20); b != 20 || a != 20 || *clear != 0 {
					t.Errorf("bob heard %d, alice %d of 20, %d in clear", b, a, *clear)
				}
				va, vb := w.views()
				if va.Protection != "srtp" || vb.Protection != "srtp" {
					t.Errorf("%s and %s", va.Protection, vb.Protection)
				}
				toA, toB := portOf(w.alice.answer.Body, "image"), portOf(w.bob.lastReq.Body, "image")
				if mode == policy.Require {
					if toA != 0 || toB != 0 || strings.Contains(va.Reason, "image") {
						t.Errorf("fax at ports %d and %d: %s", toA, toB, va.Reason)
					}
					return
				}
				fromAlice.WriteTo([]byte("page 1"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(insideA.Addr(), uint16(toA))))
				fromBob.WriteTo([]byte("page 2"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(insideB.Addr(), uint16(toB))))
				if got := <-bobFax; got != "page 1" {
					t.Errorf("bob's fax got %q", got)
				}
				if got := <-aliceFax; got != "page 2" {
					t.Errorf("alice's fax got %q", got)
				}
				stranger, _ := w.udp(strangerAddr)
				defer stranger.Close()
				for port := 20000; port < 20040; port++ {
					stranger.WriteTo([]byte("page 3"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(outsideB.Addr(), uint16(port))))
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if len(bobFax)+len(aliceFax) != 0 || stray != 2 {
					t.Errorf("a stranger's page arrived; %d pages crossed", stray)
				}
				for _, v := range []string{va.Reason, vb.Reason} {
					if !strings.Contains(v, "relayed as it is: image (udptl)") {
						t.Errorf("the call shows %q", v)
					}
				}
			})
		})
	}
}

// A fax takes the slot of the sound, and gives it back: the keys of the sound
// are as they were.
func TestFaxInTheSlotOfTheSound(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{modeA: policy.Prefer, modeB: policy.Prefer}, func(t *testing.T, w *world) {
		clear := w.tapClear()
		w.up()
		w.talk(10)
		image := func(addr netip.Addr) string {
			return strings.Replace(phoneSDP(addr, 4000), "m=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000", "m=image 4000 udptl t38", 1)
		}
		sound := w.bob.body
		w.bob.body = func() []byte { return []byte(image(bobPhone.Addr())) }
		if got := w.alice.reinvite(image(alicePhone.Addr())); got != "200" {
			t.Fatalf("re-INVITE to fax: %s", got)
		}
		time.Sleep(time.Minute)
		if va, _ := w.views(); !strings.Contains(va.Reason, "image (udptl)") {
			t.Errorf("the call shows %q", va.Reason)
		}
		w.bob.body = sound
		if got := w.alice.reinvite(string(w.alice.body())); got != "200" {
			t.Fatalf("re-INVITE back: %s", got)
		}
		time.Sleep(time.Second)
		if b, a := w.talk(20); b != 20 || a != 20 || *clear != 0 {
			t.Errorf("bob heard %d, alice %d of 20, %d in clear", b, a, *clear)
		}
		if va, _ := w.views(); va.Protection != "srtp" || strings.Contains(va.Reason, "image") {
			t.Errorf("the call shows %s: %q", va.Protection, va.Reason)
		}
	})
}

func dtlsSDP(addr netip.Addr) string {
	s := strings.Replace(phoneSDP(addr, 4000), "RTP/AVP", "UDP/TLS/RTP/SAVP", 1)
	return s + "a=fingerprint:sha-256 AA:BB\r\na=setup:actpass\r\na=candidate:1 1 udp 1 " + addr.String() + " 4000 typ host\r\na=ice-ufrag:x\r\n"
}

// Keys by DTLS end at no sipward: from inside they are refused with the reason,
// from outside they pass where policy requires nothing and the phone takes them.
func TestKeysByDTLS(t *testing.T) {
	t.Parallel()
	t.Run("from inside", func(t *testing.T) {
		t.Parallel()
		for _, mode := range []policy.Mode{policy.Require, policy.Prefer} {
			inBubble(t, worldOptions{modeA: mode}, func(t *testing.T, w *world) {
				w.alice.body = func() []byte { return []byte(dtlsSDP(alicePhone.Addr())) }
				w.alice.call("sip:bob@b.example")
				if got := w.alice.await("refused", "answered"); !strings.HasPrefix(got, "refused 488") || !strings.Contains(got, "DTLS") {
					t.Errorf("%s: %s", mode, got)
				}
			})
		}
	})
	for _, mode := range []policy.Mode{policy.Require, policy.Prefer} {
		t.Run("from outside, "+string(mode), func(t *testing.T) {
			t.Parallel()
			inBubble(t, worldOptions{modeB: mode}, func(t *testing.T, w *world) {
				far := w.phone("far", strangerAddr, outsideB)
				defer far.close()
				far.body = func() []byte { return []byte(dtlsSDP(strangerAddr.Addr())) }
				w.bob.body = func() []byte {
					return []byte(strings.Replace(dtlsSDP(bobPhone.Addr()), "actpass", "active", 1) + "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:secret\r\n")
				}
				far.call("sip:bob@b.example")
				got := far.await("refused", "answered")
				if mode == policy.Require {
					if !strings.HasPrefix(got, "refused 488") || !strings.Contains(got, "no key exchange") {
						t.Errorf("got %s", got)
					}
					return
				}
				w.bob.await("acked")
				offer, answer := string(w.bob.lastReq.Body), string(far.answer.Body)
				for _, s := range []string{offer, answer} {
					if !strings.Contains(s, "a=fingerprint:sha-256 AA:BB") || !strings.Contains(s, "UDP/TLS/RTP/SAVP") || strings.Contains(s, "candidate") || strings.Contains(s, "ice-") || strings.Contains(s, "secret") {
						t.Errorf("passed as\n%s", s)
					}
				}
				hello := string([]byte{22, 254, 253, 0, 0}) // of a DTLS handshake
				far.rtp.WriteTo([]byte(hello), net.UDPAddrFromAddrPort(*far.media.Load()))
				if got := <-w.bob.heard; string(got) != hello {
					t.Errorf("bob's phone got %x", got)
				}
				if v := w.b.proxy.Calls()[0]; v.Protection != "none" || !strings.Contains(v.Reason, "audio (UDP/TLS/RTP/SAVP)") {
					t.Errorf("the call shows %s: %s", v.Protection, v.Reason)
				}
				far.hangup()
				far.await("bye answered")
			})
		})
	}
}

// A phone that puts RTCP on the RTP port has it there, whatever the far end's
// phone does.
func TestRTCPMuxOnOneSide(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{}, func(t *testing.T, w *world) {
		at := map[netip.AddrPort]int{}
		w.net.Tap(func(d memnet.Datagram) {
			if len(d.Payload) > 28 && d.Payload[1] == 200 {
				at[d.To]++
			}
		})
		w.alice.body = func() []byte { return []byte(phoneSDP(alicePhone.Addr(), 4000) + "a=rtcp-mux\r\n") }
		w.up()
		w.talk(5)
		if !strings.Contains(string(w.alice.answer.Body), "a=rtcp-mux\r\n") || strings.Contains(string(w.bob.lastReq.Body), "rtcp-mux") {
			t.Errorf("alice was told\n%s\nbob\n%s", w.alice.answer.Body, w.bob.lastReq.Body)
		}
		w.bob.rtcpTo(sdes(0xB2, "b", ""))
		w.alice.rtp.WriteTo(sdes(0xA1, "a", ""), net.UDPAddrFromAddrPort(*w.alice.media.Load()))
		time.Sleep(time.Second)
		synctest.Wait()
		if at[netip.AddrPortFrom(alicePhone.Addr(), 4000)] != 1 || at[netip.AddrPortFrom(bobPhone.Addr(), 4001)] != 1 {
			t.Errorf("reports arrived at %v", at)
		}
	})
}
