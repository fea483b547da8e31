package calls

import (
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
)

// hops collects the SIP messages on both sides of the middle: towards the
// workstation and towards the other office.
func (w *three) hops() (inner, outer *crossing) {
	inner, outer = &crossing{}, &crossing{}
	w.net.Tap(func(d memnet.Datagram) {
		if !isSIP(d.Payload) {
			return
		}
		switch {
		case atSeat(d.From, d.To):
			inner.add(string(d.Payload))
		case between(d.From, d.To):
			outer.add(string(d.Payload))
		}
	})
	return inner, outer
}

func (c *crossing) add(m string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.msgs = append(c.msgs, m)
}

// atSeat says whether a datagram crosses the wire between workstation and office.
func atSeat(from, to netip.AddrPort) bool {
	return from.Addr() == outsideW.Addr() || to.Addr() == outsideW.Addr()
}

// values are those of an attribute in messages, each once.
func values(msgs []string, name string) (out []string) {
	for _, m := range msgs {
		if v := value(m, name); v != "" && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// rings brings a call to where the callee's early media could be heard, and says
// who calls whom.
func (w *three) rings(fromCarol bool, setup func(caller, callee *phone)) (caller, callee *phone) {
	caller, callee = w.carol, w.bob
	to := "sip:bob@b.example"
	if !fromCarol {
		caller, callee, to = w.bob, w.carol, "sip:carol@a.example"
	}
	callee.early, callee.manual = true, true
	if setup != nil {
		setup(caller, callee)
	}
	caller.call(to)
	return caller, callee
}

// pickUp has a phone answer that has rung.
func (p *phone) pickUp() {
	p.do(func(d *sipDialog) {
		if p.rel && p.prack != nil {
			d.Answer("", nil)
			return
		}
		d.Answer("application/sdp", p.body())
	})
}

// dialogsGone says that nobody keeps anything of a call.
func (w *three) dialogsGone(t *testing.T) {
	t.Helper()
	time.Sleep(3 * time.Minute)
	w.none()
	if n := len(w.w.proxy.Calls()); n != 0 {
		t.Errorf("%d calls left at the workstation", n)
	}
	for _, h := range []*house{w.w, w.a, w.b} {
		if n := h.proxy.Dialogs(); n != 0 {
			t.Errorf("%d dialogs left", n)
		}
	}
}

// The keys of early media are the ends' own as well: 183 and PRACK cross the
// middle with what they carry, and the media behind them to the octet.
func TestEarlyExchangePassesThrough(t *testing.T) {
	t.Parallel()
	lossy := prefers.net
	lossy.Loss, lossy.Reorder, lossy.Duplicate, lossy.Seed = 0.04, 0.1, 0.05, 11
	for name, c := range map[string]struct {
		delayed, rel bool
		mode         policy.Mode
		net          memnet.Options
	}{
		"require":                             {false, false, policy.Require, prefers.net},
		"prefer":                              {false, true, policy.Prefer, prefers.net},
		"the offer is in the 183":             {true, true, policy.Require, prefers.net},
		"the offer is in the 183, prefer":     {true, true, policy.Prefer, prefers.net},
		"under loss":                          {false, false, policy.Require, lossy},
		"the offer is in the 183, under loss": {true, true, policy.Require, lossy},
	} {
		for _, fromCarol := range []bool{true, false} {
			t.Run(name+map[bool]string{true: ", outwards", false: ", inwards"}[fromCarol], func(t *testing.T) {
				t.Parallel()
				o := prefers
				o.modeB, o.net = c.mode, c.net
				inThree(t, o, c.mode, func(t *testing.T, w *three) {
					readable := w.tapBeyond()
					innerMedia, outerMedia := w.wires()
					inner, outer := w.hops()
					want := 20
					if c.net.Loss > 0 {
						want = 8 // four hops lose, and late ones count as lost
					}
					caller, callee := w.rings(fromCarol, func(caller, callee *phone) {
						caller.delayed, callee.rel = c.delayed, c.rel
						if c.rel {
							caller.fields = takes
						}
					})
					caller.await("183", "reliable 183")
					time.Sleep(4 * time.Second)
					if b, ca := w.chat(20); b < want || ca < want {
						t.Errorf("before the answer bob heard %d, carol %d of 20", b, ca)
					}
					w.passedThrough(t)
					ws, office, far := w.views()
					if ws.State != "ringing" || office.State != "ringing" || far.State != "ringing" {
						t.Errorf("states %s, %s, %s", ws.State, office.State, far.State)
					}
					callee.pickUp()
					caller.await("answered")
					callee.await("acked")
					time.Sleep(5 * time.Second)
					if b, ca := w.chat(20); b < want || ca < want {
						t.Errorf("bob heard %d, carol %d of 20", b, ca)
					}
					w.passedThrough(t)
					if after, _, _ := w.views(); after.SASWords != ws.SASWords || after.State != "established" {
						t.Errorf("%s with the words %q, first %q", after.State, after.SASWords, ws.SASWords)
					}
					for _, attr := range [][3]string{{"SIP/2.0 183", "INVITE", "dh-resp"}, {"PRACK ", "PRACK", "dh-fin"}} {
						in, out := values(inner.of(attr[0], attr[1]), attr[2]), values(outer.of(attr[0], attr[1]), attr[2])
						if len(in) != 1 || !slices.Equal(in, out) {
							t.Errorf("%s inside %q, outside %q", attr[2], in, out)
						}
					}
					for _, wire := range []*crossing{inner, outer} {
						if carried(wire.of("SIP/2.0 200", "INVITE"), "a=dh-resp:") || carried(wire.of("ACK ", "ACK"), "a=dh-fin:") {
							t.Error("the exchange is in 2xx and ACK again")
						}
					}
					for pkt := range innerMedia {
						if c.net.Loss == 0 && outerMedia[pkt] == 0 {
							t.Fatalf("changed on the way: %x", pkt)
						}
					}
					if *readable != 0 || len(innerMedia) < 50 {
						t.Errorf("%d packets readable, %d datagrams of media seen", *readable, len(innerMedia))
					}
					caller.hangup()
					callee.await("bye")
					w.dialogsGone(t)
				})
			})
		}
	}
}

// Where one hop knows no reliable responses the exchange comes in the 2xx, and
// nothing before it is heard by ends that require protection.
func TestEarlyPassingWithoutReliableResponses(t *testing.T) {
	t.Parallel()
	for name, hop := range map[string]func(from, to netip.AddrPort) bool{"towards the workstation": atSeat, "towards the other office": between} {
		for _, fromCarol := range []bool{true, false} {
			t.Run(name+map[bool]string{true: ", outwards", false: ", inwards"}[fromCarol], func(t *testing.T) {
				t.Parallel()
				inThree(t, prefers, policy.Require, func(t *testing.T, w *three) {
					readable := w.tapBeyond()
					inner, outer := w.hops()
					w.tamperOn(hop, func(m string) string {
						m = strings.Replace(m, "dh-srtp, 100rel", "dh-srtp", 1)
						return strings.Replace(m, "norefersub, 100rel", "norefersub", 1)
					})
					caller, callee := w.rings(fromCarol, nil)
					if got := caller.await("18"); got != "180" {
						t.Errorf("the caller got %s", got)
					}
					callee.say(20, 0, 0xB2)
					time.Sleep(time.Second)
					if n := len(caller.heard); n != 0 {
						t.Errorf("%d packets heard before there were keys", n)
					}
					callee.pickUp()
					caller.await("answered")
					callee.await("acked")
					w.seq = 100
					time.Sleep(time.Second)
					if b, ca := w.chat(20); b != 20 || ca != 20 {
						t.Errorf("bob heard %d, carol %d of 20", b, ca)
					}
					w.passedThrough(t)
					if *readable != 0 || carried(append(inner.of("SIP/2.0 183", "INVITE"), outer.of("SIP/2.0 183", "INVITE")...), "a=dh-resp:") {
						t.Errorf("%d packets readable, or the exchange was shown in a 183 that is not reliable", *readable)
					}
				})
			})
		}
	}
}

// What goes wrong with 183 and PRACK on either side of the middle ends the call at
// all three, and nothing is heard in clear.
func TestEarlyPassingGoesWrong(t *testing.T) {
	t.Parallel()
	drop := func(string) string { return "" }
	faults := map[string]struct {
		change func(string) string
		cancel bool // the caller gives up meanwhile
		want   []string
	}{
		"every PRACK is lost":     {inThose("PRACK ", drop), false, []string{"refused 488"}},
		"every 183 is lost":       {inThose("SIP/2.0 183", drop), false, []string{"refused 504"}},
		"the PRACK has no body":   {inThose("PRACK ", func(m string) string { head, _, _ := strings.Cut(m, "\r\n\r\n"); return head + "\r\n\r\n" }), false, []string{"refused 488"}},
		"dh-fin was taken out":    {inThose("PRACK ", func(m string) string { return removeLine(m, "a=dh-fin:") }), false, []string{"refused 488"}},
		"dh-fin was changed":      {inThose("PRACK ", func(m string) string { return flip(m, "dh-fin") }), false, []string{"refused 488"}},
		"the share was changed":   {inThose("SIP/2.0 183", func(m string) string { return flip(m, "dh-resp") }), false, []string{"refused 488"}},
		"dh-resp of a wrong form": {inThose("SIP/2.0 183", func(m string) string { return strings.Replace(m, "a=dh-resp:1 ", "a=dh-resp:1 1 ", 1) }), false, []string{"refused 488"}},
		"CANCEL before the PRACK": {inThose("PRACK ", drop), true, []string{"refused sip: cancelled"}},
		"CANCEL before the 183":   {inThose("SIP/2.0 183", drop), true, []string{"refused sip: cancelled"}},
		"CANCEL behind both":      {func(m string) string { return m }, true, []string{"refused sip: cancelled"}},
		"the answer to it is lost": {inThose("SIP/2.0 200", func(m string) string {
			if strings.Contains(m, " PRACK\r\n") {
				return ""
			}
			return m
		}), true, []string{"refused sip: cancelled"}},
	}
	for name, c := range faults {
		for where, hop := range map[string]func(from, to netip.AddrPort) bool{"near the workstation": atSeat, "near the other office": between} {
			for _, fromCarol := range []bool{true, false} {
				t.Run(name+", "+where+map[bool]string{true: ", outwards", false: ", inwards"}[fromCarol], func(t *testing.T) {
					t.Parallel()
					inThree(t, prefers, policy.Require, func(t *testing.T, w *three) {
						readable := w.tapBeyond()
						var changed atomic.Int64
						w.tamperOn(hop, func(m string) string {
							out := c.change(m)
							if out != m {
								changed.Add(1)
							}
							return out
						})
						caller, callee := w.rings(fromCarol, nil)
						callee.await("invited")
						go callee.say(200, 0, 0xB2)
						if c.cancel {
							time.Sleep(900 * time.Millisecond)
							caller.do(func(d *sipDialog) { d.Cancel() })
						}
						if got := caller.await("refused", "answered"); !slices.ContainsFunc(c.want, func(s string) bool { return strings.HasPrefix(got, s) }) {
							t.Errorf("the caller got %s, want %v", got, c.want)
						}
						callee.await("cancelled")
						if changed.Load() == 0 && name != "CANCEL behind both" {
							t.Error("nothing was changed on the way")
						}
						w.dialogsGone(t)
						heard := len(caller.heard)
						if *readable != 0 || heard != 0 && !c.cancel {
							t.Errorf("%d packets readable, the caller heard %d", *readable, heard)
						}
					})
				})
			}
		}
	}
}

// Behind the middle a proxy forks: the dh-resp of the one who plays a tone goes
// to the caller, and another one answers. That call ends, and says so; the next
// one agrees its keys by the answer.
func TestEarlyPassingToAFork(t *testing.T) {
	t.Parallel()
	o := prefers
	o.routesA = []string{"carol", "sip:carol@" + outsideW.String(), "inside"}
	inForked(t, o, func(t *testing.T, f *forked) {
		w := f.workstation(policy.Require)
		defer w.closeSeat()
		readable := w.tapBeyond()
		f.bob.early, f.bob.manual, f.chris.manual = true, true, true
		w.carol.call("sip:bob@b.example")
		w.carol.await("183")
		time.Sleep(2 * time.Second)
		if ws, office := w.w.proxy.Calls(), w.a.proxy.Calls(); len(ws) != 1 || ws[0].Protection != "srtp" || len(office) != 1 || office[0].Protection != "passed-through" {
			t.Errorf("%+v\n%+v", ws, office)
		}
		f.chris.pickUp()
		if got := w.carol.await("refused", "answered"); !strings.HasPrefix(got, "refused 488") || !strings.Contains(got, "call again") {
			t.Errorf("carol got %s", got)
		}
		f.chris.await("bye")
		f.bob.queue.Post(func() { f.bob.dialog.Refuse(480, "") }) // the proxy has no state to cancel it by
		time.Sleep(time.Minute)

		w.carol.call("sip:bob@b.example")
		f.bob.await("invited")
		if got := w.carol.await("18"); got != "180" {
			t.Errorf("in the next call carol got %s", got)
		}
		f.chris.pickUp()
		w.carol.await("answered")
		f.chris.await("acked")
		time.Sleep(2 * time.Second)
		ws, office, far := w.w.proxy.Calls(), w.a.proxy.Calls(), f.c.proxy.Calls()
		if len(ws) != 1 || len(office) != 1 || len(far) != 1 || ws[0].SASWords == "" || ws[0].SASWords != far[0].SASWords || office[0].Protection != "passed-through" {
			t.Errorf("%+v\n%+v\n%+v", ws, office, far)
		}
		if *readable != 0 {
			t.Errorf("%d packets readable", *readable)
		}
		w.carol.hangup()
		f.chris.await("bye")
		f.bob.queue.Post(func() { f.bob.dialog.Refuse(480, "") })
	})
}

// A middle that requires protection takes no part in what others agree: it answers
// early media by itself.
func TestEarlyPassingSatisfiesNoRequire(t *testing.T) {
	t.Parallel()
	inThree(t, worldOptions{modeA: policy.Require, net: prefers.net}, policy.Prefer, func(t *testing.T, w *three) {
		caller, callee := w.rings(false, nil)
		caller.await("183")
		time.Sleep(2 * time.Second)
		if b, ca := w.chat(20); b != 20 || ca != 20 {
			t.Errorf("before the answer bob heard %d, carol %d of 20", b, ca)
		}
		ws, office, far := w.views()
		if office.Protection != "srtp" || office.SASWords == "" || office.SASWords != far.SASWords || ws.Protection != "none" {
			t.Errorf("workstation %s, office %s, far %s", ws.Protection, office.Protection, far.Protection)
		}
		callee.pickUp()
		caller.await("answered")
		synctest.Wait()
	})
}

// The office moves while it rings under keys of the ends. Their shares are spent,
// so the INVITE cannot be sent anew: the caller is told to call again, and can.
func TestEarlyPassingMoves(t *testing.T) {
	t.Parallel()
	inThree(t, prefers, policy.Require, func(t *testing.T, w *three) {
		offers := map[string]bool{} // by the Call-IDs of their INVITEs
		w.net.Tap(func(d memnet.Datagram) {
			if m, err := sip.Parse(d.Payload); err == nil && d.To == outsideB && value(string(m.Body), "dh-init") != "" {
				offers[m.CallID()] = true
			}
		})
		caller, callee := w.rings(true, nil)
		caller.await("183")
		time.Sleep(2 * time.Second)
		w.passedThrough(t)
		w.moves(w.a, outsideA, awayA, 0)
		if got := caller.await("refused", "answered"); !strings.HasPrefix(got, "refused 488") || !strings.Contains(got, "call again") {
			t.Errorf("the caller got %s", got)
		}
		if len(offers) != 1 {
			t.Errorf("the spent share was offered anew: %v", offers)
		}
		callee.queue.Post(func() { callee.dialog.Refuse(480, "") })
		w.dialogsGone(t)
	})
}
