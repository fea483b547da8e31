// Package capture keeps what went over the wire: as a pcap file that Wireshark
// opens, and in memory, to find out whether anybody on the wire could have read
// it.
//
// It is fed by whoever sees the octets, a tap of the memory network or a relay of
// the demo, and makes the IP, UDP and TCP headers around them itself. No
// privilege and no libpcap is needed.
//
//	w, err := capture.NewWriter(file)
//	network.Tap(func(d memnet.Datagram) { _ = w.UDP(d.Time, d.From, d.To, d.Payload) })
//	...
//	err = w.Close()
//
// A [Recorder] keeps packets in memory, bounded; a [PlainSet] counts those in
// which speech is readable.
package capture

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

const (
	// snapLen is the longest packet that the file declares; ours are shorter.
	snapLen = 262144
	// maxUDP is the longest payload of a UDP datagram over IPv4.
	maxUDP = 65535 - 20 - 8
	// ttl is the time to live, or hop limit, of every packet.
	ttl = 64
)

// ErrClosed is the error of a writer that is used after Close.
var ErrClosed = errors.New("capture: writer is closed")

// Writer writes a pcap file of raw IP packets (link type 101), of IPv4 and IPv6
// alike, with times in microseconds. It is safe for concurrent use. Packets stand
// in the order of the calls.
//
// Once the underlying writer has failed, every call returns that error.
type Writer struct {
	mu      sync.Mutex
	buffer  *bufio.Writer
	file    *pcapgo.Writer
	packet  gopacket.SerializeBuffer
	ident   uint16 // of the last IPv4 packet
	streams streams
	err     error // from then on
}

// NewWriter begins a capture file. The caller closes w after the Writer.
func NewWriter(w io.Writer) (*Writer, error) {
	buffer := bufio.NewWriter(w)
	file := pcapgo.NewWriter(buffer)
	if err := file.WriteFileHeader(snapLen, layers.LinkTypeRaw); err != nil {
		return nil, fmt.Errorf("capture: file header: %w", err)
	}
	// A header that cannot be written is better known now than at the end.
	if err := buffer.Flush(); err != nil {
		return nil, fmt.Errorf("capture: file header: %w", err)
	}
	return &Writer{buffer: buffer, file: file, packet: gopacket.NewSerializeBuffer()}, nil
}

// UDP writes one datagram that was seen at time t. The payload is at most 65507
// octets; both addresses are of one family.
func (w *Writer) UDP(t time.Time, from, to netip.AddrPort, payload []byte) error {
	from, to, err := endpoints(from, to)
	if err != nil {
		return err
	}
	if len(payload) > maxUDP {
		return fmt.Errorf("capture: %d octets do not fit into a datagram", len(payload))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	udp := &layers.UDP{SrcPort: layers.UDPPort(from.Port()), DstPort: layers.UDPPort(to.Port())}
	return w.write(t, from.Addr(), to.Addr(), layers.IPProtocolUDP, udp, udp, payload)
}

// Flush hands everything written so far to the underlying writer, so that the
// file can be looked at.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flush()
}

// Close flushes. Writing or closing again is ErrClosed.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.flush()
	if w.err == nil {
		w.err = ErrClosed
	}
	return err
}

func (w *Writer) flush() error {
	if w.err != nil {
		return w.err
	}
	if err := w.buffer.Flush(); err != nil {
		w.err = fmt.Errorf("capture: %w", err)
	}
	return w.err
}

// checksummed is a transport header, whose checksum covers part of the IP header.
type checksummed interface {
	SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
}

// write puts IP around a transport header and its payload. The caller holds mu.
func (w *Writer) write(t time.Time, from, to netip.Addr, protocol layers.IPProtocol, transport gopacket.SerializableLayer, sum checksummed, payload []byte) error {
	if w.err != nil {
		return w.err
	}
	var network interface {
		gopacket.NetworkLayer
		gopacket.SerializableLayer
	}
	src, dst := net.IP(from.AsSlice()), net.IP(to.AsSlice())
	if from.Is4() {
		w.ident++
		network = &layers.IPv4{Version: 4, Id: w.ident, TTL: ttl, Protocol: protocol, SrcIP: src, DstIP: dst}
	} else {
		network = &layers.IPv6{Version: 6, HopLimit: ttl, NextHeader: protocol, SrcIP: src, DstIP: dst}
	}
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	err := sum.SetNetworkLayerForChecksum(network)
	if err == nil {
		err = gopacket.SerializeLayers(w.packet, options, network, transport, gopacket.Payload(payload))
	}
	if err != nil {
		return fmt.Errorf("capture: packet from %v to %v: %w", from, to, err)
	}
	size := len(w.packet.Bytes())
	info := gopacket.CaptureInfo{Timestamp: t, CaptureLength: size, Length: size}
	if err := w.file.WritePacket(info, w.packet.Bytes()); err != nil {
		w.err = fmt.Errorf("capture: %w", err)
	}
	return w.err
}

// endpoints brings both addresses into the form that IP headers want: IPv4 not
// mapped into IPv6, no zone.
func endpoints(from, to netip.AddrPort) (netip.AddrPort, netip.AddrPort, error) {
	from = netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port())
	to = netip.AddrPortFrom(to.Addr().Unmap().WithZone(""), to.Port())
	if !from.IsValid() || !to.IsValid() {
		return from, to, fmt.Errorf("capture: packet without an address: from %v to %v", from, to)
	}
	if from.Addr().Is4() != to.Addr().Is4() {
		return from, to, fmt.Errorf("capture: packet between families: from %v to %v", from, to)
	}
	return from, to, nil
}
