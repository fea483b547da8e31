package policy

import (
	"strings"
	"testing"
)

func TestTrust(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		rules      Rules
		from, to   Party
		want       Trust
		mismatch   Answer
		downgrade  Answer
		saysOfKeys string
	}{
		{"require alone", Rules{}, alice, bob, Encrypted, End, Warn, "must be protected"},
		{"prefer", Rules{}, alice, stranger, "", End, Warn, "where the other end can"},
		{"listed peers", Rules{ListedTrust: Verified}, bob, alice, Verified, End, Warn, "a key that was checked"},
		{"unknown peers", Rules{UnknownPeers: Require, UnknownTrust: Pinned}, alice, stranger, Pinned, End, Warn, "a key of an earlier call"},
		{"answers of all", Rules{OnMismatch: Warn, OnDowngrade: End}, alice, bob, Encrypted, Warn, End, ""},
		{"a rule", Rules{List: []Rule{{Name: "r", From: Match{Side: Outside}, Mode: Require, Trust: Verified}}}, stranger, alice, Verified, End, Warn, "a key that was checked"},
		{"a rule for the other direction", Rules{List: []Rule{{Name: "r", From: Match{Side: Outside}, Mode: Require, Trust: Verified}}}, alice, stranger, "", End, Warn, ""},
		{"a rule's answers", Rules{OnMismatch: Warn, List: []Rule{{Name: "r", Mode: Prefer, OnMismatch: End, OnDowngrade: End}}}, alice, bob, "", End, End, ""},
		{"a rule that leaves them out", Rules{OnMismatch: Warn, OnDowngrade: End, List: []Rule{{Name: "r", Mode: Prefer}}}, alice, bob, "", Warn, End, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := mustNew(t, tt.rules).Decide(Facts{tt.from, tt.to})
			if d.Trust != tt.want || d.OnMismatch != tt.mismatch || d.OnDowngrade != tt.downgrade || !strings.Contains(d.Reason, tt.saysOfKeys) {
				t.Errorf("%+v", d)
			}
		})
	}
}

// Whoever claims a listed peer's name gets what is asked of that peer, where it is
// more.
func TestClaimedTrust(t *testing.T) {
	t.Parallel()
	from := stranger
	from.Claimed = "b"
	for _, tt := range []struct {
		listed, unknown, want Trust
	}{{Verified, Encrypted, Verified}, {Encrypted, Verified, Verified}, {Pinned, Verified, Verified}} {
		p := mustNew(t, Rules{UnknownPeers: Require, ListedTrust: tt.listed, UnknownTrust: tt.unknown})
		if d := p.Decide(Facts{from, alice}); d.Trust != tt.want {
			t.Errorf("listed %s, unknown %s: %s", tt.listed, tt.unknown, d.Trust)
		}
	}
}

func TestNewRefusesTrust(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		rules Rules
		want  string
	}{
		{Rules{UnknownTrust: Verified}, "unknown_peers: prefer calls have no least trust"},
		{Rules{ListedTrust: "sure"}, `trust "sure"`},
		{Rules{OnMismatch: "ignore"}, `end or warn, not "ignore"`},
		{Rules{List: []Rule{{Name: "x", Mode: Off, Trust: Pinned}}}, `rule "x": off calls`},
		{Rules{List: []Rule{{Name: "x", Mode: Off, OnDowngrade: "no"}}}, `rule "x": what follows`},
	} {
		if _, err := New(tt.rules); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want an error with %q", err, tt.want)
		}
	}
}
