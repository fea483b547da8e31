package media

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// A peer that changes its port goes on speaking from the old one until it has heard
// of the answer. That is heard, and settles nothing: it is on the new port that the
// peer speaks from then on.
func TestPortChangesWhileThePeerSpeaks(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{Plain, Passing} {
		synctest.Test(t, func(t *testing.T) {
			m := newInMemory(t)
			defer m.close()
			m.session.SetMode(A, mode)
			m.session.SetMode(B, mode)
			other := netip.AddrPortFrom(phoneRTP.Addr(), 4750)
			moved, err := m.phone.(*memoryConn).network.listen(other)
			if err != nil {
				t.Fatal(err)
			}
			defer moved.Close()
			m.phone.WriteTo(voice(1, 1), m.toPhone)
			synctest.Wait()
			m.session.SetRemote(A, Remote{RTP: other})
			m.phone.WriteTo(voice(1, 2), m.toPhone) // it was under way
			synctest.Wait()
			m.far.WriteTo(voice(2, 1), m.toFar)
			if old, now := len(got(m.phone)), len(got(moved)); old != 0 || now != 1 {
				t.Errorf("%v: %d packets at the old port, %d at the new one", mode, old, now)
			}
			moved.WriteTo(voice(1, 3), m.toPhone)
			synctest.Wait()
			m.phone.WriteTo(voice(1, 4), m.toPhone)
			if n := len(got(m.far)); n != 3 {
				t.Errorf("%v: %d packets heard, want the one before, the one under way and the one from the new port", mode, n)
			}

			// Who goes on from where he was is there after all, behind a NAT say.
			m.session.SetRemote(A, Remote{RTP: phoneRTP})
			time.Sleep(leaving)
			moved.WriteTo(voice(1, 5), m.toPhone)
			synctest.Wait()
			m.far.WriteTo(voice(2, 2), m.toFar)
			if old, now := len(got(m.phone)), len(got(moved)); old != 0 || now != 1 {
				t.Errorf("%v: %d packets where the peer says to be, %d where it is", mode, old, now)
			}
		})
	}
}
