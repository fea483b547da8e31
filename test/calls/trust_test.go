package calls

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sas/attest"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/trust"
)

// outcome is what both sides see of a call that stands.
type outcome struct{ a, b string } // word, and ~ downgrade, ! changed, @ an identity was proved

func worth(v b2bua.View) string {
	s := v.Trust
	for _, f := range []struct {
		set  bool
		mark string
	}{{v.Downgrade, "~"}, {v.KeyChanged, "!"}, {v.Identity != "", "@"}} {
		if f.set {
			s += f.mark
		}
	}
	return s
}

// What a call is worth at both ends, by what was there before and what is signed.
func TestTrustOfCalls(t *testing.T) {
	t.Parallel()
	const none, same = trust.Unsaid, trust.Equal
	for name, c := range map[string]struct {
		keysA, keysB string
		pinA, pinB   func(t *testing.T, m *trust.Memory)
		change       func(*world)
		optionsA     func(*b2bua.Options)
		optionsB     func(*b2bua.Options)
		want         outcome
	}{
		"nobody signs":         {want: outcome{"encrypted", "encrypted"}},
		"first call":           {keysA: "a", keysB: "b", want: outcome{"encrypted@", "encrypted@"}},
		"only the callee does": {keysB: "b", want: outcome{"encrypted@", "encrypted"}},
		"pinned by dialling": {keysA: "a", keysB: "b", want: outcome{"pinned@", "encrypted@"},
			pinA: func(t *testing.T, m *trust.Memory) { pin(t, m, bob, 'b', true, none) }},
		"pinned at both ends": {keysA: "a", keysB: "b", want: outcome{"pinned@", "pinned@"},
			pinA: func(t *testing.T, m *trust.Memory) { pin(t, m, bob, 'b', true, none) },
			pinB: func(t *testing.T, m *trust.Memory) { pin(t, m, alice, 'a', true, none) }},
		"a weak pin of an incoming call": {keysA: "a", keysB: "b", want: outcome{"pinned@", "encrypted@"},
			pinA: func(t *testing.T, m *trust.Memory) { pin(t, m, bob, 'b', false, none) }, // who is called back
			pinB: func(t *testing.T, m *trust.Memory) { pin(t, m, alice, 'a', false, none) }},
		"confirmed before": {keysA: "a", keysB: "b", want: outcome{"verified@", "verified@"},
			pinA: func(t *testing.T, m *trust.Memory) { pin(t, m, bob, 'b', true, same) },
			pinB: func(t *testing.T, m *trust.Memory) { pin(t, m, alice, 'a', false, same) }},
		"handed over": {keysA: "Aa", keysB: "Bb", want: outcome{"verified!@", "pinned!@"},
			pinA: func(t *testing.T, m *trust.Memory) { pin(t, m, bob, 'b', true, same) },
			pinB: func(t *testing.T, m *trust.Memory) { pin(t, m, alice, 'a', true, none) }},
		"another key, weak before": {keysA: "a", keysB: "b", want: outcome{"encrypted@", "encrypted!@"},
			pinB: func(t *testing.T, m *trust.Memory) { pin(t, m, alice, 'x', false, none) }},
		"another key, warned of": {keysA: "a", keysB: "b", want: outcome{"mismatch!", "mismatch!"},
			pinA:     func(t *testing.T, m *trust.Memory) { pin(t, m, bob, 'x', true, none) },
			pinB:     func(t *testing.T, m *trust.Memory) { pin(t, m, alice, 'x', true, same) },
			optionsA: asking(t, policy.Rules{UnknownPeers: policy.Require, OnMismatch: policy.Warn}),
			optionsB: asking(t, policy.Rules{UnknownPeers: policy.Require, OnMismatch: policy.Warn})},
		"a key that is gone": {want: outcome{"encrypted~", "encrypted~"},
			pinA: func(t *testing.T, m *trust.Memory) { pin(t, m, bob, 'b', true, none) },
			pinB: func(t *testing.T, m *trust.Memory) { pin(t, m, alice, 'a', true, same) }},
		"signed for somebody else": {keysA: "a", want: outcome{"encrypted", "encrypted@"},
			optionsB: func(o *b2bua.Options) {
				o.Signers = func(string) []attest.Signer {
					return []attest.Signer{signsAs{ed25519Key(t, 'b'), "sip:carol@b.example"}}
				}
			}},
		"a caller who stays anonymous": {keysA: "a", keysB: "b", want: outcome{"encrypted@", "encrypted"},
			change: func(w *world) { w.alice.fields = []sip.Field{{Name: "Privacy", Value: "id"}} }},
		"a sipward that signs nothing": {keysA: "a", keysB: "b", want: outcome{"encrypted", "encrypted"},
			optionsA: func(o *b2bua.Options) { o.Anonymous = true }, optionsB: func(o *b2bua.Options) { o.Anonymous = true }},
		"a phone that nobody vouches for": {keysA: "a", keysB: "b", want: outcome{"encrypted", "encrypted"},
			optionsA: func(o *b2bua.Options) { o.Listeners[0].Identities = nil },
			optionsB: func(o *b2bua.Options) { o.Listeners[0].Identities = nil }},
		"a phone of another name": {keysA: "a", keysB: "b", want: outcome{"encrypted@", "encrypted"},
			change: func(w *world) { w.alice.as = "sip:alice@elsewhere.example" }},
		"withheld from strangers": {keysA: "a", keysB: "b", want: outcome{"encrypted", "encrypted@"},
			optionsB: func(o *b2bua.Options) { o.SignsFor = func(peer string) bool { return peer != "" } }},
		"keys that hang": {want: outcome{"encrypted", "encrypted"},
			optionsA: func(o *b2bua.Options) { o.Signers = func(string) []attest.Signer { return []attest.Signer{hangs{}} } },
			optionsB: func(o *b2bua.Options) { o.Signers = func(string) []attest.Signer { return []attest.Signer{hangs{}} } }},
		"a key that hangs beside one that does not": {keysA: "a", want: outcome{"encrypted@", "encrypted@"},
			optionsB: func(o *b2bua.Options) {
				o.Signers = func(string) []attest.Signer { return []attest.Signer{hangs{}, ed25519Key(t, 'b')} }
			}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ma, mb := memory(t), memory(t)
			o := worldOptions{optionsA: signing("a.example", ma, keysOf(t, c.keysA)), optionsB: signing("b.example", mb, keysOf(t, c.keysB))}
			if c.optionsA != nil {
				o.optionsA = all(o.optionsA, c.optionsA)
			}
			if c.optionsB != nil {
				o.optionsB = all(o.optionsB, c.optionsB)
			}
			inBubble(t, o, func(t *testing.T, w *world) {
				clear := w.tapClear()
				if c.pinA != nil {
					c.pinA(t, ma)
				}
				if c.pinB != nil {
					c.pinB(t, mb)
				}
				if c.change != nil {
					c.change(w)
				}
				start := time.Now()
				w.up()
				limit := time.Second
				if strings.Contains(name, "hang") { // at the callee, and then at the caller
					limit = 5 * time.Second
				}
				if took := time.Since(start); took > limit {
					t.Errorf("it took %v until the call stood", took)
				}
				if b, a := w.talk(20); b != 20 || a != 20 || *clear != 0 {
					t.Errorf("bob heard %d, alice %d of 20, %d in clear", b, a, *clear)
				}
				va, vb := w.views()
				if got := (outcome{worth(va), worth(vb)}); got != c.want {
					t.Errorf("%v, want %v\n%s\n%s", got, c.want, va.Says, vb.Says)
				}
				for _, v := range []b2bua.View{va, vb} {
					if v.Protection != "srtp" || v.Says == "" || (v.Identity == "") != (v.Key == "") && v.Trust != "mismatch" {
						t.Errorf("%+v", v)
					}
				}
			})
		})
	}
}

// The same two people call each other again and again.
func TestTrustGrows(t *testing.T) {
	t.Parallel()
	ma, mb := memory(t), memory(t)
	inBubble(t, worldOptions{optionsA: signing("a.example", ma, keysOf(t, "a")), optionsB: signing("b.example", mb, keysOf(t, "b"))}, func(t *testing.T, w *world) {
		call := func(want outcome, then func(a, b b2bua.View)) {
			t.Helper()
			w.up()
			w.talk(10)
			va, vb := w.views()
			if got := (outcome{worth(va), worth(vb)}); got != want {
				t.Errorf("%v, want %v", got, want)
			}
			if then != nil {
				then(va, vb)
			}
			w.alice.hangup()
			w.bob.await("bye")
			w.none()
		}
		call(outcome{"encrypted@", "encrypted@"}, nil)
		call(outcome{"pinned@", "encrypted@"}, nil)
		call(outcome{"pinned@", "encrypted@"}, func(va, vb b2bua.View) {
			events, cancel := w.b.proxy.Subscribe(10)
			defer cancel()
			v, err := w.b.proxy.SaySAS(context.Background(), vb.ID, b2bua.Said{Code: strings.ReplaceAll(va.SASCode, " ", "-")})
			if err != nil || v.Trust != "verified" || v.Identity != alice {
				t.Errorf("%+v, %v", v, err)
			}
			if e := <-events; e.Type != "call-changed" || e.Call.Trust != "verified" {
				t.Errorf("%+v", e)
			}
			if v, _ := w.a.proxy.Call(va.ID); v.Trust != "pinned" {
				t.Errorf("what was said at one end counts at the other: %s", v.Trust)
			}
		})
		call(outcome{"pinned@", "verified@"}, nil)
		if e, err := mb.Get(alice); err != nil || len(e.Pins) != 1 || !e.Pins[0].Strong || len(e.Pins[0].Confirmations) != 1 {
			t.Errorf("%+v, %v", e, err)
		}
	})
}

// What people say about the string.
func TestSayingTheSAS(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		say   []b2bua.Said
		errs  []error
		trust string // "" where the call has ended
		mode  policy.Answer
	}{
		"equal":                {[]b2bua.Said{{Equal: true}}, []error{nil}, "verified", ""},
		"one wrong code":       {[]b2bua.Said{{Code: "wrong"}, {Code: "right"}}, []error{b2bua.ErrWrongCode, nil}, "verified", ""},
		"two wrong codes":      {[]b2bua.Said{{Code: "wrong"}, {Code: "wrong"}}, []error{b2bua.ErrWrongCode, nil}, "", ""},
		"different":            {[]b2bua.Said{{Different: true}}, []error{nil}, "", ""},
		"different, a warning": {[]b2bua.Said{{Different: true}, {Equal: true}}, []error{nil, b2bua.ErrSaidNo}, "mismatch", policy.Warn},
		"different after all":  {[]b2bua.Said{{Equal: true}, {Different: true}}, []error{nil, nil}, "mismatch", policy.Warn},
		"different, ends":      {[]b2bua.Said{{Equal: true}, {Different: true}}, []error{nil, nil}, "", ""},
		"wrong codes after all": {[]b2bua.Said{{Code: "right"}, {Code: "wrong"}, {Code: "wrong"}, {Code: "right"}},
			[]error{nil, b2bua.ErrWrongCode, nil, b2bua.ErrSaidNo}, "mismatch", policy.Warn},
		"nothing": {[]b2bua.Said{{}, {Equal: true, Different: true}}, []error{b2bua.ErrSayWhat, b2bua.ErrSayWhat}, "encrypted", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rules := policy.Rules{UnknownPeers: policy.Require, OnMismatch: c.mode}
			inBubble(t, worldOptions{optionsA: asking(t, rules)}, func(t *testing.T, w *world) {
				if _, err := w.a.proxy.SaySAS(context.Background(), "nothing", b2bua.Said{Equal: true}); !errors.Is(err, b2bua.ErrNoCall) {
					t.Error(err)
				}
				w.bob.manual = true
				w.alice.call("sip:bob@b.example")
				w.bob.await("invited")
				synctest.Wait()
				ringing := w.a.proxy.Calls()[0]
				if _, err := w.a.proxy.SaySAS(context.Background(), ringing.ID, b2bua.Said{Equal: true}); !errors.Is(err, b2bua.ErrNoSAS) {
					t.Errorf("before there are keys: %v", err)
				}
				w.bob.do(func(d *sipDialog) { d.Answer("application/sdp", w.bob.body()) })
				w.alice.await("answered")
				w.bob.await("acked")
				w.talk(10)
				va, vb := w.views()
				for i, s := range c.say {
					switch s.Code {
					case "right":
						s.Code = vb.SASCode
					case "wrong":
						s.Code = "000000"
						if vb.SASCode == "000 000" {
							s.Code = "000001"
						}
					}
					if _, err := w.a.proxy.SaySAS(context.Background(), va.ID, s); !errors.Is(err, c.errs[i]) {
						t.Errorf("%+v: %v, want %v", s, err, c.errs[i])
					}
				}
				if c.trust != "" {
					if v, _ := w.a.proxy.Call(va.ID); v.Trust != c.trust {
						t.Errorf("%s: %s", v.Trust, v.Says)
					}
					return
				}
				if got := w.bob.await("bye"); got == "" {
					t.Error(got)
				}
				w.alice.await("bye SIP;cause=488")
				w.none()
			})
		})
	}
}

// The words of a call differ after all: what was said and remembered of the key is
// withdrawn, and later calls with it are a mismatch until somebody says otherwise.
func TestDifferentAfterEqual(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(t *testing.T, m *trust.Memory){
		"said in this call":      func(*testing.T, *trust.Memory) {},
		"said in an earlier one": func(t *testing.T, m *trust.Memory) { pin(t, m, bob, 'b', true, trust.Equal) },
	} {
		for _, on := range []policy.Answer{policy.End, policy.Warn} {
			t.Run(name+", "+string(on), func(t *testing.T) {
				t.Parallel()
				ma, mb := memory(t), memory(t)
				rules := policy.Rules{UnknownPeers: policy.Require, OnMismatch: on}
				o := worldOptions{optionsA: all(signing("a.example", ma, keysOf(t, "a")), asking(t, rules)), optionsB: signing("b.example", mb, keysOf(t, "b"))}
				inBubble(t, o, func(t *testing.T, w *world) {
					before(t, ma)
					say := func(s b2bua.Said, word string) {
						t.Helper()
						v, err := w.a.proxy.SaySAS(context.Background(), w.a.proxy.Calls()[0].ID, s)
						if err != nil || v.Trust != word {
							t.Errorf("%+v: %q, %v; want %q", s, v.Trust, err, word)
						}
					}
					w.up()
					w.talk(10)
					say(b2bua.Said{Equal: true}, "verified")
					if e, err := ma.Get(bob); err != nil || len(e.Pins) != 1 || len(e.Pins[0].Confirmations) == 0 {
						t.Fatalf("%+v, %v", e, err)
					}
					time.Sleep(time.Second)
					say(b2bua.Said{Different: true}, "mismatch")
					if on == policy.End {
						w.bob.await("bye")
					} else {
						w.alice.hangup()
						w.bob.await("bye")
					}
					w.none()
					if e, err := ma.Get(bob); err != nil || len(e.Pins) != 1 || len(e.Pins[0].Confirmations) != 0 || e.Pins[0].Strong || e.Pins[0].Differed.IsZero() {
						t.Errorf("%+v, %v", e, err)
					}

					media := w.tapMedia()
					w.alice.call("sip:bob@b.example")
					if on == policy.End {
						w.alice.await("refused 488 On ")
						w.bob.await("bye")
						w.none()
						if media.Load() != 0 {
							t.Errorf("%d packets of media", media.Load())
						}
						check(t, ma.Confirm(bob, "", "console", time.Now()))
						w.up()
					} else {
						w.alice.await("answered")
						w.bob.await("acked")
						w.talk(10)
						if va, _ := w.views(); va.Trust != "mismatch" || !strings.Contains(va.Says, "the words of a call with this key differed") {
							t.Errorf("%+v", va)
						}
						say(b2bua.Said{Equal: true}, "verified") // they have found out why
						w.alice.hangup()
						w.bob.await("bye")
						w.none()
						w.up()
					}
					w.talk(10)
					if va, _ := w.views(); va.Trust != "verified" {
						t.Errorf("%+v", va)
					}
				})
			})
		}
	}
}

// Who attacks, or is not who was there before, is neither heard nor hears.
func TestCallsThatTrustEnds(t *testing.T) {
	t.Parallel()
	strongPins := func(t *testing.T, ma, mb *trust.Memory) {
		pin(t, ma, bob, 'b', true, trust.Unsaid)
		pin(t, mb, alice, 'a', true, trust.Unsaid)
	}
	inResp := func(f func(string) string) func(string) string {
		return func(m string) string {
			if strings.Contains(m, "a=dh-resp:") {
				return f(m)
			}
			return m
		}
	}
	inFin := func(f func(string) string) func(string) string {
		return func(m string) string {
			if strings.Contains(m, "a=dh-fin:") {
				return f(m)
			}
			return m
		}
	}
	for name, c := range map[string]struct {
		before   func(t *testing.T, ma, mb *trust.Memory)
		keysA    string // "": a
		tamper   func(string) string
		rules    policy.Rules
		alice    string
		bob      string // "": he is not even rung
		why      string // part of the reason at either end
		endsMute bool
	}{
		"the callee's signature is stripped": {before: strongPins, tamper: inResp(func(m string) string { return removeLine(m, "a=dh-sig:") }), alice: "bye", bob: "bye", why: "never arrived"},
		"the caller's signature is stripped": {before: strongPins, tamper: inFin(func(m string) string { return removeLine(m, "a=dh-sig:") }), alice: "bye", bob: "bye", why: "never arrived"},
		"the callee's signature is replaced": {tamper: inResp(func(m string) string { return flip(m, "dh-sig") }), alice: "refused 488 A signature of the other end is wrong", bob: "bye", why: "signature"},
		"the caller's signature is replaced": {tamper: inFin(func(m string) string { return flip(m, "dh-sig") }), alice: "bye", bob: "bye SIP;cause=488;text=\"A signature of the other end is wrong", why: "signature"},
		"another key than before":            {before: func(t *testing.T, ma, _ *trust.Memory) { pin(t, ma, bob, 'x', true, trust.Unsaid) }, alice: "refused 488 Another key", bob: "bye", why: "nother key"},
		"another key of the caller":          {before: func(t *testing.T, _, mb *trust.Memory) { pin(t, mb, alice, 'x', true, trust.Unsaid) }, alice: "bye", bob: "bye SIP;cause=488;text=\"Another key", why: "nother key"},
		"a blocked caller":                   {before: func(t *testing.T, _, mb *trust.Memory) { check(t, mb.Block(alice, true)) }, alice: "refused 403", why: ""},
		"a blocked callee":                   {before: func(t *testing.T, ma, _ *trust.Memory) { check(t, ma.Block(bob, true)) }, alice: "refused 403", why: ""},
		"a blocked key of the caller": {before: func(t *testing.T, _, mb *trust.Memory) {
			check(t, mb.BlockKey("ed25519", ed25519Key(t, 'a').Public(), true))
		}, alice: "bye", bob: "bye", why: "blocked"},
		"a blocked key of the callee": {before: func(t *testing.T, ma, _ *trust.Memory) {
			check(t, ma.BlockKey("ed25519", ed25519Key(t, 'b').Public(), true))
		}, alice: "refused 488 This call is refused", bob: "bye", why: "blocked"},
		"signed no more, and a downgrade ends it": {before: func(t *testing.T, _, mb *trust.Memory) { pin(t, mb, alice, 'a', true, trust.Unsaid) }, keysA: "-",
			rules: policy.Rules{UnknownPeers: policy.Require, OnDowngrade: policy.End}, alice: "bye", bob: "bye", why: "without the signature"},
		"no pin where one is required":                   {rules: policy.Rules{UnknownPeers: policy.Require, UnknownTrust: policy.Pinned}, alice: "refused 488 This call must be signed", why: "no key that counts"},
		"a pin where more is required":                   {before: strongPins, rules: policy.Rules{UnknownPeers: policy.Require, UnknownTrust: policy.Verified}, alice: "refused 488 This call must be signed", why: "no key that counts"},
		"a pin is required and the signature is missing": {before: strongPins, keysA: "-", rules: policy.Rules{UnknownPeers: policy.Require, UnknownTrust: policy.Pinned}, alice: "bye", bob: "bye SIP;cause=488;text=\"This call must be signed", why: "must be signed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ma, mb := memory(t), memory(t)
			if c.keysA == "" {
				c.keysA = "a"
			}
			o := worldOptions{optionsA: signing("a.example", ma, keysOf(t, strings.Trim(c.keysA, "-"))), optionsB: signing("b.example", mb, keysOf(t, "b"))}
			if c.rules.UnknownPeers != "" {
				o.optionsB = all(o.optionsB, asking(t, c.rules))
			}
			inBubble(t, o, func(t *testing.T, w *world) {
				if c.before != nil {
					c.before(t, ma, mb)
				}
				clear := w.tapClear()
				var changed atomic.Bool
				changed.Store(c.tamper == nil)
				if c.tamper != nil {
					w.tamper(func(m string) string {
						out := c.tamper(m)
						if out != m {
							changed.Store(true)
						}
						return out
					})
				}
				eventsA, cancelA := w.a.proxy.Subscribe(100)
				defer cancelA()
				eventsB, cancelB := w.b.proxy.Subscribe(100)
				defer cancelB()
				w.alice.call("sip:bob@b.example")
				go func() {
					for range 300 {
						w.bob.say(1, 0, 0xB2)
						w.alice.say(1, 0, 0xA1)
					}
				}()
				w.alice.await(c.alice)
				if c.bob != "" {
					w.bob.await(c.bob)
				}
				time.Sleep(time.Minute)
				if !changed.Load() {
					t.Error("nothing was changed on the way")
				}
				if n := len(w.bob.events); c.bob == "" && n != 0 {
					t.Errorf("bob saw %d events", n)
				}
				if *clear != 0 || len(w.alice.heard) != 0 || len(w.bob.heard) != 0 {
					t.Errorf("%d packets in clear, alice heard %d, bob %d", *clear, len(w.alice.heard), len(w.bob.heard))
				}
				w.none()
				said := false
				for _, events := range []<-chan b2bua.Event{eventsA, eventsB} {
					for len(events) > 0 {
						e := <-events
						if e.Call.Trust == "pinned" || e.Call.Trust == "verified" {
							t.Errorf("%s: %s", e.Type, e.Call.Trust)
						}
						said = said || e.Type == "call-ended" && strings.Contains(e.Call.Reason, c.why)
					}
				}
				if !said && c.why != "" {
					t.Error("no event says why")
				}
			})
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A peer that was heard encrypted and is not any more.
func TestDowngradeToPlain(t *testing.T) {
	t.Parallel()
	for _, on := range []policy.Answer{policy.Warn, policy.End} {
		t.Run(string(on), func(t *testing.T) {
			t.Parallel()
			rules := policy.Rules{UnknownPeers: policy.Prefer, OnDowngrade: on}
			ma, mb := memory(t), memory(t)
			inBubble(t, worldOptions{modeB: policy.Prefer, optionsA: all(signing("a.example", ma, keysOf(t, "a")), asking(t, rules)), optionsB: signing("b.example", mb, keysOf(t, "b"))}, func(t *testing.T, w *world) {
				w.up()
				w.talk(10)
				w.alice.hangup()
				w.bob.await("bye")
				w.none()
				w.tamper(func(m string) string { return removeLine(m, "a=dh-") })
				w.alice.call("sip:bob@b.example")
				if on == policy.End {
					w.alice.await("refused 488 This call is less protected than it could be")
					w.bob.await("bye")
					w.none()
					return
				}
				w.alice.await("answered")
				w.bob.await("acked")
				w.talk(10)
				if va, vb := w.views(); !va.Downgrade || va.Trust != "none" || vb.Downgrade || va.Says == "" {
					t.Errorf("%+v %+v", va, vb)
				}
			})
		})
	}
}
