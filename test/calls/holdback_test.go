package calls

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/keyexchange"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/trust"
)

// Where a call must be pinned or verified, the caller's house lets nothing of what
// its phone says go before the callee's house has shown that it has taken the
// caller's signature too. What that costs is measured here: the first packet leaves
// one round trip behind the share that the signature stands beside.

// proved is the options of two houses that know each other's keys and ask for that.
func proved(t *testing.T, least policy.Trust) worldOptions {
	ma, mb := memory(t), memory(t)
	pin(t, ma, bob, 'b', true, trust.Equal)
	pin(t, mb, alice, 'a', true, trust.Equal)
	rules := asking(t, policy.Rules{UnknownPeers: policy.Require, UnknownTrust: least})
	return worldOptions{net: memnet.Options{Delay: time.Millisecond},
		optionsA: all(signing("a.example", ma, keysOf(t, "a")), rules), optionsB: all(signing("b.example", mb, keysOf(t, "b")), rules)}
}

// overTCP has the houses speak over a stream, and so agree on the hybrid group.
func overTCP(o worldOptions) worldOptions {
	streams := &memnet.Streams{}
	over := func(at netip.AddrPort) func(*b2bua.Options) {
		return func(o *b2bua.Options) {
			o.Listeners[1].Packet.Close()
			o.Listeners[1].Packet, o.Listeners[1].Stream, o.Listeners[1].Dial = nil, streams.Listen(at), streams.From(at.Addr())
		}
	}
	o.optionsA, o.optionsB = all(o.optionsA, over(outsideA)), all(o.optionsB, over(outsideB))
	o.routesA = []string{"*@b.example", "sip:" + outsideB.String() + ";transport=tcp", "outside"}
	return o
}

// crossed is when media first left a house for the other one.
type crossed struct {
	mu    sync.Mutex
	probe time.Time // the first under keys, which leaves with dh-fin
	media time.Time // the first that is no probe
}

func (w *world) crossed(from netip.Addr) *crossed {
	c := &crossed{}
	w.net.Tap(func(d memnet.Datagram) {
		if !between(d.From, d.To) || d.From.Addr() != from || isSIP(d.Payload) {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case isProbe(d.Payload):
			if c.probe.IsZero() && len(d.Payload) > 0 {
				c.probe = d.Time
			}
		case c.media.IsZero():
			c.media = d.Time
		}
	})
	return c
}

// waited is how long media stayed behind the keys.
func (c *crossed) waited() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.media.Sub(c.probe)
}

func TestCallerWaitsOneRoundTrip(t *testing.T) {
	t.Parallel()
	const way = 40 * time.Millisecond
	trip := 2 * (way + time.Millisecond)
	for name, c := range map[string]struct {
		least   policy.Trust  // "": verified
		way     time.Duration // 0: 40 ms
		hybrid  bool
		back    bool // bob calls alice
		setup   func(caller, callee *phone)
		rule    func(from, to netip.AddrPort, b []byte) bool // loses
		waits   time.Duration                                // exactly
		missing int                                          // of 100 packets that the caller says at once, at most
	}{
		"what must only be encrypted":             {least: policy.Encrypted, waits: 2 * time.Millisecond},
		"what must be pinned":                     {least: policy.Pinned, waits: trip},
		"what must be verified":                   {waits: trip},
		"the other way round":                     {back: true, waits: trip},
		"the houses are 198 ms apart":             {way: 98 * time.Millisecond, waits: 198 * time.Millisecond},
		"the houses are 400 ms apart":             {way: 199 * time.Millisecond, waits: 400 * time.Millisecond, missing: 10},
		"the offer is in the 2xx":                 {setup: func(caller, _ *phone) { caller.delayed = true }, waits: trip},
		"the keys come before the answer":         {setup: early, waits: trip},
		"the same, the other way round":           {back: true, setup: early, waits: trip},
		"the hybrid group":                        {hybrid: true, waits: trip},
		"RTCP does not get through":               {rule: toRTCP, waits: trip, setup: speaks},
		"the same in the hybrid group":            {hybrid: true, rule: toRTCP, waits: trip, setup: speaks},
		"the callee's first two reports are lost": {rule: firstReports(2), waits: trip + 100*time.Millisecond},
		"the ACK is lost":                         {rule: firstACK(), waits: trip + 500*time.Millisecond, missing: 20},
		"the caller's phone holds with inactive":  {setup: holds, waits: trip},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.least == "" {
				c.least = policy.Verified
			}
			if c.way == 0 {
				c.way = way
			}
			o := proved(t, c.least)
			if c.hybrid {
				o = overTCP(o)
			}
			inBubble(t, o, func(t *testing.T, w *world) {
				w.net.SetRule(func(from, to netip.AddrPort, b []byte) memnet.Verdict {
					if !between(from, to) {
						return memnet.Verdict{}
					}
					return memnet.Verdict{Delay: c.way, Drop: c.rule != nil && c.rule(from, to, b)}
				})
				caller, callee, house, to := w.alice, w.bob, outsideA, bob
				if c.back {
					caller, callee, house, to = w.bob, w.alice, outsideB, alice
				}
				if c.setup != nil {
					c.setup(caller, callee)
				}
				seen := w.crossed(house.Addr())
				caller.call(to)
				caller.await("answered", "183")
				caller.say(100, 0, 0xA1)
				time.Sleep(time.Second)
				synctest.Wait()
				if got := seen.waited(); got != c.waits {
					t.Errorf("the first packet left %v behind the keys, want %v", got, c.waits)
				}
				if n := len(callee.heard); n < 100-c.missing || n > 100 {
					t.Errorf("%d of 100 packets were heard", n)
				}
				va, vb := w.views()
				if va.Protection != "srtp" || vb.Protection != "srtp" || c.hybrid != (va.Group == keyexchange.GroupX25519MLKEM768) {
					t.Errorf("%+v\n%+v", va, vb)
				}
			})
		})
	}
}

// early has the callee's phone send a description with 183 and ring on.
func early(_, callee *phone) { callee.early, callee.manual = true, true }

// speaks has the callee's phone speak from when it is called on.
func speaks(_, callee *phone) { go callee.say(80, 500, 0xB2) }

// toRTCP matches what goes to the RTCP port of a session.
func toRTCP(_, to netip.AddrPort, _ []byte) bool { return to.Port() >= 20000 && to.Port()%2 == 1 }

// firstReports matches the first SRTCP packets of the callee's house.
func firstReports(n int) func(from, to netip.AddrPort, b []byte) bool {
	var mu sync.Mutex
	return func(from, _ netip.AddrPort, b []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		if from.Addr() != outsideB.Addr() || len(b) == 0 || isSIP(b) || !isProbe(b) || n == 0 {
			return false
		}
		n--
		return true
	}
}

// firstACK matches the first ACK between the houses.
func firstACK() func(from, to netip.AddrPort, b []byte) bool {
	lost := false
	return func(_, _ netip.AddrPort, b []byte) bool {
		first := !lost && strings.HasPrefix(string(b), "ACK ")
		lost = lost || first
		return first
	}
}

// holds has the caller's phone hold from the start, and speak all the same.
func holds(caller, _ *phone) {
	body := caller.body
	caller.body = func() []byte { return []byte(strings.Replace(string(body()), "a=sendrecv", "a=inactive", 1)) }
}

// A callee's house that never shows to have the keys, or has refused them and cannot
// say so: nothing goes there, and the call ends for that.
func TestCallerWaitsInVain(t *testing.T) {
	t.Parallel()
	lost := func(from, to netip.AddrPort, b []byte) bool {
		return between(from, to) && from.Addr() == outsideB.Addr() && (!isSIP(b) || strings.HasPrefix(string(b), "BYE "))
	}
	for name, tamper := range map[string]func(string) string{
		"its media is lost": func(m string) string { return m },
		"it has refused the signature, and its BYEs are lost": func(m string) string { return flipIn(m, "ACK ") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, proved(t, policy.Verified), func(t *testing.T, w *world) {
				media := w.tapMedia(outsideA)
				w.net.SetRule(func(from, to netip.AddrPort, b []byte) memnet.Verdict {
					switch {
					case lost(from, to, b):
						return memnet.Verdict{Drop: true}
					case between(from, to) && isSIP(b):
						return mended(string(b), tamper(string(b)))
					}
					return memnet.Verdict{}
				})
				w.alice.call(bob)
				w.alice.await("answered")
				start := time.Now()
				w.alice.say(300, 0, 0xA1)
				w.alice.await(`bye SIP;cause=488;text="The encrypted media of the other side never arrived`)
				if took := time.Since(start); took > 7*time.Second {
					t.Errorf("ended after %v", took)
				}
				time.Sleep(time.Minute)
				if media.Load() != 0 || len(w.bob.heard) != 0 {
					t.Errorf("%d packets of media, %d were heard", media.Load(), len(w.bob.heard))
				}
				w.none()
			})
		})
	}
}

// A signature that is refused at the PRACK, while the caller's phone speaks.
func TestRefusedBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	inBubble(t, proved(t, policy.Verified), func(t *testing.T, w *world) {
		media := w.tapMedia()
		w.apart(50*time.Millisecond, func(m string) string { return flipIn(m, "PRACK ") })
		early(w.alice, w.bob)
		w.alice.call(bob)
		w.alice.await("183")
		w.alice.say(100, 0, 0xA1)
		w.alice.await("refused 488 A signature of the other end is wrong")
		w.bob.await("cancelled")
		if media.Load() != 0 || len(w.bob.heard) != 0 {
			t.Errorf("%d packets of media, %d were heard", media.Load(), len(w.bob.heard))
		}
		time.Sleep(time.Minute)
		w.none()
	})
}

// Whoever holds with 0.0.0.0 from the start gets nothing until it goes on; then the
// callee's confirmation is asked for again.
func TestCallerWaitsWhileItIsHeld(t *testing.T) {
	t.Parallel()
	inBubble(t, proved(t, policy.Verified), func(t *testing.T, w *world) {
		media, body := w.tapMedia(), w.alice.body
		w.alice.body = func() []byte {
			return []byte(strings.ReplaceAll(string(body()), alicePhone.Addr().String(), "0.0.0.0"))
		}
		w.up()
		w.alice.say(400, 0, 0xA1)
		if media.Load() != 0 {
			t.Errorf("%d packets of media", media.Load())
		}
		time.Sleep(10 * time.Second)
		if got := w.alice.reinvite(string(body())); got != "200" {
			t.Error(got)
		}
		if b, a := w.talk(50); b != 50 || a != 50 {
			t.Errorf("bob heard %d, alice %d of 50", b, a)
		}
	})
}

// New keys inherit the proof: nothing waits for their confirmation.
func TestNewKeysDoNotWait(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]worldOptions{"x25519": proved(t, policy.Verified), "hybrid": overTCP(proved(t, policy.Verified))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.net.Delay = 120 * time.Millisecond // the keys before end 200 ms behind the first packet under new ones
			o.optionsA = all(o.optionsA, func(o *b2bua.Options) { o.Rekey.Every = 5 * time.Second })
			inBubble(t, o, func(t *testing.T, w *world) {
				w.up()
				w.talk(10)
				if missing := w.chatter(time.Minute); missing != 0 {
					t.Errorf("%d packets were not heard", missing)
				}
				va, vb := w.views()
				if va.Rekeyings < 8 || va.Trust != "verified" || vb.Trust != "verified" || unheard(va, vb) != 0 {
					t.Errorf("%+v\n%+v", va, vb)
				}
			})
		})
	}
}

// Behind a router: the callee's house knows where the caller's is from the reports
// that go before the media.
func TestCallerBehindNATWaits(t *testing.T) {
	t.Parallel()
	o := proved(t, policy.Verified)
	o.outsideA = homeA
	inBubble(t, o, func(t *testing.T, w *world) {
		w.net.SetRule(newRouter().pass)
		w.up()
		if b, a := w.talk(100); b != 100 || a != 100 {
			t.Errorf("bob heard %d, alice %d of 100", b, a)
		}
		if va, vb := w.views(); va.Trust != "verified" || vb.Trust != "verified" {
			t.Errorf("%+v\n%+v", va, vb)
		}
	})
}

// The exchange passes a sipward in the middle: the caller's own waits for the one at
// the far end.
func TestCallerBehindAMiddleWaits(t *testing.T) {
	t.Parallel()
	const carol = "sip:carol@c.example"
	mw, mb := memory(t), memory(t)
	pin(t, mw, bob, 'b', true, trust.Equal)
	pin(t, mb, carol, 'c', true, trust.Equal)
	rules := asking(t, policy.Rules{UnknownPeers: policy.Require, UnknownTrust: policy.Verified})
	o := worldOptions{net: memnet.Options{Delay: 10 * time.Millisecond}, modeA: policy.Prefer, optionsB: all(signing("b.example", mb, keysOf(t, "b")), rules)}
	inBubble(t, o, func(t *testing.T, w *world) {
		x := w.workstation(policy.Require, signing("c.example", mw, keysOf(t, "c")), rules)
		defer x.closeSeat()
		seen := w.crossed(outsideA.Addr())
		x.carol.call(bob)
		x.carol.await("answered")
		x.carol.say(100, 0, 0xA1)
		time.Sleep(time.Second)
		if n := len(w.bob.heard); n != 100 {
			t.Errorf("bob heard %d of 100", n)
		}
		if got := seen.waited(); got != 40*time.Millisecond { // from carol's sipward to bob's and back
			t.Errorf("the first packet left %v behind the keys", got)
		}
		ws, office, far := x.views()
		if ws.Trust != "verified" || far.Trust != "verified" || office.Protection != "passed-through" {
			t.Errorf("%+v\n%+v\n%+v", ws, office, far)
		}
	})
}
