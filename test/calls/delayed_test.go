package calls

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
)

// A phone calls without SDP: the offer is in the 2xx, the answer in the ACK, and
// the exchange begins in the header field DH-Init (protocol section 2).
func TestDelayedOffer(t *testing.T) {
	t.Parallel()
	first := func(from, to netip.AddrPort, start, about string) func() memnet.Rule {
		return func() memnet.Rule { // each world counts for itself
			return memnet.DropFirst(2, func(f, g netip.AddrPort, b []byte) bool {
				return f == from && g == to && strings.HasPrefix(string(b), start) && strings.Contains(string(b), about)
			})
		}
	}
	quick := memnet.Options{Delay: 5 * time.Millisecond}
	for name, c := range map[string]struct {
		net   memnet.Options
		rule  func() memnet.Rule
		early bool // bob sends his description before, in a response that is not reliable
		takes bool // alice's phone takes reliable ones, bob's sends none
		lossy bool
	}{
		"nothing is lost":                     {net: quick},
		"the network is bad":                  {net: memnet.Options{Delay: 5 * time.Millisecond, Loss: 0.05, Reorder: 0.1, Duplicate: 0.05, Seed: 3}, lossy: true},
		"the caller's ACK is lost twice":      {net: quick, rule: first(alicePhone, insideA, "ACK ", "")},
		"the ACK between is lost twice":       {net: quick, rule: first(outsideA, outsideB, "ACK ", "")},
		"the callee's ACK is lost twice":      {net: quick, rule: first(insideB, bobPhone, "ACK ", "")},
		"the 2xx between is lost twice":       {net: quick, rule: first(outsideB, outsideA, "SIP/2.0 200", " INVITE\r\n")},
		"the callee shows its session before": {net: quick, early: true},
		"the caller's phone takes 100rel":     {net: quick, takes: true},
		"both, and nothing is reliable":       {net: quick, early: true, takes: true},
	} {
		for _, mode := range []policy.Mode{policy.Require, policy.Prefer, policy.Off} {
			t.Run(name+", "+string(mode), func(t *testing.T) {
				t.Parallel()
				inBubble(t, worldOptions{net: c.net, modeA: mode, modeB: mode}, func(t *testing.T, w *world) {
					clear, wire := w.tapClear(), w.crossing()
					if c.rule != nil {
						w.net.SetRule(c.rule())
					}
					w.alice.delayed, w.bob.early = true, c.early
					if c.takes {
						w.alice.fields = takes
					}
					w.alice.call("sip:bob@b.example")
					w.alice.await("answered")
					w.bob.await("acked")
					time.Sleep(10 * time.Second)
					lost := w.tapSpeech()
					if b, a := w.talk(20); !c.lossy && (b != 20 || a != 20) {
						t.Errorf("bob heard %d, alice %d of 20", b, a)
					}
					lost()
					va, vb := w.views()
					if va.State != "established" || vb.State != "established" {
						t.Errorf("%+v %+v", va, vb)
					}
					if mode == policy.Off {
						if va.Protection != "none" || carried(wire.of("INVITE ", "INVITE"), "DH-Init") {
							t.Errorf("an exchange that policy does not want: %+v", va)
						}
						return
					}
					if va.Protection != "srtp" || va.SASWords == "" || va.SASWords != vb.SASWords || *clear != 0 {
						t.Errorf("%+v %+v, %d in clear", va, vb, *clear)
					}
					if !carried(wire.of("INVITE ", "INVITE"), "\r\nDH-Init: 1 ") || !carried(wire.of("SIP/2.0 200", "INVITE"), "a=dh-resp:") || !carried(wire.of("ACK ", "ACK"), "m=audio") || !carried(wire.of("ACK ", "ACK"), "a=dh-fin:") {
						t.Error("the exchange is not where it belongs")
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

// Whoever changes the exchange of a delayed offer ends the call, in the 2xx and
// its ACK as in the reliable 183 and its PRACK.
func TestTamperedDelayedOffer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(string) string
		early  bool
	}{
		"DH-Init of a wrong form":        {change: func(m string) string { return strings.Replace(m, "DH-Init: 1 ", "DH-Init: 1  ", 1) }},
		"DH-Init removed":                {change: func(m string) string { return removeLine(m, "DH-Init:") }},
		"share replaced in the 2xx":      {change: func(m string) string { return flip(m, "dh-resp") }},
		"share replaced in the ACK":      {change: func(m string) string { return flip(m, "dh-fin") }},
		"dh-fin removed":                 {change: func(m string) string { return removeLine(m, "a=dh-fin:") }},
		"early, share replaced in 183":   {change: func(m string) string { return flip(m, "dh-resp") }, early: true},
		"early, share replaced in PRACK": {change: func(m string) string { return flip(m, "dh-fin") }, early: true},
		"early, dh-fin removed":          {change: func(m string) string { return removeLine(m, "a=dh-fin:") }, early: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, worldOptions{}, func(t *testing.T, w *world) {
				clear := w.tapClear()
				changed := 0
				w.tamper(func(m string) string {
					out := c.change(m)
					if out != m {
						changed++
					}
					return out
				})
				w.alice.delayed = true
				if c.early {
					w.alice.fields = takes
					w.bob.early, w.bob.rel, w.bob.manual = true, true, true
				}
				w.alice.call("sip:bob@b.example")
				go func() {
					for range 200 {
						w.bob.say(1, 0, 0xB2)
						w.alice.say(1, 0, 0xA1)
					}
				}()
				w.alice.await("refused 488", "bye")
				time.Sleep(time.Minute)
				if changed == 0 {
					t.Error("nothing was changed on the way")
				}
				if *clear != 0 || len(w.alice.heard) != 0 || len(w.bob.heard) != 0 {
					t.Errorf("%d packets in clear, alice heard %d, bob %d", *clear, len(w.alice.heard), len(w.bob.heard))
				}
				w.none()
			})
		})
	}
}

// A caller whose PRACK has no answer to the offer of the 183, and one that makes
// another offer there.
func TestDescriptionsInPrack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		delayed bool
		body    string
		prack   string
		ends    bool
	}{
		"no answer":             {true, "", "200", true},
		"one of another form":   {true, "v=0\r\n", "200", true},
		"an offer of its own":   {false, phoneSDP(alicePhone.Addr(), 4000), "488", false},
		"nothing, as it should": {false, "", "200", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, worldOptions{}, func(t *testing.T, w *world) {
				alice := &pracker{phone: w.alice, body: []byte(c.body)}
				w.alice.delayed, w.alice.fields, w.alice.user = c.delayed, takes, alice
				w.bob.early, w.bob.rel, w.bob.manual = true, true, true
				w.alice.call("sip:bob@b.example")
				if got := w.alice.await("prack"); got != "prack "+c.prack {
					t.Errorf("answered %s, want %s", got, c.prack)
				}
				if c.ends {
					w.alice.await("refused 488")
					w.bob.await("cancelled")
					w.none()
					return
				}
				time.Sleep(time.Second)
				w.bobAnswers()
				w.alice.await("answered")
				w.bob.await("acked")
				if b, a := w.talk(10); b != 10 || a != 10 {
					t.Errorf("bob heard %d, alice %d of 10", b, a)
				}
			})
		})
	}
}

// pracker is a phone whose PRACK carries what a test wants.
type pracker struct {
	*phone
	body []byte
}

func (p *pracker) OnProvisional(res *sip.Message) {
	if !p.dialog.Reliable(res) {
		p.phone.OnProvisional(res)
		return
	}
	p.learn(res)
	p.dialog.Prack(res, "application/sdp", p.body, func(res *sip.Message, err error) {
		if err == nil {
			p.event("prack " + itoa(res.Status))
		}
	})
}
