package calls

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/keyexchange"
	"github.com/sipward/sipward/sip"
)

// rekeying is a world whose houses replace keys so.
func rekeying(net memnet.Options, a, b b2bua.Rekey) worldOptions {
	return worldOptions{net: net,
		optionsA: func(o *b2bua.Options) { o.Rekey = a },
		optionsB: func(o *b2bua.Options) { o.Rekey = b }}
}

// rekeyings counts the exchanges that begin within calls, by who asks for them,
// and the answers to them.
type rekeyings struct {
	mu      sync.Mutex
	asked   map[string]int // the address of who asks
	refused map[string]int // status
	inits   map[string]bool
	acks    int
}

func (w *world) countRekeyings() *rekeyings {
	r := &rekeyings{asked: map[string]int{}, refused: map[string]int{}, inits: map[string]bool{}}
	w.net.Tap(func(d memnet.Datagram) {
		m := string(d.Payload)
		if !between(d.From, d.To) || !isSIP(d.Payload) {
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		switch init := value(m, "dh-init"); {
		case strings.HasPrefix(m, "INVITE ") && strings.Contains(m, "To: <sip:") && init != "" && !r.inits[init]:
			r.inits[init] = true
			if to, _, _ := strings.Cut(m[strings.Index(m, "To: "):], "\r\n"); strings.Contains(to, ";tag=") {
				r.asked[d.From.Addr().String()]++
			}
		case strings.HasPrefix(m, "SIP/2.0 4"), strings.HasPrefix(m, "SIP/2.0 5"):
			r.refused[m[8:11]]++
		case strings.HasPrefix(m, "ACK ") && strings.Contains(m, "dh-fin"):
			r.acks++
		}
	})
	return r
}

// settled waits until nothing is counted any more, and returns what was.
func (r *rekeyings) settled() *rekeyings {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return &rekeyings{asked: maps.Clone(r.asked), refused: maps.Clone(r.refused), acks: r.acks}
}

// unheard is how many packets that arrived at the houses from the outside could
// not be heard there.
func unheard(va, vb b2bua.View) uint64 {
	return va.Legs[1].DroppedAuth + vb.Legs[0].DroppedAuth
}

// chatter lets both phones speak for a time, and returns how many packets of each
// the other one did not hear.
func (w *world) chatter(d time.Duration) (missing int) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		b, a := w.talk(500)
		missing += 1000 - b - a
		for _, p := range []*phone{w.alice, w.bob} {
			for len(p.heard) > 0 {
				<-p.heard
			}
		}
	}
	return missing
}

func TestRekeyByTime(t *testing.T) {
	t.Parallel()
	for _, caller := range []bool{true, false} {
		a, b := b2bua.Rekey{Every: 5 * time.Second}, b2bua.Rekey{}
		if !caller {
			a, b = b, a
		}
		inBubble(t, rekeying(memnet.Options{Delay: 20 * time.Millisecond}, a, b), func(t *testing.T, w *world) {
			clear, p, r := w.tapClear(), w.tapNumbers(), w.countRekeyings()
			w.up()
			w.talk(10)
			before, _ := w.views()
			if missing := w.chatter(2 * time.Minute); missing != 0 {
				t.Errorf("%d packets were not heard", missing)
			}
			va, vb := w.views()
			if n := r.settled().asked["192.0.2.1"] + r.settled().asked["198.51.100.1"]; n < 15 || n > 30 || caller != (r.settled().asked["192.0.2.1"] > 0) || unheard(va, vb) != 0 {
				t.Errorf("%d rekeyings %v in two minutes, %d packets not heard", n, r.settled().asked, unheard(va, vb))
			}
			for _, p := range []*phone{w.alice, w.bob} {
				if p.reinvited != nil {
					t.Errorf("%s was asked about keys", p.name)
				}
			}
			w.goesOn(before, clear, p)
		})
	}
}

// Where both want new keys at the same moment, again and again, 491 and chance
// let one of them be first (RFC 3261 section 14.1).
func TestRekeyAtBothEndsAtOnce(t *testing.T) {
	t.Parallel()
	both := b2bua.Rekey{Packets: 600}
	inBubble(t, rekeying(memnet.Options{Delay: 30 * time.Millisecond}, both, both), func(t *testing.T, w *world) {
		clear, p, r := w.tapClear(), w.tapNumbers(), w.countRekeyings()
		w.up()
		w.talk(10)
		before, _ := w.views()
		if missing := w.chatter(5 * time.Minute); missing != 0 {
			t.Errorf("%d packets were not heard", missing)
		}
		if n := r.settled().asked["192.0.2.1"] + r.settled().asked["198.51.100.1"]; r.settled().refused["491"] == 0 || n < 20 {
			t.Errorf("%v asked, %v refused", r.settled().asked, r.settled().refused)
		}
		w.goesOn(before, clear, p)
	})
}

// The network loses, doubles and reorders signalling and media: what arrives is
// heard.
func TestRekeyOverABadNetwork(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			every := b2bua.Rekey{Every: 4 * time.Second}
			o := rekeying(memnet.Options{Seed: seed, Loss: 0.05, Duplicate: 0.02, Reorder: 0.1, Delay: 25 * time.Millisecond, Jitter: 15 * time.Millisecond}, every, every)
			inBubble(t, o, func(t *testing.T, w *world) {
				clear, r := w.tapClear(), w.countRekeyings()
				w.up()
				time.Sleep(5 * time.Second)
				w.talk(50)
				before, _ := w.views()
				w.chatter(2 * time.Minute)
				time.Sleep(5 * time.Second)
				va, vb := w.views()
				if va.SASWords == "" || va.SASWords != before.SASWords || vb.SASWords != before.SASWords || va.Protection != "srtp" {
					t.Errorf("%+v\n%+v", va, vb)
				}
				if n := unheard(va, vb); n != 0 || r.settled().acks < 20 || *clear != 0 {
					t.Errorf("%d packets not heard in %d rekeyings, %d in clear", n, r.settled().acks, *clear)
				}
				w.alice.hangup()
				w.bob.await("bye")
				time.Sleep(2 * time.Minute)
				w.none()
			})
		})
	}
}

// Whatever the phones do to the call meanwhile, keys turn over and the phones get
// what they asked for.
func TestRekeyWhilePhonesChangeTheCall(t *testing.T) {
	t.Parallel()
	o := rekeying(memnet.Options{Delay: 20 * time.Millisecond}, b2bua.Rekey{Every: 3 * time.Second}, b2bua.Rekey{})
	inBubble(t, o, func(t *testing.T, w *world) {
		clear, p, r := w.tapClear(), w.tapNumbers(), w.countRekeyings()
		w.up()
		w.talk(10)
		before, _ := w.views()
		body := string(w.alice.body())
		refused := 0
		for i := range 100 {
			time.Sleep(time.Duration(600+7*i) * time.Millisecond)
			got := w.alice.reinvite(strings.Replace(body, "a=sendrecv", []string{"a=sendonly", "a=sendrecv", "a=inactive", "a=sendrecv"}[i%4], 1))
			if got == "491" {
				refused++
			} else if got != "200" {
				t.Fatalf("change %d: %s", i, got)
			}
		}
		if refused > 0 || r.settled().acks < 8 {
			t.Errorf("%d of the phone's changes were refused, %d rekeyings", refused, r.settled().acks)
		}
		w.goesOn(before, clear, p)
	})
}

func TestRekeyOnHold(t *testing.T) {
	t.Parallel()
	for hold, turns := range map[string]bool{"a=sendonly": true, "a=inactive": true, "c=IN IP4 0.0.0.0": false} {
		o := rekeying(memnet.Options{Delay: 20 * time.Millisecond}, b2bua.Rekey{Every: 10 * time.Second}, b2bua.Rekey{})
		inBubble(t, o, func(t *testing.T, w *world) {
			clear, p, r := w.tapClear(), w.tapNumbers(), w.countRekeyings()
			w.up()
			w.talk(10)
			before, _ := w.views()
			body := string(w.alice.body())
			held := strings.Replace(body, "a=sendrecv", hold, 1)
			if hold[0] == 'c' {
				held = strings.Replace(body, "c=IN IP4 "+alicePhone.Addr().String(), hold, 1)
			}
			if got := w.alice.reinvite(held); got != "200" {
				t.Fatalf("hold: %s", got)
			}
			w.bob.await("reinvited")
			time.Sleep(2 * time.Minute)
			if (r.settled().acks > 5) != turns {
				t.Errorf("%s: %d rekeyings", hold, r.settled().acks)
			}
			if got := w.alice.reinvite(body); got != "200" {
				t.Fatalf("resume: %s", got)
			}
			if b, a := w.talk(1000); b != 1000 || a != 1000 {
				t.Errorf("%s: bob heard %d, alice %d of 1000", hold, b, a)
			}
			if r.settled().acks < 2 {
				t.Errorf("%s: %d rekeyings", hold, r.settled().acks)
			}
			w.goesOn(before, clear, p)
		})
	}
}

func TestRekeyWhileAHouseMoves(t *testing.T) {
	t.Parallel()
	o := rekeying(memnet.Options{Delay: 20 * time.Millisecond}, b2bua.Rekey{Every: 3 * time.Second}, b2bua.Rekey{Every: 3 * time.Second})
	inBubble(t, o, func(t *testing.T, w *world) {
		clear, p, r := w.tapClear(), w.tapNumbers(), w.countRekeyings()
		w.up()
		w.talk(10)
		before, _ := w.views()
		at, to := outsideA, awayA
		for i := range 6 {
			w.both(100 + 13*i)
			time.Sleep(50 * time.Millisecond) // what leaves from the old address would be lost
			w.net.GiveBack(to.Addr())
			w.moves(w.a, at, to, 0)
			at, to = to, at
			w.heardWithin(3 * time.Second)
		}
		if r.settled().acks < 5 {
			t.Errorf("%d rekeyings", r.settled().acks)
		}
		w.goesOn(before, clear, p)
	})
}

// New keys are of the suites that both allow, as the first ones were.
func TestRekeyKeepsToTheSuites(t *testing.T) {
	t.Parallel()
	o := rekeying(memnet.Options{Delay: 20 * time.Millisecond}, b2bua.Rekey{Every: 3 * time.Second}, b2bua.Rekey{})
	b := o.optionsB
	o.optionsB = func(o *b2bua.Options) { b(o); o.Suites = suitesOf(t, "AES_CM_128_HMAC_SHA1_80") }
	inBubble(t, o, func(t *testing.T, w *world) {
		r := w.countRekeyings()
		w.up()
		if missing := w.chatter(30 * time.Second); missing != 0 {
			t.Errorf("%d packets were not heard", missing)
		}
		if va, _ := w.views(); va.Suite != "AES_CM_128_HMAC_SHA1_80" || r.settled().acks < 5 {
			t.Errorf("suite %s, %d rekeyings", va.Suite, r.settled().acks)
		}
	})
}

func suitesOf(t *testing.T, names ...string) []keyexchange.Suite {
	suites, err := b2bua.Suites(names...)
	if err != nil {
		t.Fatal(err)
	}
	return suites
}

// What somebody between the houses makes of a rekeying.
func TestRekeyTampered(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		tamper func(m string) string // of messages of the rekeying
		ends   string                // why; "": the call goes on
	}{
		"2xx without share":   {func(m string) string { return without(m, "SIP/2.0 200", "dh-resp") }, "another party"},
		"2xx with another":    {func(m string) string { return changed(m, "SIP/2.0 200", "dh-resp") }, "never arrived"},
		"ACK without share":   {func(m string) string { return without(m, "ACK ", "dh-fin") }, "key did not arrive"},
		"ACK with another":    {func(m string) string { return changed(m, "ACK ", "dh-fin") }, "tampered"},
		"INVITE with another": {func(m string) string { return changed(m, "INVITE ", "dh-init") }, "never arrived"},
		"INVITE without":      {func(m string) string { return without(m, "INVITE ", "dh-init") }, "another party"},
		"INVITE refused": {func(m string) string {
			return strings.Replace(m, "CSeq: 2 INVITE\r\nContact", "CSeq: 2 INVITE\r\nRequire: nonsense\r\nContact", 1)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := rekeying(memnet.Options{Delay: 20 * time.Millisecond}, b2bua.Rekey{Every: 10 * time.Second}, b2bua.Rekey{})
			inBubble(t, o, func(t *testing.T, w *world) {
				events, cancel := w.a.proxy.Subscribe(1000)
				defer cancel()
				eventsB, cancelB := w.b.proxy.Subscribe(1000)
				defer cancelB()
				w.up()
				w.talk(10)
				w.tamper(func(m string) string {
					if strings.Contains(m, "CSeq: 2 ") {
						return test.tamper(m)
					}
					return m
				})
				why := make(chan string, 2)
				for _, ch := range []<-chan b2bua.Event{events, eventsB} {
					go func() {
						for e := range ch {
							if e.Type == "call-ended" {
								why <- e.Call.Reason
							}
						}
					}()
				}
				w.both(1000)
				time.Sleep(20 * time.Second)
				synctest.Wait()
				if test.ends == "" {
					w.views()
					if b, a := w.talk(10); b != 10 || a != 10 {
						t.Errorf("afterwards bob heard %d, alice %d of 10", b, a)
					}
					return
				}
				w.none()
				got := <-why + " | " + <-why
				if !strings.Contains(got, test.ends) {
					t.Errorf("ended because %q, want %q", got, test.ends)
				}
			})
		})
	}
}

func without(m, start, attribute string) string {
	if v := value(m, attribute); strings.HasPrefix(m, start) && v != "" {
		return strings.Replace(m, "a="+attribute+":"+v+"\r\n", "", 1)
	}
	return m
}

func changed(m, start, attribute string) string {
	if strings.HasPrefix(m, start) {
		return flip(m, attribute)
	}
	return m
}

// A peer that asks for new keys all the time is put off.
func TestRekeyTooOften(t *testing.T) {
	t.Parallel()
	o := rekeying(memnet.Options{Delay: 20 * time.Millisecond}, b2bua.Rekey{Every: 2 * time.Second}, b2bua.Rekey{MinInterval: 20 * time.Second})
	inBubble(t, o, func(t *testing.T, w *world) {
		r := w.countRekeyings()
		w.up()
		if missing := w.chatter(2 * time.Minute); missing != 0 {
			t.Errorf("%d packets were not heard", missing)
		}
		if r.settled().refused["500"] == 0 || r.settled().acks < 3 || r.settled().acks > 24 { // four ACKs each at most
			t.Errorf("%v refused, %d ACKs", r.settled().refused, r.settled().acks)
		}
	})
}

// Another implementation may bring new keys in a change of the call: the phone is
// asked about that, and hears nothing of the keys.
func TestRekeyTogetherWithAChange(t *testing.T) {
	t.Parallel()
	for _, refuse := range []bool{false, true} {
		o := rekeying(memnet.Options{Delay: 20 * time.Millisecond}, b2bua.Rekey{Every: 10 * time.Second}, b2bua.Rekey{})
		inBubble(t, o, func(t *testing.T, w *world) {
			r := w.countRekeyings()
			w.up()
			w.talk(10)
			before, _ := w.views()
			w.tamper(func(m string) string {
				if strings.HasPrefix(m, "INVITE ") && !strings.Contains(m, "CSeq: 1 ") {
					return strings.Replace(m, "a=sendrecv", "a=sendonly", 1)
				}
				return m
			})
			if refuse {
				w.bob.do(func(*sipDialog) {
					w.bob.within = func(tx *sip.ServerTx) bool {
						if tx.Request.Method == "INVITE" {
							tx.Reply(488, "")
						}
						return tx.Request.Method == "INVITE"
					}
				})
			}
			if missing := w.chatter(15 * time.Second); missing != 0 {
				t.Errorf("%d packets were not heard", missing)
			}
			switch got := w.bob.reinvited; {
			case refuse && r.settled().acks == 1: // that of the first exchange
			case refuse || got == nil || r.settled().acks < 2:
				t.Fatalf("bob was asked: %v, %d ACKs", got != nil, r.settled().acks)
			case !strings.Contains(string(got.Body), "a=sendonly") || strings.Contains(string(got.Body), "dh-") || got.Has("DH-Init"):
				t.Errorf("bob got\n%s", got.Body)
			}
			va, vb := w.views()
			if va.SASWords != before.SASWords || vb.SASWords != before.SASWords || unheard(va, vb) != 0 {
				t.Errorf("%+v\n%+v", va, vb)
			}
		})
	}
}

// The hybrid group needs a stream, and its responder sends under new keys only
// when it has heard the initiator under them.
func TestRekeyHybridGroup(t *testing.T) {
	t.Parallel()
	for _, caller := range []bool{true, false} {
		a, b := b2bua.Rekey{Every: 4 * time.Second}, b2bua.Rekey{}
		if !caller {
			a, b = b, a
		}
		o := overTCP(rekeying(memnet.Options{Delay: 20 * time.Millisecond}, a, b))
		inBubble(t, o, func(t *testing.T, w *world) {
			w.up()
			w.talk(10)
			before, _ := w.views()
			if missing := w.chatter(time.Minute); missing != 0 {
				t.Errorf("%d packets were not heard", missing)
			}
			va, vb := w.views()
			if va.Group != keyexchange.GroupX25519MLKEM768 || va.SASWords == "" || va.SASWords != before.SASWords || vb.SASWords != before.SASWords || unheard(va, vb) != 0 {
				t.Errorf("%+v\n%+v", va, vb)
			}
			// One may be between its end's confirmation and the other's.
			if d := int(va.Rekeyings) - int(vb.Rekeyings); va.Rekeyings < 10 || d < -1 || d > 1 {
				t.Errorf("%d and %d rekeyings", va.Rekeyings, vb.Rekeyings)
			}
		})
	}
}
