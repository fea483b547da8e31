package sip

import (
	"strings"
	"testing"
	"time"
)

// streamed are messages that a cut in the wrong place would change.
var streamed = []string{
	lines("OPTIONS sip:a@h SIP/2.0", "Subject: folded", " over", "\tthree lines", "l :", " 0"),
	lines("MESSAGE sip:a@h SIP/2.0", "Content-Length: 31") + "\r\n\r\nBYE sip:x SIP/2.0\r\n\r\n\x00\x01\r\n\r\n",
	lines("SIP/2.0 200 OK", "Content-Length: 2") + "\r\n",
	lines("ACK sip:a@h SIP/2.0", "Content-Length: 0"),
}

func drain(t *testing.T, f *framer) (out []string) {
	t.Helper()
	for {
		m, err := f.next()
		if err != nil {
			t.Fatal(err)
		}
		if m == nil {
			return out
		}
		out = append(out, string(m.Bytes()))
	}
}

func TestStreamsAreCutWhereverTheyArriveInPieces(t *testing.T) {
	t.Parallel()
	var want []string
	for _, s := range streamed {
		m, err := Parse([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, string(m.Bytes()))
	}
	all := strings.Join(streamed, "")
	for _, between := range []string{"", "\r\n", "\r\n\r\n\r\n"} {
		all := strings.Join(streamed, between) + between
		for cut := range len(all) + 1 {
			var f framer
			f.write([]byte(all[:cut]))
			got := drain(t, &f)
			f.write([]byte(all[cut:]))
			got = append(got, drain(t, &f)...)
			if strings.Join(got, "|") != strings.Join(want, "|") || f.partial() {
				t.Fatalf("cut at %d:\n%q, want\n%q", cut, got, want)
			}
		}
	}
	var f framer
	var got []string
	for i := range len(all) {
		f.write([]byte{all[i]})
		got = append(got, drain(t, &f)...)
	}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("octet by octet\n%q, want\n%q", got, want)
	}
}

func TestPingsOfAStream(t *testing.T) {
	t.Parallel()
	message := streamed[3]
	tests := []struct {
		name   string
		pieces []string
		want   int // pings
	}{
		{"whole", []string{"\r\n\r\n"}, 1},
		{"in pieces", []string{"\r", "\n", "\r", "\n"}, 1},
		{"half", []string{"\r\n"}, 0},
		{"half, a message, half", []string{"\r\n", message, "\r\n"}, 0},
		{"behind a message", []string{message + "\r\n\r\n"}, 1},
		{"two at a time are answered once", []string{"\r\n\r\n\r\n\r\n"}, 1},
		{"within a message", []string{message[:len(message)-4], "\r\n\r\n"}, 0},
	}
	for _, tt := range tests {
		var f framer
		got := 0
		for _, p := range tt.pieces {
			f.write([]byte(p))
			drain(t, &f)
			if f.ping() {
				got++
			}
		}
		if got != tt.want {
			t.Errorf("%s: %d pings, want %d", tt.name, got, tt.want)
		}
	}
}

func TestStreamsThatCannotBeCut(t *testing.T) {
	t.Parallel()
	const start = "OPTIONS sip:a@h SIP/2.0\r\n"
	for name, s := range map[string]string{
		"not SIP":                       "GET / HTTP/1.1\r\n\r\n",
		"no Content-Length":             start + "\r\n",
		"Content-Length in words":       start + "l: x\r\n\r\n",
		"Content-Lengths differ":        start + "l: 1\r\nl: 2\r\n\r\n",
		"longer than a message":         start + "l: 65535\r\n\r\n",
		"header fields without an end":  start + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 66),
		"a line without an end":         strings.Repeat("x", MaxMessage+1),
		"too many header fields, short": start + strings.Repeat("a:\r\n", maxFields+1) + "l: 0\r\n\r\n",
	} {
		var f framer
		f.write([]byte(s))
		if m, err := f.next(); m != nil || err == nil {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	// A message that is malformed where it does not matter for the cut is
	// answered, and the stream goes on.
	var f framer
	f.write([]byte("OPTIONS <sip:a@h> SIP/2.0\r\nl: 2\r\n\r\nab" + streamed[3]))
	if m, err := f.next(); m == nil || err == nil {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err := f.next(); m == nil || err != nil {
		t.Errorf("behind it: %+v, %v", m, err)
	}
}

// A stream that trickles must not be searched from its beginning each time.
func TestTricklingIsCheap(t *testing.T) {
	t.Parallel()
	var f framer
	f.write([]byte("OPTIONS sip:a@h SIP/2.0\r\nX: "))
	start := time.Now()
	for range 60_000 {
		f.write([]byte("x"))
		if m, err := f.next(); m != nil || err != nil {
			t.Fatal(m, err)
		}
		if len(f.buf)-f.searched > 3 {
			t.Fatalf("%d octets would be searched again", len(f.buf)-f.searched)
		}
	}
	t.Logf("60000 octets one by one took %v", time.Since(start))
}
