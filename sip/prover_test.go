package sip

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/memnet"
)

// A question for the password within a dialog is answered once for each request;
// a second one is the request's end, and without an answer so is the first.
func TestQuestionsWithinTheDialog(t *testing.T) {
	for name, answers := range map[string]bool{"answered": true, "no answer": false} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, memnet.Options{}, func(w *world) {
				s, l := w.stack(aliceAddr, nil)
				bob := w.remote(bobAddr)
				u := newUser()
				u.dial(t, s, l, bobAddr)
				bob.respond(aliceAddr, bob.next("INVITE"), 200, "b")
				bob.next("ACK")
				u.do(func() {
					u.dialog.SetProver(func(request, question *Message) (Field, bool) {
						method, uri := request.Method, request.URI.String()
						if uri != "sip:bob@192.0.2.2:5060" || question.Get("Proxy-Authenticate") != "Digest x" {
							t.Errorf("%s %s: %s", method, uri, question.Bytes())
						}
						u.note("asked at %s", method)
						return Field{"Proxy-Authorization", "for " + method}, answers
					})
				})
				question := Field{"Proxy-Authenticate", "Digest x"}
				u.note("-")
				for _, method := range []string{"INVITE", "INFO"} {
					u.do(func() {
						u.dialog.Do(method, "text/plain", []byte("x"), func(res *Message, err error) {
							if err != nil {
								t.Error(err)
								return
							}
							u.note("%d %s", res.Status, method)
							if res.Status == 200 && method == "INVITE" {
								u.dialog.Ack(res, "", nil)
							}
						}, Field{"X-Kept", "yes"})
					})
					first := bob.next(method)
					bob.respond(aliceAddr, first, 407, "b", question)
					if answers {
						again := bob.next(method)
						was, _, _ := first.CSeq()
						if seq, _, _ := again.CSeq(); seq != was+1 || again.Get("Proxy-Authorization") != "for "+method || again.Get("X-Kept") != "yes" || string(again.Body) != "x" || first.Get("Proxy-Authorization") != "" {
							t.Errorf("%s\nthen %s", first.Bytes(), again.Bytes())
						}
						bob.respond(aliceAddr, again, 407, "b", question) // a second time
					}
					synctest.Wait()
					time.Sleep(time.Second)
				}
				ended := false
				u.do(func() { u.dialog.Bye(func() { ended = true }) })
				bob.respond(aliceAddr, bob.next("BYE"), 407, "b", question)
				if answers {
					bye := bob.next("BYE")
					if bye.Get("Proxy-Authorization") != "for BYE" || ended {
						t.Errorf("ended %v, %s", ended, bye.Bytes())
					}
					bob.respond(aliceAddr, bye, 407, "b", question)
				}
				time.Sleep(64*T1 + time.Second)
				u.do(func() {
					if !ended {
						t.Error("the BYE has no end")
					}
				})
				w.wantHeard(u, "answer", "-", "asked at INVITE", "407 INVITE", "asked at INFO", "407 INFO", "asked at BYE")
				bob.none("BYE", time.Minute)
				w.wantDialogs(0)
			})
		})
	}
}
