package calls

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/record"
	"github.com/sipward/sipward/sip"
)

// What only led to a call is let go of once it stands. These are the tests of who
// asks for it all the same.

// fragment is the body of an ACK or PRACK with dh-fin.
const fragment = "Content-Type: application/dh-sdpfrag\r\n"

// A server on the way moves dh-fin from the PRACK to the ACK: the key is there, so
// nobody misses it two seconds behind the PRACK.
func TestKeyComesInTheAckInstead(t *testing.T) {
	t.Parallel()
	for _, mode := range []policy.Mode{policy.Require, policy.Prefer} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			inBubble(t, worldOptions{modeA: mode, modeB: mode, net: memnet.Options{Delay: 5 * time.Millisecond}}, func(t *testing.T, w *world) {
				clear, fin := w.tapClear(), ""
				w.tamper(func(m string) string {
					switch {
					case strings.HasPrefix(m, "PRACK ") && value(m, "dh-fin") != "":
						fin = value(m, "dh-fin")
						return removeLine(m, "a=dh-fin:")
					case strings.HasPrefix(m, "ACK ") && fin != "":
						head, _, _ := strings.Cut(m, "\r\n\r\n")
						return head + "\r\n" + fragment + "\r\na=dh-fin:" + fin + "\r\n"
					}
					return m
				})
				w.bob.early, w.bob.manual = true, true
				w.alice.call("sip:bob@b.example")
				w.alice.await("183")
				time.Sleep(time.Second)
				w.bobAnswers()
				w.alice.await("answered")
				w.bob.await("acked")
				time.Sleep(10 * time.Second)
				va, vb := w.views()
				if va.State != "established" || va.Protection != "srtp" || vb.Protection != "srtp" || va.SASWords != vb.SASWords || fin == "" {
					t.Errorf("%+v\n%+v", va, vb)
				}
				if b, a := w.talk(10); b != 10 || a != 10 || *clear != 0 {
					t.Errorf("bob heard %d, alice %d of 10, %d in clear", b, a, *clear)
				}
			})
		})
	}
}

// The 2xx of the INVITE comes once more when the keys that it brought were replaced:
// it says nothing of those in force.
func TestAnswerAgainBehindNewKeys(t *testing.T) {
	t.Parallel()
	inBubble(t, rekeying(memnet.Options{Delay: 5 * time.Millisecond}, b2bua.Rekey{Every: 4 * time.Second}, b2bua.Rekey{}), func(t *testing.T, w *world) {
		answer := ""
		w.net.Tap(func(d memnet.Datagram) {
			if m := string(d.Payload); answer == "" && d.From == outsideB && strings.HasPrefix(m, "SIP/2.0 200") && strings.Contains(m, "CSeq: 1 INVITE") {
				answer = m
			}
		})
		w.up()
		w.talk(10)
		late := w.raw(strangerAddr)
		defer late.conn.Close()
		for range 3 {
			time.Sleep(6 * time.Second)
			late.send(outsideA, answer)
			late.send(outsideA, flip(answer, "dh-resp")) // what nobody reads any more
		}
		time.Sleep(time.Second)
		if va, vb := w.views(); va.Rekeyings < 2 || va.Protection != "srtp" || va.Trust != "encrypted" || va.SASWords != vb.SASWords {
			t.Errorf("%+v\n%+v", va, vb)
		}
		w.hear(w.alice, w.bob)
	})
}

// invites keeps the INVITEs of a call by where they went.
func (w *world) invites() map[netip.AddrPort]*sip.Message {
	seen := map[netip.AddrPort]*sip.Message{}
	w.net.Tap(func(d memnet.Datagram) {
		if m, err := sip.Parse(append([]byte(nil), d.Payload...)); err == nil && m.Method == "INVITE" && seen[d.To] == nil {
			seen[d.To] = m
		}
	})
	return seen
}

// Whatever comes late for the INVITEs of a call that stands, of other forks, again,
// or of somebody who knows their branches: the call stays as it is.
func TestLateMessagesOfTheInvite(t *testing.T) {
	t.Parallel()
	for name, setup := range map[string]func(w *world){
		"answered at once":    func(w *world) {},
		"early media":         func(w *world) { w.bob.early = true },
		"reliable, with keys": func(w *world) { w.bob.early, w.bob.rel, w.alice.fields = true, true, takes },
		"delayed offer":       func(w *world) { w.alice.delayed = true },
	} {
		for _, mode := range []policy.Mode{policy.Require, policy.Prefer, policy.Off} {
			t.Run(name+", "+string(mode), func(t *testing.T) {
				t.Parallel()
				inBubble(t, worldOptions{modeA: mode, modeB: mode, net: memnet.Options{Delay: 5 * time.Millisecond}}, func(t *testing.T, w *world) {
					invites := w.invites()
					setup(w)
					w.up()
					late := w.raw(strangerAddr)
					defer late.conn.Close()
					for _, wait := range []time.Duration{time.Second, 10 * time.Second, 40 * time.Second} {
						time.Sleep(wait)
						for to, back := range map[netip.AddrPort]netip.AddrPort{outsideB: outsideA, bobPhone: insideB} { // whose INVITE it is
							for i, status := range []int{100, 180, 183, 199, 401, 407, 422, 488, 302, 503, 200, 200} {
								res := sip.NewResponse(invites[to], status, "", fmt.Sprint("late", i, wait))
								res.Add("Contact", "<sip:late@"+strangerAddr.String()+">")
								res.Add("Min-SE", "1800")
								res.Add("WWW-Authenticate", `Digest realm="x", nonce="1"`)
								if status == 183 {
									res.Add("Require", "100rel")
									res.Add("RSeq", "7")
								}
								if status == 183 || status == 200 {
									res.SetBody("application/sdp", []byte(phoneSDP(strangerAddr.Addr(), 4000)+"a=dh-resp:1 x25519 AEAD_AES_256_GCM sUZQlnOFNVnCiLJHtzOisCUegBmcbV3RsoGrvYgeTAA\r\n"))
								}
								late.send(back, string(res.Bytes()))
							}
						}
						for _, to := range []netip.AddrPort{insideA, outsideB} { // whom it reached
							late.send(to, string(invites[to].Bytes()))
							other := invites[to].Clone()
							other.Set("CSeq", "77 INVITE")
							other.Set("Via", "SIP/2.0/UDP "+strangerAddr.String()+";branch=z9hG4bKother")
							late.send(to, string(other.Bytes()))
							for _, method := range []string{"CANCEL", "ACK", "PRACK", "UPDATE", "BYE"} {
								m := invites[to].Clone()
								m.Method = method
								m.Set("CSeq", "1 "+method)
								m.Set("RAck", "1 1 INVITE")
								m.SetBody("", nil)
								late.send(to, string(m.Bytes()))
							}
						}
					}
					va, vb := w.views()
					if va.State != "established" || vb.State != "established" || mode != policy.Off && va.Protection != "srtp" || va.SASWords != vb.SASWords {
						t.Errorf("%+v\n%+v", va, vb)
					}
					w.hear(w.alice, w.bob)
					w.alice.hangup()
					w.bob.await("bye")
					time.Sleep(3 * time.Minute)
					w.none()
					for _, h := range []*house{w.a, w.b} {
						if n := h.proxy.Dialogs(); n != 0 {
							t.Errorf("%d dialogs left", n)
						}
					}
				})
			})
		}
	}
}

// ended keeps the records of calls.
type ended struct {
	mu    sync.Mutex
	calls []record.Call
}

func (e *ended) Add(c record.Call) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, c)
}

// A call that was led on has all that a call has: new keys, other addresses, holds,
// words that are compared, another transfer, and a record when it is over.
func TestLedCallsAreCalls(t *testing.T) {
	t.Parallel()
	records := &sync.Map{}
	inLed(t, func(o *b2bua.Options) {
		kept := &ended{}
		o.Rekey.Every, o.Timers.Session, o.Record = 7*time.Second, 90*time.Second, kept
		records.Store(o.Media, kept)
	}, func(o *b2bua.Options) { o.Rekey.Every = 9 * time.Second }, func(t *testing.T, w *world, carol *phone) {
		w.moves(w.a, outsideA, awayA, 0)
		time.Sleep(2 * time.Second)
		w.hear(w.bob, carol)
		for _, p := range []*phone{w.bob, carol} {
			if got := p.insist(strings.Replace(string(p.body()), "a=sendrecv", "a=sendonly", 1)); got != "200" {
				t.Errorf("%s holds: %s", p.name, got)
			}
			if got := p.insist(string(p.body())); got != "200" {
				t.Errorf("%s goes on: %s", p.name, got)
			}
		}
		va, _ := w.views()
		if v, err := w.a.proxy.SaySAS(context.Background(), va.ID, b2bua.Said{Equal: true}); err != nil || v.State != "established" {
			t.Errorf("%v: %+v", err, v)
		}
		time.Sleep(time.Minute)
		w.hear(w.bob, carol)
		w.moves(w.b, outsideB, awayB, 0)
		time.Sleep(5 * time.Second)
		w.hear(w.bob, carol)

		carol.refers()
		if got := carol.refer("<sip:alice@a.example>"); got != "202" {
			t.Fatalf("REFER: %s", got)
		}
		carol.await("told SIP/2.0 200")
		carol.await("bye")
		w.hear(w.bob, w.alice)
		w.bob.hangup()
		w.alice.await("bye")
		time.Sleep(time.Minute)
		w.none()
		synctest.Wait()
		kept, _ := records.Load(w.a.media)
		e := kept.(*ended)
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, c := range e.calls {
			if c.From == "" || c.To == "" || c.Answered.IsZero() || c.Reason == "" {
				t.Errorf("recorded: %+v", c)
			}
		}
		if n := len(e.calls); n < 2 {
			t.Errorf("%d calls recorded", n)
		}
	})
}
