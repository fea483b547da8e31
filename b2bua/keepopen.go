package b2bua

import (
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
)

// keepOpen keeps NATs from forgetting the way to a peer, until stop is called.
func (p *Proxy) keepOpen(f sip.Flow) (stop func()) {
	every := keepAliveUDP
	if f.Network() != "udp" {
		every = keepAliveTCP
	}
	return p.stack.KeepAlive(f, every, nil)
}

// keepOpen keeps the way open on which the far ends of the call say BYE, where
// this end stands behind a NAT: between the ACK and the BYE nothing else may come
// by.
func (c *Call) keepOpen() {
	for _, l := range []*Leg{c.a, c.b} {
		if l.side != policy.Outside || l.dialog == nil || l.letClose != nil {
			continue
		}
		if f := l.dialog.Flow(); f.Translated() {
			l.letClose = c.p.keepOpen(f)
		}
	}
}
