package trust

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipward/sipward/sas/attest"
	"github.com/sipward/sipward/store"
)

func onDisk(t testing.TB, path string) (*Memory, store.Store) {
	t.Helper()
	s, err := store.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Open(store.NewRecords(s, "trust"))
	if err != nil {
		t.Fatal(err)
	}
	return m, s
}

func call(t testing.TB, m *Memory, f Facts) Verdict {
	t.Helper()
	v, changes := m.Judge(f, now)
	if err := m.Learn(changes); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestMemoryLastsOverARestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	m, s := onDisk(t, path)
	call(t, m, facts(Confirmed, true, signed(attest.Right, "k", alice)))
	call(t, m, facts(Confirmed, false, signed(attest.Right, "l", bob)).identity(bob))
	for _, err := range []error{m.Confirm(alice, "", "console", now), m.Block("sip:eve@e.example", true), m.BlockKey("ed25519", "evil", true)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var before bytes.Buffer
	if err := m.Export(&before); err != nil {
		t.Fatal(err)
	}
	s.Close()

	m, s = onDisk(t, path)
	defer s.Close()
	var after bytes.Buffer
	if err := m.Export(&after); err != nil {
		t.Fatal(err)
	}
	if after.String() != before.String() {
		t.Errorf("before\n%s\nafter\n%s", before.String(), after.String())
	}
	if v := call(t, m, facts(Confirmed, false, signed(attest.Right, "k", alice))); v.Word != Verified {
		t.Errorf("%+v", v)
	}
	if !m.Blocked("sip:eve@E.example") || m.Blocked(alice) {
		t.Error("another identity is blocked")
	}
	if v := call(t, m, facts(Confirmed, false, signed(attest.Right, "evil", alice))); !v.Blocked {
		t.Errorf("%+v", v)
	}

	// What was exported is taken in elsewhere, once.
	elsewhere, err := Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := elsewhere.Import(bytes.NewReader(after.Bytes())); err != nil || n != 2 {
		t.Errorf("%d keys, %v", n, err)
	}
	var copied bytes.Buffer
	if err := elsewhere.Export(&copied); err != nil {
		t.Fatal(err)
	}
	if strings.Count(copied.String(), `"key"`) != 2 || !elsewhere.Blocked("sip:eve@e.example") {
		t.Error(copied.String())
	}
}

func TestImportRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "nonsense", `{"version":2,"entries":[]}`, `{"version":1,"entries":[{"identity":"alice"}]}`, `{"version":1,"other":1}`,
		`{"version":1,"entries":[{"identity":"sip:a@b","pins":[{"identity":"sip:x@y","type":"ed25519","key":"k"}]}]}`,
		`{"version":1,"entries":[{"identity":"sip:a@b","pins":[{"identity":"sip:a@b","type":"openpgp","key":"k"}]}]}`,
	} {
		m, err := Open(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Import(strings.NewReader(text)); err == nil || len(m.List()) > 0 {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestManage(t *testing.T) {
	t.Parallel()
	m := before{strong: []string{"kay", "key"}}.memory(t)
	if err := m.Confirm(alice, "k", "console", now); err == nil {
		t.Error("two keys fit, and one was confirmed")
	}
	if err := m.Confirm(alice, "k a", "console", now); err != nil {
		t.Error(err)
	}
	if e, err := m.Get("sip:alice@A.example"); err != nil || len(e.Pins) != 2 || len(e.Pins[0].Confirmations) != 1 {
		t.Errorf("%+v %v", e, err)
	}
	for _, err := range []error{m.Confirm(alice, "x", "console", now), m.Confirm(bob, "", "console", now), m.Forget(bob, ""), m.Forget(alice, "x")} {
		if !errors.Is(err, ErrUnknown) {
			t.Error(err)
		}
	}
	for _, who := range []string{"alice", "sip:alice", "sip:alice@a;x", "sip:@a", "sip:" + strings.Repeat("x", maxIdentity) + "@a"} {
		if err := m.Block(who, true); err == nil {
			t.Errorf("%q was blocked", who)
		}
	}
	for _, err := range []error{m.Forget(alice, "key"), m.Block(alice, true), m.Forget(alice, "")} {
		if err != nil {
			t.Error(err)
		}
	}
	if e, err := m.Get(alice); err != nil || len(e.Pins) != 0 || !e.Blocked {
		t.Errorf("a block was forgotten: %+v %v", e, err)
	}
	if err := m.Block(alice, false); err != nil {
		t.Error(err)
	}
	if err := m.Forget(alice, ""); err != nil || len(m.List()) != 0 {
		t.Errorf("%v, %+v", err, m.List())
	}
}

// Callers under made-up names do not fill the memory, and push nobody out whom
// somebody dialled or confirmed.
func TestWeakPinsAreBounded(t *testing.T) {
	t.Parallel()
	m := before{confirmed: []string{"k"}}.memory(t)
	m.limit = 50
	for i := range 500 {
		who := fmt.Sprintf("sip:mallory%d@evil.example", i)
		f := facts(Confirmed, false, signed(attest.Right, "evil", who)).identity(who)
		v, changes := m.Judge(f, now.Add(time.Duration(i)*time.Second))
		if err := m.Learn(changes); err != nil || v.Word != Encrypted {
			t.Fatal(v, err)
		}
	}
	if n := len(m.List()); n != 51 || m.weak != 50 {
		t.Errorf("%d identities, %d weak pins", n, m.weak)
	}
	for i := range 100 { // many keys for one name
		v, changes := m.Judge(facts(Confirmed, true, signed(attest.Right, fmt.Sprint("l", i), alice), signed(attest.Right, "k", alice)), now)
		if err := m.Learn(changes); err != nil || v.Word != Verified {
			t.Fatal(v, err)
		}
	}
	if e, err := m.Get(alice); err != nil || len(e.Pins) != maxPerPeer {
		t.Errorf("%d keys of one identity, %v", len(e.Pins), err)
	}
	if v := call(t, m, facts(Confirmed, false, signed(attest.Right, "k", alice))); v.Word != Verified {
		t.Errorf("the confirmed key was pushed out: %+v", v)
	}
}

func TestVerdictsAtOnce(t *testing.T) {
	t.Parallel()
	m := before{strong: []string{"k"}}.memory(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 200 {
				who := fmt.Sprintf("sip:u%d@x.example", (i+n)%5)
				f := facts(Confirmed, n%2 == 0, signed(attest.Right, "k", who)).identity(who)
				_, changes := m.Judge(f, now)
				if err := m.Learn(changes); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// A verdict among 10 000 records.
func BenchmarkJudge(b *testing.B) {
	m, err := Open(nil)
	if err != nil {
		b.Fatal(err)
	}
	for i := range 10000 {
		who := fmt.Sprintf("sip:user%d@b.example", i)
		if err := m.savePin(Pin{Identity: who, Type: attest.TypeEd25519, Key: fmt.Sprint(i), Strong: true}); err != nil {
			b.Fatal(err)
		}
	}
	f := facts(Confirmed, true, signed(attest.Right, "77", "sip:user77@b.example")).identity("sip:user77@b.example")
	for b.Loop() {
		if v, _ := m.Judge(f, now); v.Word != Pinned {
			b.Fatal(v)
		}
	}
}
