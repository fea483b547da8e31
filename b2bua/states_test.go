package b2bua

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestStatesAreDocumented holds docs/calls.md against the tables of the code.
func TestStatesAreDocumented(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("../docs/calls.md")
	if err != nil {
		t.Fatal(err)
	}
	compare(t, string(file), "States of a call", []State{Routing, Calling, Ringing, Answered, Established, Ended}, callMoves)
	compare(t, string(file), "Keys of a leg", []KeyState{KeysNone, KeysOffered, KeysAgreed, KeysConfirmed, KeysErased}, keyMoves)
}

func compare[S ~string](t *testing.T, doc, heading string, states []S, moves func(S) []S) {
	t.Helper()
	_, section, ok := strings.Cut(doc, "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("docs/calls.md has no section %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var documented, declared []string
	var from string
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[3]) == "to" {
			continue
		}
		if state := strings.TrimSpace(cells[1]); state != "" {
			from = state
			documented = append(documented, from)
		}
		if to := strings.TrimSpace(cells[3]); to != "" {
			documented = append(documented, from+" to "+to)
		}
	}
	for _, s := range states {
		declared = append(declared, string(s))
		for _, to := range moves(s) {
			if !slices.Contains(states, to) {
				t.Errorf("%s may become %s, which is no state", s, to)
			}
			declared = append(declared, string(s)+" to "+string(to))
		}
	}
	slices.Sort(documented)
	slices.Sort(declared)
	for _, s := range documented {
		if !slices.Contains(declared, s) {
			t.Errorf("%s: docs/calls.md has %q, the code does not", heading, s)
		}
	}
	for _, s := range declared {
		if !slices.Contains(documented, s) {
			t.Errorf("%s: the code has %q, docs/calls.md does not", heading, s)
		}
	}
	if len(slices.Compact(documented)) != len(declared) {
		t.Errorf("%s: docs/calls.md says something twice", heading)
	}
}

// TestNothingBringsACallBack: what arrives late finds the call ended.
func TestNothingBringsACallBack(t *testing.T) {
	t.Parallel()
	c := &Call{state: Ended}
	for _, s := range []State{Routing, Calling, Ringing, Answered, Established} {
		if c.changed(s); c.state != Ended {
			t.Fatalf("an ended call became %s", c.state)
		}
	}
}
