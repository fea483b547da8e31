//go:build interop && linux

package interop

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sipward/sipward/demo/audio"
	"github.com/sipward/sipward/demo/capture"
)

// startAlone starts a sipward that knows no peer and no route, with what policy
// says of strangers. Its inside is not at phoneHost: a call to a phone there is a
// call to the outside.
func startAlone(t *testing.T, w wire, strangers string) *sipward {
	t.Helper()
	dir := t.TempDir()
	ports := newSipwardPorts(t)
	s := &sipward{ports: ports, configFile: filepath.Join(dir, "sipward.yaml")}
	writeFile(t, s.configFile, fmt.Sprintf(`
listeners:
  - {name: phones, side: inside, address: "%[1]s:%[2]d", networks: [%[3]s/32]}
  - {name: wire, side: outside, address: "%[4]s:%[5]d"}
policy: {unknown_peers: %[6]s}
media: {ports: %[7]d-%[8]d}
api: {listen: "%[3]s:%[9]d"}
log: {level: debug, format: json}
`, w.a, ports.inside, phoneHost, w.b, ports.outside, strangers, ports.media, ports.media+mediaPorts-1, ports.api))
	s.run(t, "Alice's sipward", dir)
	return s
}

// TestPlainPeer is a call to a phone that has no sipward, which Alice dials by its
// address: in the clear where policy lets her, and her sipward says so.
func TestPlainPeer(t *testing.T) {
	t.Parallel()
	shows(t, "as a peer without sipward: call in clear, and shown so", "baresip")
	w := newWire()
	a := startAlone(t, w, "prefer")
	bob := startBaresip(t, "bob", audio.Bob(), "", "udp")
	alice := startBaresip(t, "alice", audio.Alice(), fmt.Sprintf("%s:%d", w.a, a.ports.inside), "udp")
	tap := startWiretap(t, fmt.Sprintf("host %s", w.b))

	alice.tell("dial", fmt.Sprintf("sip:bob@%s:%d", phoneHost, bob.sip))
	alice.await(ringing)
	bob.await(incoming)
	bob.tell("accept", "")
	bob.await(established)
	alice.await(established)
	awaitTalk(t, talkPackets, a)
	c := a.call()
	if c.Direction != "outbound" || c.State != "established" || c.Protection != "none" || c.Trust != "none" || c.SASWords+c.SASCode+c.Group+c.Suite != "" {
		t.Errorf("the call in the clear is shown as %+v", c)
	}
	for _, says := range []string{"unprotected: the other side offers no key exchange", "unknown_peers"} {
		if !strings.Contains(c.Reason, says) {
			t.Errorf("the reason is %q, want %q in it", c.Reason, says)
		}
	}
	t.Logf("%s: %s", c.Protection, c.Reason)
	alice.tell("hangup", "")
	alice.await(closed)
	bob.await(closed)
	a.awaitEnd()
	bob.quit()
	alice.quit()
	a.stop()

	packets := tap.stop(a.ports.outside, bob.sip)
	judgeVoice(t, "Bob's phone recorded Alice", bob.heard(), audio.Alice())
	judgeVoice(t, "Alice's phone recorded Bob", alice.heard(), audio.Bob())
	// The view says the truth: everybody on the way hears this call.
	flows := capture.Flows(datagrams(packets))
	if len(flows) != 2 {
		t.Errorf("%d flows of media on the wire, want 2", len(flows))
	}
	for _, f := range flows {
		who, voice := "Alice", audio.Alice()
		if int(f.From.Port()) >= bob.rtp[0] && int(f.From.Port()) <= bob.rtp[1] {
			who, voice = "Bob", audio.Bob()
		}
		judgeVoice(t, who+" on the wire", decoded(f.Payloads()), voice)
	}
	wire := messages(packets)
	if kinds := kindsOf(wire); !kinds["INVITE"] || !kinds["ACK"] || !kinds["BYE"] {
		t.Errorf("the capture shows no whole call: %v", kinds)
	}
	for _, m := range wire {
		switch m.kind() {
		case "INVITE":
			if len(m.attributes("dh-init")) != 1 || !strings.Contains(m.text, "\r\nSupported: dh-srtp") || m.header("Require") != "" {
				t.Errorf("this INVITE does not offer an exchange without asking for one:\n%s", m.text)
			}
		case "ACK":
			if strings.Contains(m.text, "dh-fin") {
				t.Errorf("an exchange goes on that nobody took:\n%s", m.text)
			}
		}
	}
}

// TestPlainPeerRefused is the same call where policy requires protection: Bob's
// phone does not ring, and Alice's shows why.
func TestPlainPeerRefused(t *testing.T) {
	t.Parallel()
	shows(t, "as a peer without sipward: refused where keys are a must", "baresip")
	w := newWire()
	a := startAlone(t, w, "require")
	bob := startBaresip(t, "bob", audio.Bob(), "", "udp")
	alice := startBaresip(t, "alice", audio.Alice(), fmt.Sprintf("%s:%d", w.a, a.ports.inside), "udp")
	tap := startWiretap(t, fmt.Sprintf("host %s", w.b))

	alice.tell("dial", fmt.Sprintf("sip:bob@%s:%d", phoneHost, bob.sip))
	e := alice.hears(closed, established)
	const sentence = "488 This call must be encrypted, and the other side offers no key exchange"
	if e.Type != closed || e.Param != sentence {
		t.Errorf("Alice's phone shows %s (%s), want %s (%s)", e.Type, e.Param, closed, sentence)
	}
	a.awaitEnd()
	alice.quit()
	bob.quit()
	for e := range bob.events {
		if e.Type == incoming || e.Type == established {
			t.Errorf("Bob's phone shows %s (%s)", e.Type, e.Param)
		}
	}
	a.stop()
	packets := tap.stop(a.ports.outside, bob.sip)
	if kinds := kindsOf(messages(packets)); !kinds["INVITE"] || !kinds["420 INVITE"] {
		t.Errorf("the capture shows no refused call: %v", kinds)
	}
	if n := len(capture.Flows(datagrams(packets))); n != 0 {
		t.Errorf("%d flows of media of a call that did not take place", n)
	}
}
