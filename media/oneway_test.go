package media

import (
	"bytes"
	"testing"
)

// One direction's key changes; the other's packets go on under theirs, with
// their counts, and packets under the old key are still heard for a while.
func TestChangeOne(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.session.SetMode(A, Plain)
	ours, theirs := newKeys(gcm256)
	if err := r.session.Protect(B, ours, ProtectOptions{}); err != nil {
		t.Fatal(err)
	}
	far := newFarKeys(t, theirs)
	r.phone(voice(1, 1))
	far.open(r.one().pkt)
	r.far(far.seal(voice(9, 1)))
	r.one()

	fresh, _ := newKeys(gcm256)
	theirNew := ours
	theirNew.RecvKey, theirNew.RecvSalt = fresh.RecvKey, fresh.RecvSalt
	if err := r.session.ChangeOne(B, theirNew); err != nil {
		t.Fatal(err)
	}
	r.far(far.seal(voice(9, 2))) // still under the old key
	r.one()
	other := newFarKeys(t, Keys{Suite: gcm256.Name, SendKey: fresh.RecvKey, SendSalt: fresh.RecvSalt, RecvKey: fresh.SendKey, RecvSalt: fresh.SendSalt})
	sealed := other.seal(voice(9, 3))
	r.far(sealed)
	r.one()
	r.far(sealed)
	r.none("a packet seen before")
	r.now += overtaken
	r.far(far.seal(voice(9, 4)))
	r.none("under the old key, once the new one is in use")
	r.phone(voice(1, 2))
	if got := far.open(r.one().pkt); !bytes.HasPrefix(got[12:], speech) {
		t.Error("the direction that did not change broke")
	}

	ourNew := theirNew
	ourNew.SendKey, ourNew.SendSalt = fresh.SendKey, fresh.SendSalt
	if err := r.session.ChangeOne(B, ourNew); err != nil {
		t.Fatal(err)
	}
	r.phone(voice(1, 3))
	other.open(r.one().pkt)
	r.far(other.seal(voice(9, 5)))
	r.one()

	for name, k := range map[string]Keys{
		"nothing new":        ourNew,
		"a key from before":  ours,
		"the other's before": theirNew,
	} {
		if err := r.session.ChangeOne(B, k); err != ErrKeyReuse {
			t.Errorf("%s: %v", name, err)
		}
	}
	both, _ := newKeys(gcm256)
	if err := r.session.ChangeOne(B, both); err != ErrKeyReuse {
		t.Errorf("both new: %v", err)
	}
	if err := r.session.ChangeOne(A, both); err != ErrKeyReuse {
		t.Errorf("an end without keys: %v", err)
	}
}
