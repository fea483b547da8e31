package sip

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/memnet"
)

// seeds returns the messages of testdata/seeds, and those of the folder that
// SIPWARD_SIP_SEEDS names.
func seeds(t testing.TB) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for _, dir := range []string{"testdata/seeds", os.Getenv("SIPWARD_SIP_SEEDS")} {
		if dir == "" {
			continue
		}
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			out[path] = b
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(out) < 50 {
		t.Fatalf("only %d seeds", len(out))
	}
	return out
}

func TestSeedsParseOrFail(t *testing.T) {
	t.Parallel()
	for path, b := range seeds(t) {
		m, err := Parse(b)
		if strings.HasPrefix(path, "testdata") {
			// What is malformed here may also be so only to validate.
			bad := err != nil || validate(m) != nil
			if want := strings.HasPrefix(filepath.Base(path), "bad_") || strings.HasSuffix(path, "keepalive.sip") || strings.HasSuffix(path, "two_vias.sip"); bad != want {
				t.Errorf("%s: %v", path, err)
			}
		}
		if err == nil {
			checkRoundTrip(t, m)
		}
	}
}

// Whatever reaches a stack, no panic follows, a request gets one answer at the
// most (an ACK and a response none), and the stack goes on.
func TestSeedsReachAStack(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		var handled, panics atomic.Int64
		user := newUser()
		s, _ := w.stack(aliceAddr, func(in *Incoming) {
			handled.Add(1)
			defer func() {
				if p := recover(); p != nil {
					panics.Add(1)
					t.Errorf("panic %v", p)
				}
			}()
			switch {
			case in.Malformed() != nil:
				in.Reply(400, "Bad Request")
			case in.Method == "INVITE":
				u := newUser()
				if d := in.Accept(u.queue, u, "x"); d != nil {
					u.queue.Post(func() { d.Refuse(480, "") })
				}
			default:
				in.Reply(501, "")
			}
		})
		s.log = failOnError(t) // a guarded panic is logged at this level
		carol := w.remote(carolAddr)
		for path, b := range seeds(t) {
			if len(b) > 65507 {
				continue
			}
			before, were := handled.Load(), len(w.wires(aliceAddr, ""))
			carol.write(aliceAddr, string(b))
			synctest.Wait()
			var finals []string
			for _, tr := range w.wires(aliceAddr, "")[were:] {
				if !strings.HasPrefix(tr.what, "100 ") {
					finals = append(finals, tr.what)
				}
				if m, err := Parse([]byte(tr.wire)); err != nil || m.Status >= 500 && m.Status != 501 {
					t.Errorf("%s: answered %q", path, tr.wire)
				}
				if tr.to.Addr() != carolAddr.Addr() {
					t.Errorf("%s: answered to %v", path, tr.to)
				}
			}
			if len(finals) > 1 || (len(finals) == 1 && handled.Load() == before) {
				t.Errorf("%s: answers %q", path, finals)
			}
			if base := filepath.Base(path); strings.HasPrefix(path, "testdata") {
				want := "answered"
				switch {
				case slices.Contains([]string{"ack_of_nothing.sip", "keepalive.sip", "bad_missing_fields.sip", "bad_no_via.sip", "bad_empty_via.sip", "bad_truncated.sip",
					"bad_lf_only.sip", "bad_not_sip.sip", "bad_start_only.sip", "bad_via_port.sip", "bad_start_trailing.sip"}, base), strings.Contains(base, "response"):
					want = "silence"
				case strings.HasPrefix(base, "bad_"):
					want = "400"
				}
				got := "silence"
				if len(finals) == 1 {
					if got = "answered"; strings.HasPrefix(finals[0], "400 ") {
						got = "400"
					}
				}
				if got != want {
					t.Errorf("%s: %s %q, want %s", path, got, finals, want)
				}
			}
			for _, b := range b[:min(len(b), 1)] { // and cut short at a place that the message chooses
				carol.write(aliceAddr, string(bytes.Repeat([]byte{b}, 30)))
			}
			time.Sleep(64 * T1) // refusals end
		}
		if handled.Load() == 0 {
			t.Error("nothing reached the handler")
		}
		w.wantDialogs(0)
		carol.send(aliceAddr, carol.request("OPTIONS"))
		carol.next("501 OPTIONS")
		w.wantHeard(user)
	})
}

// What reaches a dialog is as odd as what reaches the handler.
func TestSeedsReachADialog(t *testing.T) {
	inWorld(t, memnet.Options{QueueLen: 1 << 16}, func(w *world) {
		u, bob, inv := w.answered()
		u.do(func() {
			u.request = func(tx *ServerTx) { tx.Reply(501, "") }
			w.stacks[0].log, u.queue.Log = failOnError(t), failOnError(t)
		})
		own := []Field{{"Call-ID", inv.CallID()}, {"To", inv.Get("From")}, {"From", "<sip:bob@h>;tag=b"}}
		seq := 10
		for _, b := range seeds(t) {
			m, _ := Parse(b)
			if m == nil {
				continue
			}
			for n := range len(own) + 1 { // more and more of it belongs to the dialog
				c := m.Clone()
				c.Remove("Contact") // or the dialog follows it away
				for _, f := range own[:n] {
					c.Set(f.Name, f.Value)
				}
				if _, method, ok := c.CSeq(); ok && n == len(own) {
					seq++
					c.Set("CSeq", cseq(uint32(seq), method))
				}
				if out := c.Bytes(); len(out) < 65507 {
					bob.write(aliceAddr, string(out))
				}
				synctest.Wait()
			}
			time.Sleep(64 * T1)
		}
		if !slices.ContainsFunc(u.events(), func(e string) bool { return e != "answer" }) {
			t.Error("nothing reached the user")
		}
		w.hangup(u, bob)
	})
}

func TestKeepAlivesAreNoMessages(t *testing.T) {
	inWorld(t, memnet.Options{}, func(w *world) {
		s, _ := w.stack(aliceAddr, nil)
		carol := w.remote(carolAddr)
		for _, ping := range []string{"\r\n", "\r\n\r\n", "\x00", "\x00\x00\x00\x00", ""} {
			carol.write(aliceAddr, ping)
		}
		synctest.Wait()
		if s.Malformed() != 0 {
			t.Errorf("%d counted as malformed", s.Malformed())
		}
		carol.write(aliceAddr, "\r\n\r\n\r\n\r\nx")
		synctest.Wait()
		if s.Malformed() != 1 {
			t.Errorf("%d counted as malformed, want 1", s.Malformed())
		}
	})
}

// A UDP listener keeps nothing of a source: a hundred thousand of them leave
// no more behind than a thousand.
func TestSpoofedSourcesLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New(memnet.Options{QueueLen: 1 << 12})
		defer network.Close()
		conn, err := network.ListenPacket(aliceAddr)
		if err != nil {
			t.Fatal(err)
		}
		asked := 0
		s := NewStack(Options{Log: quietLog, Handler: func(in *Incoming) {
			asked++
			in.Reply(403, "")
		}})
		defer s.Close()
		if _, err := s.Listen(ListenerOptions{Packet: conn}); err != nil {
			t.Fatal(err)
		}
		carol := &remote{addr: carolAddr}
		flood := func(from, to int) {
			for i := from; i < to; i++ {
				src := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18 + byte(i>>16), byte(i >> 8), byte(i)}), 5060)
				id := "spoofed-" + itoa(i)
				m := carol.request([]string{"INVITE", "OPTIONS", "ACK", "BYE"}[i%4], "Call-ID", id, "Via", "SIP/2.0/UDP 203.0.113.1;rport;branch=z9hG4bK"+id)
				if err := network.Inject(src, aliceAddr, m.Bytes()); err != nil {
					t.Fatal(err)
				}
				if i%1000 == 0 {
					synctest.Wait()
				}
			}
			synctest.Wait()
		}
		flood(0, 1000)
		before := reachable(s)
		flood(1000, 100_000)
		if after := reachable(s); after != before {
			t.Errorf("the stack holds %d things, %d before", after, before)
		}
		if answers := network.Stats().NoSocket; asked != 100_000 || answers != 75_000 {
			t.Errorf("%d requests asked, %d answered", asked, answers)
		}
	})
}
