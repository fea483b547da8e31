package mitm

import (
	"slices"
	"strings"
	"testing"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sas/attest"
	"github.com/sipward/sipward/sip"
)

// He answers the caller with a share of his own, and calls the callee with one.
func sharesReplaced(t *testing.T, w wire) []attack {
	asked := end{"mismatch", "srtp", differs}
	return []attack{
		{name: "replaces shares", mount: deceive(func(*testing.T) Deceit { return Deceit{} }), notice: "downgrade", reads: true, alice: asked, bob: end{"encrypted", "srtp", ""}},
		{name: "replaces shares of strangers", strangers: true, mount: deceive(func(*testing.T) Deceit { return Deceit{} }), reads: true, alice: asked, bob: end{"encrypted", "srtp", ""}},
		{name: "replaces shares and signs as himself", notice: "downgrade", reads: true, alice: asked, bob: end{"encrypted", "srtp", ""},
			mount: deceive(func(t *testing.T) Deceit {
				return Deceit{BesideResp: signs(t, 'm', mallory, attest.Responder), BesideFin: signs(t, 'm', mallory, attest.Initiator)}
			})},
		// Once they have found out, his key does not get away with it again.
		{name: "replaces shares and signs as they would, to strangers", strangers: true, reads: true, again: "the words of a call with this key differed", alice: asked, bob: end{"encrypted", "srtp", ""},
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
			mount: changing(Answers, otherResp(w.resp(t, point)))},
		{name: "replaces the caller's share alone", alice: gaveUp, bob: end{"mismatch", "failed", tampered + ": its share is not the one that the caller committed to"},
			mount: changing(Acks, otherFin(w.fin(point)))},
		{name: "gives a share without a secret", alice: end{"mismatch", "failed", "point of low order"}, bob: gaveUp,
			mount: changing(Answers, otherResp(w.resp(t, nowhere)))},
	}
}

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
