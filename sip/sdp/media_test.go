package sdp

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// fixture parses one body of testdata.
func fixture(t testing.TB, name string) *Session {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(b))
}

func parse(t testing.TB, body string) *Session {
	t.Helper()
	s, err := Parse([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// crlf writes lines as a body.
func crlf(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n" }

func TestMedia(t *testing.T) {
	t.Parallel()
	for file, want := range map[string][]Media{
		"desk-audio.sdp": {
			{Kind: "audio", Port: 11784, PortCount: 1, Proto: "RTP/AVP", Formats: []string{"9", "8", "0", "18", "101"}, Addr: "192.168.40.17", RTCPPort: 11785, Direction: "sendrecv", RTP: true},
		},
		"ipv6-phone.sdp": {
			{Kind: "audio", Port: 6010, PortCount: 1, Proto: "RTP/AVP", Formats: []string{"0", "8"}, Addr: "2001:db8:4:1::9a", RTCPPort: 53020, RTCPAddr: "2001:DB8:4:1:0:0:0:9A", Direction: "sendrecv", RTP: true},
			{Kind: "video", Port: 6012, PortCount: 1, Proto: "RTP/AVPF", Formats: []string{"99"}, Addr: "192.168.66.4", RTCPPort: 6099, Direction: "sendrecv", RTP: true},
		},
		"bom-odd-order.sdp": {
			{Kind: "AUDIO", Port: 5555, PortCount: 1, Proto: "rtp/avp", Formats: []string{"8", "0"}, Addr: "192.168.3.4", RTCPPort: 5556, Direction: "sendonly", RTP: true},
		},
		"hold-zero.sdp": {
			{Kind: "audio", Port: 8000, PortCount: 1, Proto: "RTP/AVP", Formats: []string{"0"}, Addr: "0.0.0.0", RTCPPort: 8001, Direction: "sendonly", RTP: true},
			{Kind: "video", Port: 8002, PortCount: 1, Proto: "RTP/AVP", Formats: []string{"34"}, Addr: "172.16.8.8", RTCPPort: 9, RTCPAddr: "0.0.0.0", Direction: "sendrecv", RTP: true},
			{Kind: "audio", Port: 8004, PortCount: 1, Proto: "RTP/AVP", Formats: []string{"8"}, Addr: "hold.invalid", RTCPPort: 8005, Direction: "inactive", RTP: true},
		},
		"multicast-count.sdp": {
			{Kind: "audio", Port: 30000, PortCount: 2, Proto: "RTP/AVP", Formats: []string{"0"}, Addr: "224.2.1.4", RTCPPort: 30001, Direction: "sendrecv", RTP: true},
			{Kind: "audio", Port: 30010, PortCount: 1, Proto: "RTP/AVP", Formats: []string{"8"}, Addr: "224.2.1.1", RTCPPort: 30011, Direction: "sendrecv", RTP: true},
			{Kind: "audio", PortCount: 4, Proto: "RTP/AVP", Formats: []string{"18"}, Addr: "224.2.1.1", Direction: "sendrecv", RTP: true, Rejected: true},
		},
		"fax.sdp": {
			{Kind: "image", Port: 4500, PortCount: 1, Proto: "udptl", Formats: []string{"t38"}, Addr: "10.0.4.4", RTCPPort: 4501, Direction: "sendrecv"},
			{Kind: "image", Port: 4502, PortCount: 1, Proto: "TCP", Formats: []string{"t38"}, Addr: "10.0.4.4", RTCPPort: 4503, Direction: "sendrecv"},
			{Kind: "audio", PortCount: 1, Proto: "RTP/AVP", Formats: []string{"0"}, Addr: "10.0.4.4", Direction: "sendrecv", RTP: true, Rejected: true},
		},
		"browser-bundle.sdp": {
			{Kind: "audio", Port: 50400, PortCount: 1, Proto: "UDP/TLS/RTP/SAVPF", Formats: []string{"111", "0", "8", "126"}, Addr: "198.51.100.23", RTCPPort: 50401, Mux: true, Direction: "sendrecv", RTP: true, Secure: true, DTLS: true},
			{Kind: "video", PortCount: 1, Proto: "UDP/TLS/RTP/SAVPF", Formats: []string{"100"}, Addr: "0.0.0.0", Mux: true, Direction: "sendrecv", Rejected: true, RTP: true, Secure: true, DTLS: true},
			{Kind: "application", Port: 50404, PortCount: 1, Proto: "UDP/DTLS/SCTP", Formats: []string{"webrtc-datachannel"}, Addr: "198.51.100.23", RTCPPort: 50405, Direction: "sendrecv"},
		},
		"no-connection.sdp": {
			{Kind: "audio", Port: 6100, PortCount: 1, Proto: "RTP/AVP", Formats: []string{"0"}, RTCPPort: 6101, Direction: "sendrecv", RTP: true, noConnection: true},
			{Kind: "video", Port: 6102, PortCount: 1, Proto: "RTP/AVP", Formats: []string{"31"}, RTCPPort: 6103, Direction: "sendrecv", RTP: true, noConnection: true},
			{Kind: "audio", PortCount: 1, Proto: "RTP/AVP", Formats: []string{"0"}, Direction: "sendrecv", RTP: true, Rejected: true, noConnection: true},
			{Kind: "text", Port: 6104, PortCount: 1, Proto: "RTP/AVP", Formats: []string{"98"}, Addr: "192.168.100.9", RTCPPort: 6105, Direction: "sendrecv", RTP: true},
		},
		"other-networks.sdp": {
			{Kind: "audio", Port: 9, PortCount: 1, Proto: "PSTN", Formats: []string{"-"}, RTCPPort: 10, Direction: "sendrecv"},
			{Kind: "audio", PortCount: 1, Proto: "RTP/AVP", Formats: []string{"0"}, Direction: "inactive", RTP: true},
			{Kind: "video", Port: 4000, PortCount: 1, RTCPPort: 4001, Direction: "sendrecv"},
			{Kind: "data", PortCount: 1, Direction: "sendrecv", Rejected: true},
			{Kind: "audio", Port: 700, PortCount: 1, Proto: "RTP/ODD", Formats: []string{"0"}, RTCPPort: 701, Direction: "sendrecv"},
		},
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			got := fixture(t, file).Media()
			for i := range max(len(got), len(want)) {
				if i >= len(got) || i >= len(want) {
					t.Fatalf("%d m-lines, want %d", len(got), len(want))
				}
				if len(got[i].Formats) == 0 {
					got[i].Formats = nil
				}
				if !reflect.DeepEqual(got[i], want[i]) {
					t.Errorf("m-line %d\n got %+v\nwant %+v", i, got[i], want[i])
				}
			}
		})
	}
}

func TestProfiles(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		proto       string
		rtp, secure bool
		plain       string
	}{
		{"RTP/AVP", true, false, "RTP/AVP"},
		{"rtp/avpf", true, false, "rtp/avpf"},
		{"RTP/SAVP", true, true, "RTP/AVP"},
		{"RTP/SAVPF", true, true, "RTP/AVPF"},
		{"UDP/TLS/RTP/SAVP", true, true, "RTP/AVP"},
		{"udp/tls/rtp/savpf", true, true, "RTP/AVPF"},
		{"RTP/AVP/UDP", true, false, "RTP/AVP/UDP"},
		{"TCP/RTP/AVP", false, false, "TCP/RTP/AVP"},
		{"TCP/TLS/RTP/SAVP", false, false, "TCP/TLS/RTP/SAVP"},
		{"RTP/AVP/TCP", false, false, "RTP/AVP/TCP"},
		{"AVP", false, false, "AVP"},
		{"udptl", false, false, "udptl"},
		{"UDP/DTLS/SCTP", false, false, "UDP/DTLS/SCTP"},
	} {
		m := parse(t, "m=audio 4000 "+c.proto+" 0\r\n").Media()[0]
		if m.RTP != c.rtp || m.Secure != c.secure || m.PlainProto() != c.plain {
			t.Errorf("%s: RTP %v, secure %v, plain %s", c.proto, m.RTP, m.Secure, m.PlainProto())
		}
	}
}

func TestHeld(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]bool{
		"0.0.0.0": true, "::": true, "::ffff:0.0.0.0": true, "0:0:0:0:0:0:0:0": true, "000.0.0.0": true,
		"x.INVALID": true, "a.b.invalid.": true, "invalid": true,
		"": false, "10.0.0.1": false, "::1": false, "invalid.example": false, "notinvalid": false,
	} {
		if got := (Media{Addr: addr}).Held(); got != want {
			t.Errorf("%q held: %v", addr, got)
		}
	}
}

// Which keying a line names, by itself or for the whole session.
func TestKeying(t *testing.T) {
	t.Parallel()
	m := parse(t, crlf("v=0", "c=IN IP4 10.0.0.1", "m=audio 5 RTP/SAVP 0", "a=crypto:1 A inline:x", "a=Crypto:2 B inline:y|z", "m=video 6 RTP/SAVPF 99", "a=fingerprint:sha-1 AA", "m=image 7 udptl t38")).Media()
	if !slices.Equal(m[0].Crypto, []string{"1 A inline:x", "2 B inline:y|z"}) || m[0].DTLS || !m[1].DTLS || m[1].Crypto != nil || m[2].DTLS {
		t.Errorf("%+v", m)
	}
	m = parse(t, crlf("v=0", "a=fingerprint:sha-1 AA", "m=audio 5 RTP/AVP 0", "m=image 7 udptl t38")).Media()
	if !m[0].DTLS || m[1].DTLS {
		t.Errorf("%+v", m)
	}
	s := parse(t, crlf("v=0", "k=clear:a", "m=audio 5 RTP/SAVP 0", "a=crypto:1 A inline:x", "a=x:1", "k=clear:b", "a=crypto-x"))
	if s.DropSDES(); string(s.Bytes()) != crlf("v=0", "m=audio 5 RTP/SAVP 0", "a=x:1") {
		t.Errorf("%s", s.Bytes())
	}
}
