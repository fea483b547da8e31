package calls

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route/registrar"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/store"
)

// records are the contents of a keeper.
func records(t *testing.T, k registrar.Keeper) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := k.Load(func(key string, value []byte) error { all[key] = string(value); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// What a registrar elsewhere has granted is there again after a restart: calls
// find the phone, its calls the way that the registrar named, and the flow is
// kept alive. Records that nobody can use are dropped.
func TestAccountElsewhereAfterRestart(t *testing.T) {
	t.Parallel()
	memory := store.NewMemory()
	defer memory.Close()
	kept := store.NewRecords(memory, "elsewhere")
	o := worldOptions{modeA: policy.Prefer, optionsA: func(o *b2bua.Options) { o.AccountsElsewhere = kept }}
	inBubble(t, o, func(t *testing.T, w *world) {
		e := w.elsewhere(t)
		defer e.close()
		var keepAlives atomic.Int64
		w.net.Tap(func(d memnet.Datagram) {
			if d.From == outsideA && d.To == providerAddr && string(d.Payload) == "\r\n\r\n" {
				keepAlives.Add(1)
			}
		})
		e.grant = []sip.Field{{Name: "Service-Route", Value: "<sip:" + providerAddr.String() + ";lr;from=service>"}}
		contact := "<sip:alice@" + alicePhone.String() + ">"
		if res := w.registerElsewhere(alicePhone, "wrong", contact, ""); res.Status != 401 || len(records(t, kept)) != 0 {
			t.Fatalf("%d, kept %v", res.Status, records(t, kept))
		}
		if res := w.registerElsewhere(alicePhone, "pw-alice", contact, "Path: <sip:10.1.0.2;lr>\r\n"); res.Status != 200 {
			t.Fatal(res.Status)
		}
		good := records(t, kept)
		if len(good) != 1 {
			t.Fatalf("kept %v", good)
		}
		var token, record string
		for token, record = range good {
		}
		if strings.Contains(record, "pw-alice") || strings.Contains(record, "response") {
			t.Errorf("the record tells of the password: %s", record)
		}
		bad := func(i int) string { return fmt.Sprintf("s%016s", strings.Repeat(string(rune('a'+i)), 16)) }
		for i, value := range []string{"", "{", "null", "[]", strings.Repeat("x", 70<<10),
			strings.Replace(record, `"phones"`, `"another"`, 1),
			strings.Replace(record, `"internet"`, `"phones"`, 1),
			strings.Replace(record, "sip:alice@10.1.0.2", "mailto:alice@10.1.0.2", 1),
			strings.Replace(record, ";lr", "", 1),
			strings.Replace(record, alicePhone.String()+`"}`, `10.1.0.2"}`, 1),
			record, // two for one phone: only the first counts
		} {
			if value == record && i < 10 {
				t.Fatalf("record %d is a good one: %s", i, record)
			}
			if err := kept.Save(bad(i), []byte(value)); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(kept.Delete(bad(10)), kept.Save("foreign", []byte(record))); err != nil {
			t.Fatal(err)
		}
		restart := func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := w.a.proxy.Shutdown(ctx); err != nil {
				t.Fatal(err)
			}
			w.a.media.Close()
			time.Sleep(time.Second)
			w.a = w.house("a", insideA, outsideA, policy.Prefer, o, nil)
		}
		restart()
		if got := records(t, kept); len(got) != 1 || got[token] != record {
			t.Errorf("kept after the restart: %v", got)
		}
		before := keepAlives.Load()
		time.Sleep(time.Minute)
		if n := keepAlives.Load() - before; n != 2 {
			t.Errorf("%d keep-alives in a minute", n)
		}
		e.call(e.contact)
		e.await("answered")
		w.alice.await("acked")
		if got := w.alice.lastReq.Get("Route"); got != "<sip:10.1.0.2;lr>" {
			t.Errorf("called with Route %q", got)
		}
		e.hangup()
		w.alice.await("bye")
		host := providerAddr.Addr().String()
		w.alice.as = "sip:alice@" + host
		var route atomic.Value
		first := e.first
		e.first = func(in *sip.Incoming) bool { route.Store(in.Get("Route")); return first(in) }
		w.alice.call("sip:bob@" + host)
		w.alice.await("refused 407")
		if got := route.Load(); got != e.grant[0].Value {
			t.Errorf("calls with Route %q", got)
		}

		// Taken back is taken back, and what has ended does not return either.
		if res := w.registerElsewhere(alicePhone, "pw-alice", contact, ""); res.Status != 200 || len(records(t, kept)) != 1 {
			t.Fatalf("%d, kept %v", res.Status, records(t, kept))
		}
		e.first = func(in *sip.Incoming) bool { in.Reply(200, ""); return true }
		if res := w.registerElsewhere(alicePhone, "pw-alice", contact+";expires=0", ""); res.Status != 200 || len(records(t, kept)) != 0 {
			t.Errorf("taken back: %d, kept %v", res.Status, records(t, kept))
		}
		e.first = first
		if res := w.registerElsewhere(alicePhone, "pw-alice", contact, ""); res.Status != 200 {
			t.Fatal(res.Status)
		}
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		if got := records(t, kept); len(got) != 0 {
			t.Errorf("kept behind their end: %v", got)
		}
	})
}

// failing is a keeper whose disk is full.
type failing struct{ registrar.Keeper }

func (failing) Save(string, []byte) error { return errors.New("disk full") }

// A phone hears of no registration that would not outlast the process.
func TestAccountElsewhereIsKeptOrRefused(t *testing.T) {
	t.Parallel()
	memory := store.NewMemory()
	defer memory.Close()
	o := worldOptions{modeA: policy.Prefer, optionsA: func(o *b2bua.Options) { o.AccountsElsewhere = failing{store.NewRecords(memory, "x")} }}
	inBubble(t, o, func(t *testing.T, w *world) {
		e := w.elsewhere(t)
		defer e.close()
		if res := w.registerElsewhere(alicePhone, "pw-alice", "<sip:alice@"+alicePhone.String()+">", ""); res.Status != 500 {
			t.Errorf("%d", res.Status)
		}
		e.call(e.contact)
		e.await("refused 403")
	})
}

// Ten thousand accounts at one registrar have one keep-alive, and cost no
// goroutines.
func TestManyAccountsElsewhere(t *testing.T) {
	t.Parallel()
	const accounts = 10000
	inBubble(t, worldOptions{modeA: policy.Prefer}, func(t *testing.T, w *world) {
		e := w.elsewhere(t)
		defer e.close()
		e.first = func(in *sip.Incoming) bool {
			if in.Method == "REGISTER" {
				e.contact = in.Get("Contact")
				in.Reply(200, "", sip.Field{Name: "Contact", Value: e.contact + ";expires=900"})
			}
			return in.Method == "REGISTER"
		}
		var keepAlives, granted atomic.Int64
		w.net.Tap(func(d memnet.Datagram) {
			switch {
			case d.From == outsideA && string(d.Payload) == "\r\n\r\n":
				keepAlives.Add(1)
			case d.To == alicePhone && strings.HasPrefix(string(d.Payload), "SIP/2.0 200"):
				granted.Add(1)
			}
		})
		before := runtime.NumGoroutine()
		register := func(i int) {
			msg := fmt.Sprintf("REGISTER sip:%[1]s SIP/2.0\r\nVia: SIP/2.0/UDP %[2]v;branch=z9hG4bKmany%[3]d;rport\r\nFrom: <sip:u%[3]d@%[1]s>;tag=u\r\nTo: <sip:u%[3]d@%[1]s>\r\n"+
				"Call-ID: many-%[3]d\r\nCSeq: 1 REGISTER\r\nContact: <sip:u%[3]d@%[2]v>\r\nContent-Length: 0\r\n\r\n", providerAddr.Addr(), alicePhone, i)
			if err := w.net.Inject(alicePhone, insideA, []byte(msg)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range accounts {
			register(i)
			if i%40 == 39 {
				time.Sleep(200 * time.Millisecond)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := granted.Load(); n != accounts {
			t.Fatalf("%d of %d accounts were granted", n, accounts)
		}
		register(accounts)
		time.Sleep(time.Second)
		if n := granted.Load(); n != accounts {
			t.Error("one more than there may be was taken")
		}
		if more := runtime.NumGoroutine() - before; more > accounts/10 { // other tests run beside this one
			t.Errorf("%d goroutines for %d accounts", more, accounts)
		}
		sent := keepAlives.Load()
		time.Sleep(100 * time.Second)
		if n := keepAlives.Load() - sent; n != 4 {
			t.Errorf("%d keep-alives in 100 s", n)
		}
		time.Sleep(15 * time.Minute)
		sent = keepAlives.Load()
		time.Sleep(time.Minute)
		if n := keepAlives.Load() - sent; n != 0 {
			t.Errorf("%d keep-alives for accounts that have ended", n)
		}
		register(accounts + 1)
		time.Sleep(time.Second)
		if n := granted.Load(); n != accounts+1 {
			t.Error("there is no room where others have ended")
		}
	})
}
