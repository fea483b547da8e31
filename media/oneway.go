package media

import (
	"crypto/sha256"
	"slices"
	"time"

	"github.com/sipward/sipward/media/srtp"
)

// ChangeOne gives a protected end new keys in one direction only; those of the
// other are the ones in use, and go on with their rollover counters, numbers
// and replay windows. It is for a peer that chooses its own key and changes it
// when it likes (RFC 4568 §7.1.4): Protect takes no key twice. ErrKeyReuse says
// that neither direction, or both, would change, or that a key was used before.
func (s *Session) ChangeOne(e End, k Keys) error {
	err := ErrClosed
	s.do(func(now time.Duration) {
		end := &s.ends[e]
		if err = end.keys.changeOne(k, now); err == nil {
			s.expireOld(e, now)
			end.mode = Protected
			s.resume(e, now)
		}
	})
	return err
}

// changeOne replaces the context of the direction whose key is new.
func (k *keyring) changeOne(keys Keys, now time.Duration) error {
	if k.send == nil || k.recv == nil || k.next != nil {
		return ErrKeyReuse
	}
	prints := [2][sha256.Size]byte{keyDigest(keys.SendKey, keys.SendSalt), keyDigest(keys.RecvKey, keys.RecvSalt)}
	inUse := k.used[len(k.used)-2:]
	same := [2]bool{prints[0] == inUse[0], prints[1] == inUse[1]}
	if same[0] == same[1] || !same[0] && slices.Contains(k.used, prints[0]) || !same[1] && slices.Contains(k.used, prints[1]) {
		return ErrKeyReuse
	}
	if same[0] {
		recv, err := srtp.NewContext(keys.Suite, keys.RecvKey, keys.RecvSalt)
		if err != nil {
			return err
		}
		erase(&k.old)
		k.old, k.oldTill, k.recv = k.recv, now+oldKeysTime, recv
		k.confirmed, k.known = false, false
	} else {
		send, err := srtp.NewContext(keys.Suite, keys.SendKey, keys.SendSalt)
		if err != nil {
			return err
		}
		erase(&k.send)
		k.send = send
	}
	k.note(prints)
	return nil
}
