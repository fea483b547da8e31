package media

import (
	"crypto/sha256"
	"errors"
	"slices"
	"time"

	"github.com/sipward/sipward/media/srtp"
)

// ErrKeyReuse says that an end was given keys which it, or its peer, used
// before: rollover counters would start again under them.
var ErrKeyReuse = errors.New("media: keys were used before")

const (
	// oldKeysTime is how long packets under the keys before are heard after a
	// rekeying.
	oldKeysTime = 5 * time.Second
	// overtaken is how much longer that is where the first packet under the new
	// keys has overtaken some under those before.
	overtaken = 200 * time.Millisecond
	// maxDigests bounds how many keys of before are told again.
	maxDigests = 2048
)

// Keys are the SRTP keys of one end: the protection profile's registered name,
// and master key and master salt of either direction, in the profile's
// lengths. They are copied into the cipher; the caller may clear them.
type Keys struct {
	Suite             string
	SendKey, SendSalt []byte
	RecvKey, RecvSalt []byte
}

// ProtectOptions say how keys come into use.
type ProtectOptions struct {
	// SendAfterConfirm holds back what would be sent under these keys until
	// the first packet of the peer under them verifies. Meanwhile the keys
	// before go on sending, or packets are kept as in the mode Waiting.
	SendAfterConfirm bool
	// ProbeBefore lets Probe alone speak under keys that are held back like
	// this, so that the peer can confirm them and be found, though nothing of
	// what this end relays leaves.
	ProbeBefore bool
	// Confirmed is called once, on a goroutine of its own, when the first
	// packet under these keys verifies. It may call the session.
	Confirmed func()
}

// keyring holds an end's keys across rekeyings.
type keyring struct {
	used     [][sha256.Size]byte // digests of the newest maxDigests keys
	callback func()
	oldTill  time.Duration
	old      *srtp.Context // still heard
	next     *srtp.Context // takes send's place when confirmed

	probes    bool // Probe may speak under next
	confirmed bool // a packet verified under recv
	known     bool // the peer has shown otherwise that it has the newest keys
	news      bool // confirmed since the session last looked
	recv      *srtp.Context
	send      *srtp.Context // nil: nothing may leave
}

// keyPair is Keys ready for use. Making it takes as long as relaying some
// packets, so it is done before the worker is asked to wait.
type keyPair struct {
	send, recv *srtp.Context
	prints     [2][sha256.Size]byte
}

// newKeyPair expands keys. Errors are those of srtp.NewContext.
func newKeyPair(keys Keys) (p keyPair, err error) {
	p.prints = [2][sha256.Size]byte{
		keyDigest(keys.SendKey, keys.SendSalt),
		keyDigest(keys.RecvKey, keys.RecvSalt),
	}
	if p.send, err = srtp.NewContext(keys.Suite, keys.SendKey, keys.SendSalt); err != nil {
		return p, err
	}
	if p.recv, err = srtp.NewContext(keys.Suite, keys.RecvKey, keys.RecvSalt); err != nil {
		p.erase()
	}
	return p, err
}

func (p *keyPair) erase() {
	erase(&p.send)
	erase(&p.recv)
}

// install puts new keys into use.
func (k *keyring) install(fresh keyPair, o ProtectOptions, now time.Duration) error {
	prints := fresh.prints
	if prints[0] == prints[1] || slices.Contains(k.used, prints[0]) || slices.Contains(k.used, prints[1]) {
		return ErrKeyReuse
	}
	k.note(prints)

	if k.confirmed || k.known {
		erase(&k.old)
		k.old = k.recv
	} else {
		erase(&k.recv) // nobody ever used it: what was before it stays
	}
	k.recv = fresh.recv
	k.oldTill = now + oldKeysTime

	erase(&k.next)
	if o.SendAfterConfirm {
		k.next = fresh.send
	} else {
		erase(&k.send)
		k.send = fresh.send
	}
	k.probes = o.ProbeBefore
	k.confirmed, k.known, k.callback = false, false, o.Confirmed
	return nil
}

// note keeps the digests of keys that come into use.
func (k *keyring) note(prints [2][sha256.Size]byte) {
	if len(k.used) >= maxDigests {
		k.used = slices.Delete(k.used, 0, len(prints))
	}
	k.used = append(k.used, prints[:]...)
}

// authenticate gives the clear packet, written to dst, where pkt verifies
// under the end's keys and was not seen before; the errors are those of
// srtp.Context.
func (k *keyring) authenticate(dst, pkt []byte, what kind, now time.Duration) ([]byte, error) {
	clear, err := unprotect(k.recv, dst, pkt, what)
	if err == nil {
		k.confirm(now)
		return clear, nil
	}
	if k.old == nil || now >= k.oldTill {
		return nil, err
	}
	clear, before := unprotect(k.old, dst, pkt, what)
	if errors.Is(before, srtp.ErrAuth) {
		return nil, err // a copy of what the new keys have seen, perhaps
	}
	return clear, before
}

func unprotect(c *srtp.Context, dst, pkt []byte, what kind) ([]byte, error) {
	if what == kindRTCP {
		return c.UnprotectRTCP(dst, pkt)
	}
	return c.Unprotect(dst, pkt)
}

// protect encrypts pkt in place under the sending keys; its buffer needs
// srtp.MaxOverhead octets more.
func (k *keyring) protect(pkt []byte, what kind) ([]byte, error) {
	if what == kindRTCP {
		return k.send.ProtectRTCP(pkt[:0], pkt)
	}
	return k.send.Protect(pkt[:0], pkt)
}

// probing is what Probe speaks under, nil for nothing, and whether all else is
// held back meanwhile.
func (k *keyring) probing() (c *srtp.Context, held bool) {
	if k.next != nil && k.probes {
		return k.next, true
	}
	return k.send, false
}

// rtcpIndex reads the index of a packet that verified.
func (k *keyring) rtcpIndex(pkt []byte) uint32 { return k.recv.RTCPIndex(pkt) }

// confirm notes that a packet verified under the newest keys: those before it
// are needed only for what it has overtaken on the way.
func (k *keyring) confirm(now time.Duration) {
	if k.confirmed {
		return
	}
	k.confirmed, k.news = true, true
	k.oldTill = min(k.oldTill, now+overtaken)
	k.release()
	if k.callback != nil {
		go k.callback()
		k.callback = nil
	}
}

// release puts sending keys that were held back into use, where there are any.
func (k *keyring) release() bool {
	if k.next == nil {
		return false
	}
	erase(&k.send)
	k.send, k.next = k.next, nil
	return true
}

// expire erases the keys before once their time is over.
func (k *keyring) expire(now time.Duration) {
	if now >= k.oldTill {
		erase(&k.old)
	}
}

// erase forgets all keys; digests stay, so that none comes back.
func (k *keyring) erase() {
	erase(&k.send)
	erase(&k.next)
	erase(&k.recv)
	erase(&k.old)
	k.confirmed, k.known, k.news, k.callback = false, false, false, nil
}

func erase(c **srtp.Context) {
	if *c != nil {
		(*c).Erase()
		*c = nil
	}
}

// keyDigest tells keys apart without keeping them.
func keyDigest(key, salt []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write(key)
	h.Write(salt)
	return [sha256.Size]byte(h.Sum(nil))
}
