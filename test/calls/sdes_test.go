package calls

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/media/srtp"
	"github.com/sipward/sipward/policy"
)

// srtpPhone is what makes a phone of this harness one that speaks SRTP under
// keys in its session descriptions (RFC 4568).
type srtpPhone struct {
	*phone
	suite      srtp.Suite
	key        []byte // its own, with the salt behind
	draws      byte
	send, recv *srtp.Context
	theirs     string
	sent       uint16
	tag        string // of its a=crypto, "": 4
}

// newKey takes another key for what it sends from now on.
func (p *srtpPhone) newKey() {
	p.draws++
	p.key = make([]byte, p.suite.KeyLen+p.suite.SaltLen)
	for i := range p.key {
		p.key[i] = p.draws*31 + byte(i)*7
	}
	p.send, _ = srtp.NewContext(p.suite.Name, p.key[:p.suite.KeyLen], p.key[p.suite.KeyLen:])
}

func (p *srtpPhone) crypto() string {
	return "a=crypto:" + p.number() + " " + p.suite.Name + " inline:" + base64.StdEncoding.EncodeToString(p.key) + "\r\n"
}

func (p *srtpPhone) number() string {
	if p.tag == "" {
		return "4"
	}
	return p.tag
}

func (p *srtpPhone) sdp() []byte {
	return []byte(strings.Replace(phoneSDP(addrOf(p.phone), 4000), "RTP/AVP 0", "RTP/SAVP 0", 1) + p.crypto())
}

// learnKey takes the sipward's key out of a description.
func (p *srtpPhone) learnKey(body []byte) {
	p.t.Helper()
	_, rest, _ := strings.Cut(string(body), "a=crypto:"+p.number()+" "+p.suite.Name+" inline:")
	text, _, _ := strings.Cut(rest, "\r\n")
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) != p.suite.KeyLen+p.suite.SaltLen || !strings.Contains(string(body), "RTP/SAVP 0") {
		p.t.Fatalf("no key in\n%s", body)
	}
	if text != p.theirs {
		p.theirs = text
		p.recv, _ = srtp.NewContext(p.suite.Name, key[:p.suite.KeyLen], key[p.suite.KeyLen:])
	}
}

// speak sends n packets under its key.
func (p *srtpPhone) speak(n int) {
	for range n {
		p.sent++
		pkt := make([]byte, 172)
		pkt[0], pkt[2], pkt[3], pkt[11] = 0x80, byte(p.sent>>8), byte(p.sent), 0xA1
		for j := range pkt[12:] {
			pkt[12+j] = 0xA1 ^ byte(j*13)
		}
		sealed, err := p.send.Protect(nil, pkt)
		if err != nil {
			p.t.Fatal(err)
		}
		p.rtp.WriteTo(sealed, net.UDPAddrFromAddrPort(*p.media.Load()))
		time.Sleep(20 * time.Millisecond)
	}
}

// understood counts the packets that it can read.
func (p *srtpPhone) understood() (n int) {
	for {
		select {
		case pkt := <-p.heard:
			if _, err := p.recv.Unprotect(nil, pkt); err == nil {
				n++
			}
		default:
			return n
		}
	}
}

// converse lets it and bob speak n packets.
func (p *srtpPhone) converse(w *world, n int) (bobHeard, heard int) {
	return p.converseWith(w, w.bob, n)
}

// converseWith lets it and a plain phone speak n packets.
func (p *srtpPhone) converseWith(w *world, other *phone, n int) (otherHeard, heard int) {
	before := len(other.heard)
	done := make(chan bool)
	go func() { p.speak(n); done <- true }()
	other.say(n, w.seq, 0xB2)
	w.seq += uint16(n)
	<-done
	time.Sleep(500 * time.Millisecond)
	synctest.Wait()
	return len(other.heard) - before, p.understood()
}

// A phone that wants SRTP has it with its own sipward, under each suite and
// through changes of keys by either side; outside nothing of its keys is seen.
func TestPhoneWithSDES(t *testing.T) {
	t.Parallel()
	for _, suite := range srtp.Suites() {
		if !suite.Common {
			continue
		}
		for _, delayed := range []bool{false, true} {
			t.Run(fmt.Sprint(suite.Name, ", delayed ", delayed), func(t *testing.T) {
				t.Parallel()
				inBubble(t, worldOptions{modeA: policy.Require}, func(t *testing.T, w *world) {
					readable := 0
					w.net.Tap(func(d memnet.Datagram) {
						if between(d.From, d.To) && isSIP(d.Payload) && (strings.Contains(string(d.Payload), "inline:") || strings.Contains(string(d.Payload), "/SAVP")) {
							t.Errorf("outside:\n%s", d.Payload)
						}
						if strings.Contains(string(d.Payload), string([]byte{0xA1, 0xA1 ^ 13, 0xA1 ^ 26, 0xA1 ^ 39, 0xA1 ^ 52})) && d.To.Addr() != bobPhone.Addr() {
							readable++
						}
					})
					p := &srtpPhone{phone: w.alice, suite: suite}
					p.newKey()
					w.alice.body = p.sdp
					if delayed { // bob calls without an offer: alice's phone makes it
						w.bob.delayed = true
						w.bob.call("sip:alice@a.example")
						w.bob.await("answered")
						w.alice.await("acked")
						synctest.Wait()
						p.learnKey(w.alice.ack.Body)
					} else {
						w.up()
						p.learnKey(w.alice.answer.Body)
					}
					talk := func(when string) {
						t.Helper()
						if b, a := p.converse(w, 20); b != 20 || a != 20 {
							t.Errorf("%s: bob heard %d, alice %d of 20", when, b, a)
						}
					}
					talk("at first")
					va, vb := w.views()
					if va.Protection != "srtp" || va.SASWords != vb.SASWords {
						t.Errorf("%s, %q and %q", va.Protection, va.SASWords, vb.SASWords)
					}
					ours := p.theirs
					if got := w.bob.reinvite(string(w.bob.body())); got != "200" {
						t.Fatalf("re-INVITE of bob: %s", got)
					}
					p.learnKey(w.alice.reinvited.Body)
					talk("after a change of the far end's")
					p.newKey()
					if got := w.bob.reinvite(string(w.bob.body())); got != "200" {
						t.Fatalf("re-INVITE of bob: %s", got)
					}
					p.learnKey(w.alice.reinvited.Body)
					talk("after the phone answered with another key")
					if p.theirs != ours {
						t.Error("the key to the phone changed in offers that change nothing")
					}
					p.newKey()
					if got := w.alice.reinvite(string(p.sdp())); got != "200" {
						t.Fatalf("re-INVITE of alice: %s", got)
					}
					p.learnKey(w.alice.answer.Body)
					if p.theirs == ours {
						t.Error("a new key of the phone was answered with the old one")
					}
					talk("after the phone offered another key")
					if got := w.alice.reinvite(string(p.sdp())); got != "200" {
						t.Fatalf("re-INVITE of alice: %s", got)
					}
					p.learnKey(w.alice.answer.Body)
					talk("after the same offer again")
					if readable != 0 {
						t.Errorf("%d packets of the phone readable before bob's own wire", readable)
					}
					w.alice.hangup()
					w.alice.await("bye answered")
					w.none()
				})
			})
		}
	}
}

// What cannot be used is refused with a reason, and no clear speech takes its
// place.
func TestPhoneWithUnusableSDES(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{
		"a short tag only": "a=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n",
		"no encryption":    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz UNENCRYPTED_SRTP\r\n",
		"no key":           "",
	} {
		inBubble(t, worldOptions{modeA: policy.Prefer}, func(t *testing.T, w *world) {
			w.alice.body = func() []byte {
				return []byte(strings.Replace(phoneSDP(alicePhone.Addr(), 4000), "RTP/AVP 0", "RTP/SAVP 0", 1) + line)
			}
			w.alice.call("sip:bob@b.example")
			if got := w.alice.await("refused", "answered"); !strings.HasPrefix(got, "refused 488") || !strings.Contains(got, "keys of this offer") {
				t.Errorf("%s: %s", name, got)
			}
		})
	}
}

// The address of the sipward inside changes: the phone is told, with the key
// that it has.
func TestPhoneWithSDESFollowsAMove(t *testing.T) {
	t.Parallel()
	inBubble(t, worldOptions{}, func(t *testing.T, w *world) {
		p := &srtpPhone{phone: w.alice, suite: srtp.Suites()[0]}
		p.newKey()
		w.alice.body = p.sdp
		w.up()
		p.learnKey(w.alice.answer.Body)
		p.converse(w, 10)
		key := p.theirs
		w.net.TakeAway(insideA.Addr())
		next := netip.MustParseAddrPort("10.1.0.77:5062")
		if err := w.a.proxy.Move("phones", "udp", b2bua.Place{Packet: w.listen(next)}); err != nil {
			t.Fatal(err)
		}
		w.alice.await("acked")
		p.learnKey(w.alice.reinvited.Body)
		if to := w.alice.media.Load(); to.Addr() != next.Addr() || p.theirs != key {
			t.Errorf("told %v, the same key: %v", to, p.theirs == key)
		}
		if b, a := p.converse(w, 20); b != 20 || a != 20 {
			t.Errorf("bob heard %d, alice %d of 20", b, a)
		}
	})
}

// A phone that has offered keys for several suites is not asked again where its far
// end only wants new keys outside.
func TestRekeyingLeavesAPhoneWithSDESAlone(t *testing.T) {
	t.Parallel()
	inBubble(t, rekeying(memnet.Options{Delay: 20 * time.Millisecond}, b2bua.Rekey{}, b2bua.Rekey{Every: 5 * time.Second}), func(t *testing.T, w *world) {
		p := &srtpPhone{phone: w.alice, suite: srtp.Suites()[0]}
		p.newKey()
		spare := &srtpPhone{phone: w.alice, suite: srtp.Suites()[1], tag: "5"}
		spare.newKey()
		w.alice.body = func() []byte { return append(p.sdp(), spare.crypto()...) }
		w.up()
		p.learnKey(w.alice.answer.Body)
		time.Sleep(time.Minute)
		if b, a := p.converse(w, 20); b != 20 || a != 20 {
			t.Errorf("bob heard %d, alice %d of 20", b, a)
		}
		if va, _ := w.views(); va.Rekeyings < 5 || w.alice.reinvited != nil {
			t.Errorf("%d rekeyings, alice was asked: %v", va.Rekeyings, w.alice.reinvited != nil)
		}
	})
}
