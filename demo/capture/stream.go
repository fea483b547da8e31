package capture

import (
	"net/netip"
	"time"

	"github.com/gopacket/gopacket/layers"
)

const (
	// maxStreams bounds the connections that are remembered; beyond it the one
	// that was silent longest is forgotten, and begins anew if it speaks again.
	maxStreams = 4096
	// segment is the most that one TCP segment carries here: what fits into an
	// Ethernet frame over IPv6.
	segment = 1440
	window  = 65535
)

// streams are the TCP connections that were seen, whatever their direction.
type streams map[streamKey]*stream

// streamKey names a connection by its ends, the one that spoke first as client.
type streamKey struct{ client, server netip.AddrPort }

// stream is where a connection stands: the sequence number of the next octet of
// either direction.
type stream struct {
	key  streamKey
	next map[netip.AddrPort]uint32
	last time.Time
}

// TCP writes octets that one end of a connection sent, seen at time t, in as many
// segments as they need; each acknowledges what the other end has sent so far.
// The first octets of a connection are preceded by a handshake, with their
// sender as the client, as if there had been time for it. Octets are taken to
// come in order, once and completely.
func (w *Writer) TCP(t time.Time, from, to netip.AddrPort, payload []byte) error {
	from, to, err := endpoints(from, to)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s, err := w.stream(t, from, to)
	if err != nil {
		return err
	}
	for len(payload) > 0 {
		part := payload[:min(len(payload), segment)]
		payload = payload[len(part):]
		if err := w.segment(t, s, from, to, layers.TCP{PSH: len(payload) == 0, ACK: true}, part); err != nil {
			return err
		}
	}
	return nil
}

// EndTCP writes the end of a connection that from closes first, so that a later
// one between the same ports is told apart. Without octets before it, it does
// nothing.
func (w *Writer) EndTCP(t time.Time, from, to netip.AddrPort) error {
	from, to, err := endpoints(from, to)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.streams.find(from, to)
	if s == nil {
		return w.err
	}
	delete(w.streams, s.key)
	if err := w.segment(t, s, from, to, layers.TCP{FIN: true, ACK: true}, nil); err != nil {
		return err
	}
	if err := w.segment(t, s, to, from, layers.TCP{FIN: true, ACK: true}, nil); err != nil {
		return err
	}
	return w.segment(t, s, from, to, layers.TCP{ACK: true}, nil)
}

// stream finds the connection between two ends, or begins it.
func (w *Writer) stream(t time.Time, from, to netip.AddrPort) (*stream, error) {
	if s := w.streams.find(from, to); s != nil {
		s.last = t
		return s, nil
	}
	if w.streams == nil {
		w.streams = make(streams)
	}
	w.streams.bound()
	s := &stream{
		key:  streamKey{client: from, server: to},
		next: map[netip.AddrPort]uint32{from: 0, to: 0},
		last: t,
	}
	w.streams[s.key] = s
	if err := w.segment(t, s, from, to, layers.TCP{SYN: true}, nil); err != nil {
		return nil, err
	}
	if err := w.segment(t, s, to, from, layers.TCP{SYN: true, ACK: true}, nil); err != nil {
		return nil, err
	}
	return s, w.segment(t, s, from, to, layers.TCP{ACK: true}, nil)
}

// segment writes one segment with the flags of head and counts its octets. SYN
// and FIN count as one each (RFC 9293 §3.4).
func (w *Writer) segment(t time.Time, s *stream, from, to netip.AddrPort, head layers.TCP, payload []byte) error {
	head.SrcPort, head.DstPort = layers.TCPPort(from.Port()), layers.TCPPort(to.Port())
	head.Seq, head.Window = s.next[from], window
	if head.ACK {
		head.Ack = s.next[to]
	}
	s.next[from] += uint32(len(payload))
	if head.SYN || head.FIN {
		s.next[from]++
	}
	return w.write(t, from.Addr(), to.Addr(), layers.IPProtocolTCP, &head, &head, payload)
}

func (s streams) find(a, b netip.AddrPort) *stream {
	if found := s[streamKey{a, b}]; found != nil {
		return found
	}
	return s[streamKey{b, a}]
}

// bound makes room for one more.
func (s streams) bound() {
	if len(s) < maxStreams {
		return
	}
	var oldest *stream
	for _, candidate := range s {
		if oldest == nil || candidate.last.Before(oldest.last) {
			oldest = candidate
		}
	}
	delete(s, oldest.key)
}
