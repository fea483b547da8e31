package sip

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/memnet"
)

// asker sends requests outside dialogs and notes what comes back.
type asker struct {
	*user
	s *Stack
	l *Listener
}

func (w *world) asker(at netip.AddrPort) *asker {
	w.Helper()
	s, l := w.stack(at, nil)
	return &asker{newUser(), s, l}
}

// register is a REGISTER as a phone sent it to a relay.
func register(changes ...string) *Message {
	m := (&remote{addr: carolAddr}).request("REGISTER", "To", "<sip:carol@example.com>")
	for i := 0; i < len(changes); i += 2 {
		m.Set(changes[i], changes[i+1])
	}
	return m
}

func (a *asker) ask(t testing.TB, to netip.AddrPort, m *Message) {
	t.Helper()
	err := a.s.Request(RequestOptions{Flow: a.l.Flow(to), Message: m, Queue: a.queue, Handle: func(res *Message, err error) {
		if err != nil {
			a.note("%v", err)
			return
		}
		a.note("%d %s", res.Status, strings.Join(res.Values("Via"), " | "))
	}})
	if err != nil {
		t.Fatal(err)
	}
}

// outside counts the transactions outside dialogs.
func outside(s *Stack) int {
	synctest.Wait()
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.clients) + len(s.servers)
}

const carolsVia = "SIP/2.0/UDP 192.0.2.3:5060;branch=z9hG4bK-register1;rport"

// The request arrives as it was given, below our Via; the responses come back
// without it, in a field of its own or in a list.
func TestRequestOutsideDialogs(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		a := w.asker(aliceAddr)
		bob := w.remote(bobAddr)
		m := register()
		before := string(m.Bytes())
		a.ask(t, bobAddr, m)
		req := bob.next("REGISTER")
		vias := req.Values("Via")
		if len(vias) != 2 || !strings.HasPrefix(vias[0], "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK") || !strings.HasSuffix(vias[0], ";rport") || vias[1] != carolsVia {
			t.Errorf("Via %q", vias)
		}
		req.Fields = req.Fields[1:]
		if string(req.Bytes()) != before || string(m.Bytes()) != before {
			t.Errorf("sent\n%s\nof\n%s", req.Bytes(), before)
		}
		req.Fields = slices.Insert(req.Fields, 0, Field{"Via", vias[0]})
		bob.respond(aliceAddr, req, 100, "")
		req.Remove("Via")
		req.Fields = slices.Insert(req.Fields, 0, Field{"Via", vias[0] + ", " + vias[1]})
		bob.respond(aliceAddr, req, 200, "b")
		bob.respond(aliceAddr, req, 200, "b") // a repetition is absorbed
		w.wantHeard(a.user, "100 "+carolsVia, "200 "+carolsVia)
		time.Sleep(T4 + 1)
		synctest.Wait()
		if n := outside(a.s); n != 0 {
			t.Errorf("%d transactions are left", n)
		}
		if a.s.Malformed() != 0 {
			t.Errorf("%d malformed", a.s.Malformed())
		}
	})
}

// Timers E and F (RFC 3261 section 17.1.2.2).
func TestRequestOutsideDialogsIsRepeated(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		a := w.asker(aliceAddr)
		w.remote(bobAddr)
		a.ask(t, bobAddr, register())
		time.Sleep(40 * time.Second)
		w.wantTimes("REGISTER", w.sent(aliceAddr, "REGISTER"), seconds(0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5))
		w.wantHeard(a.user, ErrTimeout.Error())
		branches := map[string]bool{}
		for _, tr := range w.wires(aliceAddr, "REGISTER") {
			branches[tr.wire] = true
		}
		if len(branches) != 1 {
			t.Errorf("%d different requests", len(branches))
		}
		if n := outside(a.s); n != 0 {
			t.Errorf("%d transactions are left", n)
		}
	})
}

func TestStrayResponsesOutsideDialogs(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		a := w.asker(aliceAddr)
		bob := w.remote(bobAddr)
		a.ask(t, bobAddr, register())
		req := bob.next("REGISTER")
		for _, change := range [][2]string{
			{"Via", strings.Replace(req.Get("Via"), "z9hG4bK", "z9hG4bKx", 1)},
			{"CSeq", "1 OPTIONS"},
			{"CSeq", "one"},
			{"From", "x"},
		} {
			res := NewResponse(req, 200, "", "b")
			res.Set(change[0], change[1])
			bob.send(aliceAddr, res)
		}
		w.wantHeard(a.user)
		bob.respond(aliceAddr, req, 401, "b")
		w.wantHeard(a.user, "401 "+carolsVia)
	})
}

func TestRequestErrors(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		a := w.asker(aliceAddr)
		try := func(m *Message) error {
			return a.s.Request(RequestOptions{Flow: a.l.Flow(bobAddr), Message: m, Queue: a.queue, Handle: func(*Message, error) { a.note("heard") }})
		}
		for _, m := range []*Message{
			register("CSeq", "1 INVITE"), register("From", "<sip:a@h>"), register("Call-ID", ""), {Status: 200},
			{Method: "INVITE", Fields: register("CSeq", "1 INVITE").Fields},
			{Method: "ACK", Fields: register("CSeq", "1 ACK").Fields},
			{Method: "CANCEL", Fields: register("CSeq", "1 CANCEL").Fields},
		} {
			if try(m) == nil {
				t.Errorf("sent:\n%s", m.Bytes())
			}
		}
		for i := range maxOutside {
			if err := try(register("Call-ID", itoa(i))); err != nil {
				t.Fatal(i, err)
			}
		}
		if err := try(register()); !errors.Is(err, ErrBusy) {
			t.Errorf("one too many: %v", err)
		}
		synctest.Wait()
		a.s.Close()
		synctest.Wait()
		if n := outside(a.s); n != 0 {
			t.Errorf("%d transactions behind the end", n)
		}
		if err := try(register()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("behind the end: %v", err)
		}
		were := len(w.wires(aliceAddr, ""))
		time.Sleep(time.Minute)
		if now := len(w.wires(aliceAddr, "")); now != were {
			t.Errorf("%d messages behind the end", now-were)
		}
		w.wantHeard(a.user)
	})
}

// A server transaction outside dialogs answers late, once, and repeats its
// answer until timer J.
func TestServe(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		q := &Queue{Log: quietLog}
		served := 0
		var tx *ServerTx
		s, _ := w.stack(aliceAddr, func(in *Incoming) {
			if t := in.Serve(q); t != nil {
				tx = t
				served++
			}
		})
		carol := w.remote(carolAddr)
		m := carol.request("REGISTER")
		for range 3 {
			carol.send(aliceAddr, m)
			time.Sleep(T1)
		}
		synctest.Wait()
		w.wantTimes("200", w.sent(aliceAddr, ""), nil)
		q.Post(func() {
			tx.Reply(100, "")
			tx.Reply(200, "", Field{"X", "first"})
			tx.Reply(500, "")
		})
		time.Sleep(T1)
		carol.send(aliceAddr, m)
		time.Sleep(64*T1 - 2*T1)
		carol.send(aliceAddr, m)
		time.Sleep(2 * T1)
		w.wantTimes("200", w.sent(aliceAddr, "200 REGISTER"), seconds(1.5, 2, 33))
		w.wantTimes("500", w.sent(aliceAddr, "500 REGISTER"), nil)
		if outside(s) != 0 {
			t.Errorf("%d transactions are left", outside(s))
		}
		var wires []string
		for _, tr := range w.wires(aliceAddr, "200 REGISTER") {
			wires = append(wires, tr.wire)
		}
		if len(slices.Compact(wires)) != 1 {
			t.Errorf("answers differ: %q", wires)
		}
		// What only looks like it is another request.
		for i, other := range []*Message{
			carol.request("REGISTER", "Call-ID", "2"), carol.request("REGISTER", "CSeq", "2 REGISTER"),
			carol.request("REGISTER", "Via", "SIP/2.0/UDP 192.0.2.3:5060;branch=z9hG4bKother"),
			carol.request("REGISTER", "Via", "SIP/2.0/UDP 192.0.2.4:5060;branch=z9hG4bK-register1"),
			carol.request("OPTIONS", "Via", carol.request("REGISTER").Get("Via")), m,
		} {
			carol.send(aliceAddr, other)
			synctest.Wait()
			if served != 2+i {
				t.Fatalf("request %d: %d transactions", i, served)
			}
		}
		// Nobody answers these: they end with their clients.
		time.Sleep(64*T1 + 1)
		synctest.Wait()
		if outside(s) != 0 {
			t.Errorf("%d transactions are left", outside(s))
		}
		q.Post(func() { tx.Reply(200, "") })
		synctest.Wait()
		if got := w.sent(aliceAddr, "200 REGISTER"); len(got) != 3 {
			t.Errorf("answered behind its end: %v", got)
		}
	})
}

func TestWhatIsNotServed(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		q := &Queue{Log: quietLog}
		w.stack(aliceAddr, func(in *Incoming) {
			if in.Serve(q) != nil {
				t.Errorf("served %s", in.Method)
			}
		})
		carol := w.remote(carolAddr)
		for _, m := range []string{"INVITE", "ACK", "CANCEL"} {
			carol.send(aliceAddr, carol.request(m, "Call-ID", m))
		}
		carol.send(aliceAddr, carol.request("OPTIONS", "CSeq", "1 INFO"))
		synctest.Wait()
		if got := w.names(aliceAddr); !slices.Equal(got, []string{"400 INFO"}) {
			t.Errorf("answered %q", got)
		}
	})
}

// Of two goroutines that serve one request, and of too many requests.
func TestServeIsBounded(t *testing.T) {
	inWorld(t, memnet.Options{QueueLen: 1 << 15}, func(w *world) {
		q := &Queue{Log: quietLog}
		var all []*ServerTx
		s, _ := w.stack(aliceAddr, func(in *Incoming) {
			tx := in.Serve(q)
			if tx != nil {
				all = append(all, tx)
				if in.Serve(q) != nil {
					t.Error("one request was served twice")
				}
			}
		})
		carol := w.remote(carolAddr)
		for i := range maxOutside + 3 {
			carol.send(aliceAddr, carol.request("MESSAGE", "Call-ID", itoa(i)))
		}
		synctest.Wait()
		if got := w.sent(aliceAddr, "503 MESSAGE"); len(got) != 3 || len(all) != maxOutside {
			t.Errorf("%d served, %d refused", len(all), len(got))
		}
		q.Post(func() { all[0].Reply(200, "") })
		time.Sleep(64*T1 + 1)
		synctest.Wait()
		if outside(s) != 0 {
			t.Errorf("%d transactions are left", outside(s))
		}
	})
}

// A relay between two stacks, through a network that loses a quarter of
// everything: each request is handled once at the far end and answered once.
func TestRelayThroughABadNetwork(t *testing.T) {
	t.Parallel()
	answered := 0
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			w := &world{T: t, net: memnet.New(memnet.Options{Seed: seed, Loss: 0.25, Duplicate: 0.1, Reorder: 0.2, Delay: 20 * time.Millisecond, Jitter: 30 * time.Millisecond}), start: time.Now()}
			defer func() {
				for _, s := range w.stacks {
					s.Close()
				}
				w.net.Close()
			}()
			far := &Queue{Log: quietLog}
			handled := map[string]int{}
			w.stack(bobAddr, func(in *Incoming) {
				if tx := in.Serve(far); tx != nil {
					handled[in.CallID()]++
					far.Post(func() { tx.Reply(200, "") })
				}
			})
			q := &Queue{Log: quietLog}
			var relay *Stack
			var relayListener *Listener
			relay, relayListener = w.stack(carolAddr, func(in *Incoming) {
				tx := in.Serve(q)
				if tx == nil {
					return
				}
				err := relay.Request(RequestOptions{Flow: relayListener.Flow(bobAddr), Message: in.Message, Queue: q, Handle: func(res *Message, err error) {
					if err == nil {
						tx.Respond(res)
					} else {
						tx.Reply(504, "")
					}
				}})
				if err != nil {
					t.Error(err)
				}
			})
			a := w.asker(aliceAddr)
			const requests = 20
			for i := range requests {
				m := register("Call-ID", itoa(i))
				m.Remove("Via")
				a.ask(t, carolAddr, m)
			}
			time.Sleep(3 * time.Minute)
			synctest.Wait()
			events := a.events()
			if len(events) != requests {
				t.Errorf("seed %d: %d of %d answers: %q", seed, len(events), requests, events)
			}
			for _, e := range events {
				if e == "200 " {
					answered++
				} else if e != ErrTimeout.Error() {
					t.Errorf("seed %d: %q", seed, e)
				}
			}
			for id, n := range handled {
				if n != 1 {
					t.Errorf("seed %d: request %s was handled %d times", seed, id, n)
				}
			}
			for _, s := range w.stacks {
				if outside(s) != 0 {
					t.Errorf("seed %d: %d transactions are left", seed, outside(s))
				}
			}
		})
	}
	if answered < 390 {
		t.Errorf("%d of 400 requests were answered", answered)
	}
}
