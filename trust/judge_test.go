package trust

import (
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/sas/attest"
)

const (
	alice = "sip:alice@a.example"
	bob   = "sip:bob@b.example"
)

var now = time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)

func signed(state attest.State, key, identity string) attest.Result {
	return attest.Result{State: state, Value: attest.Value{Type: attest.TypeEd25519, Key: key, Identity: identity, Signature: "x"}, Why: "why"}
}

func pgp(state attest.State, owned bool, identity string) attest.Result {
	return attest.Result{State: state, Owned: owned, Value: attest.Value{Type: attest.TypeOpenPGP, Key: "FPR", Identity: identity, Signature: "x"}, Why: "why"}
}

// before is what the memory holds when the call comes.
type before struct {
	weak, strong, confirmed []string // keys pinned for alice
	differed                []string // keys of calls with alice in which the words differed
	protected               bool     // alice was heard encrypted
	block                   string   // an identity or a key
	others                  []string // keys pinned, strong, for bob
}

func (b before) memory(t *testing.T) *Memory {
	t.Helper()
	m, err := Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	pin := func(identity, key string, strong bool, c ...Confirmation) {
		if err := m.savePin(Pin{Identity: identity, Type: attest.TypeEd25519, Key: key, First: now, Last: now, Strong: strong, Confirmations: c}); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range b.weak {
		pin(alice, k, false)
	}
	for _, k := range b.strong {
		pin(alice, k, true)
	}
	for _, k := range b.confirmed {
		pin(alice, k, true, Confirmation{When: now, How: "words"})
	}
	for _, k := range b.differed {
		if err := m.savePin(Pin{Identity: alice, Type: attest.TypeEd25519, Key: k, First: now, Last: now, Differed: now}); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range b.others {
		pin(bob, k, true)
	}
	if b.protected {
		m.savePeer(Peer{Identity: alice, Protected: now})
	}
	switch {
	case strings.HasPrefix(b.block, "sip:"):
		err = m.Block(b.block, true)
	case strings.HasPrefix(b.block, "openpgp "):
		err = m.BlockKey(attest.TypeOpenPGP, strings.TrimPrefix(b.block, "openpgp "), true)
	case b.block != "":
		err = m.BlockKey(attest.TypeEd25519, b.block, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func facts(x Exchange, dialled bool, sigs ...attest.Result) Facts {
	return Facts{Identity: alice, Dialled: dialled, Exchange: x, Signatures: sigs}
}

func (f Facts) sas(s SAS) Facts           { f.SAS = s; return f }
func (f Facts) provable() Facts           { f.Provable = true; return f }
func (f Facts) identity(who string) Facts { f.Identity = who; return f }

// The whole truth table of protocol sections 5 and 6.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	const (
		in, out = false, true
		R, W, U = attest.Right, attest.Wrong, attest.Unchecked
		down    = "downgrade"
		changed = "changed"
		blocked = "blocked"
	)
	nothing := before{}
	for _, test := range []struct {
		name   string
		before before
		facts  Facts
		want   Word
		flags  string
		after  string // pins of alice afterwards: key, ! strong, * confirmed, ? differed; - for a memory that did not change
	}{
		// Without signatures.
		{"plain", nothing, facts(NoExchange, in), None, "", "-"},
		{"keys under way", nothing, facts(Pending, out), None, "", "-"},
		{"nobody checked", nothing, facts(Confirmed, in), Encrypted, "", "-"},
		{"nobody checked, dialled", nothing, facts(Confirmed, out), Encrypted, "", ""},
		{"tampered with", nothing, facts(Attacked, in), Mismatch, "", "-"},
		{"words equal", nothing, facts(Confirmed, in).sas(Equal), Verified, "", ""},
		{"words different", nothing, facts(Confirmed, out).sas(Different), Mismatch, "", "-"},
		{"words equal before the exchange is confirmed", nothing, facts(Pending, in).sas(Equal), None, "", "-"},
		{"words equal and no exchange", nothing, facts(NoExchange, in).sas(Equal), None, "", "-"},
		{"an anonymous caller", nothing, facts(Confirmed, in).identity(""), Encrypted, "", "-"},
		{"an anonymous caller who reads the words", nothing, facts(Confirmed, in).identity("").sas(Equal), Verified, "", "-"},

		// Downgrade.
		{"plain, encrypted before", before{protected: true}, facts(NoExchange, in), None, down, "-"},
		{"plain, with a pinned key", before{strong: []string{"k"}}, facts(NoExchange, in), None, down, "-"},
		{"plain, with a weak pin: no more than a claim", before{weak: []string{"k"}}, facts(NoExchange, in), None, "", "-"},
		{"plain, with a key of the keyring", nothing, facts(NoExchange, out).provable(), None, down, "-"},
		{"signature stripped, pinned key", before{strong: []string{"k"}}, facts(Confirmed, out), Encrypted, down, "k!"},
		{"signature stripped, key of the keyring", nothing, facts(Confirmed, out).provable(), Encrypted, down, ""},
		{"signature stripped, weak pin", before{weak: []string{"k"}}, facts(Confirmed, in), Encrypted, "", "-"},
		{"signature stripped, words equal", before{strong: []string{"k"}}, facts(Confirmed, out).sas(Equal), Verified, "", "k!"},

		// ed25519, first seen.
		{"a new key, dialled", nothing, facts(Confirmed, out, signed(R, "k", alice)), Encrypted, "", "k!"},
		{"a new key, incoming: weak", nothing, facts(Confirmed, in, signed(R, "k", alice)), Encrypted, "", "k"},
		{"a new key, words equal", nothing, facts(Confirmed, in, signed(R, "k", alice)).sas(Equal), Verified, "", "k!*"},
		{"a new key, words different: it is none", nothing, facts(Confirmed, out, signed(R, "k", alice)).sas(Different), Mismatch, "", "k?"},
		{"a new key, not confirmed: not remembered", nothing, facts(Pending, out, signed(R, "k", alice)), None, "", "-"},
		{"a bad signature", nothing, facts(Confirmed, in, signed(W, "k", alice)), Mismatch, "", "-"},
		{"a bad signature beside a good one", before{confirmed: []string{"k"}}, facts(Confirmed, in, signed(R, "k", alice), signed(W, "l", alice)), Mismatch, "", "-"},
		{"a bad signature and equal words", nothing, facts(Confirmed, in, signed(W, "k", alice)).sas(Equal), Mismatch, "", "-"},
		{"a bad signature before the exchange is confirmed", nothing, facts(Pending, in, signed(W, "k", alice)), Mismatch, "", "-"},
		{"not checked counts as not there", nothing, facts(Confirmed, out, signed(U, "k", alice)), Encrypted, "", ""},

		// ed25519, known.
		{"the pinned key", before{strong: []string{"k"}}, facts(Confirmed, in, signed(R, "k", alice)), Pinned, "", "k!"},
		{"the confirmed key", before{confirmed: []string{"k"}}, facts(Confirmed, in, signed(R, "k", alice)), Verified, "", "k!*"},
		{"a weak pin, called back", before{weak: []string{"k"}}, facts(Confirmed, out, signed(R, "k", alice)), Pinned, "", "k!"},
		{"a weak pin, incoming again", before{weak: []string{"k"}}, facts(Confirmed, in, signed(R, "k", alice)), Encrypted, "", "k"},
		{"a weak pin, words equal", before{weak: []string{"k"}}, facts(Confirmed, in, signed(R, "k", alice)).sas(Equal), Verified, "", "k!*"},
		{"the pinned key not checked: as if stripped", before{strong: []string{"k"}}, facts(Confirmed, in, signed(U, "k", alice)), Encrypted, down, "-"},

		// Words that differed: what was said before of the key holds no longer, and
		// later calls with it are a mismatch until somebody says otherwise.
		{"words different, a weak pin", before{weak: []string{"k"}}, facts(Confirmed, in, signed(R, "k", alice)).sas(Different), Mismatch, "", "k?"},
		{"words different, a pinned key", before{strong: []string{"k"}}, facts(Confirmed, out, signed(R, "k", alice)).sas(Different), Mismatch, "", "k?"},
		{"words different, a confirmed key", before{confirmed: []string{"k"}}, facts(Confirmed, out, signed(R, "k", alice)).sas(Different), Mismatch, "", "k?"},
		{"words different, both keys of a hand-over", before{confirmed: []string{"k"}}, facts(Confirmed, in, signed(R, "k", alice), signed(R, "l", alice)).sas(Different), Mismatch, "", "k? l?"},
		{"words different, signed for somebody else", before{others: []string{"k"}, confirmed: []string{"l"}}, facts(Confirmed, out, signed(R, "k", bob)).sas(Different), Mismatch, "", "-"},
		{"words different, no signature: other calls stay what they are", before{confirmed: []string{"k"}}, facts(Confirmed, out).sas(Different), Mismatch, "", "-"},
		{"words different beside a bad signature", before{confirmed: []string{"k"}}, facts(Confirmed, out, signed(R, "k", alice), signed(W, "l", alice)).sas(Different), Mismatch, "", "k?"},
		{"words different before the exchange is confirmed", before{confirmed: []string{"k"}}, facts(Pending, out, signed(R, "k", alice)).sas(Different), Mismatch, "", "-"},
		{"words different, a key of the keyring", nothing, facts(Confirmed, in, pgp(R, true, alice)).sas(Different), Mismatch, "", "FPR?"},
		{"they differed before: the same key", before{differed: []string{"k"}}, facts(Confirmed, out, signed(R, "k", alice)), Mismatch, "", "-"},
		{"they differed before: not confirmed yet", before{differed: []string{"k"}}, facts(Pending, in, signed(R, "k", alice)), Mismatch, "", "-"},
		{"they differed before: beside a good key", before{differed: []string{"k"}, confirmed: []string{"l"}}, facts(Confirmed, in, signed(R, "l", alice), signed(R, "k", alice)), Mismatch, "", "-"},
		{"they differed before, and are equal now", before{differed: []string{"k"}}, facts(Confirmed, in, signed(R, "k", alice)).sas(Equal), Verified, "", "k!*"},
		{"they differed before, with another key", before{differed: []string{"k"}}, facts(Confirmed, out, signed(R, "l", alice)), Encrypted, "", "k? l!"},
		{"they differed before, and nobody signs", before{differed: []string{"k"}}, facts(Confirmed, out), Encrypted, "", "k?"},
		{"they differed before, with somebody else's name", before{differed: []string{"k"}}, facts(Confirmed, out, signed(R, "k", bob)).identity(bob), Encrypted, "", "k?"},
		{"they differed before, plain", before{differed: []string{"k"}}, facts(NoExchange, in), None, "", "-"},
		{"they differed before, and now it is a forgery", before{differed: []string{"k"}}, facts(Confirmed, in, signed(U, "k", alice)), Encrypted, "", "-"},

		// Another key.
		{"another key, pinned before", before{strong: []string{"k"}}, facts(Confirmed, out, signed(R, "l", alice)), Mismatch, changed, "-"},
		{"another key, confirmed before", before{confirmed: []string{"k"}}, facts(Confirmed, in, signed(R, "l", alice)), Mismatch, changed, "-"},
		{"another key, weak before: a notice", before{weak: []string{"k"}}, facts(Confirmed, in, signed(R, "l", alice)), Encrypted, changed, "l"},
		{"a poisoned weak pin does not keep the true key out", before{weak: []string{"evil"}}, facts(Confirmed, out, signed(R, "k", alice)), Encrypted, changed, "k!"},
		{"another key, words equal", before{strong: []string{"k"}}, facts(Confirmed, in, signed(R, "l", alice)).sas(Equal), Verified, changed, "k! l!*"},
		{"handed over: both keys sign", before{strong: []string{"k"}}, facts(Confirmed, in, signed(R, "l", alice), signed(R, "k", alice)), Pinned, changed, "k! l!"},
		{"handed over by a confirmed key", before{confirmed: []string{"k"}}, facts(Confirmed, in, signed(R, "k", alice), signed(R, "l", alice)), Verified, changed, "k!* l!"},
		{"a weak pin hands nothing over", before{weak: []string{"k"}}, facts(Confirmed, in, signed(R, "k", alice), signed(R, "l", alice)), Encrypted, "", "k"},
		{"the old key's signature is bad", before{strong: []string{"k"}}, facts(Confirmed, in, signed(R, "l", alice), signed(W, "k", alice)), Mismatch, "", "-"},

		// Whose key.
		{"a proxy's key, pinned for somebody else", before{others: []string{"k"}}, facts(Confirmed, in, signed(R, "k", alice)), Encrypted, "", "k"},
		{"signed as somebody else", before{others: []string{"k"}}, facts(Confirmed, out, signed(R, "k", bob)), Encrypted, "", ""},
		{"signed as somebody else, own key missing", before{strong: []string{"k"}, others: []string{"l"}}, facts(Confirmed, out, signed(R, "l", bob)), Encrypted, down, "k!"},
		{"host in other letters", before{strong: []string{"k"}}, facts(Confirmed, in, signed(R, "k", "sip:alice@A.EXAMPLE")).identity("sip:alice@A.Example"), Pinned, "", "k!"},
		{"user in other letters is somebody else", before{strong: []string{"k"}}, facts(Confirmed, in, signed(R, "k", "sip:Alice@a.example")), Encrypted, down, "-"},

		// The keyring.
		{"a key of the keyring", nothing, facts(Confirmed, in, pgp(R, true, alice)).provable(), Verified, "", ""},
		{"of the keyring, for somebody else", nothing, facts(Confirmed, in, pgp(R, true, bob)), Encrypted, "", "-"},
		{"of the keyring, but nobody vouches for the name", nothing, facts(Confirmed, in, pgp(R, false, alice)), Encrypted, "", "-"},
		{"of the keyring, not confirmed yet", nothing, facts(Pending, in, pgp(R, true, alice)), None, "", "-"},
		{"a bad OpenPGP signature", nothing, facts(Confirmed, in, pgp(W, false, alice)), Mismatch, "", "-"},
		{"an expired OpenPGP key", nothing, facts(Confirmed, out, pgp(U, false, alice)).provable(), Encrypted, down, ""},
		{"the keyring vouches for the key beside it", nothing, facts(Confirmed, in, pgp(R, true, alice), signed(R, "k", alice)), Verified, "", "k!"},
		{"the keyring is worth more than a pin", before{strong: []string{"k"}}, facts(Confirmed, in, pgp(R, true, alice), signed(R, "l", alice)), Verified, changed, "l!"},

		// Blocked.
		{"a blocked identity", before{block: alice}, facts(Confirmed, in, signed(R, "k", alice)), Encrypted, blocked, "-"},
		{"a blocked key", before{block: "k"}, facts(Confirmed, in, signed(R, "k", alice)), Encrypted, blocked, "-"},
		{"a blocked key under another name", before{block: "k"}, facts(Confirmed, in, signed(R, "k", bob)), Encrypted, blocked, "-"},
		{"a blocked key of OpenPGP", before{block: "openpgp FPR"}, facts(Confirmed, in, pgp(R, true, alice)), Verified, blocked, "-"},
		{"a blocked key of OpenPGP, which nobody vouches for", before{block: "openpgp FPR"}, facts(Confirmed, in, pgp(R, false, alice)), Encrypted, blocked, "-"},
		{"a blocked identity, plain", before{block: alice}, facts(NoExchange, in), None, blocked, "-"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := test.before.memory(t)
			v, changes := m.Judge(test.facts, now.Add(time.Hour))
			var flags []string
			for _, f := range []struct {
				set  bool
				name string
			}{{v.Downgrade, down}, {v.Changed, changed}, {v.Blocked, blocked}} {
				if f.set {
					flags = append(flags, f.name)
				}
			}
			if v.Word != test.want || strings.Join(flags, " ") != test.flags {
				t.Errorf("%s %v (%s), want %s %q", v.Word, flags, v.Says, test.want, test.flags)
			}
			if v.Says == "" {
				t.Error("nothing is said")
			}
			if err := m.Learn(changes); err != nil {
				t.Fatal(err)
			}
			if test.after == "-" {
				if len(changes) > 0 {
					t.Errorf("remembered: %+v", changes)
				}
				return
			}
			var after []string
			for _, p := range m.pins[alice] {
				s := p.Key
				if p.Strong {
					s += "!"
				}
				if len(p.Confirmations) > 0 {
					s += "*"
				}
				if !p.Differed.IsZero() {
					s += "?"
				}
				after = append(after, s)
			}
			if got := strings.Join(after, " "); got != test.after {
				t.Errorf("pins afterwards %q, want %q", got, test.after)
			}
		})
	}
}

func TestReaches(t *testing.T) {
	t.Parallel()
	order := []Word{None, Encrypted, Pinned, Verified}
	for i, a := range order {
		for j, b := range order {
			if a.Reaches(b) != (i >= j) {
				t.Errorf("%s reaches %s: %v", a, b, a.Reaches(b))
			}
		}
		if Mismatch.Reaches(a) {
			t.Errorf("a mismatch reaches %s", a)
		}
	}
}
