//go:build interop && linux

package interop

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sipward/sipward/demo/audio"
)

// startTrunk starts the sipward of an office whose phones share one account at
// Kamailio.
func startTrunk(t *testing.T, outside string, k *kamailio) *sipward {
	t.Helper()
	dir := t.TempDir()
	ports := newSipwardPorts(t)
	s := &sipward{ports: ports, configFile: filepath.Join(dir, "sipward.yaml")}
	writeFile(t, filepath.Join(dir, "users.txt"), "alice:alices-own\n")
	writeFile(t, filepath.Join(dir, "password"), "offices-secret\n")
	writeFile(t, s.configFile, fmt.Sprintf(`
listeners:
  - {name: phones, side: inside, address: "%[1]s:%[2]d", networks: [%[1]s/32]}
  - {name: internet, side: outside, address: "%[3]s:%[4]d", accept: peers}
registrar: {domains: [office.example], users: users.txt}
peers: [{name: provider, domains: [%[5]s]}]
trunks:
  - peer: provider
    server: "sip:%[6]s:%[7]d"
    user: office@%[5]s
    password_file: password
    expires: 1m
    numbers: {called: [{match: "0901", to: bob}]}
aliases: [{number: office, to: sip:alice@office.example}]
routes:
  - {match: "0*", from: inside, to: "sip:%[6]s:%[7]d", side: outside, peer: provider}
policy: {listed_peers: prefer, unknown_peers: refuse}
media: {ports: %[8]d-%[9]d}
state: "off"
api: {listen: "%[1]s:%[10]d"}
log: {level: debug, format: json}
`, phoneHost, ports.inside, outside, ports.outside, pbx, k.host, k.port, ports.media, ports.media+mediaPorts-1, ports.api))
	s.run(t, "the office's sipward", dir)
	return s
}

// hashedURI is the address of the inside that a phone hashed with its password.
var hashedURI = regexp.MustCompile(`(?m)^(Proxy-)?Authorization: .*uri="[^"]*"`)

// TestTrunk is an office with one account at a provider that knows nothing of
// sipward: its phone calls another customer of the provider and is called by that
// one, whose calls are led by the number. The exchange passes through the provider.
func TestTrunk(t *testing.T) {
	t.Parallel()
	shows(t, "behind one account of sipward's (trunk)", "baresip", "Kamailio")
	w, provider := newWire(), newWire().a
	k := startKamailio(t, provider, "")
	office, gate := startTrunk(t, w.a, k), startGate(t, "Bob's sipward", w.b, k)
	office.says(`"msg":"registered with the provider"`)
	tap := startWiretap(t, fmt.Sprintf("(host %s or host %s or host %s)", w.a, w.b, provider))
	alice := startPhone(t, phone{user: "alice", domain: "office.example", password: "alices-own", voice: audio.Alice(), outbound: fmt.Sprintf("%s:%d", phoneHost, office.ports.inside), transport: "udp"})
	bob := startPhone(t, phone{user: "bob", domain: pbx, password: "bobs-secret", voice: audio.Bob(), outbound: fmt.Sprintf("%s:%d", phoneHost, gate.ports.inside), transport: "udp"})
	alice.awaitRegistered()
	bob.awaitRegistered()

	for _, c := range []struct {
		name           string
		caller, callee *baresip
		from, to       *sipward
		dialled        string
	}{
		{"out", alice, bob, office, gate, "sip:0901@office.example"},
		{"in", bob, alice, gate, office, "sip:office@" + pbx},
	} {
		c.caller.tell("dial", c.dialled)
		c.callee.hears(incoming)
		c.callee.tell("accept", "")
		c.callee.hears(established)
		c.caller.hears(established)
		out, in := c.from.awaitTrust(), c.to.awaitTrust()
		if out.SASWords != in.SASWords || out.SASCode != in.SASCode || out.Protection != "srtp" {
			t.Errorf("%s: %s, the words %q and %q", c.name, out.Protection, out.SASWords, in.SASWords)
		}
		awaitTalk(t, shortTalk, office, gate)
		t.Logf("%s: %s to %s, there %s to %s: %s", c.name, out.From, out.To, in.From, in.To, out.SASWords)
		c.callee.tell("hangup", "")
		c.caller.hears(closed)
		c.callee.hears(closed)
		c.from.awaitGone(out)
		c.to.awaitGone(in)
	}
	alice.quit()
	bob.quit()
	office.stop()
	gate.stop()

	packets := tap.stop(office.ports.outside, gate.ports.outside, k.port)
	var registers, shares, callers []string
	for _, m := range messages(packets) {
		from := m.from.Addr().String()
		// The header alone: baresip puts its address into its CNAME too, as RFC 3550
		// section 6.5.1 has it, and what belongs to the media crosses.
		head, _, _ := strings.Cut(m.text, "\r\n\r\n")
		// Bob's own password is Kamailio's: what his phone has hashed has to pass.
		shown := hashedURI.ReplaceAllString(m.text, "")
		if strings.Contains(shown, phoneHost) || from == w.a && strings.Contains(head, "office.example") {
			t.Errorf("the provider sees the inside:\n%s", m.text)
		}
		switch {
		case m.kind() == "REGISTER" && from == w.a:
			registers = append(registers, m.header("Expires"))
		case m.kind() == "INVITE" && from == w.a:
			shares = append(shares, m.attributes("dh-init")...)
			callers = append(callers, m.header("From"))
		}
	}
	if len(registers) == 0 || registers[len(registers)-1] != "0" {
		t.Errorf("the registration was not taken back: Expires %q", registers)
	}
	if shares = slices.Compact(shares); len(shares) != 2 || shares[0] == shares[1] {
		t.Errorf("the shares %q, want two: the first was asked for the password, the second has it", shares)
	}
	for _, c := range callers {
		if !strings.Contains(c, "<sip:office@"+pbx+">") {
			t.Errorf("the provider sees the caller %s", c)
		}
	}
	judgeVoice(t, "Bob's phone recorded Alice", bob.recordings()[0], audio.Alice())
	judgeVoice(t, "Alice's phone recorded Bob", alice.recordings()[0], audio.Bob())
}
