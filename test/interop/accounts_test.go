//go:build interop && linux

package interop

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sipward/sipward/demo/audio"
)

// startGate starts a sipward through which a phone reaches its account elsewhere: at
// pbx.example, which is Kamailio.
func startGate(t *testing.T, name, outside string, k *kamailio) *sipward {
	t.Helper()
	dir := t.TempDir()
	ports := newSipwardPorts(t)
	s := &sipward{ports: ports, configFile: filepath.Join(dir, "sipward.yaml")}
	writeFile(t, s.configFile, fmt.Sprintf(`
listeners:
  - {name: phone, side: inside, address: "%[1]s:%[2]d", networks: [%[1]s/32]}
  - {name: internet, side: outside, address: "%[3]s:%[4]d"}
routes:
  - {match: "*@%[5]s", from: inside, to: "sip:*@%[6]s:%[7]d", side: outside}
policy: {unknown_peers: prefer}
media: {ports: %[8]d-%[9]d}
api: {listen: "%[1]s:%[10]d"}
state: %[11]q
log: {level: debug, format: json}
`, phoneHost, ports.inside, outside, ports.outside, pbx, k.host, k.port, ports.media, ports.media+mediaPorts-1, ports.api, filepath.Join(dir, "state")))
	s.run(t, name, dir)
	return s
}

// TestAccounts is a call between two people with accounts at a provider that knows
// nothing of sipward. The passwords stay between the phones and the provider, and
// the key exchange passes through it.
func TestAccounts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		relayed bool // by rtpengine
	}{
		{"media between the sipwards", false},
		{"media through rtpengine", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			shows(t, "registers elsewhere, through sipward", "baresip", "Kamailio")
			shows(t, "is called and calls by name", "Kamailio")
			if c.relayed {
				shows(t, "relays the protected media", "rtpengine")
			}
			testAccounts(t, c.relayed)
		})
	}
}

func testAccounts(t *testing.T, relayed bool) {
	w, provider := newWire(), newWire().a
	relay, flows := "", 2
	if relayed {
		relay, flows = startRTPEngine(t, provider), 4
	}
	k := startKamailio(t, provider, relay)
	a, b := startGate(t, "Alice's sipward", w.a, k), startGate(t, "Bob's sipward", w.b, k)
	tap := startWiretap(t, fmt.Sprintf("(host %s or host %s or host %s or (host %s and (port %d or port %d or portrange %d-%d or portrange %d-%d)))",
		w.a, w.b, provider, phoneHost, a.ports.inside, b.ports.inside,
		a.ports.media, a.ports.media+mediaPorts-1, b.ports.media, b.ports.media+mediaPorts-1))
	alice := startPhone(t, phone{user: "alice", domain: pbx, password: "alices-secret", voice: audio.Alice(), outbound: fmt.Sprintf("%s:%d", phoneHost, a.ports.inside), transport: "udp"})
	bob := startPhone(t, phone{user: "bob", domain: pbx, password: "bobs-secret", voice: audio.Bob(), outbound: fmt.Sprintf("%s:%d", phoneHost, b.ports.inside), transport: "udp"})
	alice.awaitRegistered()
	bob.awaitRegistered()

	alice.tell("dial", "sip:bob@"+pbx)
	bob.await(incoming)
	bob.tell("accept", "")
	bob.await(established)
	alice.await(established)
	callA, callB := a.awaitTrust(), b.awaitTrust()
	if callA.SASWords != callB.SASWords || callA.SASCode != callB.SASCode {
		t.Errorf("the words differ: %q and %q", callA.SASWords, callB.SASWords)
	}
	for _, c := range []call{callA, callB} {
		if c.From != "sip:alice@"+pbx || c.To != "sip:bob@"+pbx {
			t.Errorf("the %s call is shown as one from %s to %s", c.Direction, c.From, c.To)
		}
	}
	t.Logf("%s, %s: %s", callA.Group, callA.SASWords, callA.Reason)
	awaitTalk(t, talkPackets, a, b)
	alice.tell("hangup", "")
	alice.await(closed)
	bob.await(closed)
	a.awaitGone(callA)
	b.awaitGone(callB)
	alice.quit()
	bob.quit()
	a.stop()
	b.stop()

	packets := tap.stop(a.ports.inside, a.ports.outside, b.ports.inside, b.ports.outside, k.port)
	onWire, plain := between(packets, w.a, w.b, provider), between(packets, phoneHost)
	judgeAccounts(t, messages(onWire), w, provider)
	judgeWire(t, flows, onWire, plain,
		talker{name: "Alice", voice: audio.Alice(), rtp: alice.rtp[0]}, talker{name: "Bob", voice: audio.Bob(), rtp: bob.rtp[0]})
	judgeVoice(t, "Bob's phone recorded Alice", bob.heard(), audio.Alice())
	judgeVoice(t, "Alice's phone recorded Bob", alice.heard(), audio.Bob())
}

// judgeAccounts looks at what the provider sees.
func judgeAccounts(t *testing.T, wire []message, w wire, provider string) {
	t.Helper()
	kinds := kindsOf(wire)
	for _, kind := range []string{"REGISTER", "401 REGISTER", "200 REGISTER", "INVITE", "407 INVITE", "200 INVITE", "ACK", "BYE", "200 BYE"} {
		if !kinds[kind] {
			t.Errorf("no %s on the wire: %v", kind, kinds)
		}
	}
	var sent, forwarded []string // shares of Alice, to the provider and from it
	for _, m := range wire {
		from, to := m.from.Addr().String(), m.to.Addr().String()
		shown := m.text
		if m.kind() == "BYE" {
			// The phone proves its password again, and has hashed the address that
			// its own request names.
			shown = strings.Replace(shown, `uri="sip:bob@`+phoneHost, "", 1)
		}
		if strings.Contains(shown, phoneHost) {
			t.Errorf("the wire shows an address of the inside:\n%s", m.text)
		}
		switch {
		case m.kind() == "REGISTER":
			if c := m.header("Contact"); !strings.Contains(c, "@"+from+":") {
				t.Errorf("a phone is registered with the contact %s, want one at %s", c, from)
			}
		case m.kind() == "INVITE" && from == w.a:
			sent = append(sent, m.attributes("dh-init")...)
		case m.kind() == "INVITE" && to == w.b:
			forwarded = append(forwarded, m.attributes("dh-init")...)
		}
	}
	sent = slices.Compact(sent) // of repetitions
	if len(sent) != 2 || len(forwarded) == 0 || forwarded[0] != sent[1] {
		t.Errorf("Alice's sipward sent the shares %q, and %s forwarded %q; want two, the first challenged and the second forwarded", sent, provider, forwarded)
	}
}
