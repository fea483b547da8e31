package sdp

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestFragment(t *testing.T) {
	t.Parallel()
	attrs := []Attribute{{Name: "dh-fin", Value: "1 AAAA"}, {Name: "dh-sig", Value: "ed25519 k sip:a@b:5060 s"}}
	body := Fragment(attrs)
	if want := "a=dh-fin:1 AAAA\r\na=dh-sig:ed25519 k sip:a@b:5060 s\r\n"; string(body) != want {
		t.Errorf("%q", body)
	}
	got, err := ParseFragment(body)
	if err != nil || !reflect.DeepEqual(got, attrs) {
		t.Errorf("%+v, %v", got, err)
	}
	if b := Fragment([]Attribute{{Name: "dh-fin", Value: "1\r\nm=audio 1 RTP/AVP 0"}, {Name: "dh\n", Value: "1"}, {Value: "1"}}); len(b) != 0 {
		t.Errorf("wrote %q", b)
	}
}

func TestParseFragment(t *testing.T) {
	t.Parallel()
	one := []Attribute{{Name: "dh-fin", Value: "1 AA"}}
	for _, c := range []struct {
		name, body string
		want       []Attribute
		err        error
	}{
		{"CRLF", "a=dh-fin:1 AA\r\n", one, nil},
		{"LF", "a=dh-fin:1 AA\n", one, nil},
		{"no line end", "a=dh-fin:1 AA", one, nil},
		{"empty", "", nil, nil},
		{"of a later version", "a=dh-new:2 AA\r\n", []Attribute{{Name: "dh-new", Value: "2 AA"}}, nil},
		{"repeated", "a=dh-fin:1 AA\r\na=dh-fin:1 AA\r\n", append(one, one...), nil},
		{"stray CR stays to be seen", "a=dh-fin:1 AA\r\r\n", []Attribute{{Name: "dh-fin", Value: "1 AA\r\r\n"}}, nil},
		{"another attribute", "a=dh-fin:1 AA\r\na=sendrecv\r\n", nil, ErrFragment},
		{"a description", "v=0\r\na=dh-fin:1 AA\r\n", nil, ErrFragment},
		{"upper case", "a=DH-FIN:1 AA\r\n", nil, ErrFragment},
		{"leading space", " a=dh-fin:1 AA\r\n", nil, ErrFragment},
		{"blank line", "a=dh-fin:1 AA\r\n\r\n", nil, ErrFragment},
		{"text", "hello", nil, ErrFragment},
		{"too many lines", strings.Repeat("a=dh-fin:1 AA\r\n", maxFragmentLines+1), nil, ErrFragment},
		{"too large", "a=dh-fin:" + strings.Repeat("A", MaxSize), nil, ErrTooLarge},
	} {
		got, err := ParseFragment([]byte(c.body))
		if !errors.Is(err, c.err) || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}
