package calls

import (
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/sip"
)

// A user takes a call over with another of his phones; nobody else does, and no
// call that is not there is taken.
func TestTakenOverByAnotherPhone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		as     string
		change func(*sip.Replaces)
		want   string
	}{
		"the same user":    {"sip:alice@a.example", nil, "answered"},
		"another user":     {"sip:carol@a.example", nil, "refused 403"},
		"another call":     {"sip:alice@a.example", func(r *sip.Replaces) { r.CallID += "x" }, "refused 481"},
		"another dialog":   {"sip:alice@a.example", func(r *sip.Replaces) { r.FromTag += "x" }, "refused 481"},
		"only while early": {"sip:alice@a.example", func(r *sip.Replaces) { r.EarlyOnly = true }, "refused 486"},
	} {
		inBubble(t, worldOptions{net: memnet.Options{Delay: 5 * time.Millisecond}}, func(t *testing.T, w *world) {
			clear := w.tapClear()
			w.alice.refers()
			w.up()
			time.Sleep(time.Second)
			before, _ := w.views()
			names := make(chan sip.Replaces, 1)
			w.alice.do(func(d *sipDialog) { names <- d.Replaces() })
			r := <-names
			if c.change != nil {
				c.change(&r)
			}
			mobile := w.phone("mobile", carolPhone, insideA, func(p *phone) {
				p.as, p.fields = c.as, []sip.Field{{Name: "Replaces", Value: r.String()}}
			})
			defer mobile.close()
			mobile.call("sip:bob@b.example")
			got := mobile.await("answered", "refused")
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: %s", name, got)
			}
			speaks := w.alice
			if got == "answered" {
				speaks = mobile
				w.alice.await("bye")
			}
			w.hear(speaks, w.bob)
			va, vb := w.views()
			if va.ID != before.ID || va.Protection != "srtp" || va.SASWords != vb.SASWords || got == "answered" != strings.Contains(va.Reason, "another phone of sip:alice@a.example") {
				t.Errorf("%s: %+v", name, va)
			}
			if got == "answered" {
				if got := w.bob.reinvite(string(w.bob.body())); got != "200" {
					t.Errorf("%s: re-INVITE: %s", name, got)
				}
				mobile.await("reinvited")
			}
			w.bob.hangup()
			speaks.await("bye")
			w.none()
			if *clear != 0 {
				t.Errorf("%s: %d packets in clear", name, *clear)
			}
		})
	}
}
