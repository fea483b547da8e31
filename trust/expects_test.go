package trust

import "testing"

// What signatures could make of a call before there are any.
func TestExpects(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		before before
		who    string
		want   Word
	}{
		{before{}, alice, Encrypted},
		{before{weak: []string{"k"}}, alice, Encrypted},
		{before{strong: []string{"k"}}, "sip:alice@A.example", Pinned},
		{before{strong: []string{"k"}, confirmed: []string{"l"}}, alice, Verified},
		{before{differed: []string{"k"}}, alice, Encrypted},
		{before{confirmed: []string{"k"}}, bob, Encrypted},
		{before{confirmed: []string{"k"}}, "", Encrypted},
		{before{confirmed: []string{"k"}}, "sip:Alice@a.example", Encrypted},
	} {
		if got := test.before.memory(t).Expects(test.who); got != test.want {
			t.Errorf("%+v, %q: %s, want %s", test.before, test.who, got, test.want)
		}
	}
}
