package sdp

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for path, body := range bodies(t) {
		s, err := Parse(body)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if got := s.Bytes(); string(got) != string(body) {
			t.Errorf("%s:\n got %q\nwant %q", path, got, body)
		}
	}
}

func TestParseBounds(t *testing.T) {
	t.Parallel()
	const m = "m=audio 4000 RTP/AVP 0\r\n"
	for _, c := range []struct {
		name, body string
		want       error
	}{
		{"as large as may be", "s=" + strings.Repeat("x", MaxSize-2), nil},
		{"one octet more", "s=" + strings.Repeat("x", MaxSize-1), ErrTooLarge},
		{"as many m-lines as may be", strings.Repeat(m, MaxMedia), nil},
		{"one m-line more", strings.Repeat(m, MaxMedia+1), ErrTooManyMedia},
		{"nothing", "", ErrNotSDP},
		{"not a description", "\x80\x00\x01hello=\r\nX=1\r\n==", ErrNotSDP},
		{"one line", "v=0", nil},
	} {
		if _, err := Parse([]byte(c.body)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestClone(t *testing.T) {
	t.Parallel()
	s := fixture(t, "exchange.sdp")
	before := string(s.Bytes())
	c := s.Clone()
	c.DropDH()
	c.Reject(0)
	c.AddSessionAttribute("x", "y")
	if string(s.Bytes()) != before {
		t.Errorf("a change of the clone reached the original:\n%s", s.Bytes())
	}
	if string(c.Bytes()) == before {
		t.Error("clone did not change")
	}
}

func TestDH(t *testing.T) {
	t.Parallel()
	s := fixture(t, "exchange.sdp")
	want := []Attribute{
		{"dh-init", "1 x25519=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8 AEAD_AES_256_GCM,AES_CM_128_HMAC_SHA1_80", false},
		{"dh-sig", "ed25519 AAAA sip:anna@192.168.1.2 BBBB", false},
		{"dh-init", "1 misplaced", true},
	}
	if got := s.DH(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	s.DropDH()
	if got := s.DH(); len(got) != 0 || strings.Contains(string(s.Bytes()), "dh-") {
		t.Errorf("left: %+v", got)
	}
	if len(s.Media()) != 1 {
		t.Error("m-line lost")
	}
}

// A value is what stands between the first colon and the line's end; an end
// that is none in RFC 8866 makes it another value.
func TestDHValue(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		"v=0\r\na=dh-fin:1 AA\r\n":      "1 AA",
		"v=0\na=dh-fin:1 AA\n":          "1 AA",
		"v=0\r\na=dh-fin:1 AA":          "1 AA",
		"v=0\r\na=dh-fin: 1 AA \r\n":    " 1 AA ",
		"v=0\r\na=dh-fin:1:AA\t\r\n":    "1:AA\t",
		"v=0\r\na=dh-fin:1 AA\r\r\n":    "1 AA\r\r\n",
		"v=0\r\na=dh-fin:1 AA\rBB\r\n":  "1 AA\r",
		"v=0\r\na=dh-fin\r\n":           "",
		"v=0\r\na=dh-fin:1 A\x00A\r\n":  "1 A\x00A",
		"v=0\r\na=dh-fin:1 A\xc2\xa0\n": "1 A\xc2\xa0",
	} {
		if got := parse(t, body).DH(); len(got) != 1 || got[0].Name != "dh-fin" || got[0].Value != want {
			t.Errorf("%q: %+v", body, got)
		}
	}
	if got := parse(t, "v=0\r\na=DH-Fin:1 AA\r\na=xdh-fin:1\r\ns=dh-fin:1\r\n").DH(); len(got) != 0 {
		t.Errorf("found %+v", got)
	}
}

func TestAddSessionAttribute(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, body, want string }{
		{"before the first m-line", "v=0\r\nt=0 0\r\nm=audio 1 RTP/AVP 0\r\nm=video 2 RTP/AVP 31\r\n", "v=0\r\nt=0 0\r\na=n:v\r\nm=audio 1 RTP/AVP 0\r\nm=video 2 RTP/AVP 31\r\n"},
		{"the sender's line end", "v=0\nm=audio 1 RTP/AVP 0\n", "v=0\na=n:v\nm=audio 1 RTP/AVP 0\n"},
		{"no m-line, no line end", "v=0\r\nt=0 0", "v=0\r\nt=0 0\r\na=n:v\r\n"},
		{"before blank lines", "v=0\r\n\r\n \r\n", "v=0\r\na=n:v\r\n\r\n \r\n"},
		{"only m-lines", "m=audio 1 RTP/AVP 0", "a=n:v\r\nm=audio 1 RTP/AVP 0"},
	} {
		s := parse(t, c.body)
		s.AddSessionAttribute("n", "v")
		if got := string(s.Bytes()); got != c.want {
			t.Errorf("%s: %q", c.name, got)
		}
	}
	s := parse(t, "v=0\r\n")
	s.AddSessionAttribute("flag", "")
	s.AddSessionAttribute("", "x")
	for _, bad := range []string{"x\r\nm=audio 1 RTP/AVP 0", "x\ny", "x\ry", "x\x00y"} {
		s.AddSessionAttribute("n", bad)
		s.AddSessionAttribute(bad, "v")
	}
	if got := string(s.Bytes()); got != "v=0\r\na=flag\r\n" {
		t.Errorf("%q", got)
	}
}

func TestRejectAndSetProto(t *testing.T) {
	t.Parallel()
	s := parse(t, "v=0\r\nm=audio  4000/2  RTP/SAVP  0 8 \r\na=x\r\nm=video 0 RTP/SAVPF 31\r\nm=image 5000\r\n")
	s.Reject(0)
	s.Reject(1)
	s.Reject(3)
	s.Reject(-1)
	s.SetProto(0, "RTP/AVP")
	s.SetProto(1, "RTP/AVPF")
	s.SetProto(2, "udptl")
	s.SetProto(1, "RTP/AVP 31\r\na=y")
	s.SetProto(1, "")
	want := "v=0\r\nm=audio  0  RTP/AVP  0 8 \r\na=x\r\nm=video 0 RTP/AVPF 31\r\nm=image 5000\r\n"
	if got := string(s.Bytes()); got != want {
		t.Errorf("%q", got)
	}
}

// What was packed reads, changes and leaves as what was not.
func TestPack(t *testing.T) {
	for _, body := range []string{
		"v=0\r\no=- 1 2 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\na=sendonly\r\na=dh-resp:1 x\r\nm=video 11 RTP/AVP 96\r\n",
		"v=0\nm=audio 9 RTP/AVP 0\na=crypto:1 x\rk=clear:y",
		"\r\nm=audio 9 RTP/AVP 0\r\r\n\r\n \r\n",
	} {
		plain, packed := parse(t, body), parse(t, body)
		packed.Pack()
		if packed.parsed != nil {
			t.Errorf("%q: both forms are kept", body)
		}
		for name, change := range map[string]func(*Session){
			"nothing":   func(*Session) {},
			"again":     (*Session).Pack,
			"keys":      (*Session).DropDH,
			"sdes":      (*Session).DropSDES,
			"hold":      (*Session).Resume,
			"attribute": func(s *Session) { s.AddSessionAttribute("n", "v") },
			"media":     func(s *Session) { s.AddMediaAttribute(0, "n", "v") },
			"reject":    func(s *Session) { s.Reject(0) },
			"proto":     func(s *Session) { s.SetProto(0, "RTP/SAVP") },
			"direction": func(s *Session) { s.AnswerDirections(parse(t, "m=audio 9 RTP/AVP 0\na=inactive\n")) },
		} {
			a, b := plain.Clone(), packed.Clone()
			change(a)
			change(b)
			if got, want := string(b.Bytes()), string(a.Bytes()); got != want {
				t.Errorf("%s of %q: %q, not packed %q", name, body, got, want)
			}
			if !b.Same(a) || len(b.Media()) != len(a.Media()) || len(b.DH()) != len(a.DH()) {
				t.Errorf("%s of %q: packed and not packed read otherwise", name, body)
			}
		}
		if got := string(packed.Bytes()); got != body {
			t.Errorf("%q was packed and came out as %q", body, got)
		}
	}
}
