package calls

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/sas/attest"
	"github.com/sipward/sipward/trust"
)

// Signatures beside shares that go before the answer: in a reliable 183 and its
// PRACK.
func TestEarlySignatures(t *testing.T) {
	t.Parallel()
	slowly := func(letter byte) func(*b2bua.Options) {
		return func(o *b2bua.Options) {
			o.Signers = func(string) []attest.Signer { return []attest.Signer{hangs{}, ed25519Key(t, letter)} }
		}
	}
	for name, c := range map[string]struct {
		optionsA, optionsB func(*b2bua.Options)
		tamper             func(string) string
		alice              string // "": the call stands
	}{
		"both sign":             {},
		"the callee slowly":     {optionsB: slowly('b')},
		"the caller slowly":     {optionsA: slowly('a')},
		"both slowly":           {optionsA: slowly('a'), optionsB: slowly('b')},
		"changed in the 183":    {tamper: func(m string) string { return flipIn(m, "SIP/2.0 183") }, alice: "refused 488 A signature of the other end is wrong"},
		"changed in the PRACK":  {tamper: func(m string) string { return flipIn(m, "PRACK ") }, alice: "refused 488 A signature of the other end is wrong"},
		"stripped of the 183":   {tamper: func(m string) string { return stripIn(m, "SIP/2.0 183") }, alice: "refused 488"},
		"stripped of the PRACK": {tamper: func(m string) string { return stripIn(m, "PRACK ") }, alice: "refused 488"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ma, mb := memory(t), memory(t)
			o := worldOptions{optionsA: signing("a.example", ma, keysOf(t, "a")), optionsB: signing("b.example", mb, keysOf(t, "b"))}
			if c.optionsA != nil {
				o.optionsA = all(o.optionsA, c.optionsA)
			}
			if c.optionsB != nil {
				o.optionsB = all(o.optionsB, c.optionsB)
			}
			inBubble(t, o, func(t *testing.T, w *world) {
				pin(t, ma, bob, 'b', true, trust.Equal)
				pin(t, mb, alice, 'a', true, trust.Equal)
				clear := w.tapClear()
				if c.tamper != nil {
					w.tamper(c.tamper)
				}
				w.bob.manual, w.bob.early = true, true
				w.alice.call("sip:bob@b.example")
				if c.alice != "" {
					go w.bob.say(300, 0, 0xB2)
					w.alice.await(c.alice)
					w.bob.await("cancelled")
					time.Sleep(10 * time.Second)
					if *clear != 0 || len(w.alice.heard) != 0 || len(w.bob.heard) != 0 {
						t.Errorf("%d packets in clear, alice heard %d, bob %d", *clear, len(w.alice.heard), len(w.bob.heard))
					}
					w.none()
					return
				}
				w.alice.await("183")
				time.Sleep(2 * time.Second)
				heard := len(w.alice.heard)
				w.bob.say(20, 0, 0xB2)
				time.Sleep(500 * time.Millisecond)
				synctest.Wait()
				if n := len(w.alice.heard) - heard; n != 20 {
					t.Errorf("alice heard %d of 20 before the answer", n)
				}
				for _, v := range []b2bua.View{w.a.proxy.Calls()[0], w.b.proxy.Calls()[0]} {
					if v.Trust != "verified" || v.State != "ringing" {
						t.Errorf("before the answer: %s, %s", v.Trust, v.State)
					}
				}
				w.bob.do(func(d *sipDialog) { d.Answer("application/sdp", w.bob.body()) })
				w.alice.await("answered")
				w.bob.await("acked")
				if b, a := w.talk(20); b != 20 || a != 20 || *clear != 0 {
					t.Errorf("bob heard %d, alice %d of 20, %d in clear", b, a, *clear)
				}
				if va, vb := w.views(); va.Trust != "verified" || vb.Trust != "verified" || va.Identity != bob || vb.Identity != alice {
					t.Errorf("%+v %+v", va, vb)
				}
			})
		})
	}
}

func flipIn(m, kind string) string {
	if strings.HasPrefix(m, kind) {
		return flip(m, "dh-sig")
	}
	return m
}

func stripIn(m, kind string) string {
	if strings.HasPrefix(m, kind) {
		return removeLine(m, "a=dh-sig:")
	}
	return m
}
