package mitm

import (
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/demo"
	"github.com/sipward/sipward/keyexchange"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
)

// He has the two agree on less than they could.
func downgrades(t *testing.T, w wire) []attack {
	ends := policy.Rules{UnknownPeers: policy.Prefer, OnDowngrade: policy.End}
	const none = "offers no key exchange"
	inInit := func(old, new string) Change {
		return Replace("dh-init", func(v string) string { return strings.Replace(v, old, new, 1) })
	}
	inResp := func(old, new string) Change {
		return Replace("dh-resp", func(v string) string { return strings.Replace(v, old, new, 1) })
	}
	unsigned := [2]string{"-", "-"}
	other := keyexchange.GroupX25519MLKEM768 // than they agree in
	if w.stream {
		other = keyexchange.GroupX25519
	}
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
		{name: "hides the group", mount: changing(Invites, Replace("dh-init", strings.NewReplacer("x25519=", "x448=", "x25519mlkem768=", "x448mlkem1024=").Replace)), alice: end{"none", "none", none}, bob: end{"none", "none", none}},
		{name: "puts a group in front", mount: changing(Invites, inInit("x25519=", "x448=AAAA,x25519=")), alice: end{"mismatch", "failed", badSig}, bob: gaveUp},
		{name: "changes the group of the answer", mount: changing(Answers, inResp(w.groups()[0], other)), alice: end{"mismatch", "failed", tampered + ": its share"}, bob: gaveUp},
		{name: "answers in a group that was not offered", alice: end{"mismatch", "failed", tampered + ": it chooses a group that was not offered"}, bob: gaveUp,
			mount: changing(Answers, Replace("dh-resp", func(v string) string {
				f := strings.Split(v, " ")
				if f[1] = other; w.stream { // where both are offered
					f[1] = "x448"
				} else {
					f[3] = stream.resp(t, point)
				}
				return strings.Join(f, " ")
			}))},
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
func replays(t *testing.T, w wire) []attack {
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
				once := false
				s.man.On(Acks, func(m *sip.Message) *sip.Message {
					if once || first(m, "dh-fin") == "" {
						return m
					}
					once = true // the ACK of his own answer comes here as well
					go func() { // now he knows the caller's share, and could choose his own by it
						again := otherResp(w.resp(t, point))(s.man.Kept(Answers)[0])
						if err := s.man.Send(outsideB, outsideA, again); err != nil {
							t.Error(err)
						}
					}()
					return m
				})
			}},
	}
}
