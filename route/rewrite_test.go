package route

import (
	"strings"
	"testing"
)

func TestRewrites(t *testing.T) {
	t.Parallel()
	r, err := NewRewrites([]Rewrite{
		{"00*", "+*"}, {"0*", "+49*"}, {"112", "110"}, {"2*9", "x*y"}, {"8*", "reception"}, {"alice", "+4930123100"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"0044201234": "+44201234", "030555": "+4930555", "0": "+49", "00": "+", "112": "110", "1120": "", "219": "x1y", "29": "xy",
		"2": "", "8123": "reception", "alice": "+4930123100", "bob": "", "": "", "+49": "",
	} {
		got, ok := r.Apply(in)
		if ok != (want != "") || ok && got != want || !ok && got != in {
			t.Errorf("%q: %q, %v, want %q", in, got, ok, want)
		}
	}
	var none *Rewrites
	if got, ok := none.Apply("1"); ok || got != "1" {
		t.Errorf("without rules: %q, %v", got, ok)
	}
	if r, err := NewRewrites(nil); r != nil || err != nil {
		t.Errorf("no rules: %v, %v", r, err)
	}
}

func TestRewritesRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ match, to, want string }{
		{"", "1", `match "": is empty`}, {"1", "", `to "": is empty`}, {"*1*", "1", "more than one star"}, {"1", "*", "none that it could stand for"},
		{"a@b", "1", `has '@'`}, {"1", "a b", `has ' '`}, {"1", "a;b", `has ';'`}, {"1", "a\r\nb", `has '\r'`}, {"1", "sip:a", `has ':'`}, {"1", "<a>", `has '<'`},
		{"#1", "1", `has '#'`}, {"1", "a%0d", `has '%'`}, {strings.Repeat("1", maxPattern+1), "1", "longer than"},
	} {
		if _, err := NewRewrites([]Rewrite{{tt.match, tt.to}}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q to %q: %v, want %s", tt.match, tt.to, err, tt.want)
		}
	}
}
