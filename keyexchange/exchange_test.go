package keyexchange

import (
	"bytes"
	"crypto/ecdh"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func configOf(groups ...string) Config { return Config{Groups: groups, Suites: Suites()} }

// ends are both ends of one exchange and what passes between them; a test
// changes what it likes on the way.
type ends struct {
	initiator, responder *Exchange
	init, resp, fin      string
}

// begin runs an exchange up to the dh-resp.
func begin(t testing.TB, cfg Config, chain []byte) *ends {
	t.Helper()
	x, err := NewInitiator(cfg, chain)
	if err != nil {
		t.Fatal(err)
	}
	a, err := Read(KindInvite, []Found{{"dh-init", x.Init(), PlaceSession}})
	if err != nil {
		t.Fatal(err)
	}
	y, resp, err := NewResponder(cfg, a, chain)
	if err != nil {
		t.Fatal(err)
	}
	return &ends{x, y, x.Init(), resp, ""}
}

// complete runs the rest of it. besideResp and besideFin are what the sender
// sets and what the receiver sees.
func (e *ends) complete(t testing.TB, respSent, respSeen, finSent, finSeen []string) {
	t.Helper()
	var err error
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	must("responder's signatures", e.responder.SetSignatures(respSent))
	e.fin, err = e.initiator.TakeResp(taken(e.resp, respSeen...))
	must("dh-resp", err)
	must("initiator's signatures", e.initiator.SetSignatures(finSent))
	must("dh-fin", e.responder.TakeFin(taken(e.fin, finSeen...)))
}

func agreeing(t testing.TB, cfg Config, chain []byte) *ends {
	t.Helper()
	e := begin(t, cfg, chain)
	e.complete(t, nil, nil, nil, nil)
	return e
}

func keysOf(t testing.TB, x *Exchange, m int) Keys {
	t.Helper()
	k, err := x.Keys(m)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// sameKeys says whether the ends can talk: what one sends the other receives.
func (e *ends) sameKeys(t testing.TB) bool {
	t.Helper()
	i, r := keysOf(t, e.initiator, 0), keysOf(t, e.responder, 0)
	there, back := reflect.DeepEqual(i.Send, r.Recv), reflect.DeepEqual(i.Recv, r.Send)
	if there != back {
		t.Error("the ends agree in one direction only")
	}
	return there
}

func sasOf(t testing.TB, x *Exchange) [4]byte {
	t.Helper()
	s, ok := x.SAS()
	if !ok {
		t.Fatal("no SAS")
	}
	return s
}

func TestBothRolesAgree(t *testing.T) {
	t.Parallel()
	for _, g := range []string{GroupX25519, GroupX25519MLKEM768} {
		for _, s := range Suites() {
			for _, chain := range [][]byte{nil, bytes.Repeat([]byte{7}, 32)} {
				t.Run(fmt.Sprint(g, " ", s.Name, " ", chain != nil), func(t *testing.T) {
					t.Parallel()
					e := agreeing(t, Config{Groups: []string{g}, Suites: []Suite{s}}, chain)
					if !e.initiator.Initiator() || e.responder.Initiator() {
						t.Error("the roles are wrong")
					}
					var seen [][]byte
					for _, m := range []int{0, 1, 63, 255} {
						i, r := keysOf(t, e.initiator, m), keysOf(t, e.responder, m)
						if !reflect.DeepEqual(i.Send, r.Recv) || !reflect.DeepEqual(i.Recv, r.Send) {
							t.Fatalf("m= line %d: the ends do not agree", m)
						}
						for _, k := range []KeySalt{i.Send, i.Recv} {
							if len(k.Key) != s.KeyLen || len(k.Salt) != s.SaltLen {
								t.Fatalf("key of %d and salt of %d octets", len(k.Key), len(k.Salt))
							}
							seen = append(seen, k.Key, k.Salt)
						}
					}
					slices.SortFunc(seen, bytes.Compare)
					for i := 1; i < len(seen); i++ {
						if bytes.Equal(seen[i-1], seen[i]) {
							t.Error("two directions or m= lines have the same key or salt")
						}
					}
					if sasOf(t, e.initiator) != sasOf(t, e.responder) {
						t.Error("the ends have different SAS")
					}
					if c := e.initiator.Chain(); len(c) != 32 || !bytes.Equal(c, e.responder.Chain()) {
						t.Error("the ends have different chain keys")
					}
					if e.initiator.T1() != e.responder.T1() || e.initiator.T2() != e.responder.T2() || e.initiator.T1() == e.initiator.T2() {
						t.Error("the transcripts are wrong")
					}
				})
			}
		}
	}
}

func TestEveryExchangeIsFresh(t *testing.T) {
	t.Parallel()
	a, b := agreeing(t, configOf(GroupX25519), nil), agreeing(t, configOf(GroupX25519), nil)
	if a.init == b.init || a.resp == b.resp || a.fin == b.fin {
		t.Error("two exchanges share a key")
	}
	if reflect.DeepEqual(keysOf(t, a.initiator, 0), keysOf(t, b.initiator, 0)) {
		t.Error("two exchanges have the same keys")
	}
	// One exchange has a key of its own for every group.
	e := begin(t, configOf(GroupX25519MLKEM768, GroupX25519), nil)
	if o := e.initiator.offered; len(o) != 2 || o[0].key.Equal(o[1].key) {
		t.Error("two groups share a key")
	}
}

func TestRetransmissions(t *testing.T) {
	t.Parallel()
	for _, g := range []string{GroupX25519, GroupX25519MLKEM768} {
		e := begin(t, configOf(g), nil)
		e.complete(t, []string{"a k i s"}, []string{"a k i s"}, nil, nil)
		before := keysOf(t, e.initiator, 0)
		again, err := e.initiator.TakeResp(taken(e.resp, "another k i s"))
		if err != nil || again != e.fin {
			t.Errorf("%s: the same dh-resp gives %q, %v", g, again, err)
		}
		if err := e.responder.TakeFin(taken(e.fin, "another k i s")); err != nil {
			t.Errorf("%s: the same dh-fin: %v", g, err)
		}
		if !reflect.DeepEqual(before, keysOf(t, e.initiator, 0)) || !e.sameKeys(t) {
			t.Errorf("%s: a retransmission changes the keys", g)
		}
		if s := e.initiator.PeerSignatures(); !slices.Equal(s, []string{"a k i s"}) {
			t.Errorf("%s: signatures of the retransmission were read: %q", g, s)
		}
		_, err = e.initiator.TakeResp(taken(begin(t, configOf(g), nil).resp))
		checkFailure(t, err)
		checkOver(t, e.initiator)
	}
}

func TestSetSignaturesInItsTimeOnly(t *testing.T) {
	t.Parallel()
	own := []string{"a k i s"}
	e := begin(t, configOf(GroupX25519), nil)
	if err := e.initiator.SetSignatures(own); !errors.Is(err, ErrNoKeys) {
		t.Errorf("initiator before dh-resp: %v", err)
	}
	for _, wrong := range [][]string{{"three fields only"}, {"ed25519 k i s"}, {"a k i s", "a k i s", "a k i s", "a k i s", "a k i s"}} {
		err := e.responder.SetSignatures(wrong)
		var f *Failure
		if err == nil || errors.As(err, &f) {
			t.Errorf("own signatures %q: %v, want a plain error", wrong, err)
		}
	}
	e.complete(t, nil, nil, own, own)
	if !e.sameKeys(t) {
		t.Error("a refused signature was set")
	}
	if err := e.initiator.SetSignatures(nil); !errors.Is(err, ErrNoKeys) {
		t.Errorf("initiator after the keys: %v", err)
	}
	if err := e.responder.SetSignatures(nil); !errors.Is(err, ErrNoKeys) {
		t.Errorf("responder after dh-fin: %v", err)
	}
	e.initiator.Erase()
	if err := e.initiator.SetSignatures(nil); !errors.Is(err, ErrErased) {
		t.Errorf("after Erase: %v", err)
	}
}

func TestStepsOutOfOrder(t *testing.T) {
	t.Parallel()
	e := begin(t, configOf(GroupX25519), nil)
	for _, x := range []*Exchange{e.initiator, e.responder} {
		if _, err := x.Keys(0); !errors.Is(err, ErrNoKeys) {
			t.Errorf("keys before the exchange: %v", err)
		}
		if _, ok := x.SAS(); ok || x.Chain() != nil || x.MaySend() {
			t.Error("SAS, chain key or leave to send before the exchange")
		}
	}
	if _, err := e.responder.TakeResp(taken(e.resp)); !errors.Is(err, ErrNoKeys) {
		t.Errorf("the responder takes dh-resp: %v", err)
	}
	if err := e.initiator.TakeFin(taken("1 AAAA")); !errors.Is(err, ErrNoKeys) {
		t.Errorf("the initiator takes dh-fin: %v", err)
	}
	if _, err := e.initiator.TakeResp(Attrs{}); !errors.Is(err, ErrAbsent) {
		t.Errorf("no dh-resp: %v", err)
	}
	if err := e.responder.TakeFin(Attrs{}); !errors.Is(err, ErrAbsent) {
		t.Errorf("no dh-fin: %v", err)
	}
	e.complete(t, nil, nil, nil, nil)
	for _, m := range []int{-1, 256} {
		if _, err := e.initiator.Keys(m); err == nil {
			t.Errorf("keys of m= line %d", m)
		}
	}
}

func TestConfigMistakes(t *testing.T) {
	t.Parallel()
	good := configOf(GroupX25519)
	for _, v := range []struct {
		name  string
		cfg   Config
		chain []byte
	}{
		{"no group", Config{Suites: Suites()}, nil},
		{"no suite", Config{Groups: good.Groups}, nil},
		{"group that is not built", configOf(GroupX25519, "secp256r1"), nil},
		{"group twice", configOf(GroupX25519, GroupX25519), nil},
		{"suite twice", Config{Groups: good.Groups, Suites: append(Suites(), Suites()[0])}, nil},
		{"suite without a name", Config{Groups: good.Groups, Suites: []Suite{{"", 16, 14}}}, nil},
		{"suite's name is no token", Config{Groups: good.Groups, Suites: []Suite{{"A,B", 16, 14}}}, nil},
		{"suite without a key", Config{Groups: good.Groups, Suites: []Suite{{"NULL", 0, 14}}}, nil},
		{"suite too long", Config{Groups: good.Groups, Suites: []Suite{{"LONG", 1000, 14}}}, nil},
		{"salt below zero", Config{Groups: good.Groups, Suites: []Suite{{"SHORT", 32, -1}}}, nil},
		{"chain key too short", good, make([]byte, 31)},
		{"chain key empty and not nil", good, []byte{}},
		{"randomness ends", Config{Groups: good.Groups, Suites: Suites(), Rand: io.LimitReader(zeros{}, 31)}, nil},
		{"randomness ends after the first group", Config{Groups: []string{GroupX25519MLKEM768, GroupX25519}, Suites: Suites(), Rand: io.LimitReader(zeros{}, 32)}, nil},
	} {
		if _, err := NewInitiator(v.cfg, v.chain); err == nil {
			t.Errorf("%s: an initiator", v.name)
		}
		init := begin(t, configOf(GroupX25519MLKEM768, GroupX25519), nil).init
		var f *Failure
		if _, _, err := NewResponder(v.cfg, taken(init), v.chain); err == nil || errors.As(err, &f) || errors.Is(err, ErrNoCommon) {
			t.Errorf("%s: a responder, %v", v.name, err)
		}
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestSizes holds the messages to the table of protocol §1.
func TestSizes(t *testing.T) {
	t.Parallel()
	line := func(name, value string) int { return len("a=" + name + ":" + value + "\r\n") }
	e := agreeing(t, configOf(GroupX25519), nil)
	for _, v := range []struct {
		name, value string
		most        int
	}{{"dh-init", e.init, 256}, {"dh-resp", e.resp, 160}, {"dh-fin", e.fin, 160}} {
		if n := line(v.name, v.value); n > v.most {
			t.Errorf("%s adds %d octets, more than %d", v.name, n, v.most)
		}
	}
	e = agreeing(t, configOf(GroupX25519MLKEM768, GroupX25519), nil)
	if n := line("dh-init", e.init); n > 256 {
		t.Errorf("dh-init with both groups adds %d octets", n)
	}
}

// TestFailuresTellNothing: a reason is for a person and holds no octet of the
// peer or of a key.
func TestFailuresTellNothing(t *testing.T) {
	t.Parallel()
	for _, v := range load[vectorMessage](t, "messages.json") {
		kind, all, _ := v.attributes(t)
		_, err := Read(kind, all)
		if err == nil {
			continue
		}
		for _, word := range []string{"FUTURE", "future1", "sip:", "AEAD", "example"} {
			if strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v", v.Name, err)
			}
		}
		if n := len(err.Error()); n > 120 {
			t.Errorf("%s: a reason of %d octets", v.Name, n)
		}
	}
}

// TestLongOfferIsTaken: nothing but the message around it bounds how much that
// is unknown here an offer may hold.
func TestLongOfferIsTaken(t *testing.T) {
	t.Parallel()
	x, err := NewInitiator(configOf(GroupX25519), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, offered, _ := strings.Cut(x.Init(), " ")
	groups, suites, _ := strings.Cut(offered, " ")
	var b strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&b, "g%d=A,", i)
	}
	b.WriteString(groups + " ")
	for i := range 2000 {
		fmt.Fprintf(&b, "s%d,", i)
	}
	b.WriteString(suites)
	a, err := Read(KindInvite, []Found{{"dh-init", "1 " + b.String(), PlaceSession}})
	if err != nil {
		t.Fatal(err)
	}
	y, _, err := NewResponder(configOf(GroupX25519), a, nil)
	if err != nil {
		t.Fatal(err)
	}
	if y.Group() != GroupX25519 || y.Suite() != Suites()[0] {
		t.Errorf("%s and %s chosen", y.Group(), y.Suite().Name)
	}
}

// TestLowOrderVectorsAreZero: the points of the vectors do what they are there
// for, so that a library that one day lets them through is noticed.
func TestLowOrderVectorsAreZero(t *testing.T) {
	t.Parallel()
	key, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{3}, 32))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := agree(key, make([]byte, 32)); err == nil {
		t.Error("a result of all zeros is taken")
	}
	if z, err := agree(key, append([]byte{9}, make([]byte, 31)...)); err != nil || len(z) != 32 {
		t.Errorf("the base point: %x, %v", z, err)
	}
}
