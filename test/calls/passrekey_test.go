package calls

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
)

// New keys of the two ends pass through without a lost packet, also where the ACK
// with the key is lost beyond the middle, each time.
func TestRekeyingPassesThroughLostAcks(t *testing.T) {
	t.Parallel()
	o := prefers
	o.optionsB = func(o *b2bua.Options) { o.Rekey = b2bua.Rekey{Every: 3 * time.Second} }
	inThree(t, o, policy.Require, func(t *testing.T, w *three) {
		w.carol.call("sip:bob@b.example")
		w.carol.await("answered")
		w.bob.await("acked")
		w.chat(10)
		lost := map[string]bool{} // by its key
		w.net.SetRule(func(from, to netip.AddrPort, b []byte) memnet.Verdict {
			m := string(b)
			if from != insideA || !strings.HasPrefix(m, "ACK ") || !strings.Contains(m, "dh-fin") || lost[value(m, "dh-fin")] {
				return memnet.Verdict{}
			}
			lost[value(m, "dh-fin")] = true
			return memnet.Verdict{Drop: true}
		})
		if b, c := w.chat(600); b != 600 || c != 600 {
			t.Errorf("bob heard %d, carol %d of 600", b, c)
		}
		w.passedThrough(t)
		if n := len(lost); n < 3 {
			t.Errorf("%d ACKs were lost", n)
		}
	})
}
