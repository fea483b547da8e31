package mitm

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sas/attest"
	"github.com/sipward/sipward/trust"
)

// end is what a house writes into its record of an attacked call.
type end struct {
	trust, protection string // "": the house has no record of it
	why               string // found in the reason
}

// attack is one thing that the man does, and what both houses make of it. Unless it
// says otherwise both sign, both have confirmed the other's key in an earlier call,
// and calls must be encrypted: left alone such a call is verified at both ends.
type attack struct {
	name       string
	rules      policy.Rules // "": require
	keys       [2]string    // letters, of A and of B; "": a and b; "-": none
	strangers  bool         // neither knows the other
	earlier    bool         // a call that he leaves alone comes first
	mount      func(*testing.T, *scene)
	afterwards func(*testing.T, *scene, *demo.Call)
	alice, bob end
	again      string // where he does the same once more, why house A takes that for a mismatch and ends it
	notice     string // what house A says beside the word
	reads      bool   // he can read what they say; the strings tell
	harmless   bool   // the call goes on between the two as if he had done nothing
	late       bool   // he waits until they have spoken
	rekeying   bool   // it is the replacement of keys that he attacks, in a call that is sound before
}

var required = policy.Rules{UnknownPeers: policy.Require}

func TestLeftAloneACallIsVerified(t *testing.T) {
	t.Parallel()
	inScene(t, setting{rules: required, keys: [2]string{"a", "b"}}, func(t *testing.T, s *scene) {
		s.introduce()
		atAlice, atBob := s.call()
		va, vb := s.a.proxy.Calls(), s.b.proxy.Calls()
		if len(va) != 1 || len(vb) != 1 || va[0].Trust != "verified" || vb[0].Trust != "verified" || va[0].SASWords != vb[0].SASWords {
			t.Fatalf("%+v\n%+v", va, vb)
		}
		if atAlice.PacketsHeard() < 400 || atBob.PacketsHeard() < 400 || s.man.Clear() != 0 || s.man.Touched() != 0 {
			t.Errorf("alice heard %d, bob %d, %d in clear, %d touched", atAlice.PacketsHeard(), atBob.PacketsHeard(), s.man.Clear(), s.man.Touched())
		}
		s.over(atAlice)
	})
}

// The wiretap that counts speech in clear finds it where there is some.
func TestClearSpeechIsSeen(t *testing.T) {
	t.Parallel()
	inScene(t, setting{rules: policy.Rules{UnknownPeers: policy.Off}}, func(t *testing.T, s *scene) {
		atAlice, _ := s.call()
		if n := s.man.Clear(); n < 800 {
			t.Errorf("%d packets were found to be in clear, of two people who spoke for 10 s", n)
		}
		s.over(atAlice)
	})
}

func TestAttacks(t *testing.T) { attackAll(t, datagrams, attacks(t, datagrams)) }

// Over TCP and with the hybrid group.
func TestAttacksOverTCP(t *testing.T) {
	attackAll(t, stream, slices.Concat(attacks(t, stream), hybrid(stream), cuts(stream)))
}

// attacks are those that there are over UDP and over TCP.
func attacks(t *testing.T, w wire) []attack {
	repeated, _ := again(t, w)
	return slices.Concat(sharesReplaced(t, w), signaturesChanged(), downgrades(t, w), replays(t, w), grinding(), rekeys(t, w), forks(w), waits(), repeated)
}

func attackAll(t *testing.T, w wire, all []attack) {
	t.Parallel()
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			keys := [2]string{"a", "b"}
			for i, k := range c.keys {
				if k != "" {
					keys[i] = strings.Trim(k, "-")
				}
			}
			if c.rules.UnknownPeers == "" {
				c.rules = required
			}
			inScene(t, setting{rules: c.rules, keys: keys, wire: w, rekeying: c.rekeying}, func(t *testing.T, s *scene) { c.play(t, s) })
		})
	}
}

// introduce lets both houses know the other's key from a call in which the words
// were read.
func (s *scene) introduce() {
	s.a.knows(s.t, bob, 'b', trust.Equal)
	s.b.knows(s.t, alice, 'a', trust.Equal)
}

func (c attack) play(t *testing.T, s *scene) {
	if !c.strangers {
		s.introduce()
	}
	if c.earlier {
		first, _ := s.call()
		s.over(first)
		s.a.log.forget()
		s.b.log.forget()
	}
	pins := pinsOf(s)
	c.mount(t, s)
	atAlice, atBob := s.call()
	standing := len(s.a.proxy.Calls()) == 1 && len(s.b.proxy.Calls()) == 1
	if standing != (c.reads || c.harmless) {
		t.Errorf("the call stands: %v", standing)
	}
	if c.reads && standing {
		c.ask(t, s)
	}
	if c.afterwards != nil {
		c.afterwards(t, s, atAlice)
	}
	s.over(atAlice)
	if c.again != "" {
		next, _ := s.call()
		s.over(next)
		s.a.log.mu.Lock()
		if last := s.a.log.calls[len(s.a.log.calls)-1]; last.Trust != string(trust.Mismatch) || last.Protection != "failed" || !strings.Contains(last.Reason, c.again) {
			t.Errorf("the next call: %+v", last)
		}
		s.a.log.calls = s.a.log.calls[:len(s.a.log.calls)-1]
		s.a.log.mu.Unlock()
		s.b.log.mu.Lock()
		s.b.log.calls = s.b.log.calls[:len(s.b.log.calls)-1]
		s.b.log.mu.Unlock()
	}

	// Nobody is told more than is true, nothing is heard in clear, and, but where
	// he is in the middle of it, nothing at all.
	if n := s.man.Clear(); n != 0 {
		t.Errorf("%d packets in clear", n)
	}
	if n := s.man.Overheard(FromA) + s.man.Overheard(FromB); n != 0 && !c.reads {
		t.Errorf("he overheard %d packets", n)
	}
	heard := atAlice.PacketsHeard()
	if atBob != nil {
		heard += atBob.PacketsHeard()
	}
	if through := c.reads || c.harmless; through != (heard > 0) && len(s.forks) == 0 && !c.rekeying && !c.late {
		t.Errorf("alice and bob heard %d packets", heard)
	}
	if s.man.Touched() == 0 {
		t.Error("he has done nothing")
	}
	for i, h := range []*house{s.a, s.b} {
		want := []end{c.alice, c.bob}[i]
		h.log.mu.Lock()
		for _, w := range h.log.words {
			// Before new keys are attacked the old ones are sound, and for who sees
			// nothing of the attack they stay so.
			if trust.Word(w.word).Reaches(trust.Pinned) && !(c.rekeying && (w.at.Before(s.man.Began()) || want.trust == string(trust.Verified))) {
				t.Errorf("house %c said %v", 'A'+i, h.log.words)
			}
		}
		var got end
		if n := len(h.log.calls); n > 0 {
			last := h.log.calls[n-1]
			got = end{last.Trust, last.Protection, last.Reason}
		}
		if got.trust != want.trust || got.protection != want.protection || !regexp.MustCompile(want.why).MatchString(got.why) {
			t.Errorf("house %c wrote %+v, want %+v", 'A'+i, got, want)
		}
		if i == 0 && c.notice != "" && !slices.Contains(h.log.notices, c.notice) {
			t.Errorf("house A said nothing of %q: %v", c.notice, h.log.notices)
		}
		h.log.mu.Unlock()
	}
	// What he signed with is nobody's key but where nobody was known before.
	if after := pinsOf(s); !c.harmless && !c.strangers && after != pins || strings.Contains(after, key(t, 'm').Public()) && !c.reads && len(s.forks) == 0 {
		t.Errorf("remembered before %s\nand after %s", pins, after)
	}
}

// ask has the two read their strings to each other, which are not the same; the
// code that one hears from the other is not taken, and the second time ends it.
func (c attack) ask(t *testing.T, s *scene) {
	va, vb := s.a.proxy.Calls()[0], s.b.proxy.Calls()[0]
	if s.man.Overheard(FromA) == 0 || s.man.Overheard(FromB) == 0 {
		t.Errorf("he overheard %d and %d packets", s.man.Overheard(FromA), s.man.Overheard(FromB))
	}
	if va.SASWords == "" || vb.SASWords == "" || va.SASWords == vb.SASWords || va.SASCode == vb.SASCode {
		t.Errorf("words %q and %q, codes %q and %q", va.SASWords, vb.SASWords, va.SASCode, vb.SASCode)
	}
	say := func() (string, error) {
		v, err := s.a.proxy.SaySAS(context.Background(), va.ID, b2bua.Said{Code: vb.SASCode})
		return v.Trust, err
	}
	if _, err := say(); !errors.Is(err, b2bua.ErrWrongCode) {
		t.Errorf("the other side's code: %v", err)
	}
	if word, err := say(); err != nil || word != string(trust.Mismatch) {
		t.Errorf("the other side's code again: %q, %v", word, err)
	}
}

func pinsOf(s *scene) string {
	var out []string
	for _, h := range []*house{s.a, s.b} {
		for _, e := range h.memory.List() {
			for _, p := range e.Pins {
				out = append(out, fmt.Sprint(p.Identity, p.Key, p.Strong, len(p.Confirmations)))
			}
		}
	}
	return strings.Join(out, "\n")
}

// What houses say of it.
const (
	tampered = "tampered with or is faulty"
	badSig   = "signature of the other end is wrong"
	otherKey = "nother key than in earlier calls"
	silent   = "encrypted media of the other side never arrived"
	differs  = "somebody sits in between"
	ended    = "ended by the other side: "
)

var (
	unheard = end{"none", "failed", silent + "|" + ended + ".*" + silent} // at both ends, of which one is the first
	gaveUp  = end{"none", "failed", ended}
	lost    = end{"none", "failed", ""} // to another fork
)

func changing(which Which, changes ...Change) func(*testing.T, *scene) {
	return func(_ *testing.T, s *scene) { s.man.On(which, changes...) }
}

func deceive(how func(*testing.T) Deceit) func(*testing.T, *scene) {
	return func(t *testing.T, s *scene) { s.man.Impersonate(how(t)) }
}

// signs makes what signs for somebody with the key of a letter.
func signs(t *testing.T, letter byte, as string, role attest.Role) func([32]byte, []string) []string {
	return func(transcript [32]byte, _ []string) []string { return []string{sign(t, letter, as, role, transcript)} }
}

func sign(t *testing.T, letter byte, as string, role attest.Role, transcript [32]byte) string {
	v, err := key(t, letter).Sign(context.Background(), role, transcript, as)
	if err != nil {
		t.Error(err)
	}
	return v
}

func relayed(_ [32]byte, theirs []string) []string { return theirs }
