//go:build interop && linux

package interop

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// TestLongCall is about two calls whose keys turn over every three seconds, until all phones
// have been asked whether they are still there (RFC 4028, half of 90 seconds): baresip
// in a re-INVITE, since it takes no UPDATE, linphone in one. No packet is lost.
func TestLongCall(t *testing.T) {
	t.Parallel()
	const asked = 45 * time.Second
	shows(t, "keys turn over every few seconds, and no packet is lost", "baresip", "linphone")
	shows(t, "is asked whether it is still there (RFC 4028): in an UPDATE", "linphone")
	shows(t, "is asked whether it is still there (RFC 4028): in a re-INVITE", "baresip")
	s := openStreet(t, "crypto: {rekey: {every: 3s, min_interval: 1s}}\ncalls: {session: 90s}")
	s.enter("baresip", "alice", "bob")
	s.enter("linphone", "amy", "ben")
	s.call("alice", "ben")
	s.call("amy", "bob")
	words := make(map[string]string)
	until(t, "both calls are encrypted", 100*time.Millisecond, func() error {
		calls, err := s.north.calls()
		for _, c := range calls {
			words[c.From] = c.SASWords
		}
		if err == nil && (len(words) != 2 || words[s.uri("alice")] == "" || words[s.uri("amy")] == "") {
			err = fmt.Errorf("the calls are %+v", calls)
		}
		return err
	})
	var lost []leg
	time.Sleep(asked) // it takes that long
	const refresh = "refresher=uac"
	for _, user := range []string{"alice", "bob"} {
		s.phones[user].(*baresip).says(refresh)
	}
	for _, user := range []string{"amy", "ben"} {
		until(t, user+"'s phone is asked", 100*time.Millisecond, func() error {
			log, err := os.ReadFile(s.phones[user].(*linphone).log())
			if err == nil && !bytes.Contains(log, []byte(refresh)) {
				err = errors.New("the log has nothing of it")
			}
			return err
		})
	}
	for _, o := range []*sipward{s.north, s.south} {
		calls, err := o.calls()
		if err != nil || len(calls) != 2 {
			t.Errorf("%s has the calls %+v (error: %v), want two", o.name, calls, err)
		}
		for _, c := range calls {
			if c.Rekeyings < 10 || c.Protection != "srtp" || c.SASWords != words[c.From] {
				t.Errorf("%s has after all that %+v; want ten rekeyings and the words %q", o.name, c, words[c.From])
			}
			lost = append(lost, c.Legs...)
		}
	}
	for _, pair := range [][2]string{{"alice", "ben"}, {"amy", "bob"}} {
		s.phones[pair[0]].tell("hangup", "")
		s.phones[pair[0]].hears(closed)
		s.phones[pair[1]].hears(closed)
	}
	s.north.awaitNone()
	s.south.awaitNone()

	_, plain := s.close()
	began := plain[0].Time
	// What comes before its keys is kept for a fifth of a second. A machine that lets a
	// program stand still for longer, in the moment of new keys, may lose some.
	stood := time.Duration(0)
	for _, p := range s.phones {
		stood = max(stood, silence(plain, p.media()))
	}
	excused := stood > 200*time.Millisecond
	t.Logf("packets came with pauses of up to %v", stood)
	for _, l := range lost {
		if n := l.Lost + l.DroppedAuth + l.DroppedReplay + l.DroppedSource; n != 0 && !(excused && n < 20) {
			t.Errorf("packets are missing: %+v", l)
		}
	}
	for user, far := range map[string]string{"alice": "ben", "amy": "bob", "bob": "amy", "ben": "alice"} {
		p := s.phones[user]
		// Sent to the phone, every packet of the far one's tone and none missing between two.
		if n := missing(plain, p.media()); n != 0 && !(excused && n < 20) {
			t.Errorf("%d packets to %s's phone are missing", n, user)
		}
		// And heard by it: linphone fills in or leaves out a piece at times, on a busy machine.
		heard := hummings(s.heard(user))
		t.Logf("%s heard %+v", user, heard)
		if len(heard) != 1 || heard[0].name != far || heard[0].time() < asked*9/10 || time.Duration(heard[0].gap)*pieceTime > 400*time.Millisecond+stood {
			t.Errorf("%s heard %+v, want %s without a gap for %v", user, heard, far, asked)
		}
		want := map[bool]string{true: "INVITE", false: "UPDATE"}[user == "alice" || user == "bob"]
		if !slices.ContainsFunc(messages(plain), func(m message) bool {
			return int(m.from.Port()) == p.signals() && m.kind() == "200 "+want && m.at.Sub(began) > asked/2
		}) {
			t.Errorf("%s's phone was not asked in a call that stood, in an %s", user, want)
		}
	}
}
