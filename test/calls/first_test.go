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
)

// inBubble runs a story on a world whose clock is the bubble's.
func inBubble(t *testing.T, o worldOptions, story func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, o)
		defer w.close()
		story(t, w)
	})
}

// up brings a call up from alice to bob.
func (w *world) up() {
	w.t.Helper()
	w.alice.call("sip:bob@b.example")
	w.alice.await("answered")
	w.bob.await("acked")
	synctest.Wait()
}

// talk lets both sides say n packets at once and returns how many the other
// side heard.
func (w *world) talk(n int) (bobHeard, aliceHeard int) {
	b, a := len(w.bob.heard), len(w.alice.heard)
	done := make(chan bool)
	go func() { w.alice.say(n, w.seq, 0xA1); done <- true }()
	w.bob.say(n, w.seq+500, 0xB2)
	<-done
	w.seq += uint16(n)
	time.Sleep(500 * time.Millisecond)
	return len(w.bob.heard) - b, len(w.alice.heard) - a
}

func (w *world) views() (a, b b2bua.View) {
	w.t.Helper()
	va, vb := w.a.proxy.Calls(), w.b.proxy.Calls()
	if len(va) != 1 || len(vb) != 1 {
		w.t.Fatalf("%d and %d calls, want one each", len(va), len(vb))
	}
	return va[0], vb[0]
}

func (w *world) none() {
	w.t.Helper()
	synctest.Wait()
	if n := len(w.a.proxy.Calls()) + len(w.b.proxy.Calls()); n != 0 {
		w.t.Errorf("%d calls left", n)
	}
}

// clear says how many datagrams between the houses carried a payload that a
// phone sent. It must be set before the call.
func (w *world) tapClear() *int {
	n := new(int)
	w.net.Tap(func(d memnet.Datagram) {
		if !between(d.From, d.To) || len(d.Payload) < 172 || isSIP(d.Payload) {
			return
		}
		for _, mark := range []byte{0xA1, 0xB2} {
			for i := range 256 {
				same := true
				for j, c := range d.Payload[12:28] {
					same = same && c == mark^byte(i*7+j*13)
				}
				if same {
					*n++
				}
			}
		}
	})
	return n
}

func TestFirstSecuredCall(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{net: memnet.Options{Delay: 10 * time.Millisecond}}, func(t *testing.T, w *world) {
		clear := w.tapClear()
		w.up()
		if b, a := w.talk(50); b != 50 || a != 50 {
			t.Errorf("bob heard %d, alice %d of 50", b, a)
		}
		va, vb := w.views()
		for _, v := range []b2bua.View{va, vb} {
			if v.Protection != "srtp" || v.Trust != "encrypted" || v.Group != "x25519" || v.Suite != "AEAD_AES_256_GCM" || v.State != "established" {
				t.Errorf("view %+v", v)
			}
			if v.From != "sip:alice@a.example" || v.To != "sip:bob@b.example" {
				t.Errorf("who: %s to %s", v.From, v.To)
			}
		}
		if va.SASWords == "" || va.SASWords != vb.SASWords || va.SASCode != vb.SASCode || va.Direction != "outbound" || vb.Direction != "inbound" {
			t.Errorf("SAS %q %q and %q %q", va.SASWords, va.SASCode, vb.SASWords, vb.SASCode)
		}
		if *clear != 0 {
			t.Errorf("%d packets readable between the houses", *clear)
		}
		events, cancel := w.a.proxy.Subscribe(10)
		defer cancel()
		w.alice.hangup()
		w.alice.await("bye answered")
		w.bob.await("bye")
		w.none()
		if e := <-events; e.Type != "call-ended" || e.Call.SASWords != va.SASWords || e.Call.Suite != va.Suite || e.Call.State != "ended" {
			t.Errorf("the last word on the call: %+v", e)
		}
	})
}

// The callee's phone speaks as soon as it has answered, a round trip before
// the key arrives: nothing of it may be lost or leave in clear.
func TestSpeechBeforeTheKeyIsKept(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{net: memnet.Options{Delay: 30 * time.Millisecond}}, func(t *testing.T, w *world) {
		clear := w.tapClear()
		w.alice.call("sip:bob@b.example")
		w.bob.await("invited")
		go w.bob.say(30, 0, 0xB2)
		w.alice.await("answered")
		w.bob.await("acked")
		time.Sleep(3 * time.Second)
		if n := len(w.alice.heard); n != 30 {
			t.Errorf("alice heard %d of 30", n)
		}
		if *clear != 0 {
			t.Errorf("%d packets readable", *clear)
		}
	})
}

func TestPeerWithoutExchange(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		a, b    policy.Mode
		up      bool
		refusal string
	}{
		"caller requires":                 {policy.Require, policy.Off, false, "offers no key exchange"},
		"caller prefers":                  {policy.Prefer, policy.Off, true, ""},
		"callee requires":                 {policy.Off, policy.Require, false, "offers no key exchange"},
		"callee prefers, caller does not": {policy.Off, policy.Prefer, true, ""},
		"nobody wants it":                 {policy.Off, policy.Off, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, worldOptions{modeA: c.a, modeB: c.b}, func(t *testing.T, w *world) {
				clear := w.tapClear()
				w.alice.call("sip:bob@b.example")
				if !c.up {
					if got := w.alice.await("refused"); !strings.Contains(got, "488") || !strings.Contains(got, c.refusal) {
						t.Errorf("alice got %q", got)
					}
					if !strings.Contains(w.alice.answer.Get("Warning"), "399") {
						t.Errorf("Warning %q", w.alice.answer.Get("Warning"))
					}
					time.Sleep(time.Minute)
					if *clear != 0 {
						t.Errorf("%d packets in clear", *clear)
					}
					w.none()
					return
				}
				w.alice.await("answered")
				w.bob.await("acked")
				if b, a := w.talk(20); b != 20 || a != 20 {
					t.Errorf("bob heard %d, alice %d of 20", b, a)
				}
				va, vb := w.views()
				if va.Protection != "none" || vb.Protection != "none" || va.Trust != "none" || va.SASWords != "" || va.Reason == "" || vb.Reason == "" {
					t.Errorf("views %+v %+v", va, vb)
				}
			})
		})
	}
}

func TestHangupFromTheOtherSide(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{}, func(t *testing.T, w *world) {
		w.up()
		w.bob.hangup()
		w.bob.await("bye answered")
		w.alice.await("bye")
		w.none()
	})
}

func TestCancel(t *testing.T) {
	t.Parallel()
	t.Run("while it rings", func(t *testing.T) {
		t.Parallel()
		inBubble(t, worldOptions{}, func(t *testing.T, w *world) {
			w.bob.manual = true
			w.alice.call("sip:bob@b.example")
			w.alice.await("180")
			w.alice.queue.Post(func() { w.alice.dialog.Cancel() })
			w.alice.await("refused sip: cancelled")
			w.bob.await("cancelled")
			w.none()
		})
	})
	t.Run("before anything rings", func(t *testing.T) {
		t.Parallel()
		inBubble(t, worldOptions{net: memnet.Options{Delay: 50 * time.Millisecond}}, func(t *testing.T, w *world) {
			w.bob.manual = true
			w.alice.call("sip:bob@b.example")
			w.alice.queue.Post(func() { w.alice.dialog.Cancel() })
			w.alice.await("refused sip: cancelled")
			w.bob.await("cancelled")
			w.none()
		})
	})
	t.Run("crossing the answer", func(t *testing.T) {
		t.Parallel()
		for delay := time.Duration(0); delay < 300*time.Millisecond; delay += 10 * time.Millisecond {
			inBubble(t, worldOptions{net: memnet.Options{Delay: 20 * time.Millisecond}}, func(t *testing.T, w *world) {
				w.bob.manual = true
				w.alice.call("sip:bob@b.example")
				w.bob.await("invited")
				w.bob.do(func(d *sipDialog) { d.Answer("application/sdp", w.bob.body()) })
				time.Sleep(delay)
				w.alice.queue.Post(func() { w.alice.dialog.Cancel() })
				switch got := w.alice.await("refused", "answered"); {
				case strings.HasPrefix(got, "refused"):
					w.bob.await("bye", "cancelled")
				default:
					w.bob.await("acked")
					w.alice.hangup()
					w.bob.await("bye")
				}
				time.Sleep(40 * time.Second)
				w.none()
			})
		}
	})
}

func TestRefusalsComeThrough(t *testing.T) {
	t.Parallel()
	for _, status := range []int{404, 480, 486, 600, 603} {
		inBubble(t, worldOptions{}, func(t *testing.T, w *world) {
			w.bob.refuse = status
			w.alice.call("sip:bob@b.example")
			if got := w.alice.await("refused"); !strings.HasPrefix(got, "refused "+itoa(status)) {
				t.Errorf("bob said %d, alice got %q", status, got)
			}
			w.none()
		})
	}
}

func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{}, func(t *testing.T, w *world) {
		w.bob.manual = true
		w.alice.call("sip:bob@b.example")
		w.alice.await("refused 480")
		w.bob.await("cancelled")
		w.none()
	})
}

func TestOtherHouseIsGone(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{}, func(t *testing.T, w *world) {
		w.net.SetRule(func(from, to netip.AddrPort, _ []byte) memnet.Verdict { return memnet.Verdict{Drop: between(from, to)} })
		w.alice.call("sip:bob@b.example")
		w.alice.await("refused 408")
		w.none()
	})
}
