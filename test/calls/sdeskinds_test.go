package calls

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/media/srtp"
)

// Of a user's two phones one takes plain RTP alone and the other SRTP alone:
// either can answer, and the keys are for the one that they were offered to.
func TestCalledPhonesOfBothKinds(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{true, false} {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprint("the one with SRTP answers ", secure, ", known ", known), func(t *testing.T) {
				t.Parallel()
				inBubble(t, withAccounts("carol"), func(t *testing.T, w *world) {
					mobile := w.phone("mobile", bobsMobile, insideB)
					defer mobile.close()
					p := newSRTPOnly(mobile, srtp.Suites()[0], 488)
					for _, at := range []netip.AddrPort{bobPhone, bobsMobile} {
						if res := w.register(at, insideB, "carol", "pw-carol", "600"); res == nil || res.Status != 200 {
							t.Fatalf("REGISTER: %+v", res)
						}
					}
					w.bob.manual, mobile.manual = true, true
					rings := func() {
						w.alice.call("sip:carol@b.example")
						w.bob.await("invited")
						mobile.await("invited")
						w.alice.await("180")
					}
					rings()
					if known {
						mobile.pickUp()
						w.alice.await("answered")
						w.bob.await("cancelled")
						w.alice.hangup()
						mobile.await("bye")
						rings()
					}
					if strings.Contains(string(w.bob.lastReq.Body), "crypto") {
						t.Errorf("the plain phone was asked with\n%s", w.bob.lastReq.Body)
					}
					answers, other := w.bob, mobile
					if secure {
						answers, other = mobile, w.bob
					}
					answers.pickUp()
					w.alice.await("answered")
					answers.await("acked")
					other.await("cancelled")
					synctest.Wait()
					if secure {
						if a, b := p.converseWith(w, w.alice, 20); a != 20 || b != 20 {
							t.Errorf("alice heard %d, the phone %d of 20", a, b)
						}
					} else if b, a := w.talk(20); b != 20 || a != 20 {
						t.Errorf("the phone heard %d, alice %d of 20", b, a)
					}
					if _, vb := w.views(); (vb.Legs[1].SDES != "") != secure || vb.Protection != "srtp" {
						t.Errorf("%+v", vb)
					}
					w.alice.hangup()
					answers.await("bye")
					w.none()
				})
			})
		}
	}
}

// Between phones of one house: the caller's keying does not cross to a phone whose
// own ends at the sipward, nor back.
func TestCalledPhoneWithSDESInside(t *testing.T) {
	t.Parallel()
	for _, callerToo := range []bool{false, true} {
		t.Run(fmt.Sprint("the caller has SRTP ", callerToo), func(t *testing.T) {
			t.Parallel()
			o := worldOptions{routesA: []string{"dave", "sip:dave@10.1.0.3:5060", "inside"}, optionsA: func(o *b2bua.Options) {
				if callerToo { // else both could talk end to end
					o.Listeners[0].SDES = b2bua.SDESAlways
				}
			}}
			inBubble(t, o, func(t *testing.T, w *world) {
				dave := w.phone("dave", netip.MustParseAddrPort("10.1.0.3:5060"), insideA)
				defer dave.close()
				p := newSRTPOnly(dave, srtp.Suites()[0], 488)
				caller := &srtpPhone{phone: w.alice, suite: srtp.Suites()[1], tag: "9"}
				if callerToo {
					caller.newKey()
					w.alice.body = caller.sdp
				}
				w.alice.call("sip:dave@a.example")
				w.alice.await("answered")
				dave.await("acked")
				synctest.Wait()
				check := func(body []byte, when string) {
					t.Helper()
					if callerToo {
						caller.learnKey(body)
						if strings.Count(string(body), "crypto") != 1 {
							t.Errorf("%s alice was told\n%s", when, body)
						}
						return
					}
					if strings.Contains(string(body), "crypto") || profileOf(body) != "RTP/AVP" {
						t.Errorf("%s alice was told\n%s", when, body)
					}
				}
				talk := func(when string) {
					t.Helper()
					var a, b int
					if callerToo {
						done := make(chan bool)
						go func() { p.speak(20); done <- true }()
						caller.speak(20)
						<-done
						time.Sleep(500 * time.Millisecond)
						a, b = caller.understood(), p.understood()
					} else {
						a, b = p.converseWith(w, w.alice, 20)
					}
					if a != 20 || b != 20 {
						t.Errorf("%s alice heard %d, dave %d of 20", when, a, b)
					}
				}
				check(w.alice.answer.Body, "in the answer")
				talk("at first")
				p.newKey()
				if got := dave.reinvite(string(p.sdp())); got != "200" {
					t.Fatalf("re-INVITE of dave: %s", got)
				}
				p.learnKey(dave.answer.Body)
				check(w.alice.reinvited.Body, "in the re-INVITE")
				talk("behind it")
				w.alice.hangup()
				dave.await("bye")
				w.none()
			})
		})
	}
}

// What such a phone plays before it answers crosses under its keys and those of
// the exchange.
func TestCalledPhoneWithSDESPlaysEarly(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{net: memnet.Options{Delay: 10 * time.Millisecond}}, func(t *testing.T, w *world) {
		clear := w.tapClear()
		p := newSRTPOnly(w.bob, srtp.Suites()[0], 488)
		w.bob.early, w.bob.manual = true, true
		w.alice.call("sip:bob@b.example")
		w.alice.await("183")
		time.Sleep(2 * time.Second)
		if a, b := p.converseWith(w, w.alice, 20); a != 20 || b != 20 {
			t.Errorf("before the answer alice heard %d, bob %d of 20", a, b)
		}
		w.bob.pickUp()
		w.alice.await("answered")
		w.bob.await("acked")
		time.Sleep(time.Second)
		if a, b := p.converseWith(w, w.alice, 20); a != 20 || b != 20 || *clear != 0 {
			t.Errorf("alice heard %d, bob %d of 20, %d in clear", a, b, *clear)
		}
		if va, vb := w.views(); va.Protection != "srtp" || va.SASWords != vb.SASWords {
			t.Errorf("%+v %+v", va, vb)
		}
	})
}
