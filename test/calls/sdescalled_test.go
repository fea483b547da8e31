package calls

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/media/srtp"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
)

// srtpOnly makes a phone one that takes SRTP alone: it refuses other offers and
// answers with a key of its own. asked are the profiles of the INVITEs that came
// to it.
type srtpOnly struct {
	*srtpPhone
	status int // of its refusals
	asked  []string
}

func newSRTPOnly(p *phone, suite srtp.Suite, status int) *srtpOnly {
	x := &srtpOnly{srtpPhone: &srtpPhone{phone: p, suite: suite}, status: status}
	x.newKey()
	p.first = func(in *sip.Incoming) bool {
		if in.Method != "INVITE" {
			return in.Method == "ACK"
		}
		profile := profileOf(in.Body)
		if len(in.Body) > 0 {
			x.asked = append(x.asked, profile)
		}
		if profile == "RTP/AVP" {
			in.Reply(x.status, "Plain is not spoken here")
			return true
		}
		return false
	}
	p.body = func() []byte {
		x.pick(p.lastReq.Body)
		return x.sdp()
	}
	return x
}

func profileOf(body []byte) string {
	_, line, _ := strings.Cut(string(body), "m=audio ")
	if f := strings.Fields(line); len(f) > 1 {
		return f[1]
	}
	return ""
}

// pick takes the offered key of its suite.
func (p *srtpPhone) pick(body []byte) {
	for _, l := range strings.Split(string(body), "\r\n") {
		if v, ok := strings.CutPrefix(l, "a=crypto:"); ok {
			if tag, rest, _ := strings.Cut(v, " "); strings.HasPrefix(rest, p.suite.Name+" ") {
				p.tag = tag
				p.learnKey(body)
			}
		}
	}
}

// A phone that takes SRTP alone can be called: it is offered keys where it has
// refused plain RTP, where it has offered keys itself, or where the configuration
// says so. They go no further than its own wire, and no log has them.
func TestCalledPhoneWithSDES(t *testing.T) {
	t.Parallel()
	always := func(o *b2bua.Options) { o.Listeners[0].SDES = b2bua.SDESAlways }
	for _, suite := range srtp.Suites() {
		if !suite.Common {
			continue
		}
		for name, c := range map[string]struct {
			status  int
			calls   bool // it has called before
			options func(*b2bua.Options)
			first   string // the profiles that it is asked with in the first call
			mode    policy.Mode
			wire    memnet.Options
			hears   int // of 20
		}{
			"refuses with 488":           {488, false, nil, "RTP/AVP RTP/SAVP", policy.Require, memnet.Options{}, 20},
			"refuses with 606":           {606, false, nil, "RTP/AVP RTP/SAVP", policy.Prefer, memnet.Options{}, 20},
			"refuses with 415":           {415, false, nil, "RTP/AVP RTP/SAVP", policy.Off, memnet.Options{}, 20},
			"has called before":          {488, true, nil, "RTP/SAVP", policy.Require, memnet.Options{}, 20},
			"the configuration says so":  {488, false, always, "RTP/SAVP", policy.Require, memnet.Options{}, 20},
			"under loss and in disorder": {488, false, nil, "RTP/AVP RTP/SAVP", policy.Require, memnet.Options{Delay: 5 * time.Millisecond, Loss: 0.04, Reorder: 0.1, Duplicate: 0.05, Seed: 3}, 10},
		} {
			t.Run(suite.Name+", "+name, func(t *testing.T) {
				t.Parallel()
				var log lockedBuffer
				o := worldOptions{modeA: c.mode, modeB: c.mode, net: c.wire, optionsB: func(o *b2bua.Options) {
					o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
					if c.options != nil {
						c.options(o)
					}
				}}
				inBubble(t, o, func(t *testing.T, w *world) {
					p := newSRTPOnly(w.bob, suite, c.status)
					keys := map[string]bool{}
					readable := 0
					w.net.Tap(func(d memnet.Datagram) {
						text := string(d.Payload)
						if !isSIP(d.Payload) {
							if d.From.Addr() == bobPhone.Addr() || d.To.Addr() == bobPhone.Addr() {
								for _, mark := range []byte{0xA1, 0xB2} {
									if strings.Contains(text, string([]byte{mark, mark ^ 13, mark ^ 26, mark ^ 39})) {
										readable++
									}
								}
							}
							return
						}
						for _, l := range strings.Split(text, "\r\n") {
							if _, key, ok := strings.Cut(l, "inline:"); ok {
								keys[key] = true
							}
						}
						if d.From.Addr() != bobPhone.Addr() && d.To.Addr() != bobPhone.Addr() && (strings.Contains(text, "inline:") || strings.Contains(text, "/SAVP")) {
							t.Errorf("beyond the phone's wire:\n%s", text)
						}
					})
					talk := func(when string) {
						t.Helper()
						if a, b := p.converseWith(w, w.alice, 20); a < c.hears || b < c.hears {
							t.Errorf("%s: alice heard %d, bob %d of 20", when, a, b)
						}
					}
					if c.calls {
						w.bob.body = p.sdp
						w.bob.call("sip:alice@a.example")
						w.bob.await("answered")
						w.alice.await("acked")
						w.bob.hangup()
						w.bob.await("bye answered")
						w.alice.await("bye")
						p = newSRTPOnly(w.bob, suite, c.status)
					}
					w.up()
					if got := strings.Join(p.asked, " "); got != c.first {
						t.Errorf("bob's phone was asked with %s, want %s", got, c.first)
					}
					time.Sleep(time.Second)
					talk("at first")
					va, vb := w.views()
					if c.mode != policy.Off && (vb.Protection != "srtp" || va.SASWords != vb.SASWords) {
						t.Errorf("%s, %q and %q", vb.Protection, va.SASWords, vb.SASWords)
					}
					if vb.Legs[1].SDES != suite.Name || vb.Legs[0].SDES != "" || va.Legs[0].SDES != "" {
						t.Errorf("legs %+v %+v", va.Legs, vb.Legs)
					}
					ours, tag := p.theirs, p.tag
					for _, direction := range []string{"sendonly", "sendrecv"} {
						w.alice.changes(strings.Replace(string(w.alice.body()), "sendrecv", direction, 1))
					}
					if p.theirs != ours || p.tag != tag || strings.Count(string(w.bob.reinvited.Body), "a=crypto") != 1 {
						t.Errorf("hold changed the key, or offers others:\n%s", w.bob.reinvited.Body)
					}
					talk("behind a hold")
					p.newKey()
					w.alice.changes(string(w.alice.body()))
					talk("after the phone answered with another key")
					p.newKey()
					w.bob.changes(string(p.sdp()))
					p.learnKey(w.bob.answer.Body)
					if p.theirs == ours {
						t.Error("a new key of the phone was answered with the old one")
					}
					talk("after the phone offered another key")
					w.alice.hangup()
					w.alice.await("bye answered")
					w.bob.await("bye")
					w.none()

					p.asked = nil
					w.up() // now it is known
					if got := strings.Join(p.asked, " "); got != "RTP/SAVP" {
						t.Errorf("in the next call bob's phone was asked with %s", got)
					}
					if p.theirs == ours {
						t.Error("the next call has the key of the one before")
					}
					talk("in the next call")
					w.alice.hangup()
					w.alice.await("bye answered")
					w.bob.await("bye")
					w.none()
					if readable != 0 {
						t.Errorf("%d packets readable on the phone's wire", readable)
					}
					for key := range keys {
						if strings.Contains(log.String(), key[:16]) {
							t.Error("a key is in the log")
						}
					}
				})
			})
		}
	}
}

// changes sends a re-INVITE, again where it crosses another one or the ACK before
// it got lost.
func (p *phone) changes(body string) {
	p.t.Helper()
	got := p.reinvite(body)
	for tries := 0; tries < 5 && (got == "491" || got == "500"); tries++ {
		time.Sleep(3 * time.Second)
		got = p.reinvite(body)
	}
	if got != "200" {
		p.t.Fatalf("re-INVITE of %s: %s", p.name, got)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// An answer whose key does not fit the offer ends the call, and no clear speech
// takes its place.
func TestCalledPhoneAnswersKeysWrongly(t *testing.T) {
	t.Parallel()
	suite := srtp.Suites()[0]
	for name, change := range map[string]func(p *srtpOnly, answer string) string{
		"a tag that was not offered": func(p *srtpOnly, s string) string { return strings.Replace(s, "a=crypto:"+p.tag, "a=crypto:77", 1) },
		"the tag of another suite": func(p *srtpOnly, s string) string {
			other := "1"
			if p.tag == other {
				other = "2"
			}
			return strings.Replace(s, "a=crypto:"+p.tag, "a=crypto:"+other, 1)
		},
		"a suite that was not offered": func(p *srtpOnly, s string) string {
			return strings.Replace(s, suite.Name, "AES_CM_128_HMAC_SHA1_32", 1)
		},
		"a short key": func(p *srtpOnly, s string) string { return s[:len(s)-6] + "\r\n" },
		"two keys":    func(p *srtpOnly, s string) string { return s + p.crypto() },
		"no key":      func(p *srtpOnly, s string) string { return strings.Replace(s, p.crypto(), "", 1) },
		"the key that it was offered": func(p *srtpOnly, s string) string {
			return strings.Replace(s, p.crypto(), "a=crypto:"+p.tag+" "+suite.Name+" inline:"+p.theirs+"\r\n", 1)
		},
		"plain RTP":            func(p *srtpOnly, s string) string { return phoneSDP(bobPhone.Addr(), 4000) },
		"plain RTP with a key": func(p *srtpOnly, s string) string { return strings.Replace(s, "RTP/SAVP", "RTP/AVP", 1) },
		"unencrypted SRTP":     func(p *srtpOnly, s string) string { return strings.TrimSuffix(s, "\r\n") + " UNENCRYPTED_SRTP\r\n" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, worldOptions{}, func(t *testing.T, w *world) {
				p := newSRTPOnly(w.bob, suite, 488)
				right := w.bob.body
				w.bob.body = func() []byte {
					s := string(right())
					out := change(p, s)
					if out == s {
						t.Error("nothing was changed")
					}
					return []byte(out)
				}
				w.alice.call("sip:bob@b.example")
				go w.alice.say(100, 0, 0xA1)
				if got := w.alice.await("refused", "answered"); !strings.HasPrefix(got, "refused 488") {
					t.Errorf("alice got %s", got)
				}
				w.bob.await("bye SIP;cause=488;text=\"the phone has answered the keys")
				time.Sleep(time.Minute)
				if n := len(w.bob.heard); n != 0 {
					t.Errorf("bob's phone was sent %d packets", n)
				}
				w.none()
			})
		})
	}
}

// What was learned of a phone is taken back when it is set otherwise, and what it
// refuses twice is refused as it did first. Where the configuration forbids it,
// nobody is asked twice.
func TestCalledPhoneIsAskedAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sdes    b2bua.SDES
		refuses map[string]int // by profile
		want    string         // what the phone is asked with, call by call
		alice   string
	}{
		"it refuses both":          {b2bua.SDESLearn, map[string]int{"RTP/AVP": 488, "RTP/SAVP": 488}, "RTP/AVP RTP/SAVP", "refused 488 Not RTP/AVP"},
		"it refuses for good":      {b2bua.SDESLearn, map[string]int{"RTP/AVP": 486}, "RTP/AVP", "refused 486 Not RTP/AVP"},
		"the second time it rings": {b2bua.SDESLearn, map[string]int{"RTP/AVP": 488, "RTP/SAVP": 480}, "RTP/AVP RTP/SAVP", "refused 480 Not RTP/SAVP"},
		"it may not be offered":    {b2bua.SDESOff, map[string]int{"RTP/AVP": 488}, "RTP/AVP", "refused 488 Not RTP/AVP"},
		"it must be offered":       {b2bua.SDESAlways, map[string]int{"RTP/SAVP": 488}, "RTP/SAVP", "refused 488 Not RTP/SAVP"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, worldOptions{optionsB: func(o *b2bua.Options) { o.Listeners[0].SDES = c.sdes }}, func(t *testing.T, w *world) {
				var asked []string
				w.bob.first = func(in *sip.Incoming) bool {
					if in.Method != "INVITE" {
						return in.Method == "ACK"
					}
					profile := profileOf(in.Body)
					asked = append(asked, profile)
					in.Reply(c.refuses[profile], "Not "+profile)
					return true
				}
				w.alice.call("sip:bob@b.example")
				if got := w.alice.await("refused", "answered"); got != c.alice {
					t.Errorf("alice got %s, want %s", got, c.alice)
				}
				if got := strings.Join(asked, " "); got != c.want {
					t.Errorf("asked with %s, want %s", got, c.want)
				}
				w.none()
			})
		})
	}
	t.Run("it was set to plain RTP", func(t *testing.T) {
		t.Parallel()
		inBubble(t, worldOptions{}, func(t *testing.T, w *world) {
			plain := w.bob.body
			p := newSRTPOnly(w.bob, srtp.Suites()[0], 488)
			w.up()
			w.alice.hangup()
			w.bob.await("bye")
			for range 2 { // the second call finds what the first has learned
				p.asked = nil
				w.bob.body = plain
				w.bob.first = func(in *sip.Incoming) bool {
					if in.Method != "INVITE" {
						return in.Method == "ACK"
					}
					p.asked = append(p.asked, profileOf(in.Body))
					if profileOf(in.Body) == "RTP/SAVP" {
						in.Reply(488, "")
						return true
					}
					return false
				}
				w.up()
				if b, a := w.talk(10); b != 10 || a != 10 {
					t.Errorf("bob heard %d, alice %d of 10", b, a)
				}
				w.alice.hangup()
				w.bob.await("bye")
			}
			if got := strings.Join(p.asked, " "); got != "RTP/AVP" {
				t.Errorf("in the last call asked with %s", got)
			}
		})
	})
}
