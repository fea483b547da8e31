package media

import (
	"fmt"
	"net/netip"
)

// Rebind gives an end new ports at another local address, of this machine, and
// closes the old ones: the machine is on another network, and the end's peer has
// to be told the ports that Local then names. All else of the session stays: its
// mode, keys, rollover counters, replay windows, own SSRCs and numbers, what it
// has learned of its peer, statistics. No packet number is used twice, and none
// is skipped. What came to the old ports and was not read is lost, as is what is
// sent while the old address is gone and Rebind was not called yet.
//
// An end that has ports at addr already keeps them. Errors leave the end as it
// was: ErrNoPorts, ErrClosed, or that of the socket. It may be called from any
// goroutine, for one end from one at a time.
func (s *Session) Rebind(e End, addr netip.Addr) error {
	addr = addr.Unmap()
	if !addr.IsValid() || addr.IsUnspecified() {
		return fmt.Errorf("media: %v is no address of one interface", addr)
	}
	before, _ := s.Local(e)
	if before.Addr() == addr {
		return nil
	}
	_, err := s.engine.ports.take(addr, func(pair netip.AddrPort) error {
		return s.bindPair(&s.ports[e], pair)
	})
	if err == nil {
		s.engine.ports.release(before)
	}
	return err
}
