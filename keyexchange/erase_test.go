package keyexchange

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"
)

func TestErase(t *testing.T) {
	t.Parallel()
	for _, g := range []string{GroupX25519, GroupX25519MLKEM768} {
		// At every stage, and what was handed out stays the caller's.
		for stage := range 4 {
			e := begin(t, configOf(g), bytes.Repeat([]byte{1}, 32))
			var mine, copied Keys
			if stage >= 1 {
				if _, err := e.initiator.TakeResp(taken(e.resp)); err != nil {
					t.Fatal(err)
				}
			}
			if offered := e.initiator.offered; (offered == nil) != (stage >= 1) {
				t.Errorf("%s, stage %d: %d private keys are kept", g, stage, len(offered))
			}
			held := [][]byte{e.initiator.z, e.initiator.p}
			if stage >= 2 {
				mine = keysOf(t, e.initiator, 0)
				copied = copyKeys(mine)
				held = append(held, e.initiator.prk, e.initiator.chain)
				if e.initiator.z != nil || e.initiator.p != nil || e.initiator.c != [32]byte{} {
					t.Errorf("%s: shares and chain key outlive the exchange", g)
				}
			}
			if stage >= 3 {
				e.initiator.Started(time.Unix(0, 0))
			}
			e.initiator.Erase()
			e.responder.Erase()
			checkOver(t, e.initiator)
			checkOver(t, e.responder)
			for _, secret := range held {
				if slices.ContainsFunc(secret, func(b byte) bool { return b != 0 }) {
					t.Errorf("%s, stage %d: a secret was let go but not overwritten", g, stage)
				}
			}
			if !reflect.DeepEqual(mine, copied) {
				t.Errorf("%s: keys that were handed out are erased too", g)
			}
			if _, err := e.initiator.Keys(0); !errors.Is(err, ErrErased) {
				t.Errorf("%s: keys after Erase: %v", g, err)
			}
			if _, err := e.initiator.TakeResp(taken(e.resp)); !errors.Is(err, ErrErased) {
				t.Errorf("%s: dh-resp after Erase: %v", g, err)
			}
			if err := e.responder.TakeFin(taken(e.fin)); !errors.Is(err, ErrErased) {
				t.Errorf("%s: dh-fin after Erase: %v", g, err)
			}
		}
	}
}

// copyKeys copies keys so that a test sees whether theirs change.
func copyKeys(k Keys) Keys {
	c := func(s KeySalt) KeySalt { return KeySalt{slices.Clone(s.Key), slices.Clone(s.Salt)} }
	return Keys{c(k.Send), c(k.Recv)}
}

func TestPrivateKeysAreLetGo(t *testing.T) {
	t.Parallel()
	for _, g := range []string{GroupX25519, GroupX25519MLKEM768} {
		e := agreeing(t, configOf(g), nil)
		if x := e.responder; x.key != nil || x.kem != nil || x.z != nil || x.p != nil {
			t.Errorf("%s: the responder keeps shares after dh-fin", g)
		}
		if x := e.initiator; x.offered != nil {
			t.Errorf("%s: the initiator keeps private keys after dh-resp", g)
		}
	}
}
