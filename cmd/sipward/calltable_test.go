package main

import (
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/b2bua"
)

func TestTable(t *testing.T) {
	t.Parallel()
	calls := []b2bua.View{
		{From: "sip:alice@a.example", To: "sip:bob@b.example", State: "established", Protection: "srtp", Group: "x25519mlkem768", Suite: "AEAD_AES_256_GCM",
			SASWords: "absurd Camelot zulu", SASCode: "012 345", Trust: "encrypted", Reason: "unknown_peers: encrypted where the peer can",
			Legs: []b2bua.LegView{
				{Side: "inside", Peer: "127.0.0.1:5070", PacketsIn: 10, PacketsOut: 9},
				{Side: "outside", Peer: "198.51.100.7:5060", PacketsIn: 9, PacketsOut: 10, Lost: 1, DroppedAuth: 2, DroppedReplay: 3, DroppedSource: 4},
			}},
		{From: "sip:+49@a.example", To: "sip:x\x1b[31m@y", State: "ringing", Protection: "none", Trust: "none", Legs: []b2bua.LegView{{Side: "inside"}, {Side: "inside", SDES: "AES_CM_128_HMAC_SHA1_80"}}},
	}
	const want = `FROM                 TO                 STATE        PROTECTION  WORDS                CODE     TRUST
sip:alice@a.example  sip:bob@b.example  established  srtp        absurd Camelot zulu  012 345  encrypted
    group x25519mlkem768, suite AEAD_AES_256_GCM
    inside 127.0.0.1:5070: packets in 10, out 9
    outside 198.51.100.7:5060: packets in 9, out 10, lost 1, forged 2, replayed 3, from elsewhere 4
    why: unknown_peers: encrypted where the peer can
sip:+49@a.example    sip:x?[31m@y       ringing      none        -                    -        none
    no key exchange
    inside -: packets in 0, out 0
    inside -: SRTP with the phone, suite AES_CM_128_HMAC_SHA1_80, packets in 0, out 0
    why: -
`
	var got strings.Builder
	if err := writeTable(&got, calls); err != nil {
		t.Fatal(err)
	}
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

func TestEventLine(t *testing.T) {
	t.Parallel()
	e := b2bua.Event{Type: "call-changed", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local), Call: b2bua.View{
		From: "sip:a@a", To: "sip:b\n@b", State: "established", Protection: "srtp", SASWords: "a b c", SASCode: "000 001", Trust: "encrypted", Reason: "why"}}
	var got strings.Builder
	if err := writeEvent(&got, e); err != nil {
		t.Fatal(err)
	}
	const want = "03:04:05 changed  sip:a@a -> sip:b?@b  established, srtp  words: a b c (000 001), encrypted  why\n"
	if got.String() != want {
		t.Errorf("got  %q\nwant %q", got.String(), want)
	}
}
