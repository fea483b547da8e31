package calls

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/sip"
)

// A transferor is sent away only some time after it has heard how its transfer
// went, however often that is lost on the way.
func TestTransferorIsToldBeforeItIsSentAway(t *testing.T) {
	t.Parallel()
	inBubble(t, withColleagues(worldOptions{net: memnet.Options{Delay: 5 * time.Millisecond}}), func(t *testing.T, w *world) {
		carol := w.phone("carol", carolPhone, insideA)
		defer carol.close()
		w.alice.refers()
		w.up()
		w.hear(w.alice, w.bob) // so their keys are confirmed
		w.net.SetRule(memnet.DropFirst(6, func(_, to netip.AddrPort, b []byte) bool {
			return to == alicePhone && strings.HasPrefix(string(b), "NOTIFY ") && strings.HasSuffix(string(b), "SIP/2.0 200 OK\r\n")
		}))
		if got := w.alice.refer("<sip:carol@a.example>"); got != "202" {
			t.Fatalf("REFER: %s", got)
		}
		if got := w.alice.await("told SIP/2.0 200", "bye"); strings.HasPrefix(got, "bye") {
			t.Fatal("alice was sent away before she was told")
		}
		told := time.Now()
		w.alice.await("bye")
		if waited := time.Since(told); waited < 4*time.Second || waited > 5*time.Second {
			t.Errorf("alice had %v to hang up", waited)
		}
		w.bob.hangup()
		carol.await("bye")
		w.none()
	})
}

// A transferor may ask for no news (RFC 4488), and not for transfers without end.
func TestTransferWithoutSubscription(t *testing.T) {
	t.Parallel()
	inBubble(t, withColleagues(worldOptions{}), func(t *testing.T, w *world) {
		carol := w.phone("carol", carolPhone, insideA, func(p *phone) { p.refuse = 486 })
		defer carol.close()
		told := w.alice.refers()
		w.up()
		for i := range 9 {
			want := "202"
			if i == 8 {
				want = "403"
			}
			if got := w.alice.refer("<sip:carol@a.example>", sip.Field{Name: "Refer-Sub", Value: "false"}, sip.Field{Name: "Require", Value: "norefersub"}); got != want {
				t.Errorf("REFER %d: %s", i+1, got)
			}
			if want == "202" && w.alice.answer.Get("Refer-Sub") != "false" {
				t.Errorf("%s", w.alice.answer.Bytes())
			}
			time.Sleep(time.Second)
		}
		if len(*told) != 0 {
			t.Errorf("alice was told %q", *told)
		}
		w.bob.hangup()
		w.alice.await("bye")
	})
}
