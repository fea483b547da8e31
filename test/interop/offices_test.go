//go:build interop && linux

package interop

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/demo/audio"
	"github.com/sipward/sipward/demo/capture"
)

// A short conversation, where there are many: two seconds.
const shortTalk = uint64(2 * time.Second / (20 * time.Millisecond))

// office is a sipward whose phones register with it, and another office that it
// knows.
type office struct {
	domain, outside string
	passwords       map[string]string // by user
	numbers         map[string]string // to whom they lead
	ports           sipwardPorts
	more            string // lines of its configuration
}

func startOffice(t *testing.T, o, far office) *sipward {
	t.Helper()
	dir := t.TempDir()
	s := &sipward{ports: o.ports, configFile: filepath.Join(dir, "sipward.yaml")}
	var users strings.Builder
	for name, password := range o.passwords {
		fmt.Fprintf(&users, "%s:%s\n", name, password)
	}
	writeFile(t, filepath.Join(dir, "users.txt"), users.String())
	var aliases []string
	for number, to := range o.numbers {
		aliases = append(aliases, fmt.Sprintf("{number: %q, to: %q}", number, to))
	}
	writeFile(t, s.configFile, fmt.Sprintf(`
listeners:
  - {name: phones, side: inside, address: "%[1]s:%[2]d", networks: [%[1]s/32]}
  - {name: wire, side: outside, address: "%[3]s:%[4]d", accept: peers}
registrar: {domains: [%[5]s], users: users.txt}
aliases: [%[6]s]
peers:
  - {name: far, domains: [%[7]s], networks: [%[8]s/32]}
routes:
  - {match: "*@%[7]s", from: inside, to: "sip:*@%[8]s:%[9]d", side: outside, peer: far}
policy: {inside: "off", listed_peers: require, unknown_peers: refuse}
media: {ports: %[10]d-%[11]d}
state: %[12]q
api: {listen: "%[1]s:%[13]d"}
log: {level: debug, format: json}
%[14]s
`, phoneHost, o.ports.inside, o.outside, o.ports.outside, o.domain, strings.Join(aliases, ", "),
		far.domain, far.outside, far.ports.outside, o.ports.media, o.ports.media+mediaPorts-1, filepath.Join(dir, "state"), o.ports.api, o.more))
	s.run(t, "the sipward of "+o.domain, dir)
	return s
}

// TestOffices is a day of two offices whose phones register with their sipwards.
func TestOffices(t *testing.T) {
	t.Parallel()
	shows(t, "registers with sipward", "baresip", "linphone")
	shows(t, "is called and calls by name", "baresip", "linphone")
	shows(t, "calls by number", "baresip", "linphone")
	shows(t, "rings beside other phones of the user", "baresip", "linphone")
	shows(t, "protected call, in clear on its own leg", "baresip", "linphone")
	shows(t, "SIP over UDP", "baresip", "linphone")
	shows(t, "hold and resume", "linphone")
	shows(t, "a wrong password is refused", "baresip")
	w := newWire()
	north := office{domain: "north.example", outside: w.a, ports: newSipwardPorts(t),
		passwords: map[string]string{"alice": "alices-secret", "amy": "amys-secret"}, numbers: map[string]string{"202": "sip:bob@south.example"}}
	south := office{domain: "south.example", outside: w.b, ports: newSipwardPorts(t),
		passwords: map[string]string{"bob": "bobs-secret"}, numbers: map[string]string{"1*": "sip:alice@north.example"}}
	n, s := startOffice(t, north, south), startOffice(t, south, north)
	tap := startWiretap(t, fmt.Sprintf("host %s or host %s", w.a, w.b))

	at := func(o office, user, device, password string, voice []int16) phone {
		return phone{name: device, user: user, domain: o.domain, password: password, voice: voice,
			outbound: fmt.Sprintf("%s:%d", phoneHost, o.ports.inside), transport: "udp"}
	}
	alice := startPhone(t, at(north, "alice", "phone", "alices-secret", audio.Alice()))
	amy := startLinphone(t, at(north, "amy", "phone", "amys-secret", audio.Bob()))
	desk := startPhone(t, at(south, "bob", "desk phone", "bobs-secret", audio.Bob()))
	mobile := startLinphone(t, at(south, "bob", "mobile", "bobs-secret", audio.Bob()))
	for _, p := range []softphone{alice, amy, desk, mobile} {
		p.awaitRegistered()
	}

	// Inside an office nothing is protected, and nothing leaves it.
	alice.tell("dial", "sip:amy@north.example")
	amy.hears(incoming)
	amy.tell("accept", "")
	amy.hears(established)
	alice.hears(established)
	awaitTalk(t, shortTalk, n)
	internal := n.call()
	if internal.Direction != "internal" || internal.Protection != "none" || internal.Trust != "none" || internal.To != "sip:amy@north.example" {
		t.Errorf("a call inside the office is shown as %+v", internal)
	}
	t.Logf("inside: %s", internal.Reason)
	alice.tell("hangup", "")
	alice.hears(closed)
	amy.hears(closed)
	n.awaitGone(internal)

	for _, c := range []struct {
		name           string
		caller, callee softphone
		from, to       *sipward
		dialled, shown string
		also           softphone // rings too, and stops when the callee has answered
		held           bool      // for a while, by the caller
	}{
		{"Alice to Bob, by name", alice, desk, n, s, "sip:bob@south.example", "sip:bob@south.example", mobile, false},
		{"Alice to Bob, by number", alice, mobile, n, s, "202", "sip:202@north.example", desk, false},
		{"Bob to Amy, by name", desk, amy, s, n, "sip:amy@north.example", "sip:amy@north.example", nil, false},
		{"Bob to Alice, by number", mobile, alice, s, n, "101", "sip:101@south.example", nil, true},
	} {
		c.caller.tell("dial", c.dialled)
		c.callee.hears(incoming)
		if c.also != nil {
			c.also.hears(incoming)
		}
		c.callee.tell("accept", "")
		c.callee.hears(established)
		c.caller.hears(established)
		if c.also != nil {
			if e := c.also.hears(closed, established); e.Type != closed {
				t.Errorf("%s: both phones have the call", c.name)
			}
		}
		out, in := c.from.awaitTrust(), c.to.awaitTrust()
		if out.SASWords != in.SASWords || out.SASCode != in.SASCode {
			t.Errorf("%s: the words differ: %q and %q", c.name, out.SASWords, in.SASWords)
		}
		if out.Direction != "outbound" || in.Direction != "inbound" || out.To != c.shown {
			t.Errorf("%s: shown as %s to %s, and %s", c.name, out.Direction, out.To, in.Direction)
		}
		awaitTalk(t, shortTalk, n, s)
		if c.held {
			// linphone sends silence to whom it holds; the other phone sends nothing.
			hold(t, c.caller, func() leg { return c.to.call().Legs[1] }, c.from, c.to)
			if again := c.from.call(); again.SASWords != out.SASWords {
				t.Errorf("%s: after the hold the words are %q, before it %q", c.name, again.SASWords, out.SASWords)
			}
		}
		t.Logf("%s: %s to %s, there %s to %s: %s", c.name, out.From, out.To, in.From, in.To, out.SASWords)
		c.caller.tell("hangup", "")
		c.caller.hears(closed)
		c.callee.hears(closed)
		c.from.awaitGone(out)
		c.to.awaitGone(in)
	}

	for _, p := range []softphone{alice, amy, desk, mobile} {
		p.quit()
	}

	// Who does not know Alice's password is not Alice. This comes last: who was wrong
	// too often gets no answers, and everybody here has the same address.
	impostor := startPhone(t, at(north, "alice", "impostor", "amys-secret", audio.Bob()))
	n.says(`"msg":"wrong password"`)
	impostor.shows("a refusal of its password", func(out string) bool {
		return strings.Count(out, "\nSIP/2.0 401 ") >= 2 && strings.Contains(out, "\nAuthorization: Digest username=\"alice\"")
	})
	impostor.kill()
	if strings.Contains(impostor.out.String(), "\nSIP/2.0 200 ") {
		t.Error("a phone with a wrong password is registered")
	}
	n.stop()
	s.stop()

	packets := tap.stop(north.ports.outside, south.ports.outside)
	flows := capture.Flows(datagrams(packets))
	if len(flows) != 8 {
		t.Errorf("%d flows of media between the offices, want two for each of four calls", len(flows))
	}
	talkers := []talker{{name: "Alice", voice: audio.Alice()}, {name: "Bob", voice: audio.Bob()}}
	for _, f := range flows {
		where := fmt.Sprintf("%v to %v", f.From, f.To)
		if bits := entropy(f.Payloads()); bits < 7.95 || uint64(len(f.Packets)) < shortTalk {
			t.Errorf("%s: %d packets with %.3f bits of entropy an octet: this is no conversation in ciphertext", where, len(f.Packets), bits)
		}
		judgeNoVoice(t, where, f.Payloads(), talkers)
	}
	for _, m := range messages(packets) {
		if strings.Contains(m.text, phoneHost) || slices.Contains([]string{"REGISTER", "401 INVITE", "407 INVITE"}, m.kind()) {
			t.Errorf("this should have stayed inside:\n%s", m.text)
		}
	}
	for p, voices := range map[softphone][][]int16{
		alice:  {audio.Bob(), audio.Bob(), audio.Bob(), audio.Bob()},
		amy:    {audio.Alice(), audio.Bob()},
		desk:   {audio.Alice(), audio.Bob()},
		mobile: {audio.Alice(), audio.Alice()},
	} {
		calls := p.recordings()
		if len(calls) != len(voices) {
			t.Errorf("%v made %d recordings, want %d", p, len(calls), len(voices))
			continue
		}
		for i, heard := range calls {
			where := fmt.Sprintf("call %d at %v", i+1, p)
			if _, cuts := p.(*linphone); cuts {
				judgePieces(t, where, heard, voices[i])
			} else {
				judgeVoice(t, where, heard, voices[i])
			}
		}
	}
}
