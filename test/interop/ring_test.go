//go:build interop && linux

package interop

import (
	"fmt"
	"testing"
	"time"
)

// TestRinging is about calls before they are answered: Bob's phone has its
// loudspeaker on at once, by a 183 that is not reliable, for a caller whose phone knows
// reliable ones and for one whose does not; callers give up, and people refuse.
func TestRinging(t *testing.T) {
	t.Parallel()
	shows(t, "answers with early media (183), encrypted before the answer", "baresip")
	shows(t, "gives up a call that rings (CANCEL), and refuses one", "baresip", "linphone")
	shows(t, "reliable provisional responses (PRACK)", "linphone")
	s := openStreet(t, "")
	bob := s.at("bob")
	bob.early = true
	s.enterWith("baresip", bob)
	s.enter("baresip", "alice")
	s.enter("linphone", "amy", "ben")
	for _, caller := range []string{"alice", "amy"} {
		s.phones[caller].tell("dial", s.uri("bob"))
		var words []string
		for _, o := range []*sipward{s.north, s.south} {
			until(t, "an encrypted call that rings", 50*time.Millisecond, func() error {
				calls, err := o.calls()
				if err != nil || len(calls) != 1 || calls[0].State != "ringing" || calls[0].Protection != "srtp" || !threeWords.MatchString(calls[0].SASWords) {
					return fmt.Errorf("its calls are %+v (error: %v)", calls, err)
				}
				words = append(words, calls[0].SASWords)
				return nil
			})
		}
		if words[0] != words[1] {
			t.Errorf("the words differ while it rings: %q", words)
		}
		if caller == "alice" { // linphone says nothing yet
			until(t, "Alice is heard before the answer", 100*time.Millisecond, func() error {
				if n := s.south.call().Legs[1].PacketsOut; n < shortTalk {
					return fmt.Errorf("only %d packets", n)
				}
				return nil
			})
		}
		if c := s.north.call(); c.State != "ringing" {
			t.Errorf("the call is %s before it was answered", c.State)
		}
		s.phones["bob"].tell("accept", "")
		s.phones["bob"].hears(established)
		s.phones[caller].hears(established)
		s.agreed()
		awaitTalk(t, shortTalk, s.north, s.south)
		s.hangUp(caller, "bob")
	}
	// Bob's phone has 183 at once; Ben's only rings.
	for _, c := range []struct{ caller, callee string }{{"alice", "ben"}, {"amy", "bob"}} {
		// The caller gives up.
		s.phones[c.caller].tell("dial", s.uri(c.callee))
		s.rings(c.callee)
		s.phones[c.caller].tell("hangup", "")
		s.phones[c.callee].hears(closed)
		s.phones[c.caller].hears(closed)
		s.north.awaitNone()
		s.south.awaitNone()
		// Who is called does not want to.
		s.phones[c.caller].tell("dial", s.uri(c.callee))
		s.rings(c.callee)
		s.phones[c.callee].tell("hangup", "")
		s.phones[c.callee].hears(closed)
		s.phones[c.caller].hears(closed)
		s.north.awaitNone()
		s.south.awaitNone()
	}

	onWire, plain := s.close()
	reliable := 0
	for _, m := range messages(plain) {
		if m.kind() == "200 PRACK" && m.from.Port() == uint16(s.north.ports.inside) {
			reliable++
		}
	}
	if reliable == 0 {
		t.Error("Amy's phone has acknowledged no 183")
	}
	exchanges := 0
	for _, m := range messages(onWire) {
		if m.kind() == "PRACK" && len(m.attributes("dh-fin")) == 1 {
			exchanges++
		}
	}
	if kinds := kindsOf(messages(onWire)); exchanges < 4 || !kinds["CANCEL"] || !kinds["487 INVITE"] || !(kinds["486 INVITE"] || kinds["603 INVITE"]) {
		t.Errorf("%d exchanges came about while it rang, and the wire has %v", exchanges, kinds)
	}
	judgeHeard(t, "Alice", s.heard("alice"), "bob")
	judgeHeard(t, "Amy", s.heard("amy"), "bob")
	judgeHeard(t, "Bob, before and after his answers", s.heard("bob"), "alice", "amy")
}

// rings waits until both offices have a call that rings at somebody's phone. A baresip
// that speaks before it answers does not say so itself.
func (s *street) rings(user string) {
	s.t.Helper()
	if _, ok := s.phones[user].(*linphone); ok {
		s.phones[user].hears(incoming)
	}
	for _, o := range []*sipward{s.north, s.south} {
		until(s.t, "a call that rings", 50*time.Millisecond, func() error {
			calls, err := o.calls()
			if err != nil || len(calls) != 1 || calls[0].State != "ringing" {
				return fmt.Errorf("the calls at %s are %+v (error: %v)", o.name, calls, err)
			}
			return nil
		})
	}
}
