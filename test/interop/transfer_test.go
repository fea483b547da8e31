//go:build interop && linux

package interop

import (
	"fmt"
	"strings"
	"testing"
)

// TestTransfer is about phones that send a call on, in two offices. Whoever stays hears the
// new person and nobody else, and the words have to be compared again.
func TestTransfer(t *testing.T) {
	t.Parallel()
	shows(t, "transfers a call to an address (REFER)", "baresip", "linphone")
	shows(t, "stays in a call that is transferred, or is its target", "baresip", "linphone")
	// Nothing is signed, so nobody is trusted for a key that was confirmed before.
	s := openStreet(t, "identity: {anonymous: true}")
	s.enter("baresip", "alice", "bob")
	s.enter("linphone", "amy", "ben")

	// Alice leaves Ben to Amy, in her own office: what is protected stays between the
	// same two sipwards, and so do keys and words.
	s.call("alice", "ben")
	before, _ := s.compared()
	awaitTalk(t, shortTalk, s.north, s.south)
	s.phones["alice"].tell("transfer", s.uri("amy"))
	s.answers("amy")
	s.phones["alice"].hears(closed)
	after := s.continued(s.north, before)
	if after.SASWords != before.SASWords || after.Trust != "encrypted" {
		t.Errorf("the leg stays, and has the words %q with trust %s; before they were %q", after.SASWords, after.Trust, before.SASWords)
	}
	if again := s.south.call(); again.SASWords != before.SASWords {
		t.Errorf("at the office of who stays the words are %q, before they were %q", again.SASWords, before.SASWords)
	}
	awaitTalk(t, shortTalk, s.north, s.south)
	s.hangUp("ben", "amy")

	// Amy leaves Bob to Ben, in his office: with Ben there is a new exchange.
	s.call("amy", "bob")
	before, _ = s.compared()
	awaitTalk(t, shortTalk, s.north, s.south)
	s.phones["amy"].tell("transfer", s.uri("ben"))
	s.answers("ben")
	s.phones["amy"].hears(closed)
	after = s.continued(s.north, before)
	if after.SASWords == before.SASWords || after.Trust != "encrypted" {
		t.Errorf("the new exchange has the words %q with trust %s; before they were %q", after.SASWords, after.Trust, before.SASWords)
	}
	awaitTalk(t, shortTalk, s.north)
	s.hangUp("bob", "ben")

	onWire, plain := s.close()
	judgeTransfers(t, messages(onWire), messages(plain), 2)
	judgeHeard(t, "Ben, who stayed", s.heard("ben"), "alice", "amy", "bob")
	judgeHeard(t, "Amy", s.heard("amy"), "ben", "bob")
	judgeHeard(t, "Bob, who stayed", s.heard("bob"), "amy", "ben")
	judgeHeard(t, "Alice", s.heard("alice"), "ben")
}

// TestTransferToOtherCall is a linphone that calls two people, one after the other, and joins
// them. Then who was called transfers the call. baresip 1.0 has no command for the first.
func TestTransferToOtherCall(t *testing.T) {
	t.Parallel()
	shows(t, "transfers a call to its other call (REFER with Replaces)", "linphone")
	shows(t, "transfers a call to an address (REFER)", "linphone")
	shows(t, "stays in a call that is transferred, or is its target", "baresip")
	s := openStreet(t, "identity: {anonymous: true}")
	s.enter("baresip", "alice", "bob")
	s.enter("linphone", "amy", "ben")

	s.call("amy", "ben")
	first, _ := s.compared()
	awaitTalk(t, shortTalk, s.north, s.south)
	s.phones["amy"].tell("hold", "")
	s.phones["amy"].hears(held)
	s.call("amy", "bob")
	var second call
	s.north.awaitCall("the words of the second call", func(_ string, c call) bool {
		second = c
		return c.ID != first.ID && c.State == "established" && c.SASWords != ""
	})
	awaitHeard(t, s.north, second.ID, shortTalk)
	s.phones["amy"].tell("attend", "")
	s.phones["amy"].hears(closed)
	s.phones["amy"].hears(closed)
	joined := s.north.awaitTrust()
	if joined.Continues != first.ID || joined.ID != second.ID || joined.Trust != "encrypted" || joined.SASWords == first.SASWords {
		t.Errorf("the calls %+v and %+v became %+v", first, second, joined)
	}
	awaitTalk(t, shortTalk, s.north)
	s.hangUp("bob", "ben")

	// Who was called may do the same.
	s.call("alice", "ben")
	_, before := s.compared()
	awaitTalk(t, shortTalk, s.north, s.south)
	s.phones["ben"].tell("transfer", s.uri("bob"))
	s.answers("bob")
	s.phones["ben"].hears(closed)
	if after := s.continued(s.south, before); after.SASWords != before.SASWords || after.Trust != "encrypted" {
		t.Errorf("the leg stays, and has the words %q with trust %s; before they were %q", after.SASWords, after.Trust, before.SASWords)
	}
	awaitTalk(t, shortTalk, s.north, s.south)
	s.hangUp("alice", "bob")

	onWire, plain := s.close()
	judgeTransfers(t, messages(onWire), messages(plain), 2)
	// His phone may begin its recording anew where it was held.
	judgeSaid(t, "Ben, who stayed with Bob and left Alice", plain, s.phones["ben"].media(), saying{name: "amy"}, saying{name: "bob"}, saying{name: "alice"})
	judgeHeard(t, "Bob", s.heard("bob"), "amy", "ben", "alice")
	judgeHeard(t, "Alice, who stayed", s.heard("alice"), "ben", "bob")
}

// answers lets somebody's phone take the call that comes in.
func (s *street) answers(user string) {
	s.t.Helper()
	s.phones[user].hears(incoming)
	s.phones[user].tell("accept", "")
	s.phones[user].hears(established)
}

// continued waits for the call that goes on in place of another, and returns it.
func (s *street) continued(at *sipward, before call) call {
	s.t.Helper()
	after := at.awaitTrust()
	if after.Continues != before.ID || !strings.Contains(after.Reason, "compare the words again") {
		s.t.Errorf("%s shows after the transfer of %s: %+v", at.name, before.ID, after)
	}
	at.awaitCall("the announcement", func(event string, c call) bool {
		return event == "call-changed" && c.ID == before.ID && strings.HasPrefix(c.Reason, "transferred to ")
	})
	at.awaitCall("the end of the first call", func(event string, c call) bool { return event == "call-ended" && c.ID == before.ID })
	return after
}

// judgeTransfers looks for what phones and offices say in n transfers, and that
// nothing of it leaves the house.
func judgeTransfers(t *testing.T, onWire, plain []message, n int) {
	t.Helper()
	asked, progress := 0, make(map[string]int)
	for _, m := range plain {
		switch m.kind() {
		case "202 REFER":
			asked++
		case "NOTIFY":
			_, body, _ := strings.Cut(m.text, "\r\n\r\n")
			state, _, _ := strings.Cut(m.header("Subscription-State"), ";")
			progress[strings.TrimSpace(body)+" "+state]++
		}
	}
	if asked != n || progress["SIP/2.0 200 OK terminated"] != n || progress["SIP/2.0 100 Trying active"] != n {
		t.Errorf("%d transfers were accepted, and this was told of them: %v; want %d", asked, progress, n)
	}
	t.Log(fmt.Sprint(progress))
	for _, m := range onWire {
		if kind := m.kind(); strings.Contains(kind, "REFER") || strings.Contains(kind, "NOTIFY") {
			t.Errorf("this should have stayed inside:\n%s", m.text)
		}
	}
}
