package sdp

import (
	"strings"
	"testing"
)

const withEvents = "v=0\r\nm=audio 4000 RTP/AVP 0  96 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 Telephone-Event/8000\r\na=fmtp:101 0-15\r\na=fmtp:96 useinbandfec=1\r\n" +
	"m=video 0 RTP/AVP 101\r\na=rtpmap:101 telephone-event/90000\r\nm=audio 5000 RTP/AVP 8\r\na=rtpmap:97 telephone-event/8000\r\n"

func TestTelephoneEvents(t *testing.T) {
	t.Parallel()
	parse := func(text string) *Session {
		s, err := Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := parse(withEvents)
	if pt, rate, ok := s.TelephoneEvent(0); pt != 101 || rate != 8000 || !ok {
		t.Errorf("%d/%d %v", pt, rate, ok)
	}
	for _, i := range []int{-1, 1, 2, 3} { // none such, rejected, mapped and not offered, none such
		if _, _, ok := s.TelephoneEvent(i); ok {
			t.Errorf("line %d has events", i)
		}
	}
	s.DropTelephoneEvents(0)
	s.DropTelephoneEvents(1) // nothing else is on it
	s.DropTelephoneEvents(7)
	want := strings.Replace(strings.Replace(withEvents, "a=rtpmap:101 Telephone-Event/8000\r\na=fmtp:101 0-15\r\n", "", 1), "0  96 101", "0 96", 1)
	if got := string(s.Bytes()); got != want {
		t.Errorf("without:\n%s", got)
	}
	if pt, ok := s.FreePayloadType(0, 101); pt != 101 || !ok {
		t.Errorf("free: %d", pt)
	}
	if pt, ok := s.FreePayloadType(0, 96); pt != 127 || !ok {
		t.Errorf("free: %d", pt)
	}
	s.AddTelephoneEvent(0, 0, 8000) // taken
	s.AddTelephoneEvent(0, 101, 8000)
	s.AddTelephoneEvent(0, 102, 8000) // it has some
	if pt, rate, ok := s.TelephoneEvent(0); pt != 101 || rate != 8000 || !ok || !strings.Contains(string(s.Bytes()), "m=audio 4000 RTP/AVP 0 96 101\r\n") || strings.Count(string(s.Bytes()), "a=fmtp:101 0-16\r\nm=video") != 1 {
		t.Errorf("with:\n%s", s.Bytes())
	}
	for _, odd := range []string{"a=rtpmap:200 telephone-event/8000", "a=rtpmap:101 telephone-event", "a=rtpmap:101 telephone-event/0", "a=rtpmap:101 telephone-event/8000 x", "a=rtpmap:", "a=rtpmap"} {
		if _, _, ok := parse("v=0\r\nm=audio 1 RTP/AVP 0 101 200\r\n" + odd + "\r\n").TelephoneEvent(0); ok {
			t.Errorf("%s was taken", odd)
		}
	}
}
