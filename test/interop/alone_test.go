//go:build interop && linux

package interop

import (
	"fmt"
	"testing"
	"time"

	"github.com/sipward/sipward/demo/audio"
	"github.com/sipward/sipward/demo/capture"
)

// TestPhonesAlone shows that what the other tests judge by works, without
// sipward: that a phone records what it hears, and that the capture shows speech
// where there is some.
func TestPhonesAlone(t *testing.T) {
	t.Parallel()
	bob := startBaresip(t, "bob", audio.Bob(), "", "udp")
	tap := startWiretap(t, fmt.Sprintf("host %s and (port %d or portrange %d-%d)", phoneHost, bob.sip, bob.rtp[0], bob.rtp[1]))
	caller := startSIPp(t, "bob", audio.Alice(), fmt.Sprintf("%s:%d", phoneHost, bob.sip), "udp", 3*time.Second)
	bob.await(incoming)
	bob.tell("accept", "")
	bob.await(established)
	caller.wait(patience)
	bob.await(closed)
	bob.quit()
	packets := tap.stop(bob.sip, caller.sip)

	if score := alike(bob.heard(), audio.Alice()); score < sameVoice {
		t.Errorf("what Bob heard is %.3f like what was played, want %v", score, sameVoice)
	} else {
		t.Logf("Bob heard Alice: %.3f", score)
	}
	flows := capture.Flows(datagrams(packets))
	if len(flows) != 2 {
		t.Errorf("%d flows of RTP, want 2", len(flows))
	}
	for _, f := range flows {
		voice, name := audio.Alice(), "Alice"
		if int(f.From.Port()) != caller.rtp {
			voice, name = audio.Bob(), "Bob"
		}
		score := alike(decoded(f.Payloads()), voice)
		t.Logf("%s on the wire: %.3f, %.2f bits an octet, %d packets", name, score, entropy(f.Payloads()), len(f.Packets))
		if score < sameVoice {
			t.Errorf("the capture shows %s %.3f, want %v", name, score, sameVoice)
		}
	}
	if kinds := kindsOf(messages(packets)); !kinds["INVITE"] || !kinds["200 INVITE"] || !kinds["ACK"] || !kinds["BYE"] {
		t.Errorf("the capture shows no whole call: %v", kinds)
	}
}
