package mitm

import (
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/sipward/sipward/demo"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/keyexchange"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sas"
	"github.com/sipward/sipward/sas/attest"
)

// fork has him answer beside the callee, once for each.
func (s *scene) fork(t *testing.T, hows ...Forged) {
	t.Helper()
	for _, how := range hows {
		how.At = netip.AddrPortFrom(manAt.Addr(), manAt.Port()+uint16(10*len(s.forks)))
		f, err := s.man.Fork(how)
		if err != nil {
			t.Fatal(err)
		}
		s.forks = append(s.forks, f)
	}
}

// opens says in how many of his forks the caller's share was opened: never in
// more than one dialog, and where in his, not in bob's. The others are released.
func opens(want int) func(*testing.T, *scene, *demo.Call) {
	return func(t *testing.T, s *scene, _ *demo.Call) {
		opened, overheard := 0, 0
		for _, f := range s.forks {
			opened += f.Opened()
			overheard += f.Overheard()
			if f.Acked() == 0 || f.Opened() == 0 && f.Released() == 0 {
				t.Errorf("a fork got %d ACKs, %d of them with a share, and %d BYEs", f.Acked(), f.Opened(), f.Released())
			}
		}
		if opened != want || want == 0 && overheard != 0 {
			t.Errorf("his forks got %d shares, want %d, and %d packets", opened, want, overheard)
		}
		fins := map[string]bool{}
		for _, m := range s.man.Kept(Acks) { // to bob's house
			if v := first(m, "dh-fin"); v != "" {
				fins[v] = true
			}
		}
		if len(fins)+opened != 1 {
			t.Errorf("the share was opened to bob %v and %d times to him", fins, opened)
		}
	}
}

// He answers beside the callee. Over TCP he does so on the connection of the INVITE,
// as a proxy would, and again on connections of his own.
func forks(w wire) []attack {
	all := answers(Forged{})
	if w.stream {
		for _, a := range answers(Forged{Apart: true}) {
			a.name += " over connections of his own"
			all = append(all, a)
		}
	}
	return all
}

func answers(how Forged) []attack {
	answering := func(n int, after bool, signing func(*testing.T) func([32]byte) []string) func(*testing.T, *scene) {
		return func(t *testing.T, s *scene) {
			how := how
			how.After = after
			if signing != nil {
				how.Sign = signing(t)
			}
			s.fork(t, slices.Repeat([]Forged{how}, n)...)
		}
	}
	asBob := func(t *testing.T) func([32]byte) []string {
		return func(t1 [32]byte) []string { return []string{sign(t, 'm', bob, attest.Responder, t1)} }
	}
	ends := policy.Rules{UnknownPeers: policy.Require, OnDowngrade: policy.End}
	return []attack{
		{name: "answers before the callee", mount: answering(1, false, nil), afterwards: opens(1), notice: "downgrade", alice: end{"encrypted", "srtp", ""}, bob: lost},
		{name: "answers before the callee where a downgrade ends calls", rules: ends, mount: answering(1, false, nil), notice: "downgrade", alice: end{"encrypted", "failed", "without the signature"}, bob: lost},
		{name: "answers before the callee and signs as he would", mount: answering(1, false, asBob), alice: end{"mismatch", "failed", otherKey}, bob: lost},
		{name: "answers several forks", mount: answering(4, false, nil), afterwards: opens(1), notice: "downgrade", alice: end{"encrypted", "srtp", ""}, bob: lost},
		{name: "answers several forks after the callee", strangers: true, mount: answering(4, true, asBob), afterwards: opens(0), harmless: true,
			alice: end{"encrypted", "srtp", ""}, bob: end{"encrypted", "srtp", ""}},
	}
}

// grinds is how many keys of his own he tries, as a power of two. Where it is not
// set he looks for less of the string, which is as good a test: what stops him is
// that he has committed to a key before he sees anything to choose by, and not how
// many he tries.
const grinds = "SIPWARD_GRIND"

// He tries keys of his own until the strings are equal.
func grinding() []attack {
	tries, near := 1<<12, func(a, b [4]byte) bool { return a[0] == b[0] } // the first word
	if n, err := strconv.Atoi(os.Getenv(grinds)); err == nil && n > 0 && n < 31 {
		tries, near = 1<<n, func(a, b [4]byte) bool { return sas.Code(a) == sas.Code(b) }
	}
	return []attack{{name: "grinds", alice: gaveUp, bob: end{"mismatch", "failed", tampered + ": its share is not the one that the caller committed to"},
		mount: func(t *testing.T, s *scene) {
			s.man.Impersonate(Deceit{Open: func(init, resp string, caller [4]byte) string {
				fin, got, ok := Grind(init, resp, tries, func(x [4]byte) bool { return near(x, caller) })
				t.Logf("the caller sees %q; one of %d keys gives %q: %v", sas.WordsString(caller), tries, sas.WordsString(got), ok)
				if !ok && os.Getenv(grinds) == "" {
					t.Error("without the commitment he would have found a string that begins alike")
				}
				if fin == "" || Commits(init, fin) {
					t.Errorf("he has ground %q out of %q", fin, init)
				}
				return fin
			}})
		},
		afterwards: func(t *testing.T, s *scene, _ *demo.Call) {
			// Before he had to choose his share towards the caller he had seen of
			// hers a hash alone.
			invite, ack := s.man.Kept(Invites)[0], s.man.Kept(Acks)[0]
			if init := first(invite, "dh-init"); !Commits(init, first(ack, "dh-fin")) {
				t.Errorf("%s does not commit to %s", init, first(ack, "dh-fin"))
			}
		}}}
}

// What he derives is what the houses derive.
func TestGrindDerivesTheString(t *testing.T) {
	t.Parallel()
	for _, w := range []wire{datagrams, stream} {
		config := New(memnet.New(memnet.Options{}), outsideA.Addr(), outsideB.Addr(), w.groups()...).config()
		asks, err := keyexchange.NewInitiator(config, nil)
		if err != nil {
			t.Fatal(err)
		}
		answers, resp, err := keyexchange.NewResponder(config, keyexchange.Attrs{Value: asks.Init(), Present: true}, nil)
		if err != nil {
			t.Fatal(err)
		}
		fin, err := asks.TakeResp(keyexchange.Attrs{Value: resp, Present: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := answers.TakeFin(keyexchange.Attrs{Value: fin, Present: true}); err != nil {
			t.Fatal(err)
		}
		if asks.T1() != Transcript(asks.Init(), resp) || answers.T2() != Transcript(asks.Init(), resp, fin) || !Commits(asks.Init(), fin) || Commits(asks.Init(), "1 "+w.fin(point)) {
			t.Errorf("%v: transcripts or commitment are not what the protocol says", w.groups())
		}
	}
}
