package trust

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
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

// What people have said lasts: over a restart, over an export, and whatever
// outsiders fill the memory with.
func TestDifferedLasts(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	m, s := onDisk(t, path)
	good, ring := signed(attest.Right, testKey, alice), pgp(attest.Right, true, alice)
	call(t, m, facts(Confirmed, true, good).sas(Equal))
	if v := call(t, m, facts(Confirmed, true, good, ring)); v.Word != Verified {
		t.Fatalf("%+v", v)
	}
	call(t, m, facts(Confirmed, true, good, ring).sas(Different))
	s.Close()
	m, s = onDisk(t, path)
	defer s.Close()
	var b bytes.Buffer
	if err := m.Export(&b); err != nil {
		t.Fatal(err)
	}
	elsewhere, err := Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	call(t, elsewhere, facts(Confirmed, true, good).sas(Equal)) // he had said so there
	if n, err := elsewhere.Import(&b); err != nil || n != 2 {
		t.Errorf("%d, %v", n, err)
	}
	m.limit = 5
	for i := range 20 { // many names, and many keys under this one
		who := fmt.Sprintf("sip:mallory%d@evil.example", i)
		call(t, m, facts(Confirmed, false, signed(attest.Right, "evil", who)).identity(who))
		call(t, m, facts(Confirmed, true, signed(attest.Right, fmt.Sprint("l", i), alice)).sas(Equal))
	}
	for name, m := range map[string]*Memory{"here": m, "elsewhere": elsewhere} {
		for _, sig := range []attest.Result{good, ring} {
			if v := call(t, m, facts(Confirmed, true, sig)); v.Word != Mismatch || !strings.Contains(v.Says, "4 May 2026") {
				t.Errorf("%s: %+v", name, v)
			}
		}
	}
	// Who knows better says so, of each key by itself.
	if err := m.Confirm(alice, testKey, "console", now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := m.Confirm(alice, "FPR", "console", now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for _, sig := range []attest.Result{good, ring} {
		if v := call(t, m, facts(Confirmed, true, sig)); v.Word != Verified {
			t.Errorf("%+v", v)
		}
	}
	if err := elsewhere.Forget(alice, ""); err != nil {
		t.Fatal(err)
	}
	if v := call(t, elsewhere, facts(Confirmed, true, good)); v.Word != Encrypted {
		t.Errorf("%+v", v)
	}
}

// What a call has taught is written beside it; that comes too late for a key of
// which somebody has said meanwhile that the words differ.
func TestDifferedIsTheLastWord(t *testing.T) {
	t.Parallel()
	m := before{}.memory(t)
	sig := signed(attest.Right, "k", alice)
	_, learned := m.Judge(facts(Confirmed, true, sig), now)
	_, equal := m.Judge(facts(Confirmed, true, sig).sas(Equal), now.Add(time.Second))
	_, different := m.Judge(facts(Confirmed, true, sig).sas(Different), now.Add(time.Second))
	for _, changes := range [][]Change{different, learned, equal} {
		if err := m.Learn(changes); err != nil {
			t.Fatal(err)
		}
	}
	if v, _ := m.Judge(facts(Confirmed, true, sig), now.Add(time.Hour)); v.Word != Mismatch {
		t.Errorf("%+v", v)
	}
	if e, err := m.Get(alice); err != nil || len(e.Pins) != 1 || e.Pins[0].Strong || len(e.Pins[0].Confirmations) != 0 {
		t.Errorf("%+v, %v", e, err)
	}
}

// Of what two sipwards remember the later word of a person counts.
func TestImportTakesTheLaterWord(t *testing.T) {
	t.Parallel()
	at := func(hours int) time.Time { return now.Add(time.Duration(hours) * time.Hour) }
	said := func(hours ...int) (p Pin) { // confirmed then; negative: differed
		p = Pin{Strong: true}
		for _, h := range hours {
			if h < 0 {
				p = p.differs(at(-h))
			} else {
				p.Confirmations = append(p.Confirmations, Confirmation{When: at(h)})
			}
		}
		return p
	}
	for _, test := range []struct {
		here, there Pin
		yields      bool
	}{
		{said(), said(), false},
		{said(), said(1), true},
		{said(1), said(), false},
		{said(1), said(2, 3), true},
		{said(1), said(-2), true},
		{said(2), said(-2), true}, // the worse
		{said(2), said(-1), false},
		{said(-1), said(), false},
		{said(-1), said(2), true},
		{said(-2), said(1), false},
		{said(-2), said(2), false},
		{said(-1), said(-2), true},
	} {
		if got := test.here.yields(test.there); got != test.yields {
			t.Errorf("%+v yields to %+v: %v", test.here, test.there, got)
		}
	}
}

// testKey is a key in the form that the attribute has.
var testKey = strings.Repeat("A", 43)

// many is a memory of 10 000 peers.
func many(t testing.TB) *Memory {
	t.Helper()
	m, err := Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10000 {
		who := fmt.Sprintf("sip:user%d@b.example", i)
		if err := m.savePin(Pin{Identity: who, Type: attest.TypeEd25519, Key: fmt.Sprint(i), Strong: true}); err != nil {
			t.Fatal(err)
		}
		if err := m.savePeer(Peer{Identity: who, Protected: now}); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// A verdict among 10 000 records takes less than 50 µs.
func TestVerdictAmongManyTakesNoTime(t *testing.T) {
	m := many(t)
	took := make([]time.Duration, 2000)
	for i := range took {
		who := fmt.Sprintf("sip:user%d@b.example", i*5)
		f := facts(Confirmed, true, signed(attest.Right, fmt.Sprint(i*5), who), signed(attest.Right, "new", who), pgp(attest.Right, false, who)).identity(who)
		began := time.Now()
		v, _ := m.Judge(f, now)
		took[i] = time.Since(began)
		if v.Word != Pinned || !v.Changed {
			t.Fatalf("%+v", v)
		}
	}
	slices.Sort(took)
	if median := took[len(took)/2]; median >= 50*time.Microsecond {
		t.Errorf("a verdict takes %v", median)
	} else {
		t.Logf("a verdict takes %v, at the 99th percentile %v", median, took[len(took)*99/100])
	}
}

func BenchmarkJudge(b *testing.B) {
	m := many(b)
	f := facts(Confirmed, true, signed(attest.Right, "77", "sip:user77@b.example")).identity("sip:user77@b.example")
	for b.Loop() {
		if v, _ := m.Judge(f, now); v.Word != Pinned {
			b.Fatal(v)
		}
	}
}
