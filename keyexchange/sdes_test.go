package keyexchange

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

var sdesSuites = []Suite{{"AEAD_AES_256_GCM", 32, 12}, {"AEAD_AES_128_GCM", 16, 12}, {"AES_256_CM_HMAC_SHA1_80", 32, 14}, {"AES_CM_128_HMAC_SHA1_80", 16, 14}}

// The first line is the example of RFC 4568 section 9.1 without its MKI.
func TestParseCrypto(t *testing.T) {
	t.Parallel()
	key30 := "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
	for value, ok := range map[string]bool{
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + "|2^20":                 true,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30:                           true,
		"123456789 AES_CM_128_HMAC_SHA1_80 INLINE:" + key30 + "|1048576":      true,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + " WSH=64 -FOO=1":        true,
		"2 AEAD_AES_128_GCM inline:" + strings.Repeat("A", 38) + "==":         true,
		"2 AEAD_AES_128_GCM inline:" + strings.Repeat("A", 38):                true,
		"2 AEAD_AES_256_GCM inline:" + strings.Repeat("A", 59) + "=":          true,
		"3 AES_256_CM_HMAC_SHA1_80 inline:" + strings.Repeat("A", 62) + "==":  true,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + "|2^20|1:4":             false, // MKI
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + "|1:4":                  false,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + "|2^10":                 false, // would run out
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + "|2^49":                 false,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + ";inline:" + key30:      false,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + " UNENCRYPTED_SRTP":     false,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + " UNAUTHENTICATED_SRTP": false,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + " KDR=1":                false,
		"1 AES_CM_128_HMAC_SHA1_32 inline:" + key30:                           false, // not allowed
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30[1:]:                       false,
		"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30[:39] + "-":                false,
		"x AES_CM_128_HMAC_SHA1_80 inline:" + key30:                           false,
		"1234567890 AES_CM_128_HMAC_SHA1_80 inline:" + key30:                  false,
		"1 AES_CM_128_HMAC_SHA1_80 uri:" + key30:                              false,
		"1 AES_CM_128_HMAC_SHA1_80":                                           false,
		"":                                                                    false,
	} {
		c, err := ParseCrypto(value, sdesSuites)
		if (err == nil) != ok {
			t.Errorf("%q: %v", value, err)
		}
		if err == nil && (len(c.Key) != c.Suite.KeyLen || len(c.Salt) != c.Suite.SaltLen) {
			t.Errorf("%q: key of %d, salt of %d", value, len(c.Key), len(c.Salt))
		}
	}
	c, _ := ParseCrypto("1 AES_CM_128_HMAC_SHA1_80 inline:"+key30+"|2^20", sdesSuites)
	if want := []byte("YS___semctl () {"); !bytes.Equal(c.Key, want) || string(c.Salt) != "\t220;}\n}\nunles" {
		t.Errorf("key %q, salt %q", c.Key, c.Salt)
	}
	if first, ok := ChooseCrypto([]string{"1 OTHER inline:x", "2 AES_CM_128_HMAC_SHA1_80 inline:" + key30, "3 AEAD_AES_128_GCM inline:" + strings.Repeat("A", 38)}, sdesSuites); !ok || first.Tag != "2" {
		t.Errorf("chose %v", first)
	}
}

func TestNewCrypto(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, s := range sdesSuites {
		for range 3 {
			c, err := NewCrypto("7", s)
			if err != nil {
				t.Fatal(err)
			}
			again, err := ParseCrypto(c.Value(), sdesSuites)
			if err != nil || !again.SameKey(c) || again.Tag != "7" || seen[c.Value()] {
				t.Errorf("%s: %v", s.Name, err)
			}
			seen[c.Value()] = true
			key := c.Value()[strings.Index(c.Value(), ":")+1:]
			for _, said := range []string{fmt.Sprint(c), fmt.Sprintf("%+v %#v %s", c, c, c)} {
				if strings.Contains(said, key) || strings.Contains(said, fmt.Sprint(c.Key)) {
					t.Errorf("the key is said: %s", said)
				}
			}
			c.Erase()
			if !bytes.Equal(c.Key, make([]byte, s.KeyLen)) || again.SameKey(c) {
				t.Error("not erased")
			}
		}
	}
}

// What is taken can be written and read again to the same key.
func FuzzParseCrypto(f *testing.F) {
	f.Add("1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20 WSH=64")
	f.Add("2 AEAD_AES_256_GCM inline:" + strings.Repeat("A", 59) + "=|1048576")
	f.Add("3 AEAD_AES_128_GCM inline:" + strings.Repeat("A", 38) + "==|2^31|1:4")
	f.Fuzz(func(t *testing.T, value string) {
		c, err := ParseCrypto(value, sdesSuites)
		if err != nil {
			if err != ErrCrypto || c.Key != nil {
				t.Fatalf("%v with %v", err, c)
			}
			return
		}
		again, err := ParseCrypto(c.Value(), sdesSuites)
		if err != nil || !again.SameKey(c) || again.Tag != c.Tag {
			t.Fatalf("%q became %q: %v", value, c.Value(), err)
		}
	})
}

// RFC 4568 section 5.1.3: an answer has one attribute, of those offered.
func TestAnswerCrypto(t *testing.T) {
	t.Parallel()
	var offered []Crypto
	for i, s := range sdesSuites {
		c, err := NewCrypto(fmt.Sprint(i+1), s)
		if err != nil {
			t.Fatal(err)
		}
		offered = append(offered, c)
	}
	answer := func(tag string, s Suite) string {
		c, err := NewCrypto(tag, s)
		if err != nil {
			t.Fatal(err)
		}
		return c.Value()
	}
	for i, s := range sdesSuites {
		v := answer(fmt.Sprint(i+1), s)
		ours, theirs, err := AnswerCrypto([]string{v}, offered)
		if err != nil || ours.Tag != offered[i].Tag || !ours.SameKey(offered[i]) || theirs.Value() != v {
			t.Errorf("%s: %v, %v, %v", s.Name, ours, theirs, err)
		}
	}
	gcm, cm := answer("1", sdesSuites[0]), answer("4", sdesSuites[3])
	for name, values := range map[string][]string{
		"none":                  nil,
		"two":                   {gcm, cm},
		"another tag":           {answer("5", sdesSuites[0])},
		"another suite's tag":   {answer("2", sdesSuites[0])},
		"zeros before the tag":  {answer("01", sdesSuites[0])},
		"a suite not offered":   {strings.Replace(cm, "SHA1_80", "SHA1_32", 1)},
		"a short key":           {cm[:len(cm)-4]},
		"the key of the offer":  {offered[0].Value()},
		"a parameter":           {gcm + " UNENCRYPTED_SRTP"},
		"another method of key": {strings.Replace(gcm, "inline:", "uri:", 1)},
	} {
		if ours, _, err := AnswerCrypto(values, offered); err == nil {
			t.Errorf("%s: took %v", name, ours)
		}
	}
}
