package calls

import (
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/sas/attest"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/test/mitm"
	"github.com/sipward/sipward/trust"
)

// The man in the middle where the exchange stands in a reliable 183 and its PRACK,
// before the callee has answered. Both sides have confirmed the other's key before.
func TestAttacksOnEarlyMedia(t *testing.T) {
	t.Parallel()
	relayed := func(_ [32]byte, theirs []string) []string { return theirs }
	last := func(v string) int { return strings.LastIndexByte(v, ' ') + 1 }
	ownShare := "CQ" + strings.Repeat("A", 41) // the base point of X25519
	for name, c := range map[string]struct {
		earlier bool // a call that he leaves alone comes first
		mount   func(t *testing.T, m *mitm.Man)
		why     string // found in what either house says of the end
	}{
		"replaces shares and relays signatures": {false, func(_ *testing.T, m *mitm.Man) {
			m.Impersonate(mitm.Deceit{BesideResp: relayed, BesideFin: relayed})
		}, "signature of the other end is wrong"},
		"replaces shares and signs as they would": {false, func(t *testing.T, m *mitm.Man) {
			as := func(who string, role attest.Role) func([32]byte, []string) []string {
				return func(x [32]byte, _ []string) []string {
					v, err := ed25519Key(t, 'm').Sign(t.Context(), role, x, who)
					if err != nil {
						t.Error(err)
					}
					return []string{v}
				}
			}
			m.Impersonate(mitm.Deceit{BesideResp: as(bob, attest.Responder), BesideFin: as(alice, attest.Initiator)})
		}, "nother key than in earlier calls"},
		"replaces the caller's share alone": {false, func(_ *testing.T, m *mitm.Man) {
			m.On(mitm.Acks, mitm.Replace("dh-fin", func(string) string { return "1 " + ownShare }))
		}, "not the one that the caller committed to"},
		"chooses a group that was not offered": {false, func(_ *testing.T, m *mitm.Man) {
			m.On(mitm.Answers, mitm.Replace("dh-resp", func(v string) string { return "1 x448 AEAD_AES_256_GCM " + v[last(v):] }))
		}, "tampered with or is faulty"},
		"strips the callee's signature": {false, func(_ *testing.T, m *mitm.Man) { m.On(mitm.Answers, mitm.Drop("dh-sig")) }, "never arrived"},
		"strips the caller's signature": {false, func(_ *testing.T, m *mitm.Man) { m.On(mitm.Acks, mitm.Drop("dh-sig")) }, "never arrived"},
		"strips everything":             {false, func(_ *testing.T, m *mitm.Man) { m.On(mitm.All, mitm.DropAll) }, "offers no key exchange"},
		"replays an old 183": {true, func(_ *testing.T, m *mitm.Man) {
			m.On(mitm.Answers, mitm.SameAttributes(m.Kept(mitm.Answers)[0]))
		}, "signature of the other end is wrong"},
		"replays an old PRACK": {true, func(_ *testing.T, m *mitm.Man) {
			m.On(mitm.Acks, mitm.SameAttributes(m.Kept(mitm.Acks)[0]))
		}, "not the one that the caller committed to"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ma, mb := memory(t), memory(t)
			o := worldOptions{optionsA: signing("a.example", ma, keysOf(t, "a")), optionsB: signing("b.example", mb, keysOf(t, "b"))}
			inBubble(t, o, func(t *testing.T, w *world) {
				pin(t, ma, bob, 'b', true, trust.Equal)
				pin(t, mb, alice, 'a', true, trust.Equal)
				clear := w.tapClear()
				man := mitm.New(w.net, outsideA.Addr(), outsideB.Addr())
				w.bob.early, w.bob.manual = true, true
				if c.earlier {
					w.alice.call("sip:bob@b.example")
					w.bob.await("invited")
					time.Sleep(time.Second)
					w.bobAnswers()
					w.alice.await("answered")
					w.bob.await("acked")
					w.talk(10)
					if va, vb := w.views(); va.Trust != "verified" || vb.Trust != "verified" {
						t.Errorf("left alone: %s, %s", va.Trust, vb.Trust)
					}
					w.alice.hangup()
					w.bob.await("bye")
					synctest.Wait()
				}
				heard := len(w.alice.heard) + len(w.bob.heard)
				var ends atomic.Bool // nobody speaks any more
				said := make(chan bool)
				events := []<-chan b2bua.Event{}
				for _, h := range []*house{w.a, w.b} {
					e, cancel := h.proxy.Subscribe(100)
					defer cancel()
					events = append(events, e)
				}
				c.mount(t, man)
				early := false
				man.On(mitm.Answers, func(m *sip.Message) *sip.Message {
					early = early || m.Status < 200 && len(mitm.Values(m, "dh-resp")) > 0
					return m
				})
				w.alice.call("sip:bob@b.example")
				go func() {
					for seq := uint16(100); !ends.Load(); seq++ {
						w.bob.say(1, seq, 0xB2)
					}
					said <- true
				}()
				w.alice.await("refused", "bye")
				time.Sleep(10 * time.Second)
				ends.Store(true)
				<-said
				w.none()
				if !early && name != "strips everything" {
					t.Error("there was no exchange in a 183")
				}
				if now := len(w.alice.heard) + len(w.bob.heard); now != heard || *clear != 0 || man.Clear() != 0 || man.Touched() == 0 {
					t.Errorf("heard %d packets, %d and %d in clear, %d messages touched", now-heard, *clear, man.Clear(), man.Touched())
				}
				named := false
				for _, channel := range events {
					for len(channel) > 0 {
						e := <-channel
						if e.Call.Trust == "pinned" || e.Call.Trust == "verified" {
							t.Errorf("%s: %s", e.Type, e.Call.Trust)
						}
						named = named || e.Type == "call-ended" && regexp.MustCompile(c.why).MatchString(e.Call.Reason)
						if e.Type == "call-ended" {
							t.Logf("%s %s %s", e.Call.Trust, e.Call.Protection, e.Call.Reason)
						}
					}
				}
				if !named {
					t.Error("no house says why")
				}
			})
		})
	}
}
