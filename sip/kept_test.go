package sip

import (
	"slices"
	"testing"
)

func TestKept(t *testing.T) {
	t.Parallel()
	m, err := Parse([]byte("INVITE sip:bob@b.example SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nf: Alice <sip:alice@a.example>;tag=1\r\n" +
		"To: <sip:bob@b.example>\r\nPrivacy: id\r\nMAX-FORWARDS: 70\r\nPrivacy: header\r\nUser-Agent: \r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"))
	if err != nil {
		t.Fatal(err)
	}
	in := &Incoming{Message: m}
	kept := in.Kept([]string{"Via", "Max-Forwards", "Content-Type"})
	want := []Field{{"From", "Alice <sip:alice@a.example>;tag=1"}, {"To", "<sip:bob@b.example>"}, {"Privacy", "id"}, {"Privacy", "header"}, {"User-Agent", ""}}
	if !slices.Equal(kept.Fields, want) || kept.Body != nil || kept.URI != m.URI || kept.Method != "INVITE" || kept.From() != m.From() {
		t.Errorf("%+v", kept.Message)
	}
	if len(m.Fields) != 8 || len(m.Body) != 2 {
		t.Errorf("the request itself has changed: %+v", m)
	}
}
