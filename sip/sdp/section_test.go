package sdp

import "testing"

func TestAddMediaAttribute(t *testing.T) {
	t.Parallel()
	const body = "v=0\r\na=x\r\nm=audio 1 RTP/AVP 0\r\na=y\r\nm=video 2 RTP/AVP 9\r\n\r\n"
	for i, want := range map[int]string{
		-1: body,
		0:  "v=0\r\na=x\r\nm=audio 1 RTP/AVP 0\r\na=y\r\na=n:v\r\nm=video 2 RTP/AVP 9\r\n\r\n",
		1:  "v=0\r\na=x\r\nm=audio 1 RTP/AVP 0\r\na=y\r\nm=video 2 RTP/AVP 9\r\na=n:v\r\n\r\n",
		2:  body,
	} {
		s := parse(t, body)
		s.AddMediaAttribute(i, "n", "v")
		if got := string(s.Bytes()); got != want {
			t.Errorf("%d: %q", i, got)
		}
		s.AddMediaAttribute(0, "n", "v\r\na=evil")
		if got := string(s.Bytes()); got != want {
			t.Errorf("two lines in one: %q", got)
		}
	}
	s := parse(t, "m=audio 1 RTP/AVP 0")
	if s.AddMediaAttribute(0, "n", ""); string(s.Bytes()) != "m=audio 1 RTP/AVP 0\r\na=n\r\n" {
		t.Errorf("%q", s.Bytes())
	}
}
