package demo

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

func TestEchoMirrorsAnyCodec(t *testing.T) {
	withEcho(t, EchoOptions{}, func(t *testing.T, n Network, e *Echo) {
		p := newProber(t, n, e.machine)
		defer p.close()
		audio := []string{"m=audio 4000 RTP/AVPF 111 9 101", "a=rtpmap:111 opus/48000/2", "a=fmtp:111 useinbandfec=1", "a=rtpmap:9 G722/8000",
			"a=rtpmap:101 telephone-event/8000", "a=ptime:40", "a=candidate:1 1 udp 1 192.0.2.7 4000 typ host", "a=extmap:1 urn:x", "a=x-odd:1"}
		offer := offerAt("192.0.2.7", slices.Concat([]string{"m=video 4002 RTP/AVP 96", "a=rtpmap:96 H264/90000", "m=audio 4004 RTP/SAVP 0"}, audio, []string{"m=audio 4006 RTP/AVP 0", "a=inactive"})...)
		res := p.dial(sdpType, offer)
		lines := mediaOf(t, res)
		want := fmt.Sprintf("s=echo\r\nc=IN IP4 192.0.2.99\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\nm=audio 0 RTP/SAVP 0\r\nm=audio %d RTP/AVPF 111 9 101\r\n"+
			"a=rtpmap:111 opus/48000/2\r\na=fmtp:111 useinbandfec=1\r\na=rtpmap:9 G722/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:40\r\na=sendrecv\r\nm=audio 0 RTP/AVP 0\r\n", lines[2].Port)
		if !strings.HasSuffix(string(res.Body), want) {
			t.Errorf("the answer is\n%s\nand should end in\n%s", res.Body, want)
		}
		if lines[2].Port == 0 || lines[2].Port%2 != 0 {
			t.Errorf("port %d", lines[2].Port)
		}

		in := rtp.Packet{Header: rtp.Header{Version: 2, Marker: true, PayloadType: 111, SequenceNumber: 65535, Timestamp: 0xfffffff0, SSRC: 77, CSRC: []uint32{5},
			Extension: true, ExtensionProfile: 0xbede, PaddingSize: 4}, Payload: bytes.Repeat([]byte("opus"), 900)}
		if err := in.SetExtension(1, []byte{9}); err != nil {
			t.Fatal(err)
		}
		var back []rtp.Packet
		for i := range uint16(3) {
			in.SequenceNumber = 65535 + i
			b, err := in.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			p.say(p.rtp, lines[2], b)
			got := p.hear(p.rtp, time.Second)
			same := slices.Clone(b) // but for the two fields
			if len(got) == len(b) {
				copy(same[2:4], got[2:4])
				copy(same[8:12], got[8:12])
			}
			if !bytes.Equal(got, same) {
				t.Fatalf("sent %d octets, %d came back:\n%x\n%x", len(b), len(got), b[:40], got[:min(40, len(got))])
			}
			var r rtp.Packet
			if err := r.Unmarshal(got); err != nil {
				t.Fatal(err)
			}
			back = append(back, r)
		}
		for i, r := range back {
			if r.SSRC == 77 || r.SSRC != back[0].SSRC || r.SequenceNumber != back[0].SequenceNumber+uint16(i) {
				t.Errorf("packet %d has SSRC %d and number %d; the first one %d and %d", i, r.SSRC, r.SequenceNumber, back[0].SSRC, back[0].SequenceNumber)
			}
		}

		// A receiver report about the packets, once they came.
		packets, err := rtcp.Unmarshal(p.hear(p.rtcp, 2*reportEvery))
		if err != nil || len(packets) != 2 {
			t.Fatalf("%v, %v", packets, err)
		}
		rr, ok := packets[0].(*rtcp.ReceiverReport)
		if !ok || rr.SSRC != back[0].SSRC || len(rr.Reports) != 1 || rr.Reports[0].SSRC != 77 || rr.Reports[0].LastSequenceNumber != 65537 || rr.Reports[0].TotalLost != 0 {
			t.Errorf("%+v", packets[0])
		}
		p.close()
	})
}

// Packets of others, and what is no RTP, go nowhere; a port of the same host
// that the description does not name is still the caller.
func TestEchoHearsItsCallerOnly(t *testing.T) {
	withEcho(t, EchoOptions{}, func(t *testing.T, n Network, e *Echo) {
		p := newProber(t, n, e.machine)
		defer p.close()
		line := mediaOf(t, p.dial(sdpType, offerAt("192.0.2.7", "m=audio 4000 RTP/AVP 0")))[0]
		stranger, other := p.socket(netip.MustParseAddrPort("192.0.2.8:4000")), p.socket(netip.AddrPortFrom(proberAddr, 4010))
		defer stranger.Close()
		defer other.Close()
		good := packet(0, false, 1, 2, 3, []byte("sound"))
		p.say(stranger, line, good)
		for _, b := range [][]byte{{}, []byte("x"), good[:11], report(3, 0, 0, 0, 0, false, "x"), bytes.Repeat([]byte{0xff}, 40)} {
			p.say(p.rtp, line, b)
		}
		for _, c := range []net.PacketConn{p.rtp, stranger, p.rtcp} {
			if got := p.hear(c, 3*time.Second); got != nil {
				t.Errorf("%x came to %v", got, c.LocalAddr())
			}
		}
		p.say(other, line, good)
		if got := p.hear(p.rtp, time.Second); len(got) != len(good) {
			t.Errorf("%x came back", got)
		}
		stranger.Close()
		other.Close()
		p.close()
	})
}

// A flood comes back as a trickle: neither memory nor bandwidth is the
// flooder's to use.
func TestEchoBoundsAFlood(t *testing.T) {
	withEcho(t, EchoOptions{}, func(t *testing.T, n Network, e *Echo) {
		p := newProber(t, n, e.machine)
		defer p.close()
		line := mediaOf(t, p.dial(sdpType, offerAt("192.0.2.7", "m=audio 4000 RTP/AVP 0")))[0]
		sent, back := 0, 0
		for range 100 { // one second
			for range 100 {
				p.say(p.rtp, line, packet(0, false, uint16(sent), uint32(sent), 3, []byte("sound")))
				sent++
			}
			time.Sleep(10 * time.Millisecond)
		}
		for p.hear(p.rtp, time.Second) != nil {
			back++
		}
		if most := echoRate*13/10 + 64; back < echoRate/2 || back > most {
			t.Errorf("%d of %d packets came back, want at most %d", back, sent, most)
		}
		p.close()
	})
}

func TestEchoAnswersChanges(t *testing.T) {
	withEcho(t, EchoOptions{}, func(t *testing.T, n Network, e *Echo) {
		p := newProber(t, n, e.machine)
		defer p.close()
		line := mediaOf(t, p.dial(sdpType, offerAt("192.0.2.7", "m=audio 4000 RTP/AVP 8 0")))[0]
		sound := packet(8, false, 1, 2, 3, []byte("sound"))
		moved := p.socket(netip.AddrPortFrom(proberAddr, 4020))
		defer moved.Close()
		version := 1
		for _, c := range []struct {
			name, method, body string
			direction          string
			at                 net.PacketConn // where an echo comes to; nil: nowhere
			changes            bool           // of the echo's own description
		}{
			{"the same again", "INVITE", offerAt("192.0.2.7", "m=audio 4000 RTP/AVP 8 0"), "sendrecv", p.rtp, false},
			{"hold", "INVITE", offerAt("192.0.2.7", "m=audio 4000 RTP/AVP 8 0", "a=sendonly"), "recvonly", nil, true},
			{"hold for good", "INVITE", offerAt("192.0.2.7", "m=audio 4000 RTP/AVP 8 0", "a=inactive"), "inactive", nil, true},
			{"listens", "INVITE", offerAt("192.0.2.7", "m=audio 4000 RTP/AVP 8 0", "a=recvonly"), "sendonly", nil, true},
			{"resumed by UPDATE", "UPDATE", offerAt("192.0.2.7", "m=audio 4000 RTP/AVP 8 0"), "sendrecv", p.rtp, true},
			{"hold as in RFC 2543", "INVITE", offerAt("0.0.0.0", "m=audio 4000 RTP/AVP 8 0"), "recvonly", nil, true},
			{"the same and inactive", "INVITE", offerAt("0.0.0.0", "m=audio 4000 RTP/AVP 8 0", "a=recvonly"), "inactive", nil, true},
			{"another port and codec", "INVITE", offerAt("192.0.2.7", "m=audio 4020 RTP/AVP 97", "a=rtpmap:97 speex/16000"), "sendrecv", moved, true},
			{"a second line", "INVITE", offerAt("192.0.2.7", "m=audio 4000 RTP/AVP 8", "m=video 4030 RTP/AVP 31"), "sendrecv", p.rtp, true},
		} {
			res := p.do(c.method, sdpType, c.body)
			lines := mediaOf(t, res)
			if lines[0].Direction != c.direction || lines[0].Port != line.Port {
				t.Errorf("%s: answered %s at port %d, want %s at %d", c.name, lines[0].Direction, lines[0].Port, c.direction, line.Port)
			}
			offered, _ := sdp.Parse([]byte(c.body))
			if !slices.Equal(lines[0].Formats, offered.Media()[0].Formats) || len(lines) != len(offered.Media()) {
				t.Errorf("%s: answered\n%s", c.name, res.Body)
			}
			if c.changes {
				version++
			}
			if got := strings.Fields(string(res.Body))[3]; got != fmt.Sprint(version) {
				t.Errorf("%s: version %s, want %d", c.name, got, version)
			}
			p.say(p.rtp, line, sound)
			for _, at := range []net.PacketConn{p.rtp, moved} {
				if got := p.hear(at, time.Second); (got != nil) != (at == c.at) {
					t.Errorf("%s: %x at %v", c.name, got, at.LocalAddr())
				}
			}
		}

		// What cannot be taken changes nothing.
		for status, res := range map[int]*sip.Message{
			488: p.do("INVITE", sdpType, offerAt("192.0.2.7", "m=audio 4000 RTP/SAVP 8")),
			415: p.do("UPDATE", "text/plain", "hello"),
			405: p.do("MESSAGE", "text/plain", "hello"),
			200: p.do("OPTIONS", "", ""),
		} {
			if res.Status != status {
				t.Errorf("%d %s, want %d", res.Status, res.Reason, status)
			}
		}
		p.say(p.rtp, line, sound)
		if got := p.hear(p.rtp, time.Second); got == nil {
			t.Error("no echo after an offer that was refused")
		}

		// A re-INVITE without a description gets what was agreed as an offer.
		p.ack = []byte(offerAt("192.0.2.7", "m=audio 4020 RTP/AVP 8", "m=video 0 RTP/AVP 31"))
		again := mediaOf(t, p.do("INVITE", "", ""))
		if len(again) != 2 || again[0].Direction != "sendrecv" || !slices.Equal(again[0].Formats, []string{"8"}) || again[0].Port != line.Port || !again[1].Rejected {
			t.Errorf("offers %+v", again)
		}
		p.say(p.rtp, line, sound)
		if got := p.hear(moved, time.Second); got == nil {
			t.Error("no echo where the ACK said")
		}
		p.ack = []byte("no answer")
		p.do("INVITE", "", "")
		await(t, p.ended)
		if e.Calls() != 0 {
			t.Errorf("%d calls", e.Calls())
		}
		moved.Close()
		p.close()
	})
}

func TestEchoRefusesAndAnswersOutsideCalls(t *testing.T) {
	for _, c := range []struct {
		name, kind, body string
		fields           []sip.Field
		status           int
	}{
		{"SRTP", sdpType, offerAt("192.0.2.7", "m=audio 4000 RTP/SAVP 0"), nil, 488},
		{"no audio", sdpType, offerAt("192.0.2.7", "m=video 4000 RTP/AVP 31"), nil, 488},
		{"audio without port", sdpType, offerAt("192.0.2.7", "m=audio 0 RTP/AVP 0"), nil, 488},
		{"no formats", sdpType, offerAt("192.0.2.7", "m=audio 4000 RTP/AVP"), nil, 488},
		{"a name", sdpType, offerAt("p.example", "m=audio 4000 RTP/AVP 0"), nil, 488},
		{"many", sdpType, offerAt("224.0.0.5", "m=audio 4000 RTP/AVP 0"), nil, 488},
		{"all", sdpType, offerAt("255.255.255.255", "m=audio 4000 RTP/AVP 0"), nil, 488},
		{"another family", sdpType, strings.Replace(offerAt("2001:db8::1", "m=audio 4000 RTP/AVP 0"), "c=IN IP4", "c=IN IP6", 1), nil, 488},
		{"no description", sdpType, "hello", nil, 488},
		{"text", "text/plain", "hello", nil, 415},
		{"a demand", sdpType, offerAt("192.0.2.7", "m=audio 4000 RTP/AVP 0"), []sip.Field{{Name: "Require", Value: "unheard-of"}}, 420},
		{"fine", sdpType, offerAt("192.0.2.7", "m=audio 4000 RTP/AVP 0"), nil, 200},
		{"held from the start", sdpType, offerAt("0.0.0.0", "m=audio 4000 RTP/AVP 0"), nil, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			withEcho(t, EchoOptions{}, func(t *testing.T, n Network, e *Echo) {
				p := newProber(t, n, e.machine)
				defer p.close()
				res := p.dial(c.kind, c.body, c.fields...)
				if res.Status != c.status {
					t.Errorf("%d %s, want %d", res.Status, res.Reason, c.status)
				}
				if e.Calls() != map[bool]int{true: 1}[c.status == 200] {
					t.Errorf("%d calls", e.Calls())
				}
				e.Close()
				p.close()
			})
		})
	}
	for method, status := range map[string]string{"OPTIONS": "200", "CANCEL": "481", "BYE": "481", "MESSAGE": "405", "REGISTER": "405"} {
		t.Run(method, func(t *testing.T) {
			withEcho(t, EchoOptions{}, func(t *testing.T, n Network, e *Echo) {
				p := newProber(t, n, e.machine)
				defer p.close()
				tag := map[bool]string{true: ";tag=x"}[method == "BYE"]
				text := fmt.Sprintf("%s sip:echo@x SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:4000;branch=z9hG4bKa\r\nMax-Forwards: 70\r\nFrom: <sip:p@x>;tag=a\r\nTo: <sip:echo@x>%s\r\n"+
					"Call-ID: c\r\nCSeq: 1 %s\r\nContent-Length: 0\r\n\r\n", method, tag, method)
				if _, err := p.rtp.WriteTo([]byte(text), net.UDPAddrFromAddrPort(e.Addr())); err != nil {
					t.Fatal(err)
				}
				if got := string(p.hear(p.rtp, time.Second)); !strings.HasPrefix(got, "SIP/2.0 "+status+" ") || method == "OPTIONS" && !strings.Contains(got, "\r\nAllow: "+phoneAllows) {
					t.Errorf("%s", got)
				}
				p.close()
			})
		})
	}
}

// An offer that is left unanswered in the ACK ends the call.
func TestEchoWantsAnAnswer(t *testing.T) {
	withEcho(t, EchoOptions{}, func(t *testing.T, n Network, e *Echo) {
		p := newProber(t, n, e.machine)
		defer p.close()
		lines := mediaOf(t, p.dial("", ""))
		if len(lines) != 1 || !slices.Equal(lines[0].Formats, []string{"0", "8"}) || lines[0].Direction != "sendrecv" {
			t.Errorf("offers %+v", lines)
		}
		await(t, p.ended)
		if e.Calls() != 0 {
			t.Errorf("%d calls", e.Calls())
		}
		p.close()
	})
}

func TestReception(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	var r reception
	take := func(ssrc uint32, seq uint16, timestamp uint32, at time.Duration) {
		r.take(packet(0, false, seq, timestamp, ssrc, nil), 8000, begun.Add(at))
	}
	for i := range 50 { // the number wraps; every tenth packet is lost
		if i%10 != 5 {
			take(7, 65530+uint16(i), uint32(160*i), time.Duration(i)*frameTime)
		}
	}
	got := r.report(begun.Add(time.Second))
	if want := (rtcp.ReceptionReport{SSRC: 7, FractionLost: 256 * 5 / 50, TotalLost: 5, LastSequenceNumber: 65530 + 49}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	sr, err := rtcp.Marshal([]rtcp.Packet{&rtcp.SenderReport{SSRC: 7, NTPTime: 0x1111_2222_3333_4444}})
	if err != nil {
		t.Fatal(err)
	}
	other := slices.Clone(sr)
	binary.BigEndian.PutUint32(other[4:], 8)
	for _, b := range [][]byte{other, sr[:senderInfo-1], sr, nil} {
		r.takeReport(b, begun.Add(time.Second))
	}
	take(7, 65580-65536, 160*50, 50*frameTime+10*time.Millisecond) // 80 units late
	take(7, 65580-65536, 160*50, 50*frameTime+20*time.Millisecond) // doubled: no lateness, and not negative
	got = r.report(begun.Add(3 * time.Second))
	if want := (rtcp.ReceptionReport{SSRC: 7, TotalLost: 4, LastSequenceNumber: 65530 + 50, Jitter: 80 / 16, LastSenderReport: 0x2222_3333, Delay: 2 << 16}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	take(8, 1, 0, 4*time.Second) // another source, from its beginning
	take(8, 9000, 0, 4*time.Second)
	if got, want := r.report(begun), (rtcp.ReceptionReport{SSRC: 8, LastSequenceNumber: 9000}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Whatever is offered, the answer is a description of as many m-lines, of which
// one at most is taken: with the offer's formats, the echo's own address and
// nothing that would begin a line of its own.
func FuzzEchoMirror(f *testing.F) {
	for _, s := range []string{
		offerAt("192.0.2.7", "m=audio 4000 RTP/AVP 0"),
		offerAt("192.0.2.7", "m=video 4000 RTP/AVP 31", "m=audio 4000 UDP/RTP/AVP 111", "a=rtpmap:111 opus/48000/2", "a=rtcp:9 IN IP4 192.0.2.8"),
		offerAt("0.0.0.0", "m=audio 4000 RTP/AVP 0", "a=sendonly", "a=ptime:20"),
		" \ufeffm=audio 65535 RTP/AVP 0\ra=fmtp:0 x\rc=IN IP4 192.0.2.7",
		"t=1 2\nm=audio 1 rtp/avp x\nc=IN IP4 192.0.2.7\nm=audio",
	} {
		f.Add([]byte(s))
	}
	own := netip.MustParseAddrPort("192.0.2.99:6000")
	f.Fuzz(func(t *testing.T, body []byte) {
		m, to, err := mirrorOf(body, own.Addr())
		if err != nil {
			var none ends
			if to != none {
				t.Errorf("%v beside %v", to, err)
			}
			if !errors.Is(err, errNoEcho) && !errors.Is(err, sdp.ErrNotSDP) && !errors.Is(err, sdp.ErrTooLarge) && !errors.Is(err, sdp.ErrTooManyMedia) {
				t.Error(err)
			}
			return
		}
		if held := m.audio().Held(); to.rtp.IsValid() == held || to.rtp.Addr().IsMulticast() || to.rtcp.IsValid() && to.rtcp.Addr() != to.rtp.Addr() {
			t.Errorf("sends to %+v, held %v", to, held)
		}
		direction := mirroredDirection(m.audio())
		text := string(originated(echoUser, m.describe(echoUser, own, direction), own.Addr(), 1, 1))
		if n := 5 + len(m.lines) + len(m.attributes) + 1; strings.Count(text, "\r\n") != n || strings.Count(text, "\r") != n || strings.Count(text, "\n") != n {
			t.Errorf("not %d lines:\n%q", n, text)
		}
		answer, err := sdp.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		offered, _ := sdp.Parse(body)
		lines := answer.Media()
		if len(lines) != len(offered.Media()) {
			t.Fatalf("%d lines for %d", len(lines), len(offered.Media()))
		}
		for i, l := range lines {
			if l.Rejected != (i != m.mine) || l.Kind != m.lines[i].Kind || l.Proto != m.lines[i].Proto || !slices.Equal(l.Formats, m.lines[i].Formats) {
				t.Errorf("line %d: %+v answers %+v", i, l, m.lines[i])
			}
		}
		if l := lines[m.mine]; l.Addr != own.Addr().String() || l.Port != int(own.Port()) || l.Direction != direction {
			t.Errorf("%+v", l)
		}
	})
}
