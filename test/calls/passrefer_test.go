package calls

import (
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
)

// inThreeWithColleagues is inThree with dave at the other office, the office's
// alice within the workstation's reach, and bob's office a peer that alice's
// believes in.
func inThreeWithColleagues(t *testing.T, modeW policy.Mode, story func(t *testing.T, w *three, dave *phone)) {
	t.Helper()
	o := withColleagues(prefers)
	o.modeB = policy.Prefer
	o.routesA = append([]string{"carol", "sip:carol@" + outsideW.String(), "inside"}, o.routesA...)
	o.optionsA = func(o *b2bua.Options) {
		o.Peer = func(_ string, addr netip.Addr) string {
			if addr == outsideB.Addr() {
				return "b"
			}
			return ""
		}
		o.Trusted = func(peer string) bool { return peer == "b" }
	}
	inBubble(t, o, func(t *testing.T, w *world) {
		x := w.workstation(modeW, func(o *b2bua.Options) {
			o.Routes = tableOf("*@b.example", "sip:"+insideA.String(), "outside", "*@a.example", "sip:"+insideA.String(), "outside",
				"carol", "sip:carol@"+seatPhone.String(), "inside")
		})
		defer x.closeSeat()
		dave := w.phone("dave", davePhone, insideB)
		defer dave.close()
		story(t, x, dave)
	})
}

// forwarder is a neighbour of the office that does not carry out transfers itself:
// an INFO of its phone's leaves as the REFER that it stands for, and the NOTIFYs
// about it come to its phone as INFO.
type forwarder struct {
	mu       sync.Mutex
	referTo  string
	answer   string   // to the REFER
	notified []string // what the office sent about it
	invited  int      // INVITEs on any wire since
	dialogs  []string // dialogs that the office answered, as Replaces names them
}

// forwards makes the neighbour at near one.
func (w *three) forwards(near, office netip.AddrPort) *forwarder {
	f := &forwarder{}
	w.net.SetRule(func(from, to netip.AddrPort, b []byte) (v memnet.Verdict) {
		if !isSIP(b) {
			return v
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		m := string(b)
		as := func(is, should string) {
			m = strings.Replace(m, " "+is+"\r\n", " "+should+"\r\n", 1)
			if rest, ok := strings.CutPrefix(m, is+" "); ok {
				m = should + " " + rest
			}
			v.Payload = []byte(m)
		}
		response := strings.HasPrefix(m, "SIP/2.0 ")
		switch {
		case strings.HasPrefix(m, "INVITE ") && f.referTo != "":
			f.invited++
		case from == near && to == office && strings.Contains(m, " INFO\r\n"):
			if response {
				as("INFO", "NOTIFY")
				break
			}
			line, rest, _ := strings.Cut(m, "\r\n")
			m = line + "\r\nRefer-To: " + f.referTo + "\r\n" + rest
			as("INFO", "REFER")
		case from == office && to == near && strings.Contains(m, " REFER\r\n"):
			f.answer = m
			as("REFER", "INFO")
		case from == office && to == near && strings.HasPrefix(m, "NOTIFY "):
			_, body, _ := strings.Cut(m, "\r\n\r\n")
			f.notified = append(f.notified, body)
			as("NOTIFY", "INFO")
		case strings.HasPrefix(m, "SIP/2.0 200") && strings.Contains(m, " INVITE\r\n") && (from == office && to == near || from == near && to == office):
			res, err := sip.Parse(b)
			if err != nil {
				w.t.Error(err)
				break
			}
			r := sip.Replaces{CallID: res.CallID(), ToTag: res.To().Tag(), FromTag: res.From().Tag()}
			if from == near {
				r.ToTag, r.FromTag = r.FromTag, r.ToTag
			}
			f.dialogs = append(f.dialogs, r.String())
		}
		return v
	})
	return f
}

// asks has a phone's neighbour ask the office for a transfer of the call of a
// dialog, with Replaces of the newest one or without.
func (f *forwarder) asks(p *phone, d *sipDialog, to string, attended bool) {
	p.t.Helper()
	if attended {
		to += "?Replaces=" + url.QueryEscape(f.newest())
	}
	f.mu.Lock()
	f.referTo = "<" + to + ">"
	f.mu.Unlock()
	p.do(func(newest *sipDialog) {
		if d == nil {
			d = newest
		}
		d.Do("INFO", "", nil, func(res *sip.Message, err error) {
			switch {
			case err != nil:
				p.event("referred " + err.Error())
			case res.Status >= 200:
				p.event("referred " + itoa(res.Status))
			}
		})
	})
	p.await("referred")
	time.Sleep(10 * time.Second) // whatever comes of it
	synctest.Wait()
}

// A REFER in a call whose keys only the two ends have is refused by who stands
// between them: whoever it led the far end to would be heard by nobody, and be
// readable on the way. The call goes on.
func TestReferInAPassedCall(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		far      bool // the far end asks, whom the office believes
		to       string
		attended bool
	}{
		"blind, to a phone of the office":                {to: "sip:alice@a.example"},
		"blind, to the outside":                          {to: "sip:dave@b.example"},
		"attended, both calls pass":                      {to: "sip:dave@b.example", attended: true},
		"the far end asks, blind, a phone of the office": {far: true, to: "sip:alice@a.example"},
		"the far end asks, blind, somebody of its own":   {far: true, to: "sip:dave@b.example"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inThreeWithColleagues(t, policy.Prefer, func(t *testing.T, w *three, dave *phone) {
				clear := w.tapClear()
				f := w.forwards(outsideW, insideA)
				asks, other, to := w.carol, w.bob, "sip:bob@b.example"
				if c.far {
					f = w.forwards(outsideB, outsideA)
					asks, other, to = w.bob, w.carol, "sip:carol@a.example"
				}
				w.carol.refers()
				asks.call(to)
				asks.await("answered")
				other.await("acked")
				w.chat(10)
				w.passedThrough(t)
				before, _, _ := w.views()
				var first *sipDialog
				media := w.carol.media.Load()
				if c.attended {
					first = w.carol.second("sip:dave@b.example")
					dave.await("acked")
					w.hear(w.carol, dave)
				}
				f.asks(asks, first, c.to, c.attended)
				if !strings.HasPrefix(f.answer, "SIP/2.0 403 ") || !strings.Contains(f.answer, "has no keys of this call") {
					t.Errorf("the REFER was answered\n%s", f.answer)
				}
				if f.invited != 0 || len(f.notified) != 0 {
					t.Errorf("%d INVITEs, notified %q", f.invited, f.notified)
				}
				for _, p := range []*phone{w.alice, dave} {
					p.say(10, 1000, 0xB2) // to wherever the office may have asked for it
				}
				time.Sleep(time.Second)
				if *clear != 0 {
					t.Errorf("%d packets in clear between the offices", *clear)
				}
				if c.attended {
					w.hear(w.carol, dave)
					w.carol.hangup()
					dave.await("bye")
					w.carol.await("bye answered")
					w.carol.do(func(*sipDialog) { w.carol.dialog = first })
					w.carol.media.Store(media)
				}
				if b, c := w.chat(20); b != 20 || c != 20 {
					t.Errorf("bob heard %d, carol %d of 20", b, c)
				}
				w.passedThrough(t)
				if after, _, _ := w.views(); after.ID != before.ID || after.SASWords != before.SASWords {
					t.Errorf("before %+v\nafter %+v", before, after)
				}
				asks.hangup()
				other.await("bye")
				time.Sleep(time.Minute)
				w.none()
				for _, h := range []*house{w.w, w.a, w.b} {
					if n := h.proxy.Dialogs(); n != 0 {
						t.Errorf("%d dialogs left", n)
					}
				}
			})
		})
	}
}

// Nobody comes into such a call by another way either: by an attended transfer of a
// call that has no keys at all, or with another phone of the same user.
func TestPassedCallTakesNobodyIn(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"attended", "another phone"} {
		for _, fromCarol := range []bool{true, false} {
			t.Run(way+map[bool]string{true: ", outwards", false: ", inwards"}[fromCarol], func(t *testing.T) {
				t.Parallel()
				inThreeWithColleagues(t, policy.Prefer, func(t *testing.T, w *three, dave *phone) {
					clear := w.tapClear()
					f := w.forwards(outsideW, insideA)
					told := w.carol.refers()
					var first *sipDialog
					if way == "attended" {
						w.carol.call("sip:alice@a.example")
						w.carol.await("answered")
						w.alice.await("acked")
						w.carol.do(func(d *sipDialog) { first = d })
						synctest.Wait()
					}
					caller, callee, to := w.carol, w.bob, "sip:bob@b.example"
					if !fromCarol {
						caller, callee, to = w.bob, w.carol, "sip:carol@a.example"
					}
					caller.call(to)
					caller.await("answered")
					callee.await("acked")
					w.hear(w.carol, w.bob)
					desk := w.phone("desk", carolPhone, insideA)
					defer desk.close()
					if way == "attended" {
						f.asks(w.carol, first, "sip:bob@b.example", true)
						if !strings.HasPrefix(f.answer, "SIP/2.0 202 ") {
							t.Errorf("the REFER was answered\n%s", f.answer)
						}
						if n := len(f.notified); n != 2 || !strings.HasPrefix(f.notified[n-1], "SIP/2.0 403 this sipward has no keys of this call") {
							t.Errorf("notified %q, told %q", f.notified, *told)
						}
						if f.invited != 0 {
							t.Errorf("%d INVITEs", f.invited)
						}
					} else {
						desk.as = "sip:carol@c.example"
						if !fromCarol {
							desk.as = "sip:carol@a.example"
						}
						desk.fields = []sip.Field{{Name: "Replaces", Value: f.newest()}}
						desk.call("sip:bob@b.example")
						if got := desk.await("refused", "answered"); !strings.HasPrefix(got, "refused 403") || !strings.Contains(desk.answer.Get("Warning"), "has no keys of this call") {
							t.Errorf("the INVITE with Replaces: %s\n%s", got, desk.answer.Bytes())
						}
					}
					for _, p := range []*phone{w.alice, desk} {
						p.say(10, 2000, 0xA1)
					}
					time.Sleep(time.Second)
					if *clear != 0 {
						t.Errorf("%d packets in clear between the offices", *clear)
					}
					w.hear(w.carol, w.bob)
					if way == "attended" {
						w.alice.hangup()
						w.alice.await("bye answered")
						w.carol.await("other bye")
					}
					w.passedThrough(t)
					caller.hangup()
					callee.await("bye")
					w.none()
				})
			})
		}
	}
}

func (f *forwarder) newest() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dialogs[len(f.dialogs)-1]
}

// A sipward at an end of such a call has its keys, and transfers it across the
// middle: the one that stays keeps his, and the target has new ones.
func TestTransferAtTheEndOfAPassedCall(t *testing.T) {
	t.Parallel()
	for _, attended := range []bool{false, true} {
		for _, mode := range []policy.Mode{policy.Require, policy.Prefer} {
			t.Run(map[bool]string{false: "blind", true: "attended"}[attended]+", "+string(mode), func(t *testing.T) {
				t.Parallel()
				inThreeWithColleagues(t, mode, func(t *testing.T, w *three, dave *phone) {
					readable := w.tapBeyond()
					clear := w.tapClear()
					told := w.carol.refers()
					w.carol.call("sip:bob@b.example")
					w.carol.await("answered")
					w.bob.await("acked")
					w.chat(10)
					w.passedThrough(t)
					refer := func() string { return w.carol.refer("<sip:dave@b.example>") }
					if attended {
						first := w.carol.second("sip:dave@b.example")
						dave.await("acked")
						w.hear(w.carol, dave)
						refer = func() string { return w.carol.referOn(first, "sip:dave@b.example") }
					}
					if got := refer(); got != "202" {
						t.Fatalf("REFER: %s", got)
					}
					w.carol.await("told SIP/2.0 200")
					w.hear(w.bob, dave)
					time.Sleep(10 * time.Second)
					synctest.Wait()
					ws, office, far := w.w.proxy.Calls(), w.a.proxy.Calls(), w.b.proxy.Calls()
					if len(ws) != 1 || ws[0].Protection != "srtp" || ws[0].Continues == "" || len(office) != 2 || len(far) != 2 {
						t.Fatalf("told %q\n%+v\n%+v\n%+v", *told, ws, office, far)
					}
					for i := range office {
						if office[i].Protection != "passed-through" || far[i].Protection != "srtp" {
							t.Errorf("%+v\n%+v", office[i], far[i])
						}
					}
					w.bob.hangup()
					dave.await("bye")
					time.Sleep(time.Minute)
					w.none()
					if *readable != 0 || *clear != 0 {
						t.Errorf("%d packets readable, %d between the offices", *readable, *clear)
					}
				})
			})
		}
	}
}
