//go:build interop && linux

package interop

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sipward/sipward/demo/capture"
)

// wiretap captures packets of an interface that a filter lets through.
type wiretap struct {
	*process
	file   string
	marker *net.UDPConn // sends the mark of the end
	markTo *net.UDPAddr
}

// endMark is the payload of the last packet of a capture.
const endMark = "end of the capture"

// startWiretap begins a capture. When it returns, every packet from then on is in
// it.
func startWiretap(t *testing.T, filter string) *wiretap {
	t.Helper()
	return startWiretapIn(nil, t, "lo", netip.AddrPort{}, filter)
}

// startWiretapIn begins a capture on an interface of a namespace. The mark of its
// end goes to an address that is reached over that interface, or to where it comes
// from.
func startWiretapIn(in *space, t *testing.T, interfaceName string, markTo netip.AddrPort, filter string) *wiretap {
	t.Helper()
	dir := t.TempDir()
	w := &wiretap{file: filepath.Join(dir, "wire.pcapng")}
	from := &net.UDPAddr{IP: net.ParseIP(phoneHost)}
	if markTo.IsValid() {
		from.IP = nil
	}
	if err := in.inside(func() (err error) {
		w.marker, err = net.ListenUDP("udp4", from)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.marker.Close() })
	w.markTo = w.marker.LocalAddr().(*net.UDPAddr)
	filter = fmt.Sprintf("(%s) or udp port %d", filter, w.markTo.Port)
	if markTo.IsValid() {
		w.markTo = net.UDPAddrFromAddrPort(markTo)
	}
	w.process = startIn(in, t, "the capture", dir, "dumpcap", "-q", "-i", interfaceName, "-f", filter, "-w", w.file)
	w.says("File: ")
	return w
}

// finish ends the capture once everything that was sent before is in the file. The
// kernel hands packets over in batches, and an interrupted dumpcap leaves the last
// one behind.
func (w *wiretap) finish() {
	w.t.Helper()
	if _, err := w.marker.WriteTo([]byte(endMark), w.markTo); err != nil {
		w.t.Fatal(err)
	}
	until(w.t, "the end of the capture", 20*time.Millisecond, func() error {
		file, err := os.ReadFile(w.file)
		if err == nil && !bytes.Contains(file, []byte(endMark)) {
			err = errors.New("not in the file yet")
		}
		return err
	})
	w.signal(syscall.SIGINT)
	w.wait(patience)
	if !strings.Contains(w.out.String(), "/0 (pcap:0/dumpcap:0") {
		w.t.Errorf("the capture is not complete: %s", w.out.String())
	}
}

// seen is one packet of a capture, as tshark understands it.
type seen struct {
	capture.Packet
	tcp     bool
	stream  int    // of the TCP connection
	seq     uint32 // of its first octet, in its direction of the connection
	rtp     bool   // tshark takes it for RTP, from the SDP that it saw
	payload []byte // of the RTP
}

// stop ends the capture and reads it with tshark. sipPorts are those of SIP; the
// ports of RTP it finds out by itself.
func (w *wiretap) stop(sipPorts ...int) []seen {
	w.t.Helper()
	w.finish()
	args := []string{"-n", "-r", w.file, "-T", "fields", "-E", "occurrence=f"}
	for _, port := range sipPorts {
		args = append(args, "-d", fmt.Sprintf("udp.port==%d,sip", port), "-d", fmt.Sprintf("tcp.port==%d,sip", port))
	}
	fields := []string{
		"frame.time_epoch", "ip.src", "ip.dst", "udp.srcport", "udp.dstport", "udp.payload",
		"tcp.srcport", "tcp.dstport", "tcp.payload", "tcp.stream", "tcp.seq_raw", "rtp.payload", "ip.proto",
	}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	out, err := ranWithin(3*patience, "tshark", args...) // half a second for each of the longer calls, but it may have to wait its turn
	if err != nil {
		w.t.Fatal(err)
	}
	var packets []seen
	for line := range strings.Lines(string(out)) {
		p, err := readSeen(strings.Split(strings.TrimRight(line, "\n"), "\t"))
		if err != nil {
			w.t.Fatalf("tshark: %v in %.200q", err, line)
		}
		packets = append(packets, p)
	}
	return packets
}

// readSeen reads one line of tshark's fields.
func readSeen(f []string) (seen, error) {
	var p seen
	if len(f) != 13 {
		return p, fmt.Errorf("%d fields", len(f))
	}
	if f[12] != "17" && f[12] != "6" {
		return p, nil // an ICMP error, which repeats the packet that it is about
	}
	seconds, err := strconv.ParseFloat(f[0], 64)
	if err != nil {
		return p, err
	}
	p.Time = time.UnixMicro(int64(seconds * 1e6))
	from, to, payload := f[3], f[4], f[5]
	if f[6] != "" {
		from, to, payload, p.tcp = f[6], f[7], f[8], true
		if p.stream, err = strconv.Atoi(f[9]); err != nil {
			return p, err
		}
		seq, err := strconv.ParseUint(f[10], 10, 32)
		if err != nil {
			return p, err
		}
		p.seq = uint32(seq)
	}
	if p.From, err = netip.ParseAddrPort(f[1] + ":" + from); err != nil {
		return p, err
	}
	if p.To, err = netip.ParseAddrPort(f[2] + ":" + to); err != nil {
		return p, err
	}
	if p.Payload, err = octets(payload); err != nil {
		return p, err
	}
	p.payload, err = octets(f[11])
	p.rtp = len(p.payload) > 0
	return p, err
}

// octets reads hexadecimal digits with or without colons between them.
func octets(s string) ([]byte, error) {
	return hex.DecodeString(strings.ReplaceAll(s, ":", ""))
}

// between are the packets that went from one of the addresses to one of them.
func between(packets []seen, hosts ...string) []seen {
	var out []seen
	for _, p := range packets {
		if slices.Contains(hosts, p.From.Addr().String()) && slices.Contains(hosts, p.To.Addr().String()) {
			out = append(out, p)
		}
	}
	return out
}

// datagrams are the packets that came by UDP.
func datagrams(packets []seen) []capture.Packet {
	var out []capture.Packet
	for _, p := range packets {
		if !p.tcp && p.From.IsValid() {
			out = append(out, p.Packet)
		}
	}
	return out
}

// message is a SIP message of a capture.
type message struct {
	from, to netip.AddrPort
	tcp      bool
	text     string    // head and body
	at       time.Time // when its first octet was seen; zero over TCP
}

// messages are the SIP messages among packets: datagrams that hold one, and what
// TCP connections carried, put together again.
func messages(packets []seen) []message {
	var out []message
	type direction struct {
		stream int
		from   netip.AddrPort
	}
	streams := make(map[direction][]seen)
	var order []direction
	for _, p := range packets {
		if p.tcp {
			d := direction{p.stream, p.From}
			if streams[d] == nil {
				order = append(order, d)
			}
			streams[d] = append(streams[d], p)
		} else if isSIP(string(p.Payload)) {
			out = append(out, message{from: p.From, to: p.To, text: string(p.Payload), at: p.Time})
		}
	}
	for _, d := range order {
		segments := streams[d]
		for _, text := range split(assembled(segments)) {
			out = append(out, message{from: d.from, to: segments[0].To, tcp: true, text: text})
		}
	}
	return out
}

// assembled puts the octets of one direction of a connection into their order.
func assembled(segments []seen) string {
	start := segments[0].seq
	segments = slices.Clone(segments)
	slices.SortStableFunc(segments, func(a, b seen) int { return cmp.Compare(a.seq-start, b.seq-start) })
	var b strings.Builder
	next := start
	for _, s := range segments {
		if len(s.Payload) == 0 {
			continue
		}
		if b.Len() == 0 {
			next = s.seq
		}
		if skip := int32(next - s.seq); skip >= 0 && int(skip) < len(s.Payload) {
			b.Write(s.Payload[skip:])
			next = s.seq + uint32(len(s.Payload))
		}
	}
	return b.String()
}

// split cuts a stream into messages by their Content-Length.
func split(stream string) []string {
	var out []string
	for {
		stream = strings.TrimLeft(stream, "\r\n")
		head, _, found := strings.Cut(stream, "\r\n\r\n")
		if !found || !isSIP(head) {
			return out
		}
		length, err := strconv.Atoi(message{text: head}.header("Content-Length"))
		end := len(head) + 4 + length
		if err != nil || end > len(stream) {
			return out
		}
		out = append(out, stream[:end])
		stream = stream[end:]
	}
}

func isSIP(text string) bool {
	line, _, _ := strings.Cut(text, "\r\n")
	return strings.HasPrefix(line, "SIP/2.0 ") || strings.HasSuffix(line, " SIP/2.0")
}

// kind is the method of a request, or the status code and the method of a
// response: "INVITE", "200 INVITE".
func (m message) kind() string {
	first, _, _ := strings.Cut(m.text, " ")
	if first != "SIP/2.0" {
		return first
	}
	_, method, _ := strings.Cut(m.header("CSeq"), " ")
	return m.text[len("SIP/2.0 "):len("SIP/2.0 200")] + " " + method
}

// compact are the short forms of the header fields that the tests look at (RFC
// 3261 section 7.3.3).
var compact = map[string]string{"Content-Type": "c", "Content-Length": "l"}

// header is the value of the first header field of a name.
func (m message) header(name string) string {
	head, _, _ := strings.Cut(m.text, "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		key, value, ok := strings.Cut(line, ":")
		key = strings.TrimSpace(key)
		if ok && (strings.EqualFold(key, name) || compact[name] != "" && strings.EqualFold(key, compact[name])) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// attributes are the values of the lines a=name:value of the body.
func (m message) attributes(name string) []string {
	var out []string
	_, body, _ := strings.Cut(m.text, "\r\n\r\n")
	for line := range strings.SplitSeq(body, "\r\n") {
		if value, ok := strings.CutPrefix(line, "a="+name+":"); ok {
			out = append(out, value)
		}
	}
	return out
}
