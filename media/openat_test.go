package media

import (
	"bytes"
	"net/netip"
	"testing"
)

func TestOpenAt(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, e *Engine) {
		first := openSession(t, e) // its ports are free again, and nobody else here has them
		a, aRTCP := first.Local(A)
		b, _ := first.Local(B)
		if s, err := e.OpenAt(a, b); err == nil {
			s.Close()
			t.Fatal("opened at ports of another session")
		}
		first.Close()
		s, err := e.OpenAt(a, b)
		if err != nil {
			t.Fatal(err)
		}
		if rtp, rtcp := s.Local(A); rtp != a || rtcp != aRTCP {
			t.Errorf("opened at %v and %v instead of %v and %v", rtp, rtcp, a, aRTCP)
		}
		phone, far := newPeer(t, loopback), newPeer(t, loopback)
		s.SetRemote(A, phone.remote())
		s.SetRemote(B, far.remote())
		s.SetMode(A, Plain)
		s.SetMode(B, Plain)
		phone.send(phone.rtp, voice(1, 1), a)
		if got := far.read(far.rtp); !bytes.Equal(got, voice(1, 1)) {
			t.Fatalf("far end gets %x", got)
		}
		s.Close()
		again, err := e.OpenAt(a, b)
		if err != nil {
			t.Fatalf("Close did not give the ports back: %v", err)
		}
		again.Close()
	})
}

func TestOpenAtRefuses(t *testing.T) {
	t.Parallel()
	e := newTestEngine(t, Options{Listen: listenUDP})
	s := openSession(t, e)
	good, _ := s.Local(A)
	free, _ := s.Local(B)
	s.Close()
	for name, bad := range map[string]netip.AddrPort{
		"no address":           {},
		"every address":        netip.AddrPortFrom(netip.IPv4Unspecified(), 20000),
		"port 0":               netip.AddrPortFrom(loopback, 0),
		"no port for RTCP":     netip.AddrPortFrom(loopback, 65535),
		"not of this machine":  netip.MustParseAddrPort("192.0.2.1:20000"),
		"the other end's port": good,
	} {
		if s, err := e.OpenAt(good, bad); err == nil {
			s.Close()
			t.Errorf("%s: opened", name)
		}
	}
	s, err := e.OpenAt(good, free)
	if err != nil {
		t.Fatalf("a refusal kept ports: %v", err)
	}
	s.Close()
}
