//go:build interop && linux

package interop

import (
	_ "embed" // the scenarios
	"fmt"
	"testing"
	"time"
)

var (
	//go:embed testdata/changer.xml
	changerScenario string
	//go:embed testdata/delayed.xml
	delayedScenario string
)

// TestScripted is about what no phone here does by itself, so that SIPp plays it, with real
// phones at the other end: calls without an offer, another codec in a
// re-INVITE, and a hold with the address 0.0.0.0.
func TestScripted(t *testing.T) {
	t.Parallel()
	const lasts = 1500 * time.Millisecond // each part of a scenario
	for _, called := range []string{"baresip", "linphone"} {
		t.Run(called, func(t *testing.T) {
			t.Parallel()
			shows(t, "changes the codec within a call", "SIPp")
			shows(t, "follows a change of the codec within a call", called)
			shows(t, "hold and resume", "SIPp")
			shows(t, "calls without an offer (INVITE without SDP)", "SIPp")
			shows(t, "is called without an offer", called)
			w := newWire()
			portsA, portsB := newSipwardPorts(t), newSipwardPorts(t)
			about := phone{user: "bob", domain: phoneHost, voice: hum("bob"), codecs: []string{"pcmu", "pcma"},
				outbound: fmt.Sprintf("%s:%d", phoneHost, portsB.inside), transport: "udp"}
			var bob softphone
			if called == "baresip" {
				bob = startPhone(t, about)
			} else {
				bob = startLinphone(t, about)
			}
			a := startSipward(t, end{name: "Alice's sipward", outside: w.a, ports: portsA, far: w.b, farPort: portsB.outside, wire: "udp", user: "bob"})
			b := startSipward(t, end{name: "Bob's sipward", outside: w.b, ports: portsB, far: w.a, farPort: portsA.outside, wire: "udp", user: "bob",
				called: true, phone: bob.signals(), phoneTransport: "udp"})
			tap := startWiretap(t, fmt.Sprintf("host %s or host %s or (host %s and (portrange %d-%d or portrange %d-%d))", w.a, w.b, phoneHost,
				portsA.inside, portsA.media+mediaPorts-1, portsB.inside, portsB.media+mediaPorts-1))
			var rtp []int
			known := make(map[string]bool)
			for _, scenario := range []string{delayedScenario, changerScenario} {
				alice := startScenario(t, scenario, hum("alice"), "udp", lasts, fmt.Sprintf("%s:%d", phoneHost, portsA.inside), "-s", "bob")
				rtp = append(rtp, alice.rtp)
				bob.hears(incoming)
				bob.tell("accept", "")
				bob.hears(established)
				// The events stay where the call has ended meanwhile.
				var views []call
				for _, o := range []*sipward{a, b} {
					o.awaitCall("another protected call", func(_ string, c call) bool {
						if known[c.ID] || c.State != "established" || c.Protection != "srtp" || !threeWords.MatchString(c.SASWords) {
							return false
						}
						known[c.ID] = true
						views = append(views, c)
						return true
					})
				}
				if views[0].SASWords != views[1].SASWords {
					t.Errorf("the words differ: %q and %q", views[0].SASWords, views[1].SASWords)
				}
				alice.wait(patience)
				bob.hears(closed)
				a.awaitGone(views[0])
				b.awaitGone(views[1])
			}
			bob.quit()
			a.stop()
			b.stop()
			packets := tap.stop(portsA.inside, portsA.outside, portsB.inside, portsB.outside)
			onWire, plain := between(packets, w.a, w.b), between(packets, phoneHost)
			judgeClosed(t, onWire, plain)
			const pcmu, pcma = 0, 8
			judgeSaid(t, "Bob", plain, bob.media(), saying{"alice", pcmu}, saying{"alice", pcma}, saying{"alice", pcmu})
			judgeSaid(t, "Alice, without an offer", plain, rtp[0], saying{"bob", pcmu})
			judgeSaid(t, "Alice, who changes", plain, rtp[1], saying{"bob", pcmu}, saying{"bob", pcma}, saying{"bob", pcmu})
			if d := silence(plain, rtp[1]); d < lasts*2/3 {
				t.Errorf("while she held the call, Alice heard nothing for %v only", d)
			}
		})
	}
}
