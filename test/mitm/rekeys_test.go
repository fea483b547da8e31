package mitm

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/sip"
)

// He leaves the first exchange alone and attacks the re-INVITEs that replace its
// keys. The new keys inherit what the old ones have proved (protocol section 7): he
// who does not know those gets none, and whoever cannot confirm the new ones ends
// the call. To the house that was asked for nothing the call was sound until the
// BYE.
func rekeys(t *testing.T, w wire) []attack {
	// rekeying is where the orders are for re-INVITEs alone.
	rekeying := func(which Which, changes ...Change) func(*testing.T, *scene) {
		return func(_ *testing.T, s *scene) { s.man.On(s.man.Rekeying(which), changes...) }
	}
	// replay puts what an attribute was in the first exchange in its place.
	replay := func(which Which) func(*testing.T, *scene) {
		return func(_ *testing.T, s *scene) {
			s.man.On(s.man.Rekeying(which), func(m *sip.Message) *sip.Message {
				for _, old := range s.man.kept {
					if which(old) && len(attributes(old)) > 0 {
						return SameAttributes(old)(m)
					}
				}
				return m
			})
		}
	}
	without := end{"mismatch", "failed", "without its share of new keys"}
	committed := end{"mismatch", "failed", tampered + ": its share is not the one that the caller committed to"}
	sound := end{"verified", "srtp", ended}
	on := func(a attack) attack {
		a.name, a.rekeying = a.name+" in rekeying", true
		return a
	}
	return []attack{
		on(attack{name: "replaces shares", mount: deceive(func(*testing.T) Deceit { return Deceit{Within: true} }), alice: unheard, bob: unheard}),
		on(attack{name: "replaces the callee's share alone", mount: rekeying(Answers, otherResp(w.resp(t, point))), alice: unheard, bob: unheard}),
		on(attack{name: "replaces the caller's share alone", mount: rekeying(Acks, otherFin(w.fin(point))), alice: gaveUp, bob: committed}),
		on(attack{name: "gives a share without a secret", mount: rekeying(Answers, otherResp(w.resp(t, nowhere))), alice: end{"mismatch", "failed", "point of low order"}, bob: gaveUp}),
		on(attack{name: "strips the offer", mount: rekeying(Invites, DropAll), alice: without, bob: sound}),
		on(attack{name: "strips the answer", mount: rekeying(Answers, DropAll), alice: without, bob: gaveUp}),
		on(attack{name: "strips the ACK", mount: rekeying(Acks, DropAll), alice: gaveUp, bob: end{"none", "failed", "key did not arrive"}}),
		on(attack{name: "adds a signature", mount: rekeying(Answers, Add("dh-sig", "future key "+mallory+" AAAA")), alice: unheard, bob: unheard}),
		on(attack{name: "takes the best suite out", alice: unheard, bob: unheard,
			mount: rekeying(Invites, Replace("dh-init", func(v string) string { return strings.Replace(v, "AEAD_AES_256_GCM,", "", 1) }))}),
		on(attack{name: "puts a suite in that has no encryption", alice: end{"mismatch", "failed", tampered + ": it chooses a suite that was not offered"}, bob: gaveUp,
			mount: rekeying(Answers, Replace("dh-resp", func(v string) string { return strings.Replace(v, "AEAD_AES_256_GCM", "NULL_HMAC_SHA1_80", 1) }))}),
		on(attack{name: "hides the group", strangers: true, harmless: true, alice: end{"encrypted", "srtp", ""}, bob: end{"encrypted", "srtp", ""},
			mount: rekeying(Invites, Replace("dh-init", strings.NewReplacer("x25519=", "x448=", "x25519mlkem768=", "x448mlkem1024=").Replace))}),
		on(attack{name: "replays the first 200", mount: replay(Answers), alice: unheard, bob: unheard}),
		on(attack{name: "replays the first ACK", mount: replay(Acks), alice: gaveUp, bob: committed}),
		on(attack{name: "replays the first commitment", mount: replay(Invites), alice: gaveUp, bob: committed}),
		on(attack{name: "replays a re-INVITE and its ACK", bob: unheard, alice: sound, mount: replayWhole}),
		// Old keys stay where new ones are refused, whoever did that.
		on(attack{name: "refuses new keys", strangers: true, harmless: true, alice: end{"encrypted", "srtp", ""}, bob: end{"encrypted", "srtp", ""},
			mount: func(t *testing.T, s *scene) {
				s.man.On(s.man.Rekeying(Invites), func(m *sip.Message) *sip.Message {
					res := sip.NewResponse(m, 488, "", "")
					go func() {
						if err := s.man.Send(outsideB, outsideA, res); err != nil {
							t.Error(err)
						}
					}()
					return nil
				})
			}}),
		// What was answered first belongs to no share any more, and is nothing new.
		on(attack{name: "repeats the first answer", strangers: true, harmless: true, alice: end{"encrypted", "srtp", ""}, bob: end{"encrypted", "srtp", ""},
			mount: func(t *testing.T, s *scene) {
				var once bool
				s.man.On(s.man.Rekeying(Acks), func(m *sip.Message) *sip.Message {
					if !once {
						once = true
						go func() {
							for range 2 { // before the new keys are confirmed, and behind it
								if err := s.man.Send(outsideB, outsideA, s.man.Kept(Answers)[0]); err != nil {
									t.Error(err)
								}
								time.Sleep(time.Second)
							}
						}()
					}
					return m
				})
			}}),
		// He would have them go on under old keys.
		on(attack{name: "keeps new keys from being confirmed", alice: unheard, bob: unheard,
			mount: func(_ *testing.T, s *scene) {
				s.man.On(s.man.Rekeying(Answers), func(m *sip.Message) *sip.Message {
					s.man.held[FromA].on, s.man.held[FromB].on = true, true
					return m
				})
			}}),
		on(attack{name: "plays packets under old keys for a confirmation of new ones", alice: unheard, bob: unheard, mount: confirmByOld}),
		on(attack{name: "plays packets under old keys", strangers: true, harmless: true, alice: end{"encrypted", "srtp", ""}, bob: end{"encrypted", "srtp", ""}, mount: playOld}),
	}
}

// confirmByOld holds all media back from just before keys are replaced, and gives the
// houses what was under the old ones, which they have not heard, in place of what is
// under the new ones.
func confirmByOld(t *testing.T, s *scene) {
	go func() {
		time.Sleep(2600 * time.Millisecond)
		s.man.Hold(FromA, true)
		s.man.Hold(FromB, true)
	}()
	var old [2][][]byte
	s.man.On(s.man.Rekeying(Answers), func(m *sip.Message) *sip.Message { // nobody has new keys yet
		for who := range old {
			if old[who] == nil {
				old[who] = s.man.held[who].packets
			}
		}
		return m
	})
	var once bool
	s.man.On(s.man.Rekeying(Acks), func(m *sip.Message) *sip.Message {
		if once {
			return m
		}
		once = true
		packets, ways := old, s.man.way
		go func() {
			time.Sleep(100 * time.Millisecond)
			for who, ps := range packets {
				if len(ps) < 10 {
					t.Errorf("%d packets under old keys", len(ps))
				}
				for _, b := range ps {
					if err := s.man.Forge(ways[who].from, ways[who].to, b); err != nil {
						t.Error(err)
					}
				}
			}
		}()
		return m
	})
}

// playOld holds back some packets just before keys are replaced, and plays them
// soon after: their numbers are new to everybody, and only the keys are old.
func playOld(t *testing.T, s *scene) {
	go func() {
		time.Sleep(2600 * time.Millisecond)
		for _, on := range []bool{true, false} {
			s.man.Hold(FromA, on)
			s.man.Hold(FromB, on)
			time.Sleep(200 * time.Millisecond)
		}
	}()
	var once bool
	s.man.On(s.man.Rekeying(Acks), func(m *sip.Message) *sip.Message {
		if once {
			return m
		}
		once = true
		go func() {
			time.Sleep(300 * time.Millisecond) // which is longer than what was overtaken may take
			before, n := s.dropped(), uint64(0)
			for _, who := range []Side{FromA, FromB} {
				k, err := s.man.Play(who)
				if err != nil {
					t.Error(err)
				}
				n += uint64(k)
			}
			time.Sleep(100 * time.Millisecond)
			if d := s.dropped() - before; n < 15 || d != n {
				t.Errorf("of %d packets under old keys %d were dropped", n, d)
			}
		}()
		return m
	})
}

// dropped counts the packets from outside that did not verify.
func (s *scene) dropped() (n uint64) {
	for _, h := range []*house{s.a, s.b} {
		for _, v := range h.proxy.Calls() {
			for _, l := range v.Legs {
				n += l.DroppedAuth
			}
		}
	}
	return n
}

// replayWhole sends the first re-INVITE to house B once more, and the ACK behind
// the answer, both under numbers that nobody has used.
func replayWhole(t *testing.T, s *scene) {
	again := func(m *sip.Message) *sip.Message {
		m = m.Clone()
		_, method, _ := m.CSeq()
		m.Set("CSeq", "4711 "+method)
		via, _, _ := strings.Cut(m.Get("Via"), ";")
		m.Remove("Via")
		m.Fields = append([]sip.Field{{Name: "Via", Value: fmt.Sprintf("%s;branch=z9hG4bKman%s", via, method)}}, m.Fields...)
		return m
	}
	s.man.On(Answers, func(m *sip.Message) *sip.Message {
		if seq, _, _ := m.CSeq(); seq != 4711 {
			return m
		}
		go func() {
			acks := s.man.Kept(s.man.Rekeying(Acks))
			if err := s.man.Send(outsideA, outsideB, again(acks[0])); err != nil {
				t.Error(err)
			}
		}()
		return nil
	})
	var once bool
	s.man.On(s.man.Rekeying(Acks), func(m *sip.Message) *sip.Message {
		if once {
			return m
		}
		once = true
		go func() {
			time.Sleep(time.Second) // until new keys may be asked for again
			if err := s.man.Send(outsideA, outsideB, again(s.man.Kept(s.man.Rekeying(Invites))[0])); err != nil {
				t.Error(err)
			}
		}()
		return m
	})
}

// What there is only in the hybrid group.
func hybrid(w wire) []attack {
	unsigned := [2]string{"-", "-"}
	// classical takes the hybrid group out, so that a later quantum computer could
	// read what he has recorded.
	classical := Replace("dh-init", func(v string) string {
		i, j := strings.Index(v, "x25519mlkem768="), strings.Index(v, "x25519=")
		return v[:i] + v[j:]
	})
	// ciphertext puts another one beside the caller's key.
	ciphertext := Replace("dh-fin", func(v string) string {
		b, err := base64.RawURLEncoding.DecodeString(v[2:])
		if err != nil || len(b) < x25519Len {
			return v
		}
		return "1 " + w.fin(b[len(b)-x25519Len:])
	})
	return []attack{
		{name: "takes the hybrid group out", mount: changing(Invites, classical), alice: end{"mismatch", "failed", badSig}, bob: gaveUp},
		{name: "takes the hybrid group out, unsigned", strangers: true, keys: unsigned, mount: changing(Invites, classical), alice: unheard, bob: unheard},
		{name: "takes the hybrid group out in rekeying", rekeying: true, alice: unheard, bob: unheard,
			mount: func(_ *testing.T, s *scene) { s.man.On(s.man.Rekeying(Invites), classical) }},
		{name: "replaces the ciphertext alone", mount: changing(Acks, ciphertext), alice: gaveUp, bob: end{"mismatch", "failed", badSig}},
		{name: "replaces the ciphertext alone, unsigned", strangers: true, keys: unsigned, mount: changing(Acks, ciphertext), alice: unheard, bob: unheard},
		{name: "replaces the ciphertext alone in rekeying", rekeying: true, alice: unheard, bob: unheard,
			mount: func(_ *testing.T, s *scene) { s.man.On(s.man.Rekeying(Acks), ciphertext) }},
	}
}
