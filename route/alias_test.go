package route

import "testing"

func TestAliases(t *testing.T) {
	t.Parallel()
	aliases, err := NewAliases([]Alias{
		{MustPattern("+4930123"), "sip:alice@office.example"},
		{MustPattern("+4930*"), "sip:*@trunk.example"},
		{MustPattern("alice@office.example"), "sip:never@office.example"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for uri, want := range map[string]string{
		"sip:+4930123@anything.example": "sip:alice@office.example", // and no further
		"sip:+4930999@anything.example": "sip:+4930999@trunk.example",
		"sip:bob@office.example":        "sip:bob@office.example",
		"not a uri":                     "not a uri",
	} {
		if got := aliases.Resolve(uri); got != want {
			t.Errorf("%s leads to %s, want %s", uri, got, want)
		}
	}
	var none *Aliases
	if got := none.Resolve("sip:x@y"); got != "sip:x@y" {
		t.Errorf("without aliases: %s", got)
	}
	for _, to := range []string{"sip:office.example", "nonsense", ""} {
		if _, err := NewAliases([]Alias{{MustPattern("1"), to}}); err == nil {
			t.Errorf("an alias to %q was taken", to)
		}
	}
}
