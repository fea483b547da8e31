package media

import (
	"fmt"
	"net/netip"
)

// OpenAt is Open at given ports, which may lie outside of the engine's range: a
// and b are where the ends take RTP, and RTCP takes the port after each. It is
// for those who have agreed on the ports beforehand, such as a measurement;
// calls let Open pick ports that are hard to guess. Errors beside those of
// Open: a port which is 0 or 65535, or which another session has.
func (e *Engine) OpenAt(a, b netip.AddrPort) (*Session, error) {
	return e.open(func(s *Session) error {
		for i, rtp := range []netip.AddrPort{a, b} {
			if err := s.bindAt(End(i), unmap(rtp)); err != nil {
				return err
			}
		}
		return nil
	})
}

// bindAt opens the sockets of one end.
func (s *Session) bindAt(e End, rtp netip.AddrPort) error {
	switch {
	case !rtp.IsValid() || rtp.Addr().IsUnspecified():
		return fmt.Errorf("media: %v is no address of one interface", rtp)
	case rtp.Port() == 0 || rtp.Port() == 65535:
		return fmt.Errorf("media: %v: RTP takes a port from 1 to 65534, as RTCP takes the next", rtp)
	case !s.engine.ports.reserve(rtp):
		return fmt.Errorf("media: %v: another session has this port", rtp)
	}
	err := s.bindPair(&s.ports[e], rtp)
	if err != nil {
		s.engine.ports.free(rtp)
	}
	return err
}
