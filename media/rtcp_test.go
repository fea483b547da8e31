package media

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/pion/rtcp"
)

const (
	phoneSSRC = 0x11111111
	farSSRC   = 0x22222222
	otherSSRC = 0x33333333
)

// numberedStream is a numbering whose first stream carried the phone's packets
// 100 to 200, and its own SSRC.
func numberedStream(t testing.TB) (n *numbering, own uint32) {
	t.Helper()
	numbers := newNumbering()
	numbers.streams[0].last = 999 // so that the phone's 100 leaves as 1000
	for seq := uint16(100); seq <= 200; seq++ {
		if !numbers.rtp(voice(phoneSSRC, seq), 0) {
			t.Fatal("packet refused")
		}
	}
	return numbers, numbers.streams[0].own
}

func TestRTCPOutward(t *testing.T) {
	t.Parallel()
	n, own := numberedStream(t)
	tests := map[string]struct{ in, want []byte }{
		"SR and SDES":                    {senderReport(phoneSSRC), senderReport(own)},
		"report about the far end stays": {receiverReport(phoneSSRC, farSSRC, 0x00010203), receiverReport(own, farSSRC, 0x00010203)},
		"SDES with a contributing source": {
			words(0x82ca0004, phoneSSRC, 0, otherSSRC, 0),
			words(0x82ca0004, own, 0, otherSSRC, 0)},
		"BYE": {words(0x81cb0001, phoneSSRC), words(0x81cb0001, own)},
		"BYE of a reporter without RTP": {
			append(receiverReport(otherSSRC, farSSRC, 1), words(0x81cb0001, otherSSRC)...),
			append(receiverReport(own, farSSRC, 1), words(0x81cb0001, own)...)},
		"APP":                   {words(0x80cc0002, phoneSSRC, 0x6e616d65), words(0x80cc0002, own, 0x6e616d65)},
		"NACK":                  {words(0x81cd0003, phoneSSRC, farSSRC, 0x00640001), words(0x81cd0003, own, farSSRC, 0x00640001)},
		"PLI":                   {words(0x81ce0002, phoneSSRC, farSSRC), words(0x81ce0002, own, farSSRC)},
		"FIR":                   {words(0x84ce0004, phoneSSRC, 0, farSSRC, 0x01000000), words(0x84ce0004, own, 0, farSSRC, 0x01000000)},
		"TMMBN names the owner": {words(0x84cd0004, phoneSSRC, 0, phoneSSRC, 5), words(0x84cd0004, own, 0, own, 5)},
		"REMB":                  {words(0x8fce0005, phoneSSRC, 0, 0x52454d42, 0x01000000, farSSRC), words(0x8fce0005, own, 0, 0x52454d42, 0x01000000, farSSRC)},
		"XR":                    {words(0x80cf0004, phoneSSRC, 0x04000002, 1, 2), words(0x80cf0004, own, 0x04000002, 1, 2)},
		"XR block of unknown type goes": {
			words(0x80cf0006, phoneSSRC, 0x63000001, phoneSSRC, 0x04000002, 1, 2),
			words(0x80cf0004, own, 0x04000002, 1, 2)},
		"packet of unknown type goes": {
			append(words(0x80d10001, phoneSSRC), senderReport(phoneSSRC)...), senderReport(own)},
		"padding stays": {words(0xa1cb0002, phoneSSRC, 4), words(0xa1cb0002, own, 4)},
	}
	for name, test := range tests {
		got, ok := n.rewrite(bytes.Clone(test.in), outward)
		if !ok || !bytes.Equal(got, test.want) {
			t.Errorf("%s: got %x (%v), want %x", name, got, ok, test.want)
		}
	}
}

func TestRTCPInward(t *testing.T) {
	t.Parallel()
	n, own := numberedStream(t)
	tests := map[string]struct{ in, want []byte }{
		"report about us": {receiverReport(farSSRC, own, 1090), receiverReport(farSSRC, phoneSSRC, 190)},
		"cycles counted by the far end are its own":   {receiverReport(farSSRC, own, 0x00050000|1100), receiverReport(farSSRC, phoneSSRC, 200)},
		"report from before the phone's first packet": {receiverReport(farSSRC, own, 900), receiverReport(farSSRC, phoneSSRC, 100)},
		"report about another":                        {receiverReport(farSSRC, otherSSRC, 1090), receiverReport(farSSRC, otherSSRC, 1090)},
		"SR stays":                                    {senderReport(farSSRC), senderReport(farSSRC)},
		"BYE stays":                                   {words(0x81cb0001, farSSRC), words(0x81cb0001, farSSRC)},
		"NACK":                                        {words(0x81cd0004, farSSRC, own, 1010<<16|0x8001, 1050<<16), words(0x81cd0004, farSSRC, phoneSSRC, 110<<16|0x8001, 150<<16)},
		"NACK for another":                            {words(0x81cd0003, farSSRC, otherSSRC, 1010<<16), words(0x81cd0003, farSSRC, otherSSRC, 1010<<16)},
		"PLI":                                         {words(0x81ce0002, farSSRC, own), words(0x81ce0002, farSSRC, phoneSSRC)},
		"FIR":                                         {words(0x84ce0004, farSSRC, 0, own, 0x01000000), words(0x84ce0004, farSSRC, 0, phoneSSRC, 0x01000000)},
		"TMMBR":                                       {words(0x83cd0004, farSSRC, 0, own, 5), words(0x83cd0004, farSSRC, 0, phoneSSRC, 5)},
		"VBCM":                                        {words(0x87ce0005, farSSRC, 0, own, 0x01020003, 0x61626300), words(0x87ce0005, farSSRC, 0, phoneSSRC, 0x01020003, 0x61626300)},
		"XR loss run lengths":                         {words(0x80cf0005, farSSRC, 0x01000003, own, 1000<<16|1100, 0), words(0x80cf0005, farSSRC, 0x01000003, phoneSSRC, 100<<16|200, 0)},
		"XR DLRR":                                     {words(0x80cf0005, farSSRC, 0x05000003, own, 7, 8), words(0x80cf0005, farSSRC, 0x05000003, phoneSSRC, 7, 8)},
		"XR VoIP metrics":                             {words(0x80cf0003, farSSRC, 0x07000001, own), words(0x80cf0003, farSSRC, 0x07000001, phoneSSRC)},
	}
	for name, test := range tests {
		got, ok := n.rewrite(bytes.Clone(test.in), inward)
		if !ok || !bytes.Equal(got, test.want) {
			t.Errorf("%s: got %x (%v), want %x", name, got, ok, test.want)
		}
	}
}

// Reports keep counting the phone's cycles across wraps and a hold.
func TestReportedHighestAfterWrapAndHold(t *testing.T) {
	t.Parallel()
	numbers := newNumbering()
	const packets = 70000
	for i := range packets {
		if i == 69000 {
			numbers.pause()
		}
		numbers.rtp(voice(phoneSSRC, uint16(i+60000)), 0)
	}
	s := &numbers.streams[0]
	got, ok := numbers.rewrite(receiverReport(farSSRC, s.own, uint32(uint16(s.last))), inward)
	if want := uint32(60000 + packets - 1); !ok || binary.BigEndian.Uint32(got[16:]) != want {
		t.Errorf("far end's highest is %d for the phone, want %d", binary.BigEndian.Uint32(got[16:]), want)
	}
}

// A phone that only listens is known by the SSRC of its reports.
func TestReporterWithoutRTP(t *testing.T) {
	t.Parallel()
	numbers := newNumbering()
	own := numbers.streams[0].own
	out, ok := numbers.rewrite(receiverReport(otherSSRC, farSSRC, 1), outward)
	if !ok || !bytes.Equal(out, receiverReport(own, farSSRC, 1)) {
		t.Fatalf("outward %x", out)
	}
	in, ok := numbers.rewrite(words(0x81ce0002, farSSRC, own), inward)
	if !ok || !bytes.Equal(in, words(0x81ce0002, farSSRC, otherSSRC)) {
		t.Errorf("inward %x", in)
	}
	if pkt := voice(otherSSRC, 1); !numbers.rtp(pkt, 0) || ssrcOf(pkt) != own {
		t.Error("its RTP does not take the stream its reports had")
	}
}

func TestMalformedRTCPIsDropped(t *testing.T) {
	t.Parallel()
	for name, pkt := range map[string][]byte{
		"empty":                  {},
		"short":                  {0x80, 201, 0, 0},
		"version":                words(0x40c90001, 1),
		"longer than the packet": words(0x80c90002, 1),
		"rest of 1 octet":        append(senderReport(1), 0),
		"report count":           words(0x82c90007, 1, 2, 3, 4, 5, 6, 7),
		"SR without info":        words(0x80c80001, 1),
		"second version wrong":   append(senderReport(1), words(0x00c90001, 1)...),
		"padding of 0":           words(0xa0c90002, 1, 0),
		"padding of 3":           words(0xa0c90002, 1, 3),
		"padding too long":       words(0xa0c90002, 1, 16),
		"padding over the SSRC":  words(0xa0c90001, 4),
		"padding in the middle":  append(words(0xa0c90002, 1, 4), senderReport(1)...),
		"SDES cut":               words(0x81ca0001, 1),
		"SDES item too long":     append(words(0x81ca0002, 1), 1, 9, 'a', 0),
		"SDES without end":       append(words(0x81ca0002, 1), 1, 2, 'a', 'b'),
		"BYE count":              words(0x82cb0001, 1),
		"BYE of nobody":          words(0x80cb0000, 0x80c90001, 1),
		"feedback without media": words(0x81ce0001, 1),
		"FIR entry cut":          words(0x84ce0003, 1, 0, 2),
		"REMB count":             words(0x8fce0005, 1, 0, 0x52454d42, 0x02000000, 2),
		"XR block too long":      words(0x80cf0002, 1, 0x01000003),
		"XR block without SSRC":  words(0x80cf0002, 1, 0x07000000),
		"XR loss without range":  words(0x80cf0003, 1, 0x01000001, 2),
		"DLRR sub-block cut":     words(0x80cf0003, 1, 0x05000001, 2),
		"only unknown types":     words(0x80d10001, 1),
	} {
		for _, d := range []direction{outward, inward} {
			n, _ := numberedStream(t)
			if out, ok := n.rewrite(bytes.Clone(pkt), d); ok {
				t.Errorf("%s: passes as %x", name, out)
			}
		}
	}
}

func FuzzRTCP(f *testing.F) {
	for _, seed := range [][]byte{
		senderReport(phoneSSRC), receiverReport(phoneSSRC, farSSRC, 1), receiverReport(farSSRC, phoneSSRC, 1),
		words(0x82ca0004, phoneSSRC, 0, otherSSRC, 0), words(0xa1cb0002, phoneSSRC, 4),
		words(0x81cd0003, phoneSSRC, farSSRC, 0x00640001), words(0x84ce0004, phoneSSRC, 0, farSSRC, 0x01000000),
		words(0x8fce0005, phoneSSRC, 0, 0x52454d42, 0x01000000, farSSRC),
		words(0x80cf0006, phoneSSRC, 0x63000001, phoneSSRC, 0x04000002, 1, 2),
		words(0x80cf0005, farSSRC, 0x01000003, phoneSSRC, 1000<<16|1100, 0),
		append(words(0x80d10001, phoneSSRC), senderReport(phoneSSRC)...),
		words(0x87ce0005, farSSRC, 0, phoneSSRC, 0x01020003, 0x61626300),
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, pkt []byte, out bool) {
		n, own := numberedStream(t)
		d, gone := inward, own
		if out {
			d, gone = outward, uint32(phoneSSRC)
		} else {
			// What stands for the phone in a seed is us, seen from the far end.
			for i := 0; i+4 <= len(pkt); i += 4 {
				if binary.BigEndian.Uint32(pkt[i:]) == phoneSSRC {
					binary.BigEndian.PutUint32(pkt[i:], own)
				}
			}
		}
		in := bytes.Clone(pkt)
		got, ok := n.rewrite(pkt, d)
		if !ok {
			return
		}
		if len(got) > len(in) || len(got) < rtcpHeaderLen || len(got)%4 != 0 {
			t.Fatalf("%d octets became %d: %x", len(in), len(got), got)
		}
		parsed, err := rtcp.Unmarshal(bytes.Clone(got))
		if err != nil {
			return // the other reader is stricter on some contents
		}
		if all, err := rtcp.Unmarshal(in); err == nil && len(all) == len(parsed) && !hasXR(all) && len(got) != len(in) {
			t.Fatalf("length changed from %d to %d without a packet less", len(in), len(got))
		}
		for _, p := range parsed {
			if slices.Contains(sendersOf(p), gone) {
				t.Fatalf("SSRC %x is left in %T: %x from %x", gone, p, got, in)
			}
			if _, raw := p.(*rtcp.RawPacket); !raw && slices.Contains(p.DestinationSSRC(), gone) {
				t.Fatalf("SSRC %x is left in %T: %x from %x", gone, p, got, in)
			}
		}
	})
}

func hasXR(packets []rtcp.Packet) bool {
	return slices.ContainsFunc(packets, func(p rtcp.Packet) bool { _, ok := p.(*rtcp.ExtendedReport); return ok })
}

// sendersOf reads who speaks, as another RTCP implementation sees it.
func sendersOf(p rtcp.Packet) []uint32 {
	switch p := p.(type) {
	case *rtcp.SenderReport:
		return []uint32{p.SSRC}
	case *rtcp.ReceiverReport:
		return []uint32{p.SSRC}
	case *rtcp.Goodbye:
		return p.Sources
	case *rtcp.SourceDescription:
		var all []uint32
		for _, c := range p.Chunks {
			all = append(all, c.Source)
		}
		return all
	case *rtcp.TransportLayerNack:
		return []uint32{p.SenderSSRC}
	case *rtcp.PictureLossIndication:
		return []uint32{p.SenderSSRC}
	case *rtcp.FullIntraRequest:
		return []uint32{p.SenderSSRC}
	case *rtcp.ReceiverEstimatedMaximumBitrate:
		return []uint32{p.SenderSSRC}
	case *rtcp.ExtendedReport:
		return []uint32{p.SenderSSRC}
	}
	return nil
}

func FuzzClassify(f *testing.F) {
	f.Add(voice(1, 1), false)
	f.Add(senderReport(1), true)
	f.Add(append(words(0x9f000001, 0, 1, 0xbede0001), speech...), false)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, pkt []byte, rtcpPort bool) {
		what := classify(pkt, rtcpPort)
		switch {
		case what == kindOther:
			return
		case pkt[0]>>6 != 2 || len(pkt) < rtcpHeaderLen || len(pkt) > maxPacket:
			t.Fatalf("%x reads as %d", pkt, what)
		case what == kindRTP && (rtcpPort || len(pkt) < rtpHeaderLen || pkt[1]&0x7f >= 64 && pkt[1]&0x7f < 96 && pkt[1]&0x80 != 0):
			t.Fatalf("%x reads as RTP", pkt)
		case what == kindRTCP && (pkt[1] < 192 || pkt[1] > 223):
			t.Fatalf("%x reads as RTCP", pkt)
		}
		if what == kindRTP {
			numbers := newNumbering()
			if out := bytes.Clone(pkt); !numbers.rtp(out, 0) || ssrcOf(out) != numbers.streams[0].own || seqOf(out) >= 1<<15 {
				t.Fatalf("first packet of a phone leaves as %x", out[:rtpHeaderLen])
			}
		}
	})
}
