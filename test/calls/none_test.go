package calls

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/auth"
)

// office gives house B phones with passwords, and a provider whom numbers with
// 00 lead to: what fraudsters look for.
func office() worldOptions {
	o := withAccounts("carol", "dave")
	accounts := o.optionsB
	o.modeB = "prefer"
	o.optionsB = func(b *b2bua.Options) {
		accounts(b)
		var err error
		if b.Routes, err = route.NewTable([]route.Route{
			{Match: route.MustPattern("00*"), From: route.Inside, To: "sip:*@" + outsideA.String(), Side: route.Outside},
			{Match: route.MustPattern("bob"), To: "sip:bob@" + bobPhone.String(), Side: route.Inside},
		}); err != nil {
			panic(err)
		}
	}
	return limited(o, limits)
}

// Whoever has no right to call makes nothing leave, to anybody but himself, and
// opens no port for media.
func TestNoneDialsAnything(t *testing.T) {
	t.Parallel()
	const premium = "sip:00900123456@b.example"
	session := func(from netip.AddrPort) string { return phoneSDP(from.Addr(), 4000) }
	// tell is an out-of-dialog request with a Refer-To.
	tell := func(from netip.AddrPort, uri string) string {
		msg := request("REFER", uri, "", 300000+int(asked.Add(1)))
		msg = strings.Replace(msg, "203.0.113.66:5060;branch", from.String()+";rport;branch", 1)
		return strings.Replace(msg, "CSeq:", "Refer-To: <"+premium+">\r\nReferred-By: <sip:carol@b.example>\r\nCSeq:", 1)
	}
	at := func(msg string, from netip.AddrPort) string {
		return strings.Replace(msg, "203.0.113.66:5060;branch", from.String()+";rport;branch", 1)
	}
	for _, c := range []struct {
		name     string
		from, to netip.AddrPort
		msg      string
		want     int // 0: 403
	}{
		{"an unregistered source", bobPhone, insideB, insideCall(bobPhone, "carol", premium), 407},
		{"an unregistered source to a user", bobPhone, insideB, insideCall(bobPhone, "carol", "sip:bob@b.example"), 407},
		{"an unregistered source of no user", bobPhone, insideB, insideCall(bobPhone, "nobody", premium), 407},
		{"a registered phone without its password", bobsMobile, insideB, insideCall(bobsMobile, "carol", premium), 407},
		{"REFER from inside", bobsMobile, insideB, tell(bobsMobile, "sip:bob@b.example"), -1},
		{"from outside to the provider's number", strangerAddr, outsideB, request("INVITE", premium, session(strangerAddr), 400001), 0},
		{"from outside to that number elsewhere", strangerAddr, outsideB, request("INVITE", "sip:00900123456@"+outsideA.String(), session(strangerAddr), 400002), 0},
		{"from outside as a user", strangerAddr, outsideB, strings.Replace(request("INVITE", premium, session(strangerAddr), 400003), "sip:mallory@evil.example", "sip:carol@b.example", 1), 0},
		{"from outside to an unknown user", strangerAddr, outsideB, request("INVITE", "sip:nobody@b.example", session(strangerAddr), 400004), 0},
		{"from outside with a Route", strangerAddr, outsideB, strings.Replace(request("INVITE", "sip:nobody@b.example", session(strangerAddr), 400005), "CSeq:", "Route: <sip:"+outsideA.String()+";lr>\r\nCSeq:", 1), 0},
		{"REFER from outside", strangerAddr, outsideB, tell(strangerAddr, "sip:bob@b.example"), 0},
		{"REFER from outside to the number", strangerAddr, outsideB, tell(strangerAddr, premium), 0},
	} {
		inBubble(t, office(), func(t *testing.T, w *world) {
			if res := w.register(bobsMobile, insideB, "carol", "pw-carol", "3600"); res == nil || res.Status != 200 {
				t.Fatalf("REGISTER: %+v", res)
			}
			left := w.elsewhereThan(c.from)
			answers := w.ask(c.from, c.to, at(c.msg, c.from))
			time.Sleep(time.Minute)
			synctest.Wait()
			want := c.want
			if want == 0 {
				want = 403
			}
			if len(answers) != 1 || want > 0 && answers[0].Status != want || answers[0].Status < 300 {
				t.Errorf("%s: answered %v, want %d", c.name, answers, want)
			}
			if len(*left) != 0 || len(w.b.proxy.Calls()) != 0 {
				t.Errorf("%s: %d calls, and this left:\n%s", c.name, len(w.b.proxy.Calls()), strings.Join(*left, "\n"))
			}
		})
	}
}

// elsewhereThan collects what house B sends to others than that address.
func (w *world) elsewhereThan(asker netip.AddrPort) *[]string {
	var left []string
	w.net.Tap(func(d memnet.Datagram) {
		if (d.From.Addr() == insideB.Addr() || d.From.Addr() == outsideB.Addr()) && d.To != asker {
			left = append(left, fmt.Sprint(d.From, " to ", d.To, ": ", string(d.Payload)))
		}
	})
	return &left
}

// A phone that gave its own password may still not speak for another, nor for
// anybody of another domain.
func TestForeignFromDialsNothing(t *testing.T) {
	t.Parallel()
	for from, own := range map[string]bool{"sip:dave@b.example": false, "sip:carol@a.example": false, "sip:anonymous@anonymous.invalid": false, "sip:carol@10.9.9.9": false,
		"sip:carol@b.example": true} {
		inBubble(t, office(), func(t *testing.T, w *world) {
			if res := w.register(bobsMobile, insideB, "carol", "pw-carol", "3600"); res == nil || res.Status != 200 {
				t.Fatalf("REGISTER: %+v", res)
			}
			left := w.elsewhereThan(bobsMobile)
			msg := strings.Replace(insideCall(bobsMobile, "carol", "sip:00900123456@b.example"), "<sip:carol@b.example>", "<"+from+">", 1)
			challenge := w.ask(bobsMobile, insideB, msg)
			if len(challenge) != 1 || challenge[0].Status != 407 {
				t.Fatalf("got %v", challenge)
			}
			var fields []string
			for _, f := range challenge[0].Fields {
				if f.Name == "Proxy-Authenticate" {
					fields = append(fields, f.Value)
				}
			}
			value, err := auth.Answer(auth.Credentials{User: "carol", Password: "pw-carol"}, fields, "", auth.Request{Method: "INVITE", URI: "sip:00900123456@b.example"})
			if err != nil {
				t.Fatal(err)
			}
			again := strings.Replace(strings.Replace(msg, "CSeq: 1 INVITE", "CSeq: 2 INVITE\r\nProxy-Authorization: "+value, 1), "branch=z9hG4bK", "branch=z9hG4bKagain", 1)
			res := w.ask(bobsMobile, insideB, again)
			if own { // else nothing would show that it is the name that is refused
				if len(*left) == 0 || !strings.Contains((*left)[0], "INVITE sip:00900123456@") {
					t.Errorf("in its own name: %v, and this left: %v", res, *left)
				}
				return
			}
			if len(res) != 1 || res[0].Status != 403 {
				t.Errorf("%s: %v", from, res)
			}
			if len(*left) != 0 || len(w.b.proxy.Calls()) != 0 {
				t.Errorf("%s: %d calls, and this left:\n%s", from, len(w.b.proxy.Calls()), strings.Join(*left, "\n"))
			}
		})
	}
}

// In the midst of a call, too, nobody outside has this proxy or a phone behind it
// call a number by REFER.
func TestReferWithinACallDialsNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, office(), func(t *testing.T, w *world) {
		mallory := w.phone("mallory", strangerAddr, outsideB)
		defer mallory.close()
		mallory.call("sip:bob@b.example")
		mallory.await("answered")
		w.bob.await("acked")
		time.Sleep(time.Minute) // what belongs to the call has been said
		left := w.elsewhereThan(strangerAddr)
		status := make(chan int, 1)
		mallory.do(func(d *sipDialog) {
			d.Do("REFER", "", nil, func(res *sip.Message, err error) {
				if err != nil {
					status <- 0
				} else if res.Status >= 200 {
					status <- res.Status
				}
			}, sip.Field{Name: "Refer-To", Value: "<sip:00900123456@b.example>"})
		})
		got := <-status
		time.Sleep(time.Minute)
		synctest.Wait()
		if got < 400 || len(*left) != 0 || len(w.b.proxy.Calls()) != 1 {
			t.Errorf("answered %d, %d calls, and this left:\n%s", got, len(w.b.proxy.Calls()), strings.Join(*left, "\n"))
		}
		mallory.hangup()
		mallory.await("bye answered")
	})
}
