package calls

import (
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/sip"
)

func timed(tm b2bua.Timers) worldOptions {
	set := func(o *b2bua.Options) { o.Timers = tm }
	return worldOptions{net: memnet.Options{Delay: 10 * time.Millisecond}, optionsA: set, optionsB: set}
}

// seen counts requests of calls by who sends them to whom.
func (w *world) seen(method string) func() map[string]int {
	n := map[string]int{}
	var mu sync.Mutex
	w.net.Tap(func(d memnet.Datagram) {
		if isSIP(d.Payload) && strings.HasPrefix(string(d.Payload), method+" ") {
			mu.Lock()
			defer mu.Unlock()
			n[d.From.Addr().String()+" "+d.To.Addr().String()]++
		}
	})
	return func() map[string]int {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(n)
	}
}

// Phones that know nothing of session timers: sipward asks them, and its peer, as
// long as the call lasts. They hear nothing of it but that.
func TestCallsAreRefreshed(t *testing.T) {
	t.Parallel()
	for _, updates := range []bool{false, true} {
		inBubble(t, timed(b2bua.Timers{Session: 10 * time.Minute}), func(t *testing.T, w *world) {
			clear, p := w.tapClear(), w.tapNumbers()
			invites, asked := w.seen("INVITE"), w.seen("UPDATE")
			if updates {
				allow := []sip.Field{{Name: "Allow", Value: "INVITE, ACK, BYE, UPDATE"}}
				w.alice.fields, w.bob.answers = allow, allow
			}
			for _, p := range []*phone{w.alice, w.bob} {
				p.within = func(tx *sip.ServerTx) bool {
					if tx.Request.Method == "UPDATE" {
						if len(tx.Request.Body) > 0 {
							t.Error("a description in an UPDATE that only refreshes")
						}
						p.dialog.AnswerTo(tx, "", nil)
						return true
					}
					return false
				}
			}
			w.up()
			w.talk(100)
			before, _ := w.views()
			time.Sleep(time.Hour)
			synctest.Wait()
			w.heardWithin(2 * time.Second)
			synctest.Wait()
			counts, first := asked(), 0
			if !updates {
				counts, first = invites(), 1
			}
			for who, n := range map[string]int{"10.1.0.1 10.1.0.2": counts["10.1.0.1 10.1.0.2"], "10.2.0.1 10.2.0.2": counts["10.2.0.1 10.2.0.2"] - first} {
				if n < 10 || n > 13 {
					t.Errorf("updates %v: %d refreshes %s in an hour of sessions of 10 minutes", updates, n, who)
				}
			}
			if n := asked()["192.0.2.1 198.51.100.1"] + asked()["198.51.100.1 192.0.2.1"]; n < 10 || n > 13 {
				t.Errorf("updates %v: %v between the houses", updates, asked())
			}
			w.goesOn(before, clear, p)
		})
	}
}

// Who refreshes is agreed, and whose turn it is and does not is taken for gone.
func TestRefresherIsAgreed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fields    []sip.Field // of alice's INVITE
		session   time.Duration
		expires   string // of the answer
		require   bool
		refreshes bool // this side
	}{
		"phone asks, sipward does":     {fields("Supported", "timer", "Session-Expires", "600"), 0, "600;refresher=uas", false, true},
		"phone does":                   {fields("Supported", "timer", "Session-Expires", "600;refresher=uac"), 0, "600;refresher=uac", true, false},
		"ours is shorter":              {fields("Supported", "timer", "Session-Expires", "3600;refresher=uas"), 10 * time.Minute, "600;refresher=uas", false, true},
		"its least is longer":          {fields("Supported", "timer", "Session-Expires", "3600;refresher=uas", "Min-SE", "1200"), 10 * time.Minute, "1200;refresher=uas", false, true},
		"it only knows them":           {fields("Supported", "timer"), 10 * time.Minute, "600;refresher=uas", false, true},
		"a proxy asked":                {fields("Session-Expires", "600;refresher=uac"), 0, "600;refresher=uas", false, true},
		"nobody asks":                  {fields("Supported", "timer"), 0, "", false, false},
		"nobody knows, sipward does":   {nil, 10 * time.Minute, "", false, true},
		"it requires what is required": {fields("Supported", "timer", "Require", "timer", "Session-Expires", "600"), 0, "600;refresher=uas", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, timed(b2bua.Timers{Session: test.session}), func(t *testing.T, w *world) {
				invites := w.seen("INVITE")
				w.alice.fields = test.fields
				w.up()
				if got := w.alice.answer.Get("Session-Expires"); got != test.expires || w.alice.answer.HasToken("Require", "timer") != test.require {
					t.Errorf("answer %q, Require %q", got, w.alice.answer.Get("Require"))
				}
				time.Sleep(20 * time.Minute)
				synctest.Wait()
				if got := invites()["10.1.0.1 10.1.0.2"] > 0; got != test.refreshes {
					t.Errorf("sipward refreshes: %v", got)
				}
				if test.require { // alice never did what she took upon her
					w.none()
					if got := w.alice.await("bye"); !strings.Contains(got, "still there") {
						t.Errorf("%q", got)
					}
				} else {
					w.views()
				}
			})
		})
	}
}

func fields(pairs ...string) (out []sip.Field) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, sip.Field{Name: pairs[i], Value: pairs[i+1]})
	}
	return out
}

func TestSessionTooShort(t *testing.T) {
	t.Parallel()
	inBubble(t, timed(b2bua.Timers{}), func(t *testing.T, w *world) {
		w.alice.fields = fields("Supported", "timer", "Session-Expires", "60")
		w.alice.call("sip:bob@b.example")
		if got := w.alice.await("refused"); !strings.HasPrefix(got, "refused 422") || w.alice.answer.Get("Min-SE") != "90" {
			t.Errorf("%s, Min-SE %q", got, w.alice.answer.Get("Min-SE"))
		}
	})
	// A phone inside finds sipward's too short: it is asked once more.
	inBubble(t, timed(b2bua.Timers{Session: 10 * time.Minute}), func(t *testing.T, w *world) {
		asked := []string{}
		w.bob.first = func(in *sip.Incoming) bool {
			if in.Method != "INVITE" {
				return false
			}
			asked = append(asked, in.Get("Session-Expires")+" "+in.Get("Min-SE"))
			if in.Get("Session-Expires") == "600" {
				in.Reply(422, "", sip.Field{Name: "Min-SE", Value: "1800"})
				return true
			}
			return false
		}
		w.bob.answers = fields("Session-Expires", "1800;refresher=uas", "Require", "timer")
		w.up()
		if len(asked) != 2 || asked[1] != "1800 1800" {
			t.Errorf("asked %q", asked)
		}
		time.Sleep(40 * time.Minute) // bob should have refreshed
		w.none()
		w.alice.await("bye")
	})
}

// A phone whose plug was pulled leaves no call behind, whoever it is and however
// that is found out.
func TestPhoneDies(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		timers b2bua.Timers
		within time.Duration
	}{
		"session": {b2bua.Timers{Session: 10 * time.Minute}, 6 * time.Minute},
		"silence": {b2bua.Timers{AskAfter: time.Minute}, 2 * time.Minute},
		"both":    {b2bua.Timers{Session: 30 * time.Minute, AskAfter: time.Minute}, 2 * time.Minute},
	} {
		for _, caller := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				inBubble(t, timed(test.timers), func(t *testing.T, w *world) {
					stays, addr, house := w.bob, alicePhone.Addr(), w.a
					if !caller {
						stays, addr, house = w.alice, bobPhone.Addr(), w.b
					}
					events, cancel := house.proxy.Subscribe(1000)
					defer cancel()
					w.up()
					w.talk(50)
					w.net.TakeAway(addr)
					start := time.Now()
					go stays.say(30000, 3000, 0xA1)
					stays.await("bye")
					for e := range events {
						if e.Type != "call-ended" {
							continue
						}
						if !strings.Contains(e.Call.Reason, "does not answer") {
							t.Errorf("ended because %q", e.Call.Reason)
						}
						break
					}
					if took := time.Since(start); took > test.within {
						t.Errorf("found after %v", took)
					}
					time.Sleep(10 * time.Minute)
					w.none()
				})
			})
		}
	}
}

// A whole house dies, with its phone.
func TestHouseDies(t *testing.T) {
	t.Parallel()
	inBubble(t, timed(b2bua.Timers{Session: 30 * time.Minute, AskAfter: time.Minute}), func(t *testing.T, w *world) {
		w.up()
		w.talk(50)
		w.net.TakeAway(outsideB.Addr())
		w.net.TakeAway(insideB.Addr())
		w.alice.await("bye")
		time.Sleep(time.Hour)
		synctest.Wait()
		w.none()
	})
}

// Phones that answer are only quiet: a muted call goes on, unless somebody wants
// it otherwise.
func TestSilence(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		timers b2bua.Timers
		hold   bool
		ends   bool
	}{
		"asked":        {b2bua.Timers{AskAfter: time.Minute}, false, false},
		"not wanted":   {b2bua.Timers{EndAfter: 5 * time.Minute}, false, true},
		"held by both": {b2bua.Timers{EndAfter: 5 * time.Minute}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := timed(test.timers)
			if test.ends {
				o.optionsB = nil // it would notice at the same time, and A might only hear of it
			}
			inBubble(t, o, func(t *testing.T, w *world) {
				w.up()
				w.talk(50)
				if test.hold {
					if got := w.alice.reinvite(strings.Replace(string(w.alice.body()), "a=sendrecv", "a=inactive", 1)); got != "200" {
						t.Fatal(got)
					}
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if !test.ends {
					w.views()
					return
				}
				w.none()
				if got := w.alice.await("bye"); !strings.Contains(got, "Nothing was heard") {
					t.Errorf("BYE with %q", got)
				}
			})
		})
	}
}

// A far end that says it knows of no such call when it is asked ends it.
func TestRefreshMeetsALostCall(t *testing.T) {
	t.Parallel()
	for _, status := range []int{481, 408} {
		inBubble(t, timed(b2bua.Timers{Session: 10 * time.Minute}), func(t *testing.T, w *world) {
			w.up()
			w.bob.do(func(*sipDialog) {
				w.bob.within = func(tx *sip.ServerTx) bool {
					if tx.Request.Method != "INVITE" {
						return false
					}
					tx.Reply(status, "")
					return true
				}
			})
			w.alice.await("bye")
			time.Sleep(time.Minute)
			w.none()
		})
	}
}

// A far end that dislikes the question is there all the same.
func TestRefreshIsDisliked(t *testing.T) {
	t.Parallel()
	for _, status := range []int{405, 488, 491, 500, 501, 503, 603} {
		inBubble(t, timed(b2bua.Timers{Session: 10 * time.Minute}), func(t *testing.T, w *world) {
			n := 0
			w.bob.answers = fields("Allow", "INVITE, ACK, BYE, UPDATE")
			w.bob.within = func(tx *sip.ServerTx) bool {
				if tx.Request.Method != "UPDATE" && tx.Request.Method != "INVITE" {
					return false
				}
				if n++; n%2 == 1 || status == 488 || status == 603 {
					tx.Reply(status, "")
					return true
				}
				if tx.Request.Method == "UPDATE" {
					w.bob.dialog.AnswerTo(tx, "", nil)
					return true
				}
				return false
			}
			w.up()
			time.Sleep(time.Hour)
			synctest.Wait()
			if w.views(); n < 10 {
				t.Errorf("%d: asked %d times in an hour", status, n)
			}
		})
	}
}
