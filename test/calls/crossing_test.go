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
	"github.com/sipward/sipward/sip"
)

// delay is how long a datagram is under way.
const delay = 20 * time.Millisecond

// an act is what a phone does at some moment, whatever the call has become.
type act struct {
	name string
	do   func(p *phone, d *sipDialog)
}

func change(method string) func(p *phone, d *sipDialog) {
	return func(p *phone, d *sipDialog) {
		body := strings.Replace(string(p.body()), "a=sendrecv", "a=sendonly", 1)
		d.Do(method, "application/sdp", []byte(body), func(res *sip.Message, err error) {
			if err == nil && res.Status >= 200 && res.Status < 300 && method == "INVITE" {
				d.Ack(res, "", nil)
			}
		})
	}
}

var (
	nothing = act{"nothing", func(*phone, *sipDialog) {}}
	cancels = act{"CANCEL", func(p *phone, d *sipDialog) { d.Cancel() }}
	hangsUp = act{"BYE", func(p *phone, d *sipDialog) { d.Bye(nil) }}
	givesUp = act{"CANCEL or BYE", func(p *phone, d *sipDialog) {
		if d.Confirmed() {
			d.Bye(nil)
		} else {
			d.Cancel()
		}
	}}
	answers   = act{"200", func(p *phone, d *sipDialog) { d.Answer("application/sdp", p.body()) }}
	refuses   = act{"486", func(p *phone, d *sipDialog) { d.Refuse(486, "") }}
	rings     = act{"180", func(p *phone, d *sipDialog) { d.Provision(180, "", "", nil) }}
	answersIt = act{"200 and BYE", func(p *phone, d *sipDialog) { answers.do(p, d); d.Bye(nil) }}
	reinvites = act{"re-INVITE", change("INVITE")}
	updates   = act{"UPDATE", change("UPDATE")}
	refreshes = act{"empty UPDATE", func(p *phone, d *sipDialog) { d.Do("UPDATE", "", nil, func(*sip.Message, error) {}) }}
	informs   = act{"OPTIONS", func(p *phone, d *sipDialog) { d.Do("OPTIONS", "", nil, func(*sip.Message, error) {}) }}
)

// inCall says whether a phone thinks that it is in a call.
func (p *phone) inCall() bool {
	state := make(chan bool)
	p.queue.Post(func() { state <- p.dialog != nil && p.dialog.Confirmed() && !p.dialog.Ended() })
	return <-state
}

// agreed checks that both phones think the same of the call, and so do the houses;
// where it stands they hear each other, and it can be ended.
func (w *world) agreed() (stands bool) {
	w.t.Helper()
	synctest.Wait()
	a, b := w.alice.inCall(), w.bob.inCall()
	if a != b {
		w.t.Errorf("alice is in a call: %v, bob: %v", a, b)
	}
	if a && b {
		if bob, alice := w.talk(20); bob != 20 || alice != 20 {
			w.t.Errorf("bob heard %d, alice %d of 20", bob, alice)
		}
		va, vb := w.views()
		if va.State != "established" || vb.State != "established" || va.SASWords == "" || va.SASWords != vb.SASWords {
			w.t.Errorf("%+v\n%+v", va, vb)
		}
		w.alice.hangup()
	}
	time.Sleep(2 * time.Minute)
	w.none()
	for _, h := range []*house{w.a, w.b} {
		if n := h.proxy.Dialogs(); n != 0 {
			w.t.Errorf("%d dialogs left", n)
		}
	}
	return a && b
}

// Two messages cross on the wire, in each state of a call, with every distance
// between them that matters: both phones think the same in the end, and nothing
// stays behind.
func TestMessagesCross(t *testing.T) {
	t.Parallel()
	for _, state := range []struct {
		name       string
		until      func(w *world) // reached
		alice, bob []act
	}{
		{"calling", func(w *world) {
			w.alice.call("sip:bob@b.example")
			w.bob.await("invited")
		}, []act{cancels, nothing}, []act{rings, answers, refuses, answersIt}},
		{"answered", func(w *world) {
			w.alice.call("sip:bob@b.example")
			w.bob.await("invited")
			w.bob.do(func(d *sipDialog) { answers.do(w.bob, d) })
		}, []act{givesUp, reinvites, updates}, []act{nothing, hangsUp, reinvites, updates, refreshes}},
		{"established", func(w *world) {
			w.alice.call("sip:bob@b.example")
			w.bob.await("invited")
			w.bob.do(func(d *sipDialog) { answers.do(w.bob, d) })
			w.alice.await("answered")
			w.bob.await("acked")
			time.Sleep(2 * time.Second)
		}, []act{hangsUp, reinvites, updates, refreshes, informs}, []act{hangsUp, reinvites, updates, refreshes}},
	} {
		for _, a := range state.alice {
			for _, b := range state.bob {
				t.Run(state.name+"/"+a.name+" and "+b.name, func(t *testing.T) {
					t.Parallel()
					for apart := -4 * delay; apart <= 4*delay; apart += delay / 2 {
						inBubble(t, worldOptions{net: memnet.Options{Delay: delay}}, func(t *testing.T, w *world) {
							w.bob.manual = true
							state.until(w)
							time.Sleep(max(0, -apart))
							w.bob.do(func(d *sipDialog) { b.do(w.bob, d) })
							if apart < 0 {
								w.alice.do(func(d *sipDialog) { a.do(w.alice, d) })
							} else {
								time.Sleep(apart)
								w.alice.do(func(d *sipDialog) { a.do(w.alice, d) })
							}
							time.Sleep(50 * time.Second)
							if state.name == "calling" && a.name == nothing.name && b.name == rings.name {
								w.alice.do(func(d *sipDialog) { d.Cancel() })
								time.Sleep(50 * time.Second)
							}
							w.agreed()
							if t.Failed() {
								t.Fatalf("%v apart", apart)
							}
						})
					}
				})
			}
		}
	}
}

// Each message of a call is lost on each way, once and three times.
func TestEachMessageIsLost(t *testing.T) {
	t.Parallel()
	ways := map[string][2]netip.Addr{
		"alice to her house":   {alicePhone.Addr(), insideA.Addr()},
		"alice's house to her": {insideA.Addr(), alicePhone.Addr()},
		"house to house":       {outsideA.Addr(), outsideB.Addr()},
		"and back":             {outsideB.Addr(), outsideA.Addr()},
		"bob's house to him":   {insideB.Addr(), bobPhone.Addr()},
		"bob to his house":     {bobPhone.Addr(), insideB.Addr()},
	}
	for way, ends := range ways {
		for _, times := range []int{1, 3} {
			for _, start := range []string{"INVITE ", "SIP/2.0 100", "SIP/2.0 180", "SIP/2.0 200", "ACK ", "CANCEL ", "SIP/2.0 487", "BYE ", "UPDATE ", "SIP/2.0 4"} {
				t.Run(fmt.Sprintf("%s %s %d", way, strings.TrimSpace(start), times), func(t *testing.T) {
					t.Parallel()
					for _, story := range []func(w *world){wholeCall, givenUp} {
						for nth := range 5 { // of such messages, the first of those that are lost
							seen := 0
							lossy := func(w *world) {
								w.net.SetRule(func(from, to netip.AddrPort, b []byte) memnet.Verdict {
									if from.Addr() != ends[0] || to.Addr() != ends[1] || !isSIP(b) || !strings.HasPrefix(string(b), start) {
										return memnet.Verdict{}
									}
									seen++
									return memnet.Verdict{Drop: seen > nth && seen <= nth+times}
								})
							}
							inBubble(t, rekeying(memnet.Options{Delay: delay}, b2bua.Rekey{Every: 10 * time.Second}, b2bua.Rekey{}), func(t *testing.T, w *world) {
								clear := w.tapClear()
								lossy(w)
								story(w)
								time.Sleep(90 * time.Second)
								if w.agreed(); *clear != 0 {
									t.Errorf("%d packets in clear", *clear)
								}
								if t.Failed() {
									t.Fatalf("behind %d of them", nth)
								}
							})
							if seen <= nth {
								break // there are no more of them
							}
						}
					}
				})
			}
		}
	}
}

// wholeCall is a call with changes from both sides and new keys.
func wholeCall(w *world) {
	w.bob.manual = true
	w.alice.call("sip:bob@b.example")
	w.bob.await("invited")
	time.Sleep(time.Second)
	w.bob.do(func(d *sipDialog) { answers.do(w.bob, d) })
	time.Sleep(10 * time.Second)
	w.alice.do(func(d *sipDialog) { reinvites.do(w.alice, d) })
	time.Sleep(10 * time.Second)
	w.bob.do(func(d *sipDialog) { updates.do(w.bob, d) })
	time.Sleep(20 * time.Second)
	w.bob.do(func(d *sipDialog) { hangsUp.do(w.bob, d) })
}

// givenUp is a call that nobody waits for.
func givenUp(w *world) {
	w.bob.manual = true
	w.alice.call("sip:bob@b.example")
	time.Sleep(5 * time.Second)
	w.alice.do(func(d *sipDialog) { d.Cancel() })
}
