package media

import (
	"testing"
	"time"
)

// A call of two lines whose far end speaks on one only: with Release the other
// sends too.
func TestReleaseSendsWithoutAPacketOfItsOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.session.SetMode(A, Plain)
	r.session.Release(B) // without keys: nothing
	confirmed := make(chan struct{}, 9)
	first := r.protect(gcm256, ProtectOptions{SendAfterConfirm: true, Confirmed: func() { confirmed <- struct{}{} }})
	r.phone(voice(1, 1))
	r.none("before the keys are confirmed")
	r.session.Release(B)
	first.open(r.one().pkt) // what was kept
	r.phone(voice(1, 2))
	first.open(r.one().pkt)
	r.session.Release(B)
	r.none("released twice")

	// The far end has these keys, so they stay heard through a rekeying,
	// though none of its packets came yet.
	second := r.protect(gcm256, ProtectOptions{SendAfterConfirm: true, Confirmed: func() { confirmed <- struct{}{} }})
	r.phone(voice(1, 3))
	first.open(r.one().pkt)
	r.far(first.seal(voice(2, 1)))
	r.one()
	r.session.Release(B)
	r.phone(voice(1, 4))
	second.open(r.one().pkt)
	r.far(first.seal(voice(2, 2)))
	r.one()
	select {
	case <-confirmed:
		t.Error("confirmed without a packet under the keys")
	default:
	}
	r.far(second.seal(voice(2, 3)))
	r.one()
	<-confirmed
	r.now += overtaken
	r.far(first.seal(voice(2, 4)))
	r.none("the keys before, once the new are confirmed")

	// Keys that nobody was shown to have are forgotten at a rekeying.
	unused := r.protect(gcm256, ProtectOptions{})
	r.protect(gcm256, ProtectOptions{})
	r.far(unused.seal(voice(2, 5)))
	r.none("keys replaced unused")

	r.session.SetMode(B, Closed)
	r.session.Release(B)
	r.phone(voice(1, 5))
	r.none("Release does not open an end")
	r.now += time.Second
}
