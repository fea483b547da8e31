package calls

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
)

var (
	forkingProxy = netip.MustParseAddrPort("203.0.113.9:5060")
	outsideC     = netip.MustParseAddrPort("198.51.100.3:5060")
	insideC      = netip.MustParseAddrPort("10.3.0.1:5062")
	chrisPhone   = netip.MustParseAddrPort("10.3.0.2:5060")
)

// forked is a world with a third house, and between it and the other two a proxy
// that sends each INVITE to houses B and C.
type forked struct {
	*world
	c     *house
	chris *phone // bob, at house C
	proxy net.PacketConn
}

// inForked runs a story in such a world, where house A sends calls to b.example
// to the proxy.
func inForked(t *testing.T, o worldOptions, story func(t *testing.T, w *forked)) {
	t.Helper()
	o.routesA = append([]string{"*@b.example", "sip:" + forkingProxy.String(), "outside"}, o.routesA...)
	inBubble(t, o, func(t *testing.T, w *world) {
		mode := o.modeB
		if mode == "" {
			mode = policy.Require
		}
		f := &forked{world: w, c: w.house("c", insideC, outsideC, mode, worldOptions{}, []string{"bob", "sip:bob@" + chrisPhone.String(), "inside"})}
		f.chris = w.phone("bob", chrisPhone, insideC)
		f.proxy = w.listen(forkingProxy)
		go f.fork()
		defer func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			f.c.proxy.Shutdown(ctx)
			cancel()
			f.c.media.Close()
			f.chris.close()
			f.proxy.Close()
		}()
		story(t, f)
	})
}

// fork is a proxy without state (RFC 3261 section 16.11), but that it forks: a
// request goes to both houses, each with a branch of its own, and a response back
// to where its second Via says. Dialogs do not lead over it.
func (w *forked) fork() {
	buf := make([]byte, 65535)
	for {
		n, _, err := w.proxy.ReadFrom(buf)
		if err != nil {
			return
		}
		m, err := sip.Parse(append([]byte(nil), buf[:n]...))
		if err != nil {
			continue
		}
		via, err := sip.ParseVia(m.Values("Via")[0])
		if err != nil {
			continue
		}
		if !m.IsRequest() {
			for i, f := range m.Fields {
				if f.Name == "Via" {
					m.Fields = append(m.Fields[:i:i], m.Fields[i+1:]...)
					break
				}
			}
			w.proxy.WriteTo(m.Bytes(), net.UDPAddrFromAddrPort(outsideA))
			continue
		}
		for i, to := range []netip.AddrPort{outsideB, outsideC} {
			out := m.Clone()
			top := sip.Field{Name: "Via", Value: fmt.Sprintf("SIP/2.0/UDP %s;branch=z9hG4bKfork%d%s", forkingProxy, i, strings.TrimPrefix(via.Branch(), "z9hG4bK"))}
			out.Fields = append([]sip.Field{top}, out.Fields...)
			wire, to := out.Bytes(), net.UDPAddrFromAddrPort(to)
			w.proxy.WriteTo(wire, to)
			for again := range 4 { // the caller stops with the first answer of either branch
				time.AfterFunc(time.Duration(again+1)*400*time.Millisecond, func() { w.proxy.WriteTo(wire, to) })
			}
		}
	}
}

// opened counts what house A sends outside: the shares that it opened, by their
// values, and BYEs by their To tags.
func (w *forked) opened() (fins, byes map[string]bool) {
	fins, byes = map[string]bool{}, map[string]bool{}
	w.net.Tap(func(d memnet.Datagram) {
		if m, err := sip.Parse(d.Payload); err == nil && d.From == outsideA {
			switch {
			case m.Method == "ACK" && value(string(m.Body), "dh-fin") != "":
				fins[m.To().Tag()+" "+value(string(m.Body), "dh-fin")] = true
			case m.Method == "BYE":
				byes[m.To().Tag()] = true
			}
		}
	})
	return fins, byes
}

// gone says that nothing is left of any call anywhere.
func (w *forked) gone() {
	w.t.Helper()
	time.Sleep(3 * time.Minute)
	w.none()
	if n := len(w.c.proxy.Calls()); n != 0 {
		w.t.Errorf("%d calls left at the third house", n)
	}
	for _, h := range []*house{w.a, w.b, w.c} {
		if n := h.proxy.Dialogs(); n != 0 {
			w.t.Errorf("%d dialogs left", n)
		}
	}
}

// Two houses ring and both answer: one commitment is opened, for the first; the
// other one's answer is acknowledged without a share and released, whatever the
// network loses and reorders, and the two who speak have the same words.
func TestForkedCall(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		o := worldOptions{net: memnet.Options{Seed: seed, Delay: 10 * time.Millisecond}}
		if seed > 0 {
			o.net.Loss, o.net.Duplicate, o.net.Reorder, o.net.Jitter = 0.1, 0.05, 0.2, 15*time.Millisecond
		}
		inForked(t, o, func(t *testing.T, w *forked) {
			clear := w.tapClear()
			fins, byes := w.opened()
			w.bob.manual, w.chris.manual = true, true
			w.alice.call("sip:bob@b.example")
			w.bob.await("invited")
			w.chris.await("invited")
			w.alice.await("180")
			// Together, or the one a while behind the other.
			w.bob.do(func(d *sipDialog) { d.Answer("application/sdp", w.bob.body()) })
			time.Sleep(time.Duration(seed%4) * 100 * time.Millisecond)
			w.chris.do(func(d *sipDialog) { d.Answer("application/sdp", w.chris.body()) })
			w.alice.await("answered")
			time.Sleep(time.Minute)
			synctest.Wait()
			if len(fins) != 1 || len(byes) != 1 {
				t.Errorf("seed %d: opened %v, BYE to %v", seed, fins, byes)
			}
			va, vb, vc := w.a.proxy.Calls(), w.b.proxy.Calls(), w.c.proxy.Calls()
			if len(va) != 1 || len(vb)+len(vc) != 1 {
				t.Fatalf("seed %d: %v %v %v", seed, va, vb, vc)
			}
			speaks, house := w.bob, append(vb, vc...)[0]
			if len(vc) > 0 {
				speaks = w.chris
			}
			if va[0].Protection != "srtp" || va[0].SASWords == "" || va[0].SASWords != house.SASWords || va[0].SASCode != house.SASCode {
				t.Errorf("seed %d: %+v\n%+v", seed, va[0], house)
			}
			if seed == 0 {
				w.hear(w.alice, speaks)
			}
			w.alice.hangup()
			speaks.await("bye")
			w.gone()
			if *clear != 0 {
				t.Errorf("seed %d: %d packets in clear", seed, *clear)
			}
		})
	}
}

// An answer that comes when the call is over, and one that crosses the CANCEL,
// are acknowledged without a share and released.
func TestForkAnswersLate(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"behind the end of the call", "crossing the CANCEL"} {
		inForked(t, worldOptions{net: memnet.Options{Delay: 20 * time.Millisecond}}, func(t *testing.T, w *forked) {
			fins, byes := w.opened()
			w.bob.manual, w.chris.manual = true, true
			w.alice.call("sip:bob@b.example")
			w.chris.await("invited")
			w.bob.await("invited")
			w.alice.await("180")
			want := 1
			if how == "crossing the CANCEL" {
				want = 0
				w.alice.do(func(d *sipDialog) { d.Cancel() })
				time.Sleep(10 * time.Millisecond)
				w.chris.do(func(d *sipDialog) { d.Answer("application/sdp", w.chris.body()) })
			} else {
				// The proxy has not cancelled the other branch, as it should have.
				w.bob.do(func(d *sipDialog) { d.Answer("application/sdp", w.bob.body()) })
				w.alice.await("answered")
				time.Sleep(time.Second)
				w.alice.hangup()
				w.bob.await("bye")
				time.Sleep(time.Second)
				w.chris.do(func(d *sipDialog) { d.Answer("application/sdp", w.chris.body()) })
			}
			w.chris.await("bye")
			w.gone()
			if len(fins) != want || len(byes) != want+1 {
				t.Errorf("%s: opened %v, BYE to %v", how, fins, byes)
			}
		})
	}
}

// A house whose answer lost the race got an ACK without a share. That is no
// server which takes bodies off ACKs: its next call by the same way is encrypted.
func TestLostForkIsNoStrippedPath(t *testing.T) {
	t.Parallel()
	inForked(t, worldOptions{modeA: policy.Prefer, modeB: policy.Prefer, net: memnet.Options{Delay: 10 * time.Millisecond}}, func(t *testing.T, w *forked) {
		w.chris.manual = true
		w.alice.call("sip:bob@b.example")
		w.chris.await("invited")
		w.bob.await("acked")
		time.Sleep(100 * time.Millisecond)
		w.chris.do(func(d *sipDialog) { d.Answer("application/sdp", w.chris.body()) })
		w.chris.await("bye")
		w.alice.hangup()
		w.bob.await("bye")
		time.Sleep(time.Minute)

		w.bob.manual, w.chris.manual = true, false // the proxy passes the first final answer on
		w.alice.call("sip:bob@b.example")
		w.chris.await("acked")
		w.bob.do(func(d *sipDialog) { d.Refuse(480, "") })
		time.Sleep(2 * time.Second)
		if v := w.c.proxy.Calls(); len(v) != 1 || v[0].Protection != "srtp" {
			t.Errorf("%+v", v)
		}
		w.alice.hangup()
		w.chris.await("bye")
	})
}
