package keyexchange

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// What the keys hang on, and what the SAS does not.

func TestCommitmentMismatchFails(t *testing.T) {
	t.Parallel()
	for _, g := range []string{GroupX25519, GroupX25519MLKEM768} {
		t.Run(g, func(t *testing.T) {
			t.Parallel()
			// Somebody between the ends takes the responder's share and answers
			// it with one that is perfect but for the commitment before it.
			e := begin(t, configOf(g), nil)
			between, err := NewInitiator(configOf(g), nil)
			if err != nil {
				t.Fatal(err)
			}
			fin, err := between.TakeResp(taken(e.resp))
			if err != nil {
				t.Fatal(err)
			}
			err = e.responder.TakeFin(taken(fin))
			checkFailure(t, err)
			checkOver(t, e.responder)

			// The right one comes too late.
			if e.fin, err = e.initiator.TakeResp(taken(e.resp)); err != nil {
				t.Fatal(err)
			}
			checkFailure(t, e.responder.TakeFin(taken(e.fin)))
			checkOver(t, e.responder)
		})
	}
	key := bytes.Repeat([]byte{9}, 32)
	commit := commitment(GroupX25519, key)
	if !commitmentMatches(commit, GroupX25519, key) {
		t.Error("the committed key does not match")
	}
	if commitmentMatches(commit, GroupX25519MLKEM768, key) {
		t.Error("the commitment of another group matches")
	}
	for i := range commit {
		commit[i] ^= 1
		if commitmentMatches(commit, GroupX25519, key) {
			t.Errorf("octet %d of the commitment is not compared", i)
		}
		commit[i] ^= 1
	}
}

func TestSignatureIsBoundIntoKeys(t *testing.T) {
	t.Parallel()
	a, b, c := "type-a key sip:a@example.com sig", "type-b key sip:b@example.com sig", "type-b key sip:b@example.com sig2"
	for _, v := range []struct {
		name       string
		sent, seen []string
		agree      bool
	}{
		{"none", nil, nil, true},
		{"one", []string{a}, []string{a}, true},
		{"four", []string{a, b, c, a}, []string{a, b, c, a}, true},
		{"reordered", []string{a, b, c}, []string{c, a, b}, true},
		{"taken out", []string{a}, nil, false},
		{"one of two taken out", []string{a, b}, []string{b}, false},
		{"one of two equal ones taken out", []string{a, a}, []string{a}, false},
		{"put in", nil, []string{a}, false},
		{"put in beside another", []string{a}, []string{a, b}, false},
		{"exchanged", []string{a}, []string{b}, false},
		{"one of two exchanged", []string{a, b}, []string{a, c}, false},
		{"identity changed", []string{a}, []string{strings.Replace(a, "sip:a@", "sip:b@", 1)}, false},
		{"another one twice", []string{a, a, b}, []string{a, b, b}, false},
	} {
		for _, side := range []string{"dh-resp", "dh-fin"} {
			t.Run(v.name+" beside "+side, func(t *testing.T) {
				t.Parallel()
				e := begin(t, configOf(GroupX25519), nil)
				if side == "dh-resp" {
					e.complete(t, v.sent, v.seen, nil, nil)
				} else {
					e.complete(t, nil, nil, v.sent, v.seen)
				}
				if got := e.sameKeys(t); got != v.agree {
					t.Errorf("the ends agree: %t, want %t", got, v.agree)
				}
				if bytes.Equal(e.initiator.Chain(), e.responder.Chain()) != v.agree {
					t.Error("the chain keys do not follow the keys")
				}
				if sasOf(t, e.initiator) != sasOf(t, e.responder) {
					t.Error("a signature reaches into the SAS")
				}
			})
		}
	}
	t.Run("moved from dh-resp to dh-fin", func(t *testing.T) {
		t.Parallel()
		e := begin(t, configOf(GroupX25519), nil)
		e.complete(t, []string{a}, nil, nil, []string{a})
		if e.sameKeys(t) {
			t.Error("the ends agree")
		}
	})
}

func TestChainIsBoundIntoKeys(t *testing.T) {
	t.Parallel()
	first := agreeing(t, configOf(GroupX25519), nil)
	chain := first.initiator.Chain()
	if e := agreeing(t, configOf(GroupX25519), chain); !e.sameKeys(t) {
		t.Error("the ends do not agree with one chain key")
	}
	x, err := NewInitiator(configOf(GroupX25519), chain)
	if err != nil {
		t.Fatal(err)
	}
	y, resp, err := NewResponder(configOf(GroupX25519), taken(x.Init()), nil)
	if err != nil {
		t.Fatal(err)
	}
	e := &ends{x, y, x.Init(), resp, ""}
	e.complete(t, nil, nil, nil, nil)
	if e.sameKeys(t) {
		t.Error("one end has no chain key and yet the ends agree")
	}
	if sasOf(t, x) != sasOf(t, y) {
		t.Error("the chain key reaches into the SAS")
	}
}

func TestAlteredCiphertextGivesOtherKeys(t *testing.T) {
	t.Parallel()
	e := begin(t, configOf(GroupX25519MLKEM768), nil)
	fin, err := e.initiator.TakeResp(taken(e.resp))
	if err != nil {
		t.Fatal(err)
	}
	v, err := parseFin(fin)
	if err != nil {
		t.Fatal(err)
	}
	v.share[500] ^= 1
	if err := e.responder.TakeFin(taken(v.String())); err != nil {
		t.Fatalf("FIPS 203 rejects implicitly: %v", err)
	}
	if e.sameKeys(t) {
		t.Error("the ends agree")
	}
	if bytes.Equal(e.initiator.prk, e.responder.prk) {
		t.Error("the ends have one prk")
	}
}

// TestSASHangsOnNothingChosenLate: whoever has seen the other's share can
// still choose the ML-KEM ciphertext, signatures and, in another run, chain
// keys; none of them moves the SAS.
func TestSASHangsOnNothingChosenLate(t *testing.T) {
	t.Parallel()
	v := load[vectorExchange](t, "exchanges.json")
	i := slices.IndexFunc(v, func(v vectorExchange) bool { return v.Group == GroupX25519MLKEM768 })
	sas := map[[4]byte]bool{}
	fins := map[string]bool{}
	for n := range byte(4) {
		v := v[i]
		v.Initiator.Encaps = bytes.Repeat([]byte{n}, 32)
		x, err := NewInitiator(v.Initiator.config(t), bytes.Repeat([]byte{n}, 32))
		if err != nil {
			t.Fatal(err)
		}
		fin, err := x.TakeResp(taken(v.Resp, fmt.Sprintf("t k i %d", n)))
		if err != nil {
			t.Fatal(err)
		}
		fins[fin], sas[sasOf(t, x)] = true, true
	}
	if len(fins) != 4 || len(sas) != 1 {
		t.Errorf("%d ciphertexts gave %d SAS", len(fins), len(sas))
	}
}
