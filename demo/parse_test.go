package demo

import (
	"bufio"
	"bytes"
	"strings"
	"testing"

	"github.com/pion/rtp"
)

func TestReadMessage(t *testing.T) {
	t.Parallel()
	one := "OPTIONS sip:b SIP/2.0\r\nContent-Length: 4\r\n\r\nbody"
	two := "SIP/2.0 200 OK\r\nl: 0\r\n\r\n"
	r := bufio.NewReaderSize(strings.NewReader("\r\n\r\n"+one+two+"\r\n"+one+"OPTIONS sip:b"), 16<<10)
	for _, want := range []string{one, two, one} {
		if got, err := readMessage(r); err != nil || string(got) != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	if got, err := readMessage(r); err == nil {
		t.Errorf("half a message was read: %q", got)
	}
	for name, bad := range map[string]string{
		"length":     "OPTIONS sip:b SIP/2.0\r\nContent-Length: x\r\n\r\n",
		"negative":   "OPTIONS sip:b SIP/2.0\r\nContent-Length: -1\r\n\r\n",
		"too long":   "OPTIONS sip:b SIP/2.0\r\nContent-Length: 99999999\r\n\r\n",
		"short body": "OPTIONS sip:b SIP/2.0\r\nContent-Length: 4\r\n\r\nbod",
		"long line":  "OPTIONS sip:b SIP/2.0\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n",
		"long head":  "OPTIONS sip:b SIP/2.0\r\n" + strings.Repeat("X: 1\r\n", 10<<10) + "\r\n",
	} {
		if got, err := readMessage(bufio.NewReader(strings.NewReader(bad))); err == nil {
			t.Errorf("%s: read %d octets", name, len(got))
		}
	}
}

// What is read is what stood there, one message behind the other.
func FuzzReadMessage(f *testing.F) {
	f.Add([]byte("OPTIONS sip:b SIP/2.0\r\nContent-Length: 4\r\n\r\nbodySIP/2.0 200 OK\r\n\r\n"))
	f.Add([]byte("\r0\n\n"))
	f.Add([]byte("\r\n\r\nACK sip:b SIP/2.0\nl:0\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReader(bytes.NewReader(b))
		rest := b
		for {
			m, err := readMessage(r)
			if err != nil {
				return
			}
			// Line ends before a message may be the message's or nobody's.
			rest, m = bytes.TrimLeft(rest, "\r\n"), bytes.TrimLeft(m, "\r\n")
			if len(m) == 0 || !bytes.HasPrefix(rest, m) {
				t.Fatalf("read %q of %q", m, rest)
			}
			rest = rest[len(m):]
		}
	})
}

// What a phone reads, another reader of RTP reads alike.
func FuzzParsePacket(f *testing.F) {
	f.Add(packet(0, true, 1, 2, 3, []byte("speech")))
	f.Add([]byte{0xb1, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0xbe, 0xde, 0, 1, 0, 0, 0, 0, 'x', 0, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := parsePacket(b)
		if !ok {
			return
		}
		var h rtp.Header
		n, err := h.Unmarshal(b)
		if err != nil {
			return // pion reads into the extension, which a phone skips
		}
		if p.pt != h.PayloadType || p.seq != h.SequenceNumber || p.ssrc != h.SSRC {
			t.Fatalf("%+v, want %+v", p, h)
		}
		if !bytes.HasPrefix(b[n:], p.payload) || !h.Padding && len(p.payload) != len(b)-n {
			t.Fatalf("payload %x of %x", p.payload, b[n:])
		}
	})
}
