package mitm

import (
	"net/netip"
	"slices"
)

// Packet is a datagram of media that was on its way between the houses; an empty one
// too, which opens a NAT.
type Packet struct {
	Who      Side
	From, To netip.AddrPort
	Payload  []byte
}

// RTP says whether it is what a phone says, in clear or not.
func (p Packet) RTP() bool { return len(p.Payload) >= rtpHeader && !isRTCP(p.Payload) }

// RTCP says whether it is a report, such as the probe that confirms an exchange.
func (p Packet) RTCP() bool { return isRTCP(p.Payload) }

// Seize has him take all media off the wire from now on and hand each packet to do,
// on a goroutine of its own, which may call [Man.Forge].
func (m *Man) Seize(do func(Packet)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seizes = do
}

// Forge puts a datagram of media on the wire with a forged address.
func (m *Man) Forge(from, to netip.AddrPort, payload []byte) error {
	return m.net.Inject(from, to, payload)
}

// Reports gives the RTCP that a house has sent so far, as it was sent.
func (m *Man) Reports(who Side) [][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.reports[who])
}
