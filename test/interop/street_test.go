//go:build interop && linux

package interop

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sipward/sipward/demo/capture"
)

// street is two offices that know each other, whose people hum: Alice and Amy in the
// north, Bob and Ben in the south.
type street struct {
	t            *testing.T
	wire         wire
	offices      map[string]office // by user
	north, south *sipward
	tap          *wiretap
	phones       map[string]softphone // by user
}

// openStreet starts both offices, with more lines in their configuration, and a
// capture of the wire and of the plain legs.
func openStreet(t *testing.T, more string) *street {
	t.Helper()
	s := &street{t: t, wire: newWire(), phones: make(map[string]softphone)}
	north := office{domain: "north.example", outside: s.wire.a, ports: newSipwardPorts(t), more: more,
		passwords: map[string]string{"alice": "alices-secret", "amy": "amys-secret"}}
	south := office{domain: "south.example", outside: s.wire.b, ports: newSipwardPorts(t), more: more,
		passwords: map[string]string{"bob": "bobs-secret", "ben": "bens-secret"}}
	s.offices = map[string]office{"alice": north, "amy": north, "bob": south, "ben": south}
	s.north, s.south = startOffice(t, north, south), startOffice(t, south, north)
	s.tap = startWiretap(t, fmt.Sprintf("host %s or host %s or (host %s and (port %d or port %d or portrange %d-%d or portrange %d-%d))",
		s.wire.a, s.wire.b, phoneHost, north.ports.inside, south.ports.inside,
		north.ports.media, north.ports.media+mediaPorts-1, south.ports.media, south.ports.media+mediaPorts-1))
	return s
}

// at describes the phone of somebody.
func (s *street) at(user string) phone {
	o := s.offices[user]
	return phone{user: user, domain: o.domain, password: o.passwords[user], voice: hum(user),
		outbound: fmt.Sprintf("%s:%d", phoneHost, o.ports.inside), transport: "udp"}
}

// enter starts people's phones: program says baresip or linphone.
func (s *street) enter(program string, users ...string) {
	s.t.Helper()
	for _, user := range users {
		s.enterWith(program, s.at(user))
	}
}

func (s *street) enterWith(program string, o phone) {
	s.t.Helper()
	if program == "linphone" {
		s.phones[o.user] = startLinphone(s.t, o)
	} else {
		s.phones[o.user] = startPhone(s.t, o)
	}
	s.phones[o.user].awaitRegistered()
}

// uri is where somebody is called.
func (s *street) uri(user string) string { return "sip:" + user + "@" + s.offices[user].domain }

// call lets one call the other and returns when both hear each other.
func (s *street) call(caller, callee string) {
	s.t.Helper()
	s.phones[caller].tell("dial", s.uri(callee))
	s.phones[callee].hears(incoming)
	s.phones[callee].tell("accept", "")
	s.phones[callee].hears(established)
	s.phones[caller].hears(established)
}

// agreed waits until both offices have the one call and the same words for it, and
// returns it as each of the two shows it.
func (s *street) agreed() (north, south call) {
	s.t.Helper()
	north, south = s.north.awaitTrust(), s.south.awaitTrust()
	if north.SASWords != south.SASWords || north.SASCode != south.SASCode {
		s.t.Errorf("the words differ: %q and %q", north.SASWords, south.SASWords)
	}
	return north, south
}

// compared lets the people of the one call compare its words as well.
func (s *street) compared() (north, south call) {
	s.t.Helper()
	north, south = s.agreed()
	for _, office := range []*sipward{s.north, s.south} {
		if out, err := office.ran("confirm", "--equal", "--api", office.api); err != nil {
			s.t.Errorf("%v\n%s", err, out)
		}
		if c := office.call(); c.Trust != "verified" {
			s.t.Errorf("after the words were compared the trust at %s is %s", office.name, c.Trust)
		}
	}
	return north, south
}

// hangUp ends the call of two people, and waits until nothing of it is left.
func (s *street) hangUp(who, other string) {
	s.t.Helper()
	s.phones[who].tell("hangup", "")
	s.phones[who].hears(closed)
	s.phones[other].hears(closed)
	s.north.awaitNone()
	s.south.awaitNone()
}

// close ends phones and offices, and judges the wire: nothing on it may hold what a
// phone or an office said in the clear. It returns the packets of the wire, and those
// between the offices and their phones.
func (s *street) close() (onWire, plain []seen) {
	t := s.t
	t.Helper()
	for _, p := range s.phones {
		p.quit()
	}
	s.north.stop()
	s.south.stop()
	packets := s.tap.stop(s.north.ports.inside, s.north.ports.outside, s.south.ports.inside, s.south.ports.outside)
	outside, inside := between(packets, s.wire.a, s.wire.b), between(packets, phoneHost)
	judgeClosed(t, outside, inside)
	for _, m := range messages(outside) {
		if strings.Contains(m.text, phoneHost) || strings.Contains(m.text, "\r\na=crypto:") {
			t.Errorf("this should have stayed inside:\n%s", m.text)
		}
	}
	return outside, inside
}

// heard is all that somebody's phone has recorded. Only after close is it complete.
func (s *street) heard(user string) []int16 { return slices.Concat(s.phones[user].recordings()...) }

// judgeClosed wants nothing of what was said in the clear inside to be on the wire.
func judgeClosed(t *testing.T, outside, inside []seen) {
	t.Helper()
	var said capture.PlainSet
	spoke := 0
	for _, f := range capture.Flows(datagrams(inside)) {
		for _, p := range f.Packets {
			if said.Add(p.Payload) {
				spoke++
			}
		}
	}
	var all [][]byte
	for _, p := range outside {
		all = append(all, p.Payload)
	}
	if n := said.Count(all); n != 0 || spoke < 100 {
		t.Errorf("%d of %d packets on the wire hold something of the %d that were in the clear inside", n, len(all), spoke)
	}
	flows := capture.Flows(datagrams(outside))
	if len(flows) == 0 {
		t.Error("no media on the wire")
	}
	for _, f := range flows {
		// Ciphertext shows no tone.
		if all := hummings(decoded(f.Payloads())); len(all) != 0 {
			t.Errorf("%v to %v: %+v on the wire", f.From, f.To, all)
		}
	}
}
