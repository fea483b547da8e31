package mitm

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sas/attest"
	"github.com/sipward/sipward/sip"
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
	notice     string // what house A says beside the word
	reads      bool   // he can read what they say; the strings tell
	harmless   bool   // the call goes on between the two as if he had done nothing
}

var required = policy.Rules{UnknownPeers: policy.Require}

func TestLeftAloneACallIsVerified(t *testing.T) {
	t.Parallel()
	inScene(t, required, "a", "b", func(t *testing.T, s *scene) {
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
	inScene(t, policy.Rules{UnknownPeers: policy.Off}, "", "", func(t *testing.T, s *scene) {
		atAlice, _ := s.call()
		if n := s.man.Clear(); n < 800 {
			t.Errorf("%d packets were found to be in clear, of two people who spoke for 10 s", n)
		}
		s.over(atAlice)
	})
}

func TestAttacks(t *testing.T) {
	t.Parallel()
	for _, c := range slices.Concat(sharesReplaced(), signaturesChanged(), downgrades(), replays(), forks(), grinding()) {
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
			inScene(t, c.rules, keys[0], keys[1], func(t *testing.T, s *scene) { c.play(t, s) })
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

	// Nobody is told more than is true, nothing is heard in clear, and, but where
	// he is in the middle of it, nothing at all.
	if n := s.man.Clear(); n != 0 {
		t.Errorf("%d packets in clear", n)
	}
	heard := atAlice.PacketsHeard()
	if atBob != nil {
		heard += atBob.PacketsHeard()
	}
	if through := c.reads || c.harmless; through != (heard > 0) && len(s.forks) == 0 {
		t.Errorf("alice and bob heard %d packets", heard)
	}
	if s.man.Touched() == 0 {
		t.Error("he has done nothing")
	}
	for i, h := range []*house{s.a, s.b} {
		want := []end{c.alice, c.bob}[i]
		h.log.mu.Lock()
		if slices.Contains(h.log.words, string(trust.Verified)) || slices.Contains(h.log.words, string(trust.Pinned)) {
			t.Errorf("house %c said %v", 'A'+i, h.log.words)
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

// He answers the caller with a share of his own, and calls the callee with one.
func sharesReplaced() []attack {
	asked := end{"mismatch", "srtp", differs}
	return []attack{
		{name: "replaces shares", mount: deceive(func(*testing.T) Deceit { return Deceit{} }), notice: "downgrade", reads: true, alice: asked, bob: end{"encrypted", "srtp", ""}},
		{name: "replaces shares of strangers", strangers: true, mount: deceive(func(*testing.T) Deceit { return Deceit{} }), reads: true, alice: asked, bob: end{"encrypted", "srtp", ""}},
		{name: "replaces shares and signs as himself", notice: "downgrade", reads: true, alice: asked, bob: end{"encrypted", "srtp", ""},
			mount: deceive(func(t *testing.T) Deceit {
				return Deceit{BesideResp: signs(t, 'm', mallory, attest.Responder), BesideFin: signs(t, 'm', mallory, attest.Initiator)}
			})},
		{name: "replaces shares and signs as they would, to strangers", strangers: true, reads: true, alice: asked, bob: end{"encrypted", "srtp", ""},
			mount: deceive(func(t *testing.T) Deceit {
				return Deceit{BesideResp: signs(t, 'm', bob, attest.Responder), BesideFin: signs(t, 'm', alice, attest.Initiator)}
			})},
		{name: "replaces shares where a downgrade ends calls", rules: policy.Rules{UnknownPeers: policy.Require, OnDowngrade: policy.End}, notice: "downgrade",
			mount: deceive(func(*testing.T) Deceit { return Deceit{} }), alice: end{"encrypted", "failed", "without the signature"}, bob: gaveUp},
		{name: "replaces shares where calls must be pinned", rules: policy.Rules{UnknownPeers: policy.Require, UnknownTrust: policy.Pinned},
			mount: deceive(func(*testing.T) Deceit { return Deceit{} }), alice: end{"encrypted", "failed", "must be signed"}, bob: gaveUp},
		{name: "replaces shares and relays signatures", mount: deceive(func(*testing.T) Deceit { return Deceit{BesideResp: relayed, BesideFin: relayed} }),
			alice: end{"mismatch", "failed", badSig}, bob: gaveUp},
		{name: "replaces shares and relays the caller's signature", mount: deceive(func(*testing.T) Deceit { return Deceit{BesideFin: relayed} }),
			alice: gaveUp, bob: end{"mismatch", "failed", badSig}},
		{name: "replaces shares and signs as they would", alice: end{"mismatch", "failed", otherKey}, bob: gaveUp,
			mount: deceive(func(t *testing.T) Deceit {
				return Deceit{BesideResp: signs(t, 'm', bob, attest.Responder), BesideFin: signs(t, 'm', alice, attest.Initiator)}
			})},
		{name: "replaces the callee's share alone", keys: [2]string{"-", "-"}, strangers: true, alice: unheard, bob: unheard,
			mount: changing(Answers, Replace("dh-resp", func(v string) string { return v[:strings.LastIndexByte(v, ' ')+1] + ownShare }))},
		{name: "replaces the caller's share alone", alice: gaveUp, bob: end{"mismatch", "failed", tampered + ": its share is not the one that the caller committed to"},
			mount: changing(Acks, Replace("dh-fin", func(string) string { return "1 " + ownShare }))},
		{name: "gives a share without a secret", alice: end{"mismatch", "failed", "point of low order"}, bob: gaveUp,
			mount: changing(Answers, Replace("dh-resp", func(v string) string { return v[:strings.LastIndexByte(v, ' ')+1] + strings.Repeat("A", 43) }))},
	}
}

// ownShare is a public key of X25519: the base point's u, 9, which belongs to the
// private key 1 and is nobody's here.
var ownShare = "CQ" + strings.Repeat("A", 41)

// He relays the shares, so that the two agree with each other, and changes who
// stands behind them.
func signaturesChanged() []attack {
	// misbound has him sign over the transcript of the two, which he sees.
	misbound := func(t *testing.T, s *scene, besides bool) {
		var init, resp string
		s.man.On(Invites, func(m *sip.Message) *sip.Message { init = first(m, "dh-init"); return m })
		s.man.On(Answers, func(m *sip.Message) *sip.Message { resp = first(m, "dh-resp"); return m })
		if !besides {
			s.man.On(Answers, Edit("dh-sig", func([]string) []string { return []string{sign(t, 'm', bob, attest.Responder, Transcript(init, resp))} }))
			return
		}
		s.man.On(Acks, func(m *sip.Message) *sip.Message {
			if fin := first(m, "dh-fin"); fin != "" {
				return Edit("dh-sig", func([]string) []string {
					return []string{sign(t, 'm', alice, attest.Initiator, Transcript(init, resp, fin))}
				})(m)
			}
			return m
		})
	}
	callee := func(t *testing.T, s *scene) { misbound(t, s, false) }
	caller := func(t *testing.T, s *scene) { misbound(t, s, true) }
	return []attack{
		{name: "misbinding of the callee", strangers: true, mount: callee, alice: unheard, bob: unheard},
		{name: "misbinding of the caller", strangers: true, mount: caller, alice: unheard, bob: unheard},
		{name: "misbinding of a callee who is known", mount: callee, alice: end{"mismatch", "failed", otherKey}, bob: gaveUp},
		{name: "misbinding of a caller who is known", mount: caller, alice: gaveUp, bob: end{"mismatch", "failed", otherKey}},
		{name: "strips the callee's signature", mount: changing(Answers, Drop("dh-sig")), alice: unheard, bob: unheard},
		{name: "strips the caller's signature", mount: changing(Acks, Drop("dh-sig")), alice: unheard, bob: unheard},
		{name: "strips signatures of strangers", strangers: true, mount: changing(All, Drop("dh-sig")), alice: unheard, bob: unheard},
		{name: "adds a signature beside the callee's", mount: changing(Answers, Add("dh-sig", "future key "+mallory+" AAAA")), alice: unheard, bob: unheard},
		{name: "adds a signature beside the caller's", mount: changing(Acks, Add("dh-sig", "future key "+mallory+" AAAA")), alice: unheard, bob: unheard},
		{name: "adds more signatures than may be", mount: changing(Answers, Edit("dh-sig", func(have []string) []string { return slices.Repeat(have[:1], 5) })),
			alice: end{"mismatch", "failed", tampered + ": there are more than four signatures"}, bob: gaveUp},
		{name: "changes a signature", mount: changing(Answers, Replace("dh-sig", func(v string) string { return v[:len(v)-8] + "AAAAAAAA" })),
			alice: end{"mismatch", "failed", badSig}, bob: gaveUp},
		{name: "moves the callee's signature to the caller", alice: gaveUp, bob: end{"mismatch", "failed", badSig},
			mount: func(_ *testing.T, s *scene) {
				var theirs []string
				s.man.On(Answers, func(m *sip.Message) *sip.Message { theirs = Values(m, "dh-sig"); return m })
				s.man.On(Acks, Edit("dh-sig", func([]string) []string { return theirs }))
			}},
		// The order does not enter the keys: those who carry a message may change it
		// (protocol section 3).
		{name: "reorders signatures", strangers: true, keys: [2]string{"Aa", "Bb"}, harmless: true, alice: end{"encrypted", "srtp", ""}, bob: end{"encrypted", "srtp", ""},
			mount: changing(All, Edit("dh-sig", func(have []string) []string { slices.Reverse(have); return have }))},
	}
}

// first is the first value of an attribute, "" for none.
func first(m *sip.Message, name string) string {
	return strings.Join(Values(m, name)[:min(1, len(Values(m, name)))], "")
}

// He has the two agree on less than they could.
func downgrades() []attack {
	ends := policy.Rules{UnknownPeers: policy.Prefer, OnDowngrade: policy.End}
	const none = "offers no key exchange"
	inInit := func(old, new string) Change {
		return Replace("dh-init", func(v string) string { return strings.Replace(v, old, new, 1) })
	}
	inResp := func(old, new string) Change {
		return Replace("dh-resp", func(v string) string { return strings.Replace(v, old, new, 1) })
	}
	unsigned := [2]string{"-", "-"}
	whisper := func(t *testing.T, s *scene, _ *demo.Call) {
		before := s.a.proxy.Calls()[0].Legs[1].DroppedAuth
		for _, who := range []Side{FromA, FromB} {
			if err := s.man.Whisper(who, 0x11, 50); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Second)
		if n := s.a.proxy.Calls()[0].Legs[1].DroppedAuth - before; n < 50 {
			t.Errorf("%d of 50 packets in clear were dropped", n)
		}
	}
	return []attack{
		{name: "strips everything", mount: changing(All, DropAll), alice: end{"none", "failed", none}, bob: end{"none", "none", none}},
		{name: "strips the answer", mount: changing(Answers, DropAll), alice: end{"none", "failed", none}, bob: gaveUp},
		{name: "strips the ACK", mount: changing(Acks, DropAll), alice: gaveUp, bob: end{"none", "failed", "key did not arrive"}},
		{name: "strips everything under prefer", rules: ends, mount: changing(All, DropAll), alice: end{"none", "none", ""}, bob: end{"none", "none", "less protected than it could be"}},
		{name: "strips the answer under prefer", rules: ends, mount: changing(Answers, DropAll), notice: "downgrade",
			alice: end{"none", "none", "less protected than it could be"}, bob: gaveUp},
		{name: "strips the ACK under prefer", rules: ends, mount: changing(Acks, DropAll), alice: gaveUp, bob: end{"none", "failed", "key did not arrive"}},
		{name: "hides the group", mount: changing(Invites, inInit("x25519=", "x448=")), alice: end{"none", "none", none}, bob: end{"none", "none", none}},
		{name: "puts a group in front", mount: changing(Invites, inInit("x25519=", "x448=AAAA,x25519=")), alice: end{"mismatch", "failed", badSig}, bob: gaveUp},
		{name: "changes the group of the answer", mount: changing(Answers, inResp("x25519", "x25519mlkem768")), alice: end{"mismatch", "failed", tampered + ": its share"}, bob: gaveUp},
		{name: "takes the best suite out", mount: changing(Invites, inInit("AEAD_AES_256_GCM,", "")), alice: end{"mismatch", "failed", badSig}, bob: gaveUp},
		{name: "takes the best suite out, unsigned", strangers: true, keys: unsigned, mount: changing(Invites, inInit("AEAD_AES_256_GCM,", "")), alice: unheard, bob: unheard},
		{name: "puts a suite in that has no encryption", mount: changing(Answers, inResp("AEAD_AES_256_GCM", "NULL_HMAC_SHA1_80")),
			alice: end{"mismatch", "failed", tampered + ": it chooses a suite that was not offered"}, bob: gaveUp},
		{name: "changes the suite of the answer", mount: changing(Answers, inResp("AEAD_AES_256_GCM", "AES_CM_128_HMAC_SHA1_80")), alice: end{"mismatch", "failed", badSig}, bob: gaveUp},
		{name: "changes the suite of the answer, unsigned", strangers: true, keys: unsigned, alice: unheard, bob: unheard,
			mount: changing(Answers, inResp("AEAD_AES_256_GCM", "AES_CM_128_HMAC_SHA1_80"))},
		// The profile of an m-line decides nothing once keys are agreed (protocol
		// section 7): what is not protected is dropped.
		{name: "changes AVP to SAVP and SAVP to AVP", strangers: true, harmless: true, afterwards: whisper, alice: end{"encrypted", "srtp", ""}, bob: end{"encrypted", "srtp", ""},
			mount: func(_ *testing.T, s *scene) {
				s.man.On(Invites, Profile("RTP/SAVP"))
				s.man.On(Answers, Profile("RTP/AVP"))
			}},
		{name: "changes SAVP to AVP and strips", alice: end{"none", "failed", none}, bob: end{"none", "none", none}, mount: changing(All, Profile("RTP/AVP"), DropAll)},
	}
}

// He has kept what crossed in an earlier call.
func replays() []attack {
	unsigned := [2]string{"-", "-"}
	replay := func(which Which, names ...string) func(*testing.T, *scene) {
		return func(t *testing.T, s *scene) {
			old := s.man.Kept(which)
			if len(old) == 0 {
				t.Fatal("he has kept nothing")
			}
			if len(names) == 0 {
				s.man.On(which, SameAttributes(old[0]))
			}
			for _, n := range names {
				s.man.On(which, Edit(n, func([]string) []string { return Values(old[0], n) }))
			}
		}
	}
	return []attack{
		{name: "replays an old 200", earlier: true, mount: replay(Answers), alice: end{"mismatch", "failed", badSig}, bob: gaveUp},
		{name: "replays an old 200, unsigned", earlier: true, strangers: true, keys: unsigned, mount: replay(Answers), alice: unheard, bob: unheard},
		{name: "replays an old signature of the callee", earlier: true, mount: replay(Answers, "dh-sig"), alice: end{"mismatch", "failed", badSig}, bob: gaveUp},
		{name: "replays an old signature of the caller", earlier: true, mount: replay(Acks, "dh-sig"), alice: gaveUp, bob: end{"mismatch", "failed", badSig}},
		{name: "replays an old ACK", earlier: true, mount: replay(Acks), alice: gaveUp,
			bob: end{"mismatch", "failed", tampered + ": its share is not the one that the caller committed to"}},
		{name: "replays an old INVITE's commitment", earlier: true, mount: replay(Invites), alice: end{"mismatch", "failed", badSig}, bob: gaveUp},
		// The keys are the callee's own until the caller sees it: who is known there
		// is told so for a moment, which is true.
		{name: "answers again with another share", strangers: true, alice: end{"mismatch", "failed", tampered + ": it is not the one that was taken before"}, bob: end{"encrypted", "srtp", ""},
			mount: func(t *testing.T, s *scene) {
				s.man.On(Acks, func(m *sip.Message) *sip.Message {
					if first(m, "dh-fin") == "" {
						return m
					}
					go func() { // now he knows the caller's share, and could choose his own by it
						again := Replace("dh-resp", func(v string) string { return v[:strings.LastIndexByte(v, ' ')+1] + ownShare })(s.man.Kept(Answers)[0])
						if err := s.man.Send(outsideB, outsideA, again); err != nil {
							t.Error(err)
						}
					}()
					return m
				})
			}},
	}
}
