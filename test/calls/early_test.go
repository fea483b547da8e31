package calls

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
)

// takes says in an INVITE that the phone knows reliable provisional responses.
var takes = []sip.Field{{Name: "Supported", Value: "100rel"}}

// wants says that it wants nothing else.
var wants = []sip.Field{{Name: "Require", Value: "100rel"}}

// crossing collects the SIP messages between the houses, by start line.
type crossing struct {
	mu   sync.Mutex
	msgs []string
}

func (w *world) crossing() *crossing {
	c := &crossing{}
	w.net.Tap(func(d memnet.Datagram) {
		if between(d.From, d.To) && isSIP(d.Payload) {
			c.mu.Lock()
			c.msgs = append(c.msgs, string(d.Payload))
			c.mu.Unlock()
		}
	})
	return c
}

// of returns those that begin so and, with an answer, are about that method.
func (c *crossing) of(start, method string) (out []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.msgs {
		if strings.HasPrefix(m, start) && strings.Contains(m, " "+method+"\r\n") {
			out = append(out, m)
		}
	}
	return out
}

// carried says whether any of those messages holds the text.
func carried(msgs []string, text string) bool {
	return slices.ContainsFunc(msgs, func(m string) bool { return strings.Contains(m, text) })
}

// without100rel takes the option away between the houses, as where the far end
// does not know it.
func without100rel(m string) string { return strings.Replace(m, "dh-srtp, 100rel", "dh-srtp", 1) }

// answer makes bob answer, without SDP where his 183 was reliable.
func (w *world) bobAnswers() {
	w.bob.do(func(d *sipDialog) {
		if w.bob.rel && w.bob.prack != nil {
			d.Answer("", nil)
			return
		}
		d.Answer("application/sdp", w.bob.body())
	})
}

// Early media under require: the keys are agreed in 183 and PRACK, whatever the
// phones know, and 2xx and ACK carry neither attribute.
func TestEarlyMediaUnderKeys(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		alice   []sip.Field
		bobRel  bool
		delayed bool
		hears   string // what alice's phone gets
	}{
		"neither phone knows 100rel":           {nil, false, false, "183"},
		"the caller's phone takes it":          {takes, false, false, "reliable 183"},
		"the caller's phone requires it":       {wants, false, false, "reliable 183"},
		"the callee's phone takes it":          {nil, true, false, "183"},
		"both take it":                         {takes, true, false, "reliable 183"},
		"the offer is in the 183":              {takes, true, true, "reliable 183"},
		"the offer is in the 183, and only so": {wants, true, true, "reliable 183"},
	} {
		for _, mode := range []policy.Mode{policy.Require, policy.Prefer} {
			for loss, o := range map[string]memnet.Options{
				"":            {Delay: 10 * time.Millisecond},
				" under loss": {Delay: 10 * time.Millisecond, Loss: 0.05, Reorder: 0.1, Duplicate: 0.05, Seed: 7},
			} {
				t.Run(name+", "+string(mode)+loss, func(t *testing.T) {
					t.Parallel()
					inBubble(t, worldOptions{net: o, modeA: mode, modeB: mode}, func(t *testing.T, w *world) {
						clear, wire := w.tapClear(), w.crossing()
						w.alice.fields, w.alice.delayed = c.alice, c.delayed
						w.bob.early, w.bob.manual, w.bob.rel = true, true, c.bobRel
						if c.delayed {
							w.alice.first = nil
						}
						w.alice.call("sip:bob@b.example")
						w.alice.await(c.hears)
						if c.bobRel && (c.alice != nil || !c.delayed) {
							w.bob.await("pracked")
						}
						time.Sleep(2 * time.Second)
						want := 20
						if loss != "" {
							want = 8 // three hops lose, and late ones count as lost
						}
						if b, a := w.talk(20); b < want || a < want {
							t.Errorf("before the answer bob heard %d, alice %d of 20", b, a)
						}
						va, vb := w.views()
						if va.Protection != "srtp" || vb.Protection != "srtp" || va.State != "ringing" || va.SASWords == "" || va.SASWords != vb.SASWords {
							t.Errorf("before the answer: %+v %+v", va, vb)
						}
						w.bobAnswers()
						w.alice.await("answered")
						w.bob.await("acked")
						time.Sleep(5 * time.Second)
						if b, a := w.talk(20); b < want || a < want {
							t.Errorf("bob heard %d, alice %d of 20", b, a)
						}
						after, _ := w.views()
						if after.SASWords != va.SASWords || after.Protection != "srtp" || after.State != "established" {
							t.Errorf("after the answer: %+v", after)
						}
						if *clear != 0 {
							t.Errorf("%d packets in clear", *clear)
						}
						if !carried(wire.of("SIP/2.0 183", "INVITE"), "a=dh-resp:") || !carried(wire.of("PRACK ", "PRACK"), "a=dh-fin:") {
							t.Error("the exchange is not in 183 and PRACK")
						}
						if carried(wire.of("SIP/2.0 200", "INVITE"), "a=dh-resp:") || carried(wire.of("ACK ", "ACK"), "a=dh-fin:") {
							t.Error("the exchange is in 2xx and ACK again")
						}
						w.alice.hangup()
						w.bob.await("bye")
						time.Sleep(time.Minute)
						w.none()
					})
				})
			}
		}
	}
}

// Where the far end knows no 100rel, early media crosses in clear only where
// policy allows unprotected media; the call is protected from its answer on.
func TestEarlyMediaWithoutReliableResponses(t *testing.T) {
	t.Parallel()
	for mode, hears := range map[policy.Mode]string{policy.Require: "180", policy.Prefer: "183"} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			inBubble(t, worldOptions{modeA: mode, modeB: mode, net: memnet.Options{Delay: 10 * time.Millisecond}}, func(t *testing.T, w *world) {
				clear, wire := w.tapClear(), w.crossing()
				w.tamper(without100rel)
				w.bob.early, w.bob.manual = true, true
				w.alice.call("sip:bob@b.example")
				w.alice.await(hears)
				time.Sleep(time.Second)
				heard := len(w.alice.heard)
				w.bob.say(20, 0, 0xB2)
				time.Sleep(time.Second)
				synctest.Wait()
				heard = len(w.alice.heard) - heard
				switch {
				case mode == policy.Require && (heard != 0 || *clear != 0):
					t.Errorf("alice heard %d, %d in clear", heard, *clear)
				case mode == policy.Prefer && (heard != 20 || *clear != 20):
					t.Errorf("alice heard %d of 20, %d in clear", heard, *clear)
				}
				before := *clear // nothing moves now
				w.bobAnswers()
				w.alice.await("answered")
				w.bob.await("acked")
				w.seq = 100
				if b, a := w.talk(20); b != 20 || a != 20 {
					t.Errorf("bob heard %d, alice %d of 20", b, a)
				}
				va, vb := w.views()
				if va.Protection != "srtp" || va.SASWords != vb.SASWords || *clear != before {
					t.Errorf("%+v %+v, %d in clear since the answer", va, vb, *clear-before)
				}
				if carried(wire.of("SIP/2.0 183", "INVITE"), "a=dh-resp:") || len(wire.of("PRACK ", "PRACK")) != 0 {
					t.Error("the exchange was shown in a response that is not reliable")
				}
			})
		})
	}
	t.Run("a plain callee's crosses under prefer", func(t *testing.T) {
		t.Parallel()
		inBubble(t, worldOptions{modeA: policy.Prefer, modeB: policy.Off}, func(t *testing.T, w *world) {
			w.bob.early, w.bob.manual = true, true
			w.alice.call("sip:bob@b.example")
			w.alice.await("183")
			synctest.Wait()
			w.bob.say(20, 0, 0xB2)
			if len(w.alice.heard) != 20 {
				t.Errorf("alice heard %d of 20", len(w.alice.heard))
			}
		})
	})
}

// What people say from the answer on is heard but for one round trip at most,
// with and without early media.
func TestSpeechIsNotClipped(t *testing.T) {
	t.Parallel()
	for name, early := range map[string]bool{"early media": true, "none": false} {
		for _, delay := range []time.Duration{5, 25, 50, 80} {
			t.Run(name+", "+(2*delay*time.Millisecond).String(), func(t *testing.T) {
				t.Parallel()
				inBubble(t, worldOptions{net: memnet.Options{Delay: delay * time.Millisecond}}, func(t *testing.T, w *world) {
					clear := w.tapClear()
					w.bob.early, w.bob.manual = early, true
					w.alice.call("sip:bob@b.example")
					w.alice.await("18")
					time.Sleep(3 * time.Second)
					w.bobAnswers()
					done := make(chan bool)
					go func() { w.bob.say(50, 0, 0xB2); done <- true }()
					w.alice.await("answered")
					w.alice.say(50, 100, 0xA1)
					<-done
					time.Sleep(time.Second)
					for who, p := range map[string]*phone{"alice": w.alice, "bob": w.bob} {
						if lost := time.Duration(50-len(p.heard)) * 20 * time.Millisecond; lost > 2*delay*time.Millisecond {
							t.Errorf("%s lost the first %v, a round trip is %v", who, lost, 2*delay*time.Millisecond)
						} else {
							t.Logf("%s lost %v of the speech", who, lost)
						}
					}
					synctest.Wait()
					if *clear != 0 {
						t.Errorf("%d packets in clear", *clear)
					}
				})
			})
		}
	}
}

// Whoever changes the exchange in 183 and PRACK ends the call before anybody
// hears or answers anything.
func TestTamperedEarlyExchange(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(string) string
		answer bool   // bob answers, which the attack waits for
		alice  string // what alice sees in the end
		bob    string
		prack  bool // one with dh-fin may have left
	}{
		"dh-resp of a wrong form": {inThose("SIP/2.0 183", func(m string) string { return strings.Replace(m, "a=dh-resp:1 ", "a=dh-resp:1 1 ", 1) }), false, "refused 488", "cancelled", false},
		"a suite not offered":     {inThose("SIP/2.0 183", func(m string) string { return strings.Replace(m, " AEAD_AES_256_GCM ", " NULL_HMAC_SHA1_80 ", 1) }), false, "refused 488", "cancelled", false},
		"dh-resp twice": {inThose("SIP/2.0 183", func(m string) string {
			return strings.Replace(m, "a=dh-resp:", "a=dh-resp:"+value(m, "dh-resp")+"\r\na=dh-resp:", 1)
		}), false, "refused 488", "cancelled", false},
		"share replaced":           {inThose("SIP/2.0 183", func(m string) string { return flip(m, "dh-resp") }), false, "refused 488", "cancelled", true},
		"dh-fin replaced":          {inThose("PRACK", func(m string) string { return flip(m, "dh-fin") }), false, "refused 488", "cancelled", true},
		"dh-fin of a wrong form":   {inThose("PRACK", func(m string) string { return strings.Replace(m, "a=dh-fin:1 ", "a=dh-fin:1  ", 1) }), false, "refused 488", "cancelled", true},
		"dh-fin removed":           {inThose("PRACK", func(m string) string { return removeLine(m, "a=dh-fin:") }), false, "refused 488", "cancelled", true},
		"the PRACK's body removed": {inThose("PRACK", func(m string) string { head, _, _ := strings.Cut(m, "\r\n\r\n"); return head + "\r\n\r\n" }), false, "refused 488", "cancelled", true},
		"dh-resp changed in the 2xx": {inThose("SIP/2.0 200", func(m string) string {
			if !strings.Contains(m, " INVITE\r\n") {
				return m
			}
			head, _, _ := strings.Cut(m, "\r\n\r\n")
			return head + "\r\nContent-Type: application/sdp\r\n\r\n" + strings.Replace(phoneSDP(outsideB.Addr(), 20000), "m=audio", "a=dh-resp:1 x25519 AEAD_AES_256_GCM 3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08\r\nm=audio", 1)
		}), true, "refused 488", "bye", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, worldOptions{}, func(t *testing.T, w *world) {
				clear, wire := w.tapClear(), w.crossing()
				changed := 0
				w.tamper(func(m string) string {
					out := c.change(m)
					if out != m {
						changed++
					}
					return out
				})
				w.bob.early, w.bob.manual = true, true
				w.alice.call("sip:bob@b.example")
				if c.answer {
					w.alice.await("183")
					time.Sleep(time.Second)
					w.bobAnswers()
				} else {
					go w.bob.say(200, 0, 0xB2)
				}
				w.alice.await(c.alice)
				w.bob.await(c.bob)
				if changed == 0 {
					t.Error("nothing was changed on the way")
				}
				time.Sleep(time.Minute)
				if *clear != 0 || len(w.alice.heard) != 0 {
					t.Errorf("%d packets in clear, alice heard %d", *clear, len(w.alice.heard))
				}
				pracks := wire.of("PRACK ", "PRACK")
				if len(pracks) == 0 || carried(pracks, "a=dh-fin:") != c.prack {
					t.Errorf("PRACK: %q", pracks)
				}
				if !c.prack && len(wire.of("CANCEL ", "CANCEL")) == 0 {
					t.Error("no CANCEL behind a fault in the 183")
				}
				if answers := wire.of("SIP/2.0", "PRACK"); len(answers) == 0 || !strings.HasPrefix(answers[0], "SIP/2.0 200") {
					t.Errorf("answers to PRACK: %q", answers)
				}
				if !c.answer && len(wire.of("SIP/2.0 4", "INVITE")) == 0 {
					t.Error("the INVITE was not refused")
				}
				w.none()
			})
		})
	}
}

// Three callers that gave up make the next dh-resp wait for the answer, and ten
// minutes later it may leave early again (protocol section 4).
func TestUnansweredExchangesAreCounted(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{}, func(t *testing.T, w *world) {
		w.bob.early, w.bob.manual = true, true
		give := func(want string) {
			t.Helper()
			w.alice.call("sip:bob@b.example")
			if got := w.alice.await("18"); got != want {
				t.Errorf("alice got %s, want %s", got, want)
			}
			time.Sleep(time.Second)
			w.alice.queue.Post(func() { w.alice.dialog.Cancel() })
			w.alice.await("refused")
			w.bob.await("cancelled")
			time.Sleep(time.Second)
		}
		w.bob.manual = false // an answered call does not count
		for range 4 {
			w.up()
			time.Sleep(time.Second)
			w.alice.hangup()
			w.bob.await("bye")
			time.Sleep(time.Second)
		}
		w.bob.manual = true
		for range 3 {
			give("183")
		}
		give("180")
		w.bob.manual = false
		wire := w.crossing()
		w.up()
		if !carried(wire.of("SIP/2.0 200", "INVITE"), "a=dh-resp:") {
			t.Error("no dh-resp in the 2xx")
		}
		if b, a := w.talk(10); b != 10 || a != 10 {
			t.Errorf("bob heard %d, alice %d of 10", b, a)
		}
		w.alice.hangup()
		w.bob.await("bye")
		time.Sleep(10 * time.Minute)
		w.bob.manual = true
		give("183")
	})
}

// No PRACK ever arrives: the callee's side refuses the INVITE with a 5xx, and the
// caller's hears of it before, since no media confirms the keys.
func TestPrackIsLost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		drop  func(m string) bool
		alice string
	}{
		"every PRACK": {func(m string) bool { return strings.HasPrefix(m, "PRACK ") }, "refused 488"},
		"every 183":   {func(m string) bool { return strings.HasPrefix(m, "SIP/2.0 183") }, "refused 504"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, worldOptions{}, func(t *testing.T, w *world) {
				w.net.SetRule(func(from, to netip.AddrPort, b []byte) memnet.Verdict {
					return memnet.Verdict{Drop: between(from, to) && isSIP(b) && c.drop(string(b))}
				})
				w.bob.early, w.bob.manual = true, true
				w.alice.call("sip:bob@b.example")
				w.alice.await(c.alice)
				w.bob.await("cancelled")
				time.Sleep(time.Minute)
				w.none()
			})
		})
	}
}

// Requests in the early dialog that a call cannot take yet leave it as it is.
func TestRequestsBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{}, func(t *testing.T, w *world) {
		w.alice.fields = takes
		w.bob.early, w.bob.manual, w.bob.rel = true, true, true
		ask := func(p *phone, method string, body []byte) string {
			status := make(chan string, 1)
			p.do(func(d *sipDialog) {
				d.Do(method, "application/sdp", body, func(res *sip.Message, err error) {
					if err != nil {
						status <- err.Error()
					} else if res.Status >= 200 {
						status <- itoa(res.Status)
					}
				})
			})
			return <-status
		}
		w.alice.call("sip:bob@b.example")
		w.bob.await("pracked")
		time.Sleep(time.Second)
		for _, c := range []struct {
			body []byte
			want string
		}{{nil, "200"}, {w.bob.body(), "491"}} {
			if got := ask(w.bob, "UPDATE", c.body); got != c.want {
				t.Errorf("the callee's UPDATE with %d octets: %s, want %s", len(c.body), got, c.want)
			}
		}
		w.bobAnswers()
		w.alice.await("answered")
		w.bob.await("acked")
		time.Sleep(time.Second)
		if b, a := w.talk(10); b != 10 || a != 10 {
			t.Errorf("bob heard %d, alice %d of 10", b, a)
		}
	})
}

// A caller that requires reliable responses gets all of them so, whatever the far
// end sends; several wait for each other, and the answer for a description.
func TestCallerRequiresReliableResponses(t *testing.T) {
	t.Parallel()
	for name, between := range map[string]func(string) string{"the far end takes them": nil, "it does not": without100rel} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, worldOptions{net: memnet.Options{Delay: 50 * time.Millisecond}}, func(t *testing.T, w *world) {
				clear := w.tapClear()
				if between != nil {
					w.tamper(between)
				}
				w.alice.fields, w.bob.manual = wants, true
				w.alice.call("sip:bob@b.example")
				w.bob.await("invited")
				w.bob.do(func(d *sipDialog) { // at once
					d.Provision(182, "", "", nil)
					d.Provision(183, "", "application/sdp", w.bob.body())
					d.Provision(180, "", "", nil)
					d.Answer("application/sdp", w.bob.body())
				})
				if got := w.alice.await("18", "reliable"); !strings.HasPrefix(got, "reliable 18") {
					t.Errorf("alice got %s", got)
				}
				w.alice.await("answered")
				w.bob.await("acked")
				time.Sleep(3 * time.Second)
				if b, a := w.talk(10); b != 10 || a != 10 {
					t.Errorf("bob heard %d, alice %d of 10", b, a)
				}
				va, vb := w.views()
				if va.Protection != "srtp" || va.SASWords != vb.SASWords || *clear != 0 {
					t.Errorf("%+v %+v, %d in clear", va, vb, *clear)
				}
			})
		})
	}
}
