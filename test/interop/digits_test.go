//go:build interop && linux

package interop

import "testing"

// TestDigits is about keys that are pressed within a call: RFC 4733, both ways.
func TestDigits(t *testing.T) {
	t.Parallel()
	shows(t, "digits within a call (RFC 4733), both ways", "baresip", "linphone")
	s := openStreet(t, "")
	s.enter("baresip", "alice")
	s.enter("linphone", "ben")
	s.call("alice", "ben")
	s.agreed()
	awaitTalk(t, shortTalk/2, s.north, s.south)
	for _, key := range []string{"5", "#", "0"} {
		s.phones["alice"].tell("sndcode", key)
		if e := s.phones["ben"].hears(digit); e.Param != key {
			t.Errorf("Alice pressed %s, and Ben's phone shows %s", key, e.Param)
		}
	}
	for _, key := range []string{"7", "*", "1"} {
		s.phones["ben"].tell("sndcode", key)
		if e := s.phones["alice"].hears(digit); e.Param != key {
			t.Errorf("Ben pressed %s, and Alice's phone shows %s", key, e.Param)
		}
	}
	s.hangUp("alice", "ben")
	s.close()
}
