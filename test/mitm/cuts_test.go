package mitm

import (
	"testing"

	"github.com/sipward/sipward/sip"
)

// He ends the connection between INVITE and answer. The caller's house then sends
// the INVITE anew over another one, which is still the same and has the same share to
// open: once.
func cuts(w wire) []attack {
	strange := end{"encrypted", "srtp", ""}
	// ringing ends it when the callee rings, so that the caller's house has heard of
	// it before; bob's answer comes over another one, behind the forks.
	ringing := func(s *scene) {
		var once bool
		s.man.On(Rings, func(m *sip.Message) *sip.Message {
			if once {
				return m
			}
			once = true
			go s.man.Cut()
			return nil
		})
	}
	return []attack{
		{name: "cuts the connection and answers on the next one", notice: "downgrade", alice: strange, bob: lost, afterwards: opens(1),
			mount: func(t *testing.T, s *scene) { ringing(s); s.fork(t, Forged{Anew: true}) }},
		{name: "cuts the connection and answers on one of his own", notice: "downgrade", alice: strange, bob: lost, afterwards: opens(1),
			mount: func(t *testing.T, s *scene) { ringing(s); s.fork(t, Forged{Anew: true, Apart: true}) }},
		{name: "answers, cuts the connection and answers on the next one", notice: "downgrade", alice: strange, bob: lost, afterwards: opens(1),
			mount: func(t *testing.T, s *scene) { s.fork(t, Forged{Cut: true}, Forged{After: true}) }},
		{name: "cuts the connection and answers on the next one behind the callee", strangers: true, harmless: true, alice: strange, bob: strange, afterwards: opens(0),
			mount: func(t *testing.T, s *scene) { ringing(s); s.fork(t, Forged{After: true}) }},
		// He keeps what the callee answered on the first connection, and lets it out
		// on the second behind a share that he made of it.
		{name: "cuts the connection and answers in the callee's dialog first", strangers: true, keys: [2]string{"-", "-"},
			alice: end{"mismatch", "failed", tampered + ": it is not the one that was taken before"}, bob: gaveUp,
			mount: func(t *testing.T, s *scene) {
				var answer *sip.Message
				s.man.On(Answers, func(m *sip.Message) *sip.Message {
					if answer == nil {
						answer = m.Clone()
						go s.man.Cut()
					}
					return nil
				})
				var invites int
				s.man.On(Invites, func(m *sip.Message) *sip.Message {
					if invites++; invites == 2 {
						first, second := otherResp(w.resp(t, point))(answer.Clone()), answer.Clone()
						go func() {
							for _, m := range []*sip.Message{first, second} {
								if err := s.man.Send(outsideB, outsideA, m); err != nil {
									t.Error(err)
								}
							}
						}()
					}
					return m
				})
			}},
	}
}
