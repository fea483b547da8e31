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
	"github.com/sipward/sipward/media/srtp"
	"github.com/sipward/sipward/sip"
)

// moves are the ways in which the party of a call changes for carol, whose phone
// speaks SRTP under keys in the description. Each begins with no call, and returns
// with whom carol speaks in the end. meet brings a call of alice and carol up.
var moves = map[string]func(t *testing.T, w *world, carol *srtpOnly, meet func()) *phone{
	"blind": func(t *testing.T, w *world, carol *srtpOnly, meet func()) *phone {
		meet()
		if got := w.alice.refer("<sip:bob@b.example>"); got != "202" {
			t.Fatalf("REFER: %s", got)
		}
		carol.await("reinvited")
		w.alice.await("told SIP/2.0 200")
		return w.bob
	},
	"attended, carol was there first": func(t *testing.T, w *world, carol *srtpOnly, meet func()) *phone {
		meet()
		d := w.alice.second("sip:bob@b.example")
		w.bob.await("acked")
		time.Sleep(time.Second) // for the keys' confirmation
		if got := w.alice.referOn(d, "sip:bob@b.example"); got != "202" {
			t.Fatalf("REFER: %s", got)
		}
		w.alice.await("told SIP/2.0 200")
		return w.bob
	},
	"attended, carol was asked second": func(t *testing.T, w *world, carol *srtpOnly, meet func()) *phone {
		w.up()
		var first *sipDialog
		w.alice.do(func(d *sipDialog) { first = d })
		meet()
		if got := w.alice.referOn(first, "sip:carol@a.example"); got != "202" {
			t.Fatalf("REFER: %s", got)
		}
		w.alice.await("told SIP/2.0 200")
		return w.bob
	},
	"taken over by another phone of alice's": func(t *testing.T, w *world, carol *srtpOnly, meet func()) *phone {
		meet()
		names := make(chan sip.Replaces, 1)
		w.alice.do(func(d *sipDialog) { names <- d.Replaces() })
		mobile := w.phone("mobile", davePhone, insideA, func(p *phone) {
			p.as = "sip:alice@a.example"
			r := <-names
			p.fields = []sip.Field{{Name: "Replaces", Value: r.String()}}
		})
		mobile.call("sip:carol@a.example")
		mobile.await("answered")
		w.alice.await("bye")
		return mobile
	},
}

// A phone with SRTP of its own keeps it, whoever its call goes on with: what it is
// offered has the keys that it knows, or new ones where it brings some, it hears
// and is heard, and nothing crosses its wire in clear, nor its keys the outside.
func TestPhoneWithSDESIsTransferred(t *testing.T) {
	t.Parallel()
	suite := srtp.Suites()[0]
	for way, move := range moves {
		for _, role := range []string{"has called", "was called, learned", "was called, always", "end to end"} {
			for _, renews := range []bool{false, true} {
				t.Run(fmt.Sprint(way, ", ", role, ", renews its key ", renews), func(t *testing.T) {
					t.Parallel()
					o := withColleagues(worldOptions{net: memnet.Options{Delay: 5 * time.Millisecond}})
					if role == "was called, always" || role == "has called" { // else her keys would pass to alice

						o.optionsA = func(o *b2bua.Options) { o.Listeners[0].SDES = b2bua.SDESAlways }
					}
					inBubble(t, o, func(t *testing.T, w *world) {
						desk := w.phone("carol", carolPhone, insideA)
						defer desk.close()
						carol := newSRTPOnly(desk, suite, 488)
						w.alice.refers()
						readable := 0
						w.net.Tap(func(d memnet.Datagram) {
							onWire := d.From.Addr() == carolPhone.Addr() || d.To.Addr() == carolPhone.Addr()
							text := string(d.Payload)
							switch {
							case isSIP(d.Payload) && between(d.From, d.To) && (strings.Contains(text, "inline:") || strings.Contains(text, "/SAVP")):
								t.Errorf("outside:\n%s", text)
							case !isSIP(d.Payload) && onWire:
								for _, mark := range []byte{0xA1, 0xB2} {
									if strings.Contains(text, string([]byte{mark, mark ^ 13, mark ^ 26, mark ^ 39})) {
										readable++
									}
								}
							}
						})
						meet := func() {
							if role == "has called" || role == "end to end" {
								alice := newSRTPOnly(w.alice, suite, 488)
								answers := desk.body
								desk.body = carol.sdp
								desk.call("sip:alice@a.example")
								desk.await("answered")
								w.alice.await("acked")
								carol.tag = "4"
								carol.learnKey(desk.answer.Body)
								desk.body = answers
								if a, c := carol.converseSecurely(alice, 10); a != 10 || c != 10 {
									t.Fatalf("at first alice heard %d, carol %d of 10", a, c)
								}
							} else {
								w.alice.call("sip:carol@a.example")
								w.alice.await("answered")
								desk.await("acked")
								synctest.Wait()
								if a, c := carol.converseWith(w, w.alice, 10); a != 10 || c != 10 {
									t.Fatalf("at first alice heard %d, carol %d of 10", a, c)
								}
							}
							if renews {
								before := desk.body
								desk.body = func() []byte { carol.newKey(); return before() }
							}
						}
						other := move(t, w, carol, meet)
						synctest.Wait()
						said := desk.reinvited.Body
						if len(said) == 0 { // carol made the offer herself
							said = desk.ack.Body
						}
						keys := strings.Count(string(said), "a=crypto:")
						if profileOf(said) != "RTP/SAVP" || keys != 1 && (role != "end to end" || keys == 0) {
							t.Errorf("carol was told\n%s", said)
						}
						carol.pick(said)
						time.Sleep(time.Second)
						if o, c := carol.converseWith(w, other, 20); o != 20 || c != 20 {
							t.Errorf("%s heard %d, carol %d of 20", other.name, o, c)
						}
						carol.newKey()
						carol.changes(string(carol.sdp()))
						carol.learnKey(desk.answer.Body)
						if o, c := carol.converseWith(w, other, 20); o != 20 || c != 20 {
							t.Errorf("with another key, %s heard %d, carol %d of 20", other.name, o, c)
						}
						if readable != 0 {
							t.Errorf("%d packets readable on carol's wire", readable)
						}
						time.Sleep(5 * time.Second) // alice leaves, or is sent away
						calls := w.a.proxy.Calls()
						if other == w.bob && (len(calls) != 1 || calls[0].Protection != "srtp") {
							t.Errorf("%+v", calls)
						}
						other.hangup()
						desk.await("bye")
						w.none()
						if other != w.bob {
							other.close()
						}
					})
				})
			}
		}
	}
}

// converseSecurely lets two phones speak n packets under the keys that each has of
// the other.
func (p *srtpOnly) converseSecurely(other *srtpOnly, n int) (otherHeard, heard int) {
	done := make(chan bool)
	go func() { other.speak(n); done <- true }()
	p.speak(n)
	<-done
	time.Sleep(500 * time.Millisecond)
	synctest.Wait()
	return other.understood(), p.understood()
}

// Where the transfer comes to nothing, two phones with SRTP go on as before, also
// where one of them was asked for an offer already.
func TestTransferOfAPhoneWithSDESFails(t *testing.T) {
	t.Parallel()
	suite, other := srtp.Suites()[0], srtp.Suites()[1]
	for _, way := range []string{"the target refuses", "who stays refuses"} {
		for _, renews := range []bool{false, true} {
			t.Run(fmt.Sprint(way, ", renews its key ", renews), func(t *testing.T) {
				t.Parallel()
				o := withColleagues(worldOptions{net: memnet.Options{Delay: 5 * time.Millisecond}, optionsA: func(o *b2bua.Options) { o.Listeners[0].SDES = b2bua.SDESAlways }})
				inBubble(t, o, func(t *testing.T, w *world) {
					desk := w.phone("carol", carolPhone, insideA)
					defer desk.close()
					carol := newSRTPOnly(desk, suite, 488)
					alice := &srtpOnly{srtpPhone: &srtpPhone{phone: w.alice, suite: suite}}
					alice.newKey()
					spare := &srtpPhone{phone: w.alice, suite: other, tag: "5"}
					spare.newKey()
					w.alice.body = func() []byte { return append(alice.sdp(), spare.crypto()...) } // offers two suites
					w.alice.refers()
					w.alice.call("sip:carol@a.example")
					w.alice.await("answered")
					desk.await("acked")
					alice.learnKey(w.alice.answer.Body)
					if a, c := carol.converseSecurely(alice, 10); a != 10 || c != 10 {
						t.Fatalf("at first alice heard %d, carol %d of 10", a, c)
					}
					refuses := func(p *phone) {
						within := p.within
						p.within = func(tx *sip.ServerTx) bool {
							if tx.Request.Method != "INVITE" {
								return within != nil && within(tx)
							}
							tx.Reply(488, "")
							return true
						}
					}
					if renews {
						before := desk.body
						desk.body = func() []byte { carol.newKey(); return before() }
					}
					if way == "the target refuses" {
						refuses(w.bob)
						d := w.alice.second("sip:bob@b.example")
						w.bob.await("acked")
						time.Sleep(time.Second)
						if got := w.alice.referOn(d, "sip:bob@b.example"); got != "202" {
							t.Fatalf("REFER: %s", got)
						}
					} else {
						refuses(desk)
						if got := w.alice.refer("<sip:bob@b.example>"); got != "202" {
							t.Fatalf("REFER: %s", got)
						}
					}
					w.alice.await("told SIP/2.0 488")
					time.Sleep(time.Second)
					synctest.Wait()
					if way == "the target refuses" {
						if body := desk.ack.Body; profileOf(body) != "RTP/SAVP" || strings.Count(string(body), "a=crypto:") != 1 {
							t.Errorf("carol was told\n%s", body)
						}
						carol.pick(desk.ack.Body)
					}
					alice.media.Store(mediaOf(t, w, "sip:carol@a.example"))
					if a, c := carol.converseSecurely(alice, 20); a != 20 || c != 20 {
						t.Errorf("alice heard %d, carol %d of 20", a, c)
					}
					desk.hangup()
					desk.await("bye answered")
				})
			})
		}
	}
}

// Who calls with SRTP and is redirected has it with whom it speaks in the end.
func TestForwardOfAPhoneWithSDES(t *testing.T) {
	t.Parallel()
	o := withColleagues(worldOptions{net: memnet.Options{Delay: 5 * time.Millisecond}, optionsA: func(o *b2bua.Options) { o.Listeners[0].SDES = b2bua.SDESAlways }})
	inBubble(t, o, func(t *testing.T, w *world) {
		carol := w.phone("carol", carolPhone, insideA, func(p *phone) {
			p.refuse, p.answers = 302, []sip.Field{{Name: "Contact", Value: "<sip:bob@b.example>"}}
		})
		defer carol.close()
		alice := &srtpOnly{srtpPhone: &srtpPhone{phone: w.alice, suite: srtp.Suites()[0]}}
		alice.newKey()
		w.alice.body = alice.sdp
		clear := w.tapClear()
		w.alice.call("sip:carol@a.example")
		w.alice.await("answered")
		w.bob.await("acked")
		alice.learnKey(w.alice.answer.Body)
		time.Sleep(time.Second)
		if b, a := alice.converse(w, 20); b != 20 || a != 20 || *clear != 0 {
			t.Errorf("bob heard %d, alice %d of 20, %d in clear", b, a, *clear)
		}
		w.alice.hangup()
		w.bob.await("bye")
		w.none()
	})
}

// mediaOf is where the caller of a call at house A sends its media.
func mediaOf(t *testing.T, w *world, to string) *netip.AddrPort {
	t.Helper()
	for _, v := range w.a.proxy.Calls() {
		if v.To == to {
			at := netip.MustParseAddrPort(v.Legs[0].Media)
			return &at
		}
	}
	t.Fatalf("no call to %s", to)
	return nil
}
