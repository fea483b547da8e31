package calls

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
)

// A middle whose policy requires protection does not take another's word for
// it: outwards the call is refused, inwards it protects by itself.
func TestPassingSatisfiesNoRequire(t *testing.T) {
	t.Parallel()
	for _, mode := range []policy.Mode{policy.Require, policy.Prefer} {
		t.Run("the workstation's policy is "+string(mode), func(t *testing.T) {
			t.Parallel()
			inThree(t, worldOptions{modeA: policy.Require}, mode, func(t *testing.T, w *three) {
				sent := len(w.bob.events)
				w.carol.call("sip:bob@b.example")
				if got := w.carol.await("refused", "answered"); !strings.HasPrefix(got, "refused 488") || !strings.Contains(got, "a rule with the mode prefer") {
					t.Errorf("outwards: %s", got)
				}
				if len(w.bob.events) != sent {
					t.Error("bob's phone rang")
				}
				w.bob.call("sip:carol@a.example")
				if mode == policy.Require { // the workstation's own policy wants an exchange with it
					w.bob.await("refused")
					return
				}
				w.bob.await("answered")
				w.carol.await("acked")
				synctest.Wait()
				if b, c := w.chat(20); b != 20 || c != 20 {
					t.Errorf("bob heard %d, carol %d of 20", b, c)
				}
				ws, office, far := w.views()
				if office.Protection != "srtp" || office.SASWords == "" || office.SASWords != far.SASWords || ws.Protection != "none" {
					t.Errorf("workstation %s, office %s, far %s", ws.Protection, office.Protection, far.Protection)
				}
			})
		})
	}
}

// The far end has no exchange: the two ends' policies say what becomes of it.
func TestPassingToWhoHasNone(t *testing.T) {
	t.Parallel()
	for _, mode := range []policy.Mode{policy.Require, policy.Prefer} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			inThree(t, worldOptions{modeA: policy.Prefer, modeB: policy.Off}, mode, func(t *testing.T, w *three) {
				readable := w.tapBeyond()
				w.carol.call("sip:bob@b.example")
				if mode == policy.Require {
					if got := w.carol.await("refused", "answered"); !strings.HasPrefix(got, "refused 488") || !strings.Contains(got, "offers no key exchange") {
						t.Errorf("got %s", got)
					}
					if *readable != 0 {
						t.Errorf("%d packets in clear", *readable)
					}
					return
				}
				w.carol.await("answered")
				w.bob.await("acked")
				if b, c := w.chat(20); b != 20 || c != 20 {
					t.Errorf("bob heard %d, carol %d of 20", b, c)
				}
				if ws, office, _ := w.views(); ws.Protection != "none" || office.Protection != "none" || !strings.HasPrefix(office.Reason, "unprotected") {
					t.Errorf("workstation %s, office %s: %s", ws.Protection, office.Protection, office.Reason)
				}
			})
		})
	}
}

// The phone inside has no exchange: the middle answers by itself.
func TestPassingInwardsToAPlainPhone(t *testing.T) {
	t.Parallel()
	for _, delayed := range []bool{false, true} {
		inBubble(t, worldOptions{modeB: policy.Prefer}, func(t *testing.T, w *world) {
			clear := w.tapClear()
			w.alice.delayed = delayed
			w.up()
			if m := string(w.bob.lastReq.Bytes()); !strings.Contains(strings.ToLower(m), "dh-init:") || w.bob.lastReq.HasToken("Require", "dh-srtp") {
				t.Errorf("bob's phone was asked\n%s", m)
			}
			if b, a := w.talk(20); b != 20 || a != 20 {
				t.Errorf("bob heard %d, alice %d of 20", b, a)
			}
			va, vb := w.views()
			if va.Protection != "srtp" || vb.Protection != "srtp" || va.SASWords != vb.SASWords || *clear != 0 {
				t.Errorf("%s and %s, %d packets in clear", va.Protection, vb.Protection, *clear)
			}
		})
	}
}

// A native client inside calls another outside. Whatever they write in their
// exchange crosses to the octet, in a later re-INVITE of either as well.
func TestPassingIsUntouched(t *testing.T) {
	t.Parallel()
	const init, resp, fin = "1 future=AAAA FUTURE_SUITE", "1 future FUTURE_SUITE BBBB", "1 CCCC"
	const sig = "future KEY sip:n@n.example DDDD"
	o := worldOptions{modeA: policy.Prefer, routesA: []string{"*@n.example", "sip:" + strangerAddr.String(), "outside"}}
	inBubble(t, o, func(t *testing.T, w *world) {
		session := func(addr netip.Addr, more string) func() []byte {
			return func() []byte { return []byte(strings.Replace(phoneSDP(addr, 4000), "t=0 0\r\n", "t=0 0\r\n"+more, 1)) }
		}
		far := w.phone("n", strangerAddr, outsideA)
		defer far.close()
		far.body = session(strangerAddr.Addr(), "a=dh-resp:"+resp+"\r\na=dh-sig:"+sig+"\r\n")
		w.alice.body = session(alicePhone.Addr(), "a=dh-init:"+init+"\r\n")
		w.alice.fields = []sip.Field{{Name: "Supported", Value: "dh-srtp"}, {Name: "Require", Value: "dh-srtp"}}
		far.answers = []sip.Field{{Name: "Supported", Value: "dh-srtp"}}
		w.alice.call("sip:n@n.example")
		w.alice.await("answered")
		far.await("acked")
		if got := value(string(far.lastReq.Body), "dh-init"); got != init || !far.lastReq.HasToken("Require", "dh-srtp") || !far.lastReq.HasToken("Supported", "dh-srtp") {
			t.Errorf("the INVITE outside:\n%s", far.lastReq.Bytes())
		}
		if !far.ack.HasToken("Require", "dh-srtp") {
			t.Errorf("the ACK outside:\n%s", far.ack.Bytes())
		}
		if m := string(w.alice.answer.Body); value(m, "dh-resp") != resp || value(m, "dh-sig") != sig || !w.alice.answer.HasToken("Supported", "dh-srtp") {
			t.Errorf("the 200 inside:\n%s", w.alice.answer.Bytes())
		}
		for _, way := range []struct {
			from, to *phone
			addr     netip.Addr
		}{{w.alice, far, alicePhone.Addr()}, {far, w.alice, strangerAddr.Addr()}} {
			way.to.body = session(addrOf(way.to), "a=dh-resp:"+resp+"\r\n")
			body := "a=dh-fin:" + fin + "\r\na=dh-sig:" + sig + "\r\n"
			done := make(chan string, 1)
			way.from.do(func(d *sip.Dialog) {
				d.Do("INVITE", "application/sdp", session(way.addr, "a=dh-init:"+init+"\r\n")(), func(res *sip.Message, err error) {
					if err != nil || res.Status < 200 {
						return
					}
					if res.Status == 200 {
						d.Ack(res, "", []byte(body), sip.Field{Name: "Content-Type", Value: "application/dh-sdpfrag"})
					}
					done <- itoa(res.Status) + " " + value(string(res.Body), "dh-resp")
				})
			})
			if got := <-done; got != "200 "+resp {
				t.Errorf("re-INVITE of %s: %s", way.from.name, got)
			}
			way.to.await("acked")
			if got := value(string(way.to.reinvited.Body), "dh-init"); got != init {
				t.Errorf("re-INVITE of %s arrived with dh-init %q", way.from.name, got)
			}
			if string(way.to.ack.Body) != body || way.to.ack.ContentType() != "application/dh-sdpfrag" {
				t.Errorf("its ACK:\n%s", way.to.ack.Bytes())
			}
		}
		if vs := w.a.proxy.Calls(); len(vs) != 1 {
			t.Errorf("%d calls", len(vs))
		}
		w.alice.hangup()
		w.alice.await("bye answered")
		far.await("bye")
	})
}

func addrOf(p *phone) netip.Addr {
	return p.rtp.LocalAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort().Addr()
}
