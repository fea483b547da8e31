package mitm

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/demo"
	"github.com/sipward/sipward/sas/attest"
	"github.com/sipward/sipward/sip"
)

// He sends an answer or an ACK once more when the call stands, and the houses have
// kept nothing of the exchange but what tells a repetition from another share.
func again(t *testing.T, w wire) (answers, acks []attack) {
	sound := end{"encrypted", "srtp", ""}
	// later sends what was the first of its kind, changed, and asks what that has done.
	later := func(which Which, from, to netip.AddrPort, changes ...func(*testing.T) Change) func(*testing.T, *scene) {
		return func(t *testing.T, s *scene) {
			var once bool
			s.man.On(Acks, func(m *sip.Message) *sip.Message {
				if once {
					return m
				}
				once = true
				go func() {
					time.Sleep(7 * time.Second) // all of it is let go by then
					before := s.standing()
					for _, change := range changes {
						if err := s.man.Send(from, to, change(t)(s.man.Kept(which)[0])); err != nil {
							t.Error(err)
						}
						time.Sleep(100 * time.Millisecond)
					}
					s.stood, s.stands = before, s.standing()
				}()
				return m
			})
		}
	}
	answer := func(changes ...func(*testing.T) Change) func(*testing.T, *scene) {
		return later(Answers, outsideB, outsideA, changes...)
	}
	ack := func(changes ...func(*testing.T) Change) func(*testing.T, *scene) {
		return later(Acks, outsideA, outsideB, changes...)
	}
	as := func(c Change) func(*testing.T) Change { return func(*testing.T) Change { return c } }
	same := as(func(m *sip.Message) *sip.Message { return m })
	other := as(Edit("dh-sig", func(have []string) []string { return append(have, "future key "+mallory+" AAAA") }))
	five := as(Edit("dh-sig", func(have []string) []string { return slices.Repeat(have, 5) }))
	none := as(Drop("dh-sig"))
	// his is a signature by his key over what he knows of the exchange.
	his := func(role attest.Role, of string) func(*testing.T) Change {
		return func(t *testing.T) Change {
			return Edit("dh-sig", func([]string) []string { return []string{sign(t, 'm', of, role, [32]byte{1})} })
		}
	}
	unchanged := func(t *testing.T, s *scene, _ *demo.Call) {
		if s.stood == "" || s.stood != s.stands || strings.Count(s.stood, "encrypted srtp") != 2 {
			t.Errorf("before %s\nand after %s", s.stood, s.stands)
		}
	}
	// remembers is unchanged but for the call, which is over.
	remembers := func(t *testing.T, s *scene, _ *demo.Call) {
		if _, pins, _ := strings.Cut(s.stood, "\n"); pins == "" || !strings.HasSuffix(s.stands, pins) {
			t.Errorf("remembered before %s\nand after %s", s.stood, s.stands)
		}
	}
	left := func(name string, mount func(*testing.T, *scene)) attack {
		return attack{name: name, strangers: true, harmless: true, mount: mount, afterwards: unchanged, alice: sound, bob: sound}
	}
	answers = []attack{
		left("repeats the answer in a call that stands", answer(same, same)),
		left("repeats the answer with other signatures", answer(his(attest.Responder, bob), other, none)),
		left("repeats the answer with more signatures than may be", answer(five)),
		{name: "repeats the answer with another share", strangers: true, late: true, mount: answer(as(otherResp(w.resp(t, point)))), afterwards: remembers,
			alice: end{"mismatch", "failed", tampered + ": it is not the one that was taken before"}, bob: sound},
	}
	acks = []attack{
		left("repeats the ACK in a call that stands", ack(same, same)),
		left("repeats the ACK with other signatures", ack(his(attest.Initiator, alice), other, five, none)),
		left("repeats the ACK with another share", ack(as(otherFin(w.fin(point))))),
	}
	return answers, acks
}

// An ACK that comes again is not even looked at, by the dialog and by the call: there
// is no one safeguard without which it would be.
func TestRepeatedACK(t *testing.T) {
	_, acks := again(t, datagrams)
	attackAll(t, datagrams, acks)
}

func TestRepeatedACKOverTCP(t *testing.T) {
	_, acks := again(t, stream)
	attackAll(t, stream, acks)
}

// standing is what the houses say of their call and what they remember.
func (s *scene) standing() string {
	var calls []string
	for _, h := range []*house{s.a, s.b} {
		for _, v := range h.proxy.Calls() {
			calls = append(calls, fmt.Sprint(v.Trust, " ", v.Protection, " ", v.SASWords, " ", v.SASCode, " ", v.Reason))
		}
	}
	return strings.Join(calls, "; ") + "\n" + pinsOf(s)
}
