package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

var (
	alice4 = netip.MustParseAddrPort("192.0.2.1:5060")
	bob4   = netip.MustParseAddrPort("192.0.2.2:5062")
	alice6 = netip.MustParseAddrPort("[2001:db8::1]:5060")
	bob6   = netip.MustParseAddrPort("[2001:db8::2]:5062")
	noon   = time.Date(2026, 1, 2, 12, 0, 0, 123456000, time.UTC)
)

// seen is a packet read back from a file, by hand for what gopacket wrote.
type seen struct {
	time     time.Time
	from, to netip.AddrPort
	protocol byte
	seq, ack uint32
	flags    string
	payload  []byte
}

// readBack reads a capture file and checks every length and checksum with code of
// its own.
func readBack(t *testing.T, file []byte) []seen {
	t.Helper()
	r, err := pcapgo.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if r.LinkType() != layers.LinkTypeRaw {
		t.Errorf("link type %v", r.LinkType())
	}
	var out []seen
	for {
		data, info, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if info.CaptureLength != len(data) || info.Length != len(data) {
			t.Errorf("packet %d: %d octets, header says %d of %d", len(out), len(data), info.CaptureLength, info.Length)
		}
		p := dissect(t, data)
		p.time = info.Timestamp.UTC()
		out = append(out, p)

		// What others make of it.
		packet := gopacket.NewPacket(data, layers.LinkTypeRaw, gopacket.Lazy)
		if transport := packet.TransportLayer(); transport == nil {
			t.Errorf("packet %d: gopacket finds no transport header: %v", len(out)-1, packet)
		} else if src, dst := transport.TransportFlow().Endpoints(); binary.BigEndian.Uint16(src.Raw()) != p.from.Port() || binary.BigEndian.Uint16(dst.Raw()) != p.to.Port() {
			t.Errorf("packet %d: gopacket finds ports %v to %v", len(out)-1, src, dst)
		}
	}
}

func dissect(t *testing.T, b []byte) seen {
	t.Helper()
	be := binary.BigEndian
	var p seen
	var src, dst netip.Addr
	var body, pseudo []byte
	switch b[0] >> 4 {
	case 4:
		if b[0] != 0x45 || int(be.Uint16(b[2:])) != len(b) {
			t.Fatalf("IPv4 header % x of %d octets", b[:20], len(b))
		}
		if sum(b[:20]) != 0xffff {
			t.Errorf("IPv4 checksum of % x", b[:20])
		}
		src, dst = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
		p.protocol, body, pseudo = b[9], b[20:], b[12:20]
	case 6:
		if int(be.Uint16(b[4:])) != len(b)-40 {
			t.Fatalf("IPv6 header % x of %d octets", b[:40], len(b))
		}
		src, dst = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
		p.protocol, body, pseudo = b[6], b[40:], b[8:40]
	default:
		t.Fatalf("IP version %d", b[0]>>4)
	}
	p.from, p.to = netip.AddrPortFrom(src, be.Uint16(body)), netip.AddrPortFrom(dst, be.Uint16(body[2:]))
	pseudo = append(bytes.Clone(pseudo), 0, p.protocol)
	pseudo = be.AppendUint16(pseudo, uint16(len(body)))
	if sum(append(pseudo, body...)) != 0xffff {
		t.Errorf("checksum of %v to %v", p.from, p.to)
	}
	switch p.protocol {
	case 17:
		if int(be.Uint16(body[4:])) != len(body) || be.Uint16(body[6:]) == 0 {
			t.Errorf("UDP header % x before %d octets", body[:8], len(body)-8)
		}
		p.payload = body[8:]
	case 6:
		p.seq, p.ack = be.Uint32(body[4:]), be.Uint32(body[8:])
		for i, name := range []string{"FIN", "SYN", "RST", "PSH", "ACK"} {
			if body[13]&(1<<i) != 0 {
				p.flags = strings.TrimSpace(p.flags + " " + name)
			}
		}
		p.payload = body[4*(body[12]>>4):]
	default:
		t.Errorf("protocol %d", p.protocol)
	}
	return p
}

// sum is the ones' complement sum of 16-bit words (RFC 1071), 0xffff where the
// checksum among them is right.
func sum(b []byte) uint16 {
	var s uint32
	for ; len(b) > 1; b = b[2:] {
		s += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// record runs f with a writer and returns the file.
func record(t *testing.T, f func(w *Writer)) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := NewWriter(&file)
	if err != nil {
		t.Fatal(err)
	}
	f(w)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func TestUDPComesBack(t *testing.T) {
	t.Parallel()
	sent := []seen{
		{from: alice4, to: bob4, payload: []byte("OPTIONS sip:bob@192.0.2.2 SIP/2.0\r\n\r\n")},
		{from: bob6, to: alice6, payload: []byte("odd")},
		{from: bob4, to: alice4, payload: []byte{}},
		{from: alice4, to: bob4, payload: bytes.Repeat([]byte("x"), 65507)},
		{from: alice6, to: bob6, payload: bytes.Repeat([]byte("x"), 65507)},
	}
	// Payloads of every sum, so that one comes to a checksum of zero, which UDP
	// writes as 0xffff.
	for i := range 65536 {
		sent = append(sent, seen{from: alice4, to: bob4, payload: []byte{byte(i >> 8), byte(i)}})
	}
	file := record(t, func(w *Writer) {
		for i, p := range sent {
			if err := w.UDP(noon.Add(time.Duration(i)*time.Millisecond), p.from, p.to, p.payload); err != nil {
				t.Fatal(err)
			}
		}
	})
	got := readBack(t, file)
	if len(got) != len(sent) {
		t.Fatalf("%d packets, want %d", len(got), len(sent))
	}
	for i, p := range got {
		want := sent[i]
		if at := noon.Add(time.Duration(i) * time.Millisecond); !p.time.Equal(at) {
			t.Errorf("packet %d at %v, want %v", i, p.time, at)
		}
		if p.protocol != 17 || p.from != want.from || p.to != want.to || !bytes.Equal(p.payload, want.payload) {
			t.Errorf("packet %d: %v to %v, %d octets", i, p.from, p.to, len(p.payload))
		}
	}
}

func TestMappedAddressIsIPv4(t *testing.T) {
	t.Parallel()
	mapped := netip.MustParseAddrPort("[::ffff:192.0.2.1]:5060")
	zoned := netip.MustParseAddrPort("[fe80::1%eth0]:5060")
	got := readBack(t, record(t, func(w *Writer) {
		if err := w.UDP(noon, mapped, bob4, nil); err != nil {
			t.Error(err)
		}
		if err := w.UDP(noon, zoned, bob6, nil); err != nil {
			t.Error(err)
		}
	}))
	if len(got) != 2 || got[0].from != alice4 || got[1].from.String() != "[fe80::1]:5060" {
		t.Errorf("read back %+v", got)
	}
}

func TestTCPStreams(t *testing.T) {
	t.Parallel()
	invite := bytes.Repeat([]byte("INVITE"), 500) // three segments
	got := readBack(t, record(t, func(w *Writer) {
		write := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		write(w.EndTCP(noon, alice4, bob4)) // nothing to end
		write(w.TCP(noon, alice4, bob4, invite))
		write(w.TCP(noon, bob6, alice6, []byte("another")))
		write(w.TCP(noon, bob4, alice4, []byte("200 OK")))
		write(w.TCP(noon, alice4, bob4, []byte("ACK")))
		write(w.EndTCP(noon, bob4, alice4))
		write(w.TCP(noon, alice4, bob4, []byte("again"))) // the same ports
	}))
	var log []string
	for _, p := range got {
		if p.protocol != 6 {
			t.Errorf("protocol %d", p.protocol)
		}
		text := string(p.payload)
		if len(text) > 10 {
			text = fmt.Sprint(len(text))
		}
		log = append(log, strings.TrimSpace(fmt.Sprintf("%v %s %d,%d %s", p.from.Addr(), p.flags, p.seq, p.ack, text)))
	}
	want := []string{
		"192.0.2.1 SYN 0,0",
		"192.0.2.2 SYN ACK 0,1",
		"192.0.2.1 ACK 1,1",
		"192.0.2.1 ACK 1,1 1440",
		"192.0.2.1 ACK 1441,1 1440",
		"192.0.2.1 PSH ACK 2881,1 120",
		"2001:db8::2 SYN 0,0",
		"2001:db8::1 SYN ACK 0,1",
		"2001:db8::2 ACK 1,1",
		"2001:db8::2 PSH ACK 1,1 another",
		"192.0.2.2 PSH ACK 1,3001 200 OK",
		"192.0.2.1 PSH ACK 3001,7 ACK",
		"192.0.2.2 FIN ACK 7,3004",
		"192.0.2.1 FIN ACK 3004,8",
		"192.0.2.2 ACK 8,3005",
		"192.0.2.1 SYN 0,0",
		"192.0.2.2 SYN ACK 0,1",
		"192.0.2.1 ACK 1,1",
		"192.0.2.1 PSH ACK 1,1 again",
	}
	if a, b := strings.Join(log, "\n"), strings.Join(want, "\n"); a != b {
		t.Errorf("segments\n%s\nwant\n%s", a, b)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	w, err := NewWriter(io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxStreams + 10 {
		from := netip.AddrPortFrom(alice4.Addr(), uint16(10000+i))
		if err := w.TCP(noon.Add(time.Duration(i)*time.Second), from, bob4, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.streams) != maxStreams {
		t.Errorf("%d streams are remembered, want %d", len(w.streams), maxStreams)
	}
	if w.streams.find(bob4, netip.AddrPortFrom(alice4.Addr(), 10009)) != nil {
		t.Error("the stream that was silent longest is still remembered")
	}
	if w.streams.find(bob4, netip.AddrPortFrom(alice4.Addr(), 10010)) == nil {
		t.Error("a younger stream is forgotten")
	}
}

func TestWriterErrors(t *testing.T) {
	t.Parallel()
	var file bytes.Buffer
	w, err := NewWriter(&file)
	if err != nil {
		t.Fatal(err)
	}
	none := netip.AddrPort{}
	if w.UDP(noon, alice4, bob6, nil) == nil || w.TCP(noon, alice4, bob6, nil) == nil || w.EndTCP(noon, alice4, bob6) == nil {
		t.Error("a packet between families was written")
	}
	if w.UDP(noon, none, bob4, nil) == nil || w.TCP(noon, alice4, none, nil) == nil {
		t.Error("a packet without an address was written")
	}
	if w.UDP(noon, alice4, bob4, make([]byte, 65508)) == nil {
		t.Error("an impossible datagram was written")
	}
	if err := w.UDP(noon, alice4, bob4, []byte("x")); err != nil {
		t.Errorf("refused packets spoiled the file: %v", err)
	}
	if err := w.Flush(); err != nil {
		t.Error(err)
	}
	if n := len(readBack(t, file.Bytes())); n != 1 {
		t.Errorf("%d packets after Flush, want 1", n)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"UDP": w.UDP(noon, alice4, bob4, nil), "TCP": w.TCP(noon, alice4, bob4, nil),
		"EndTCP": w.EndTCP(noon, alice4, bob4), "Flush": w.Flush(), "Close": w.Close(),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
}

// full is a disk with little room.
type full struct{ room int }

var errFull = errors.New("disk full")

func (f *full) Write(b []byte) (int, error) {
	if len(b) > f.room {
		return 0, errFull
	}
	f.room -= len(b)
	return len(b), nil
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	if _, err := NewWriter(&full{10}); !errors.Is(err, errFull) {
		t.Errorf("NewWriter: %v", err)
	}
	w, err := NewWriter(&full{100})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.UDP(noon, alice4, bob4, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); !errors.Is(err, errFull) {
		t.Errorf("Flush: %v", err)
	}
	if err := w.UDP(noon, alice4, bob4, nil); !errors.Is(err, errFull) {
		t.Errorf("UDP: %v", err)
	}
	if err := w.Close(); !errors.Is(err, errFull) {
		t.Errorf("Close: %v", err)
	}
}

func TestConcurrentWriters(t *testing.T) {
	t.Parallel()
	got := readBack(t, record(t, func(w *Writer) {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				from := netip.AddrPortFrom(alice4.Addr(), uint16(1000+i))
				for range 100 {
					_ = w.UDP(noon, from, bob4, []byte("u"))
					_ = w.TCP(noon, from, bob4, []byte("t"))
					_ = w.Flush()
				}
			})
		}
		wg.Wait()
	}))
	if want := 8 * (100 + 100 + 3); len(got) != want {
		t.Errorf("%d packets, want %d", len(got), want)
	}
}
