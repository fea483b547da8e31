package calls

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
)

// byInfo has the phones of house A send and take digits in INFO alone.
func byInfo(o *b2bua.Options) { o.Listeners[0].DTMF = b2bua.DTMFInfo }

// withEvents is a phone's description with comfort noise, and telephone-event under
// a number.
func withEvents(p *phone, number string) func() []byte {
	return func() []byte {
		s := strings.Replace(phoneSDP(addrOf(p), 4000), "RTP/AVP 0", "RTP/AVP 0 13 "+number, 1)
		return []byte(s + "a=rtpmap:" + number + " telephone-event/8000\r\na=fmtp:" + number + " 0-15\r\n")
	}
}

// info sends an INFO and returns the answer's status.
func (p *phone) info(kind, body string) int {
	status := make(chan int, 1)
	p.do(func(d *sip.Dialog) {
		d.Do("INFO", kind, []byte(body), func(res *sip.Message, err error) {
			switch {
			case err != nil:
				status <- 0
			case res.Status >= 200:
				status <- res.Status
			}
		})
	})
	return <-status
}

// keys reads the events of a payload type out of what a phone has heard: the codes
// with their durations in milliseconds. The rest is speech.
func (p *phone) keys(payloadType byte) (pressed []string, speech int) {
	p.t.Helper()
	synctest.Wait()
	var stamp uint32
	var ends, longest int
	var source uint32
	for len(p.heard) > 0 {
		pkt := <-p.heard
		if pkt[1]&0x7f != payloadType {
			if pkt[1]&0x7f != 0 {
				p.t.Errorf("%s heard payload type %d", p.name, pkt[1]&0x7f)
			}
			speech++
			source = binary.BigEndian.Uint32(pkt[8:])
			continue
		}
		if source != 0 && binary.BigEndian.Uint32(pkt[8:]) != source {
			p.t.Errorf("%s heard a key of another source than the speech", p.name)
		}
		code, ended, lasted := pkt[12], pkt[13]&0x80 != 0, int(binary.BigEndian.Uint16(pkt[14:]))
		if s := binary.BigEndian.Uint32(pkt[4:]); len(pressed) == 0 || s != stamp {
			stamp, ends, longest = s, 0, 0
			pressed = append(pressed, "")
		}
		if ended {
			ends++
		}
		longest = max(longest, lasted)
		pressed[len(pressed)-1] = fmt.Sprintf("%d for %d, ends %d", code, longest/8, ends)
	}
	return pressed, speech
}

// A phone that has digits in INFO alone speaks with one that has them beside the
// speech: each gets its own kind, and outside they are protected with the speech.
func TestDigitsByInfo(t *testing.T) {
	t.Parallel()
	for _, mode := range []policy.Mode{policy.Require, policy.Prefer} {
		for _, offers := range []bool{false, true} { // alice's phone, telephone-event
			for how, call := range map[string]func(w *world){
				"calls":             func(w *world) { w.up() },
				"calls without SDP": func(w *world) { w.alice.delayed = true; w.up() },
				"is called":         func(w *world) { w.bob.call("sip:alice@a.example"); w.bob.await("answered"); w.alice.await("acked") },
				"is called, delayed": func(w *world) {
					w.bob.delayed = true
					w.bob.call("sip:alice@a.example")
					w.bob.await("answered")
					w.alice.await("acked")
				},
			} {
				t.Run(fmt.Sprint(mode, ", ", how, ", offers events ", offers), func(t *testing.T) {
					t.Parallel()
					inBubble(t, worldOptions{modeA: mode, modeB: mode, optionsA: byInfo}, func(t *testing.T, w *world) {
						clear, wire := w.tapClear(), w.crossing()
						w.bob.body = withEvents(w.bob, "97")
						if offers {
							w.alice.body = withEvents(w.alice, "101")
						}
						var told []string
						w.alice.within = func(tx *sip.ServerTx) bool {
							if tx.Request.Method != "INFO" {
								return false
							}
							told = append(told, tx.Request.ContentType()+": "+string(tx.Request.Body))
							tx.Reply(200, "")
							return true
						}
						w.net.Tap(func(d memnet.Datagram) {
							if d.To == alicePhone && strings.Contains(string(d.Payload), "telephone-event") {
								t.Errorf("alice's phone was told\n%s", d.Payload)
							}
						})
						call(w)
						time.Sleep(time.Second)
						if b, a := w.talk(10); b != 10 || a != 10 {
							t.Errorf("bob heard %d, alice %d of 10", b, a)
						}
						for _, again := range []bool{false, true} {
							if again { // what was agreed lasts over a hold
								for _, s := range []string{"a=sendonly", "a=sendrecv"} {
									w.alice.changes(strings.Replace(string(w.alice.body()), "a=sendrecv", s, 1))
								}
								w.talk(5)
							}
							for _, i := range [][2]string{
								{"application/dtmf-relay", "Signal=5\r\nDuration=200\r\n"},
								{"application/dtmf-relay", "Signal = #\nDuration = 10"},
								{"application/DTMF-relay", "Signal=10\r\nDuration=99999999\r\n"},
								{"application/dtmf", "d"},
							} {
								if got := w.alice.info(i[0], i[1]); got != 200 {
									t.Errorf("INFO %q: %d", i[1], got)
								}
							}
							time.Sleep(7 * time.Second)
							pressed, _ := w.bob.keys(97)
							if got, want := strings.Join(pressed, "; "), "5 for 200, ends 3; 11 for 40, ends 3; 10 for 5000, ends 3; 15 for 160, ends 3"; got != want {
								t.Errorf("bob heard %s, want %s", got, want)
							}
						}
						for i, more := range []byte{0, 0, 0x80, 0x80, 0x80} {
							pkt := append(packet(97, 900+uint16(i), 0xB2)[:12], 9, 10|more, 0, byte(160*min(i+1, 3)%256))
							to := byte(101)
							if n := strings.Split(string(w.bob.lastHeard().Body), " telephone-event")[0]; n != "" {
								fmt.Sscan(n[strings.LastIndex(n, ":")+1:], &to)
							}
							pkt[1] = to
							binary.BigEndian.PutUint16(pkt[14:], uint16(160*min(i+1, 3)))
							w.bob.rtp.WriteTo(pkt, net.UDPAddrFromAddrPort(*w.bob.media.Load()))
							time.Sleep(20 * time.Millisecond)
						}
						time.Sleep(time.Second)
						synctest.Wait()
						if got := strings.Join(told, "; "); got != "application/dtmf-relay: Signal=9\r\nDuration=60\r\n" {
							t.Errorf("alice was told %q", got)
						}
						for len(w.alice.heard) > 0 {
							if pkt := <-w.alice.heard; pkt[1]&0x7f != 0 {
								t.Errorf("alice heard payload type %d", pkt[1])
							}
						}
						if b, a := w.talk(10); b != 10 || a != 10 || *clear != 0 || len(wire.of("INFO ", "INFO")) != 0 {
							t.Errorf("bob heard %d, alice %d of 10; %d in clear; outside %v", b, a, *clear, wire.of("INFO ", "INFO"))
						}
						w.alice.hangup()
						w.bob.await("bye")
						w.none()
					})
				})
			}
		}
	}
}

// lastHeard is the description that a phone was sent last.
func (p *phone) lastHeard() *sip.Message {
	for _, m := range []*sip.Message{p.reinvited, p.answer, p.lastReq, p.ack} {
		if m != nil && strings.Contains(string(m.Body), "telephone-event") {
			return m
		}
	}
	return &sip.Message{}
}

// What is no digit is refused, what comes too fast too; and where the far end has
// no events, INFO goes on as it is, or not at all where policy requires protection.
func TestDigitsByInfoRefused(t *testing.T) {
	t.Parallel()
	t.Run("no digits", func(t *testing.T) {
		t.Parallel()
		inBubble(t, worldOptions{optionsA: byInfo}, func(t *testing.T, w *world) {
			w.bob.body = withEvents(w.bob, "97")
			w.up()
			for _, i := range [][2]string{
				{"application/dtmf-relay", "x"}, {"application/dtmf-relay", "Duration=100"}, {"application/dtmf-relay", "Signal=x"}, {"application/dtmf-relay", "Signal=55"},
				{"application/dtmf-relay", "Signal=5\r\nSignal=6"}, {"application/dtmf-relay", "Signal=5\r\nDuration=-1"}, {"application/dtmf-relay", "Signal=5\r\nDuration=x"},
				{"application/dtmf", " "}, {"application/dtmf", "12345"}, {"application/dtmf", "17"}, {"application/dtmf", strings.Repeat(" ", 300) + "5"},
			} {
				if got := w.alice.info(i[0], i[1]); got != 400 {
					t.Errorf("INFO %q: %d", i[1], got)
				}
			}
			time.Sleep(time.Second)
			if pressed, _ := w.bob.keys(97); len(pressed) != 0 {
				t.Errorf("bob heard %v", pressed)
			}
			taken, refused := 0, 0
			for range 25 {
				switch got := w.alice.info("application/dtmf-relay", "Signal=1\r\nDuration=5000"); got {
				case 200:
					taken++
				case 503:
					refused++
				default:
					t.Errorf("INFO: %d", got)
				}
			}
			if taken != 17 || refused != 8 { // one plays, 16 wait
				t.Errorf("%d taken, %d refused", taken, refused)
			}
			time.Sleep(40 * time.Second)
			if pressed, _ := w.bob.keys(97); len(pressed) != 8 {
				t.Errorf("bob heard %v", pressed)
			}
			w.alice.hangup() // while they play
			w.bob.await("bye")
			w.none()
		})
	})
	for mode, want := range map[policy.Mode]int{policy.Require: 403, policy.Prefer: 200} {
		t.Run("no events at the far end, "+string(mode), func(t *testing.T) {
			t.Parallel()
			inBubble(t, worldOptions{modeA: mode, modeB: mode, optionsA: byInfo}, func(t *testing.T, w *world) {
				w.up()
				if got := w.alice.info("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n"); got != want {
					t.Errorf("%d, want %d", got, want)
				}
				if want == 200 && (w.bob.lastReq.Method != "INFO" || string(w.bob.lastReq.Body) != "Signal=5\r\nDuration=160\r\n") {
					t.Errorf("bob got\n%s", w.bob.lastReq.Bytes())
				}
			})
		})
	}
	t.Run("nothing is configured", func(t *testing.T) {
		t.Parallel()
		inBubble(t, worldOptions{modeA: policy.Prefer, modeB: policy.Prefer}, func(t *testing.T, w *world) {
			w.alice.body, w.bob.body = withEvents(w.alice, "101"), withEvents(w.bob, "97")
			w.up()
			if got := w.alice.info("application/dtmf", "5"); got != 200 || w.bob.lastReq.Method != "INFO" {
				t.Errorf("%d, and bob got %s", got, w.bob.lastReq.Method)
			}
			if pressed, _ := w.bob.keys(97); len(pressed) != 0 {
				t.Errorf("bob heard %v", pressed)
			}
		})
	})
}

// Digits over a network that loses and reorders: each is heard once.
func TestDigitsByInfoUnderLoss(t *testing.T) {
	t.Parallel()
	o := worldOptions{optionsA: byInfo, net: memnet.Options{Delay: 10 * time.Millisecond, Loss: 0.05, Reorder: 0.05, Duplicate: 0.05, Seed: 5}}
	inBubble(t, o, func(t *testing.T, w *world) {
		w.bob.body = withEvents(w.bob, "97")
		w.up()
		time.Sleep(3 * time.Second)
		w.talk(20)
		const digits = "0123456789*#"
		for _, d := range digits {
			if got := w.alice.info("application/dtmf-relay", "Signal="+string(d)+"\r\nDuration=160\r\n"); got != 200 {
				t.Errorf("%c: %d", d, got)
			}
		}
		time.Sleep(10 * time.Second)
		seen := map[uint32]byte{}
		synctest.Wait()
		for len(w.bob.heard) > 0 {
			if pkt := <-w.bob.heard; pkt[1]&0x7f == 97 {
				seen[binary.BigEndian.Uint32(pkt[4:])] = pkt[12]
			}
		}
		count := map[byte]int{}
		for _, code := range seen {
			count[code]++
		}
		for code := range byte(len(digits)) {
			if count[code] != 1 {
				t.Errorf("digit %c was heard %d times", digits[code], count[code])
			}
		}
	})
}
