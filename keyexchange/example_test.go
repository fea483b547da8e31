package keyexchange_test

import (
	"bytes"
	"fmt"

	"github.com/sipward/sipward/keyexchange"
)

// Both ends of one call, with the three messages in between.
func Example() {
	cfg := keyexchange.Config{
		Groups: []string{keyexchange.GroupX25519},
		Suites: []keyexchange.Suite{{Name: "AEAD_AES_256_GCM", KeyLen: 32, SaltLen: 12}},
	}

	// The caller sends dh-init in the INVITE's SDP.
	caller, err := keyexchange.NewInitiator(cfg, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	invite := []keyexchange.Found{{Name: "dh-init", Value: caller.Init(), Place: keyexchange.PlaceSession}}

	// The callee reads it and sends dh-resp in the 2xx.
	attrs, err := keyexchange.Read(keyexchange.KindInvite, invite)
	if err != nil {
		fmt.Println(err)
		return
	}
	callee, resp, err := keyexchange.NewResponder(cfg, attrs, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	ok := []keyexchange.Found{{Name: "dh-resp", Value: resp, Place: keyexchange.PlaceSession}}

	// The caller reads that and opens its commitment in the ACK.
	if attrs, err = keyexchange.Read(keyexchange.KindAnswer, ok); err != nil {
		fmt.Println(err)
		return
	}
	fin, err := caller.TakeResp(attrs)
	if err != nil {
		fmt.Println(err)
		return
	}
	ack := []keyexchange.Found{{Name: "dh-fin", Value: fin, Place: keyexchange.PlaceFragment}}

	// The callee checks it. From here on both have the same keys.
	if attrs, err = keyexchange.Read(keyexchange.KindAck, ack); err != nil {
		fmt.Println(err)
		return
	}
	if err := callee.TakeFin(attrs); err != nil {
		fmt.Println(err)
		return
	}
	a, _ := caller.Keys(0)
	b, _ := callee.Keys(0)
	fmt.Println(bytes.Equal(a.Send.Key, b.Recv.Key), bytes.Equal(a.Recv.Key, b.Send.Key), bytes.Equal(a.Send.Key, a.Recv.Key))
	one, _ := caller.SAS()
	other, _ := callee.SAS()
	fmt.Println(one == other)
	// Output:
	// true true false
	// true
}
