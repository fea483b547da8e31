package relay

import (
	"bytes"
	"reflect"
	"testing"
)

func TestBencode(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		value any
		text  string
	}{
		{"offer", "5:offer"},
		{"", "0:"},
		{-7, "i-7e"},
		{[]any{"a", 1, []any{}}, "l1:ai1elee"},
		{dict{"b": "x", "a": dict{"c": 2}}, "d1:ad1:ci2ee1:b1:xe"},
	} {
		if got := string(encode(nil, test.value)); got != test.text {
			t.Errorf("%v is written as %q instead of %q", test.value, got, test.text)
		}
		got, rest, err := decode([]byte(test.text + "more"))
		if err != nil || string(rest) != "more" || !reflect.DeepEqual(got, test.value) {
			t.Errorf("%q reads as %v, rest %q, %v", test.text, got, rest, err)
		}
	}
	for _, bad := range []string{"", "x", "i", "ie", "i1", "3:ab", "-1:a", "l", "l1:a", "d1:ae", "di1e1:ae", "99999999999999999999:a"} {
		if v, _, err := decode([]byte(bad)); err == nil {
			t.Errorf("%q reads as %v", bad, v)
		}
	}
}

// What decodes is encoded to what decodes to the same.
func FuzzBencode(f *testing.F) {
	for _, seed := range []string{"d6:result2:ok3:sdp4:v=0\ne", "l1:ai1elee", "i-5e", "d1:ad1:ci2ee1:b1:xe", "3:ab"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, rest, err := decode(data)
		if err != nil {
			return
		}
		if !bytes.HasSuffix(data, rest) {
			t.Fatalf("rest %q is no end of %q", rest, data)
		}
		again, rest, err := decode(encode(nil, v))
		if err != nil || len(rest) != 0 || !reflect.DeepEqual(again, v) {
			t.Fatalf("%v becomes %v, rest %q, %v", v, again, rest, err)
		}
	})
}
