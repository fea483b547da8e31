package keyexchange

import (
	"errors"
	"reflect"
	"testing"
)

// What stands for hours keeps nothing of the handshake, and takes a repetition for
// one still, another share for an attack, and the next exchange's chain key.
func TestSettled(t *testing.T) {
	t.Parallel()
	for _, g := range []string{GroupX25519, GroupX25519MLKEM768} {
		e := agreeing(t, configOf(g), nil)
		for role, x := range map[string]*Exchange{"initiator": e.initiator, "responder": e.responder} {
			value, other := e.resp, e.fin
			take := func(value string) error { _, err := x.TakeResp(taken(value)); return err }
			if x == e.responder {
				value, other = e.fin, e.resp
				take = func(value string) error { return x.TakeFin(taken(value)) }
			}
			keys, sas, chain, group, suite := keysOf(t, x, 1), sasOf(t, x), x.Chain(), x.Group(), x.Suite()
			x.Started(at(0))
			if x.Settled(); x.handshake == nil {
				t.Fatalf("%s, %s: the handshake is gone before the exchange is confirmed", g, role)
			}
			x.Confirmed(at(0))
			if x.Settled(); x.handshake != nil {
				t.Fatalf("%s, %s: the handshake is still there", g, role)
			}
			if err := take(value); err != nil {
				t.Errorf("%s, %s: a repetition: %v", g, role, err)
			}
			if !reflect.DeepEqual(keysOf(t, x, 1), keys) || sasOf(t, x) != sas || !reflect.DeepEqual(x.Chain(), chain) ||
				x.Group() != group || x.Suite() != suite || !x.MaySend() || !x.IsConfirmed() {
				t.Errorf("%s, %s: keys, SAS, chain key or names are others than before", g, role)
			}
			if x.Init() != "" || x.T1() != [32]byte{} || x.T2() != [32]byte{} || x.PeerSignatures() != nil || x.SetSignatures(nil) == nil {
				t.Errorf("%s, %s: something is left of the handshake", g, role)
			}
			prk, kept := x.prk, x.chain
			var failure *Failure
			if err := take(other); !errors.As(err, &failure) {
				t.Errorf("%s, %s: another share: %v, want a *Failure", g, role, err)
			}
			for _, secret := range [][]byte{prk, kept} {
				for _, b := range secret {
					if b != 0 {
						t.Fatalf("%s, %s: a secret was let go but not overwritten", g, role)
					}
				}
			}
			if err := take(value); !errors.As(err, &failure) {
				t.Errorf("%s, %s: behind the failure: %v", g, role, err)
			}
		}
	}
}
