package calls

import (
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
)

// reinvite sends an INVITE within the dialog and returns the final status.
func (p *phone) reinvite(body string) string {
	p.t.Helper()
	p.do(func(d *sipDialog) {
		d.Do("INVITE", "application/sdp", []byte(body), func(res *sip.Message, err error) {
			switch {
			case err != nil:
				p.event("final " + err.Error())
			case res.Status >= 200:
				if res.Status < 300 {
					p.learn(res)
					p.answer = res
					d.Ack(res, "", nil)
				}
				p.event("final " + itoa(res.Status))
			}
		})
	})
	return strings.TrimPrefix(p.await("final"), "final ")
}

// insist is reinvite by a phone that tries again where by chance both spoke at once
// (RFC 3261 section 14.1).
func (p *phone) insist(body string) (got string) {
	for try := 0; try < 9; try++ {
		if got = p.reinvite(body); got != "491" {
			break
		}
		time.Sleep(700 * time.Millisecond)
	}
	return got
}

func TestHoldAndResumeKeepTheKeys(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{net: memnet.Options{Delay: 5 * time.Millisecond}}, func(t *testing.T, w *world) {
		clear := w.tapClear()
		w.up()
		w.talk(10)
		before, _ := w.views()
		body := string(w.alice.body())
		if got := w.alice.reinvite(strings.Replace(body, "a=sendrecv", "a=sendonly", 1)); got != "200" {
			t.Fatalf("hold: %s", got)
		}
		w.bob.await("reinvited")
		if !strings.Contains(string(w.bob.reinvited.Body), "a=sendonly") || strings.Contains(string(w.bob.reinvited.Body), alicePhone.Addr().String()) {
			t.Errorf("bob got\n%s", w.bob.reinvited.Body)
		}
		if w.bob.reinvited.Has("Supported") || strings.Contains(string(w.bob.reinvited.Body), "dh-") {
			t.Error("the exchange leaked to a phone inside")
		}
		if got := w.alice.reinvite(body); got != "200" {
			t.Fatalf("resume: %s", got)
		}
		w.bob.await("reinvited")
		if got := w.bob.reinvite(string(w.bob.body())); got != "200" {
			t.Fatalf("the callee's re-INVITE: %s", got)
		}
		w.alice.await("reinvited")
		if b, a := w.talk(20); b != 20 || a != 20 {
			t.Errorf("after the hold bob heard %d, alice %d of 20", b, a)
		}
		after, _ := w.views()
		if after.SASWords != before.SASWords || after.Protection != "srtp" || *clear != 0 {
			t.Errorf("after the hold %+v, %d in clear", after, *clear)
		}
	})
}

func TestGlareAndRefusedChangeLeaveTheCall(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{net: memnet.Options{Delay: 20 * time.Millisecond}}, func(t *testing.T, w *world) {
		w.up()
		done := make(chan string)
		go func() { done <- w.alice.reinvite(string(w.alice.body())) }()
		got := w.bob.reinvite(string(w.bob.body()))
		other := <-done
		if got != "491" && other != "491" {
			t.Errorf("both at once: %s and %s, want a 491", got, other)
		}
		time.Sleep(10 * time.Second)
		if got := w.alice.reinvite("v=0\r\no=- 1 2 IN IP4 10.1.0.2\r\ns=-\r\nc=IN IP4 10.1.0.2\r\nt=0 0\r\nm=audio 4000 RTP/SAVP 0\r\n"); got != "488" {
			t.Errorf("SAVP without keys: %s", got)
		}
		if b, a := w.talk(10); b != 10 || a != 10 {
			t.Errorf("bob heard %d, alice %d of 10", b, a)
		}
	})
}

func TestRequestsWithinACall(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{modeA: policy.Prefer, modeB: policy.Prefer}, func(t *testing.T, w *world) {
		w.up()
		for method, want := range map[string]string{"INFO": "200", "OPTIONS": "200", "REFER": "400", "SUBSCRIBE": "405", "NOTIFY": "405", "PUBLISH": "405"} {
			w.alice.do(func(d *sipDialog) {
				d.Do(method, "application/dtmf-relay", []byte("Signal=5\r\n"), func(res *sip.Message, err error) {
					if err == nil {
						w.alice.event("final " + itoa(res.Status))
					}
				})
			})
			if got := w.alice.await("final"); got != "final "+want {
				t.Errorf("%s: %s, want %s", method, got, want)
			}
		}
		w.bob.await("info")
		if string(w.bob.lastReq.Body) != "Signal=5\r\n" {
			t.Errorf("INFO arrived as %q", w.bob.lastReq.Body)
		}
	})
}

// Where a call must be encrypted, digits and messages do not cross in clear
// beside its media.
func TestNothingIsToldInClear(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{}, func(t *testing.T, w *world) {
		w.up()
		for _, c := range []struct{ method, contentType, body, want string }{
			{"INFO", "application/dtmf-relay", "Signal=5\r\n", "403"},
			{"MESSAGE", "text/plain", "the code is 4711", "403"},
			{"INFO", "application/media_control+xml", "<media_control/>", "200"},
			{"INFO", "", "", "200"},
		} {
			for _, p := range []*phone{w.alice, w.bob} {
				p.do(func(d *sipDialog) {
					d.Do(c.method, c.contentType, []byte(c.body), func(res *sip.Message, err error) {
						if err == nil {
							p.answer = res
							p.event("final " + itoa(res.Status))
						}
					})
				})
				if got := p.await("final"); got != "final "+c.want {
					t.Errorf("%s %s: %s, want %s", c.method, c.contentType, got, c.want)
				}
				if c.want == "403" && !strings.Contains(p.answer.Get("Warning"), "must be encrypted") {
					t.Errorf("no sentence: %q", p.answer.Get("Warning"))
				}
			}
		}
		if b, a := w.talk(10); b != 10 || a != 10 {
			t.Errorf("afterwards bob heard %d, alice %d of 10", b, a)
		}
	})
}

// Whatever the network loses, delays, doubles or reorders: both ends think
// the same of each call in the end, and nothing stays behind.
func TestCallsOverABadNetwork(t *testing.T) {
	t.Parallel()
	for seed := range uint64(25) {
		inBubble(t, worldOptions{net: memnet.Options{Seed: seed, Loss: 0.15, Duplicate: 0.05, Reorder: 0.1, Delay: 15 * time.Millisecond, Jitter: 10 * time.Millisecond}}, func(t *testing.T, w *world) {
			clear := w.tapClear()
			w.alice.call("sip:bob@b.example")
			w.alice.await("answered")
			w.bob.await("acked")
			time.Sleep(35 * time.Second) // as long as an ACK may be lost
			va, vb := w.views()
			if va.State != "established" || vb.State != "established" || va.SASWords == "" || va.SASWords != vb.SASWords {
				t.Fatalf("seed %d: %+v %+v", seed, va, vb)
			}
			if seed%2 == 0 {
				w.alice.hangup()
				w.bob.await("bye")
			} else {
				w.bob.hangup()
				w.alice.await("bye")
			}
			time.Sleep(2 * time.Minute)
			w.none()
			for _, h := range []*house{w.a, w.b} {
				if n := h.proxy.Dialogs(); n != 0 {
					t.Errorf("seed %d: %d dialogs left", seed, n)
				}
			}
			if *clear != 0 {
				t.Errorf("seed %d: %d packets in clear", seed, *clear)
			}
		})
	}
}

// The 200 or the ACK between the houses is lost once, twice, often.
func TestLostAnswerAndAck(t *testing.T) {
	t.Parallel()
	for what, often := range map[string][]int{
		"SIP/2.0 200": {1, 3, 5},
		"ACK ":        {1, 3}, // a fourth comes after the 5 s that an exchange has to be confirmed
	} {
		for _, times := range often {
			inBubble(t, worldOptions{}, func(t *testing.T, w *world) {
				left := times
				w.tamper(func(m string) string {
					if left > 0 && strings.HasPrefix(m, what) && !strings.Contains(m, "CSeq: 2 ") {
						left--
						return ""
					}
					return m
				})
				w.alice.call("sip:bob@b.example")
				w.alice.await("answered")
				w.bob.await("acked")
				time.Sleep(20 * time.Second)
				va, vb := w.views()
				if left != 0 || va.SASWords == "" || va.SASWords != vb.SASWords {
					t.Errorf("%q lost %d times (%d left): %+v %+v", what, times, left, va, vb)
				}
			})
		}
	}
}

func TestShutdownEndsCalls(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{}, func(t *testing.T, w *world) {
		w.up()
		start := time.Now()
		if err := w.a.proxy.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("took %v", took)
		}
		w.alice.await("bye")
		w.bob.await("bye")
	})
	inBubble(t, worldOptions{}, func(t *testing.T, w *world) {
		w.bob.manual = true
		w.alice.call("sip:bob@b.example")
		w.alice.await("180")
		if err := w.a.proxy.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		w.alice.await("refused 503")
		w.bob.await("cancelled")
	})
}

// A phone that answers on hold, the old way, gets nothing and sends nothing:
// the exchange is not confirmed meanwhile, and the call must not end for it.
func TestAnsweredOnHold(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{net: memnet.Options{Delay: 5 * time.Millisecond}}, func(t *testing.T, w *world) {
		body := string(w.bob.body())
		held := strings.Replace(body, "c=IN IP4 "+bobPhone.Addr().String(), "c=IN IP4 0.0.0.0", 1)
		w.bob.body = func() []byte { return []byte(held) }
		w.up()
		time.Sleep(time.Minute)
		if va, vb := w.views(); va.State != "established" || vb.State != "established" || va.SASWords != "" {
			t.Fatalf("on hold: %+v %+v", va, vb)
		}
		if got := w.bob.reinvite(body); got != "200" {
			t.Fatalf("resume: %s", got)
		}
		if b, a := w.talk(20); b != 20 || a != 20 {
			t.Errorf("bob heard %d, alice %d of 20", b, a)
		}
		if va, vb := w.views(); va.SASWords == "" || va.SASWords != vb.SASWords {
			t.Errorf("afterwards %+v %+v", va, vb)
		}
	})
}

// A far end that has forgotten the call ends it for both.
func TestLostDialogEndsTheCall(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{}, func(t *testing.T, w *world) {
		w.up()
		w.tamper(func(m string) string {
			if strings.HasPrefix(m, "INVITE ") && strings.Contains(m, ";tag=") {
				return strings.Replace(m, "To: <sip:bob@b.example>;tag=", "To: <sip:bob@b.example>;tag=x", 1)
			}
			return m
		})
		events, cancel := w.a.proxy.Subscribe(10)
		defer cancel()
		if got := w.alice.reinvite(string(w.alice.body())); got != "481" {
			t.Errorf("re-INVITE: %s", got)
		}
		for e := range events {
			if e.Type != "call-ended" {
				continue
			}
			if !strings.Contains(e.Call.Reason, "lost the call") {
				t.Errorf("ended because %q", e.Call.Reason)
			}
			break
		}
		w.bob.await("bye")
	})
}
