package mitm

import (
	"bytes"
	"errors"
	"net/netip"

	"github.com/sipward/sipward/demo/memnet"
)

const (
	rtpHeader = 12 // octets, without sources and extensions (RFC 3550 section 5.1)
	sample    = 16 // octets of speech by which it is known again
)

// Clear counts the packets that left a house on the outside, to whomever, with
// speech of a phone in clear.
func (m *Man) Clear() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.clear
}

// listen is the network's tap.
func (m *Man) listen(d memnet.Datagram) {
	if len(d.Payload) < rtpHeader+sample || isSIP(d.Payload) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	houses := func(a netip.Addr) bool { return a == m.a || a == m.b }
	switch {
	case houses(d.From.Addr()):
		for i := rtpHeader; i+sample <= len(d.Payload); i++ {
			if m.speech[[sample]byte(d.Payload[i:])] {
				m.clear++
				return
			}
		}
	case !houses(d.To.Addr()): // a wire inside
		for i := rtpHeader; i+sample <= len(d.Payload); i += sample {
			m.speech[[sample]byte(d.Payload[i:])] = true
		}
	}
}

// media is what becomes of a packet between the houses.
func (m *Man) media(from, to netip.AddrPort, b []byte) memnet.Verdict {
	who := FromB
	if from.Addr() == m.a {
		who = FromA
	}
	if len(b) >= rtpHeader && !isRTCP(b) {
		m.way[who] = way{from, to}
	}
	if isRTCP(b) {
		m.reports[who] = append(m.reports[who], bytes.Clone(b))
	}
	if m.seizes != nil {
		m.touches()
		go m.seizes(Packet{who, from, to, bytes.Clone(b)})
		return memnet.Verdict{Drop: true}
	}
	if h := &m.held[who]; h.on && len(b) >= 8 {
		m.touches()
		h.packets = append(h.packets, bytes.Clone(b))
		return memnet.Verdict{Drop: true}
	}
	if m.deceit == nil || len(b) < 8 {
		return memnet.Verdict{} // an empty datagram opens a NAT
	}
	out, ok := m.deceit.recode(who, b)
	if !ok {
		if m.deceit.how.Within { // what he cannot read is not for him
			return memnet.Verdict{}
		}
		return memnet.Verdict{Drop: true}
	}
	return memnet.Verdict{Payload: out}
}

// hold is what he holds back of one side's media.
type hold struct {
	on      bool
	packets [][]byte
}

// Hold has him keep back what a house sends as media, until Play or for good.
func (m *Man) Hold(who Side, on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held[who].on = on
}

// Play puts the RTP that was held back of a house on the wire and says how many
// packets those are.
func (m *Man) Play(who Side) (n int, err error) {
	m.mu.Lock()
	w, packets := m.way[who], m.held[who].packets
	m.held[who].packets = nil
	m.mu.Unlock()
	for _, b := range packets {
		if isRTCP(b) {
			continue
		}
		if err := m.net.Inject(w.from, w.to, b); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// Whisper sends packets of plain RTP to a house as if the other one did: mu-law
// speech of a constant octet, n packets of 20 ms. It fails before media has
// crossed.
func (m *Man) Whisper(who Side, octet byte, n int) error {
	m.mu.Lock()
	w := m.way[who]
	m.mu.Unlock()
	if !w.from.IsValid() {
		return errors.New("mitm: no media has crossed between the houses")
	}
	for i := range n {
		b := make([]byte, rtpHeader+160)
		b[0], b[3], b[11] = 0x80, byte(i), 0x77
		for j := range b[rtpHeader:] {
			b[rtpHeader+j] = octet
		}
		if err := m.net.Inject(w.from, w.to, b); err != nil {
			return err
		}
	}
	return nil
}

func isRTCP(b []byte) bool { return len(b) > 1 && b[1] >= 192 && b[1] <= 223 }
