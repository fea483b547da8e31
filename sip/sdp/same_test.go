package sdp

import (
	"strings"
	"testing"
)

func TestSame(t *testing.T) {
	t.Parallel()
	base := crlf("v=0", "o=- 7 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0", "m=audio 4000 RTP/AVP 0 8", "a=rtpmap:0 PCMU/8000", "a=sendrecv")
	for _, c := range []struct {
		from, to              string
		same, sameButDirecton bool
	}{
		{"x", "x", true, true},
		{"o=- 7 1 ", "o=- 7 29 ", true, true},
		{"m=audio", "a=dh-init:1 x25519=AA S\r\nm=audio", true, true},
		{"o=- 7 1 ", "o=- 8 1 ", false, false},
		{"4000", "4002", false, false},
		{"192.0.2.1", "0.0.0.0", false, false},
		{"a=sendrecv", "a=sendonly", false, true},
		{" 0 8", " 8 0", false, false},
		{"a=sendrecv", "a=sendrecv\r\na=ptime:30", false, false},
	} {
		a, b := parse(t, base), parse(t, strings.ReplaceAll(base, c.from, c.to))
		if got := a.Same(b); got != c.same {
			t.Errorf("%q for %q: Same %v", c.to, c.from, got)
		}
		if got := b.SameButDirection(a); got != c.sameButDirecton {
			t.Errorf("%q for %q: SameButDirection %v", c.to, c.from, got)
		}
	}
}

func TestAnswerDirections(t *testing.T) {
	t.Parallel()
	all := []string{"sendrecv", "sendonly", "recvonly", "inactive"}
	sends := func(d string) bool { return d == "sendrecv" || d == "sendonly" }
	hears := func(d string) bool { return d == "sendrecv" || d == "recvonly" }
	for _, own := range all {
		for _, offered := range all {
			offer := parse(t, crlf("v=0", "a="+offered, "m=audio 1 RTP/AVP 0", "m=video 2 RTP/AVP 96", "a=recvonly"))
			s := parse(t, crlf("v=0", "a="+own, "m=audio 3 RTP/AVP 0", "a=ptime:20", "m=video 4 RTP/AVP 96", "a=sendonly")+"b=AS:1")
			s.AnswerDirections(offer)
			m := s.Media()
			if got := m[0].Direction; sends(got) != (sends(own) && hears(offered)) || hears(got) != (hears(own) && sends(offered)) {
				t.Errorf("%s to %s becomes %s", own, offered, got)
			}
			if m[1].Direction != "sendonly" || m[1].Port != 4 {
				t.Errorf("the second section became %+v", m[1])
			}
		}
	}
}
