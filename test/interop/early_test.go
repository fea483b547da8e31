//go:build interop && linux

package interop

import (
	_ "embed" // the scenarios
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/demo/audio"
)

var (
	//go:embed testdata/early.xml
	earlyScenario string
	//go:embed testdata/prack.xml
	prackScenario string
)

// TestEarlyMedia is a callee who speaks while it rings: SIPp with a reliable 183,
// since no phone here knows PRACK. Its voice crosses the wire encrypted before the
// answer, to a phone that knows reliable responses and to one that does not.
func TestEarlyMedia(t *testing.T) {
	t.Parallel()
	for _, caller := range []string{"baresip", "linphone", "sipp"} {
		t.Run(caller, func(t *testing.T) {
			t.Parallel()
			shows(t, "hears early media, encrypted before the answer", map[bool]string{true: "SIPp", false: caller}[caller == "sipp"])
			shows(t, "answers with early media (183), encrypted before the answer", "SIPp")
			shows(t, "reliable provisional responses (PRACK)", "SIPp")
			if caller == "linphone" {
				shows(t, "reliable provisional responses (PRACK)", "linphone")
			}
			w := newWire()
			portsA, portsB := newSipwardPorts(t), newSipwardPorts(t)
			bob := startScenario(t, earlyScenario, audio.Bob(), "udp", 5*time.Second)
			a := startSipward(t, end{name: "Alice's sipward", outside: w.a, ports: portsA, far: w.b, farPort: portsB.outside, wire: "udp", user: "bob"})
			b := startSipward(t, end{name: "Bob's sipward", outside: w.b, ports: portsB, far: w.a, farPort: portsA.outside, wire: "udp", user: "bob",
				called: true, phone: bob.sip, phoneTransport: "udp"})
			tap := startWiretap(t, fmt.Sprintf("host %s or host %s or (host %s and (port %d or port %d or portrange %d-%d or portrange %d-%d))",
				w.a, w.b, phoneHost, portsA.inside, portsB.inside,
				portsA.media, portsA.media+mediaPorts-1, portsB.media, portsB.media+mediaPorts-1))
			var alice softphone
			var script *sipp
			aliceTalks := talker{name: "Alice", voice: audio.Alice()}
			proxy := fmt.Sprintf("%s:%d", phoneHost, portsA.inside)
			switch caller {
			case "baresip":
				alice = startBaresip(t, "alice", audio.Alice(), proxy, "udp")
			case "linphone":
				alice = startLinphone(t, phone{user: "alice", domain: phoneHost, voice: audio.Alice(), outbound: proxy})
			default:
				script = startScenario(t, prackScenario, audio.Alice(), "udp", talk+8*time.Second, proxy, "-s", "bob")
				aliceTalks.rtp = script.rtp
			}
			if alice != nil {
				aliceTalks.rtp = alice.media()
				alice.tell("dial", "sip:bob@bob.example")
			}
			var words []string
			for _, s := range []*sipward{a, b} {
				s.awaitCall("an encrypted call that rings", func(_ string, c call) bool {
					if c.State == "ringing" && c.Protection == "srtp" && threeWords.MatchString(c.SASWords) {
						words = append(words, c.SASWords)
						return true
					}
					return false
				})
			}
			if words[0] != words[1] {
				t.Errorf("the words differ while it rings: %q", words)
			}
			awaitTold(t, 100, a)
			if v := a.call(); v.State != "ringing" {
				t.Errorf("the call is %s before two seconds of early media were heard", v.State)
			}
			if alice != nil {
				alice.hears(established)
			}
			a.awaitSAS()
			b.awaitSAS()
			awaitTalk(t, talkPackets, a, b)
			for _, s := range []*sipward{a, b} {
				if v := s.call(); v.SASWords != words[0] || v.Protection != "srtp" {
					t.Errorf("after the answer: %+v", v)
				}
			}
			if alice != nil {
				alice.tell("hangup", "")
				alice.hears(closed)
			} else {
				script.wait(patience)
			}
			bob.wait(patience)
			a.awaitEnd()
			b.awaitEnd()
			if alice != nil {
				alice.quit()
			}
			a.stop()
			b.stop()

			packets := tap.stop(portsA.inside, portsA.outside, portsB.inside, portsB.outside)
			onWire, plain := between(packets, w.a, w.b), between(packets, phoneHost)
			judgeEarly(t, messages(onWire))
			judgeWire(t, 2, onWire, plain, aliceTalks, talker{name: "Bob", voice: audio.Bob(), rtp: bob.rtp})
			if caller == "baresip" {
				judgeVoice(t, "Alice's phone recorded Bob", slices.Concat(alice.recordings()...), audio.Bob())
			}
			if caller == "linphone" && !slices.ContainsFunc(messages(plain), func(m message) bool {
				return m.kind() == "PRACK" && int(m.to.Port()) == portsA.inside
			}) {
				t.Error("Alice's phone has sent no PRACK")
			}
		})
	}
}

// awaitTold waits until the caller's phone was sent n packets.
func awaitTold(t *testing.T, n uint64, s *sipward) {
	t.Helper()
	until(t, "early media", 100*time.Millisecond, func() error {
		if sent := s.call().Legs[0].PacketsOut; sent < n {
			return fmt.Errorf("only %d packets", sent)
		}
		return nil
	})
}

// judgeEarly looks for the exchange in 183 and PRACK, and nowhere behind them.
func judgeEarly(t *testing.T, wire []message) {
	t.Helper()
	for _, want := range []struct {
		kind, attribute, contentType string
		count                        int
	}{
		{"INVITE", "dh-init", "application/sdp", 1},
		{"183 INVITE", "dh-resp", "application/sdp", 1},
		{"PRACK", "dh-fin", "application/dh-sdpfrag", 1},
		{"200 INVITE", "dh-resp", "", 0},
		{"ACK", "dh-fin", "", 0},
	} {
		i := slices.IndexFunc(wire, func(m message) bool { return m.kind() == want.kind })
		if i < 0 {
			t.Errorf("no %s on the wire", want.kind)
			continue
		}
		m := wire[i]
		if values := m.attributes(want.attribute); len(values) != want.count || want.count > 0 && !strings.EqualFold(m.header("Content-Type"), want.contentType) {
			t.Errorf("%s has a=%s %q, want %d in %s:\n%s", want.kind, want.attribute, values, want.count, want.contentType, m.text)
		}
	}
}
