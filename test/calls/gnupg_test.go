package calls

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sas/attest"
	"github.com/sipward/sipward/test/gnupg"
)

// Two companies whose keys stay with the real GnuPG: it signs each call, and whom it
// trusts it says itself (require verified, as in TestUnattended).

// byGnuPG is both companies. The clock of a call is GnuPG's, an hour ahead.
type byGnuPG struct {
	alice, bob   *gnupg.Home // of the secret keys
	ringA, ringB *gnupg.Home // of the keys of others
	signA, signB string      // fingerprints, "" for the one that the other side knows
	tamper       func(string) string
}

func (u *byGnuPG) play(t *testing.T, story func(t *testing.T, w *world)) {
	t.Helper()
	soon := time.Now().Add(time.Hour)
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(soon))
		rules := asking(t, policy.Rules{UnknownPeers: policy.Require, UnknownTrust: policy.Verified})
		with := func(domain string, secret *gnupg.Home, fingerprint string, ring *gnupg.Home) func(*b2bua.Options) {
			key, err := attest.NewGnuPGSigner(context.Background(), attest.GnuPGOptions{HomeDir: secret.Dir}, fingerprint)
			check(t, err)
			keyring := attest.NewGnuPG(attest.GnuPGOptions{HomeDir: ring.Dir})
			t.Cleanup(keyring.Close)
			return all(signing(domain, memory(t), []attest.Signer{key}), rules, func(o *b2bua.Options) { o.Keyring = keyring })
		}
		w := newWorld(t, worldOptions{net: memnet.Options{Delay: 10 * time.Millisecond},
			optionsA: with("a.example", u.alice, u.signA, u.ringA), optionsB: with("b.example", u.bob, u.signB, u.ringB)})
		defer w.close()
		if u.tamper != nil {
			w.tamper(u.tamper)
		}
		story(t, w)
	})
}

// verified has a call take place, by these keys.
func (w *world) verified(keyA, keyB string) {
	w.t.Helper()
	w.up()
	if b, a := w.talk(10); b != 10 || a != 10 {
		w.t.Errorf("bob heard %d, alice %d of 10", b, a)
	}
	va, vb := w.views()
	if va.Trust != "verified" || vb.Trust != "verified" || va.KeyType != "openpgp" || va.Identity != bob || vb.Identity != alice || va.Key != keyB || vb.Key != keyA {
		w.t.Errorf("%+v\n%+v", va, vb)
	}
	w.alice.hangup()
	w.bob.await("bye")
	w.none()
}

// knows is a keyring of public keys, valid under all of their user IDs.
func knows(t *testing.T, keys ...[]byte) *gnupg.Home {
	t.Helper()
	h := gnupg.New(t)
	for _, k := range keys {
		h.Import(k)
	}
	if len(keys) > 0 {
		for line := range strings.Lines(string(h.Run(nil, "--with-colons", "--list-keys"))) {
			if f := strings.Split(line, ":"); f[0] == "fpr" {
				h.Trust(f[9], gnupg.Ultimate)
			}
		}
	}
	return h
}

func TestUnattendedByGnuPG(t *testing.T) {
	t.Parallel()
	const who = "Orders <alice@a.example>"
	secret, bobs := gnupg.New(t), gnupg.New(t)
	bobKey := bobs.Make("sip:bob@b.example", "ed25519", "sign", "never")
	knowsBob := knows(t, bobs.Export(bobKey))
	base := byGnuPG{alice: secret, bob: bobs, ringA: knowsBob, signB: bobKey}
	good := secret.Make(who, "ed25519", "sign", "never")

	// Each kind of key, with and without a subkey that signs.
	for name, k := range map[string][2]string{
		"ed25519": {"ed25519"}, "RSA 3072": {"rsa3072"}, "NIST P-256": {"nistp256"},
		"ed25519, subkey NIST P-256": {"ed25519", "nistp256/ecdsa"}, "NIST P-256, subkey RSA 3072": {"nistp256", "rsa3072"}, "RSA 3072, subkey ed25519": {"rsa3072", "ed25519"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := base
			u.alice = gnupg.New(t)
			if k[1] == "" {
				u.signA = u.alice.Make(who, k[0], "sign", "never")
			} else {
				u.signA = u.alice.Make(who, k[0], "cert", "never")
				u.alice.Subkey(u.signA, k[1], "sign", "never")
			}
			u.ringB = knows(t, u.alice.Export(u.signA))
			u.play(t, func(t *testing.T, w *world) { w.verified(u.signA, bobKey) })
		})
	}

	aliceUnknown := keyless + "alice@a.example"
	for name, c := range map[string]struct {
		change     func(t *testing.T, u *byGnuPG)
		alice, bob string // as of comesToNothing
	}{
		"the caller's key is not in the keyring": {func(t *testing.T, u *byGnuPG) { u.ringB = knows(t) }, aliceUnknown, ""},
		"nobody has said whose the caller's key is": {func(t *testing.T, u *byGnuPG) {
			u.ringB = knows(t)
			u.ringB.Import(secret.Export(good))
		}, aliceUnknown, ""},
		"one who is trusted a little says whose it is": {func(t *testing.T, u *byGnuPG) {
			h := gnupg.New(t)
			carol := h.Make("carol@c.example", "ed25519", "default", "never")
			h.Import(secret.Export(good))
			h.Run(nil, "--local-user", carol, "--quick-lsign-key", good)
			h.Trust(carol, gnupg.Marginal)
			u.ringB = h
		}, aliceUnknown, ""},
		"the key is another person's": {func(t *testing.T, u *byGnuPG) {
			u.signA = gnupgKey(t, u, "carol@a.example", "ed25519", "never")
			u.ringB = knows(t, u.alice.Export(u.signA))
		}, aliceUnknown, ""},
		"the caller's key is revoked": {func(t *testing.T, u *byGnuPG) {
			u.signA = gnupgKey(t, u, who, "ed25519", "never")
			u.ringB = knows(t, u.alice.Export(u.signA))
			u.ringB.Import(u.alice.Revocation(u.signA))
		}, aliceUnknown, ""},
		"the caller's user ID is revoked": {func(t *testing.T, u *byGnuPG) {
			u.signA = gnupgKey(t, u, who, "ed25519", "never")
			u.alice.Run(nil, "--quick-add-uid", u.signA, "carol@a.example")
			u.alice.Run(nil, "--quick-revoke-uid", u.signA, who)
			u.ringB = knows(t, u.alice.Export(u.signA))
		}, aliceUnknown, ""},
		"the caller's key is expired there": {func(t *testing.T, u *byGnuPG) {
			u.signA = gnupgKey(t, u, who, "ed25519", "1y", "--faked-system-time", "20240101T000000!")
			u.ringB = knows(t, u.alice.Export(u.signA))
			u.alice.Run(nil, "--quick-set-expire", u.signA, "never") // which bob has not been told
		}, aliceUnknown, ""},
		"the caller's key is weak": {func(t *testing.T, u *byGnuPG) {
			u.signA = gnupgKey(t, u, who, "rsa1024", "never")
			u.ringB = knows(t, u.alice.Export(u.signA))
		}, aliceUnknown, ""},
		"the caller's key is bound by SHA-1": {func(t *testing.T, u *byGnuPG) {
			u.signA = gnupgKey(t, u, who, "ed25519", "never", "--cert-digest-algo", "SHA1")
			u.ringB = knows(t, u.alice.Export(u.signA))
		}, aliceUnknown, ""},
		"nobody has typed the caller's passphrase": {func(t *testing.T, u *byGnuPG) {
			u.alice = gnupg.New(t)
			u.signA = u.alice.Lock("secret words", who, "ed25519", "sign", "never")
			u.ringB = knows(t, u.alice.Export(u.signA))
		}, "bye", unsigned},
		"nobody has typed the callee's passphrase": {func(t *testing.T, u *byGnuPG) {
			u.bob = gnupg.New(t)
			u.signB = u.bob.Lock("secret words", "bob@b.example", "ed25519", "sign", "never")
			u.ringA = knows(t, u.bob.Export(u.signB))
		}, "refused 488 " + unsigned, ""},
		"the caller signs with another key of that name": {func(t *testing.T, u *byGnuPG) {
			u.signA = gnupgKey(t, u, who, "ed25519", "never")
		}, "bye", unsigned},
		"the caller signs with a key that is revoked": {func(t *testing.T, u *byGnuPG) {
			u.signA = gnupgKey(t, u, who, "ed25519", "never")
			u.ringB = knows(t, secret.Export(good), u.alice.Export(u.signA))
			u.ringB.Import(u.alice.Revocation(u.signA))
		}, "bye", unsigned},
		"the caller signs with a subkey that is revoked": {func(t *testing.T, u *byGnuPG) {
			u.alice = gnupg.New(t)
			u.signA = u.alice.Make(who, "ed25519", "sign", "never")
			stolen := u.alice.Subkey(u.signA, "ed25519", "sign", "never")
			u.alice.Run([]byte("y\n0\n\ny\n"), "--command-fd", "0", "--no-batch", "--edit-key", u.signA, "key 1", "revkey", "save")
			u.ringB = knows(t, u.alice.Export(u.signA))
			thief := gnupg.New(t) // who has copied it before
			thief.Run(u.alice.Run(nil, "--passphrase", "", "--export-secret-subkeys", stolen+"!"), "--import")
			u.alice, u.signA = thief, stolen
		}, "bye", unsigned},
		"the caller signs with a colleague's key": {func(t *testing.T, u *byGnuPG) {
			u.signA = gnupgKey(t, u, "carol@a.example", "nistp256", "never")
			u.ringB = knows(t, secret.Export(good), u.alice.Export(u.signA))
		}, "bye", unsigned},
		"the caller's signature is changed on the way": {func(_ *testing.T, u *byGnuPG) {
			u.tamper = func(m string) string {
				if strings.HasPrefix(m, "ACK ") {
					return flip(m, "dh-sig")
				}
				return m
			}
		}, "bye", "A signature of the other end is wrong"},
		"the callee signs with another key": {func(t *testing.T, u *byGnuPG) {
			u.bob = gnupg.New(t)
			u.signB = u.bob.Make("bob@b.example", "ed25519", "sign", "never")
		}, "refused 488 " + unsigned, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := base
			u.signA = good
			if c.change(t, &u); u.ringB == nil {
				u.ringB = knows(t, secret.Export(good))
			}
			began := time.Now()
			u.play(t, func(_ *testing.T, w *world) { w.comesToNothing(c.alice, c.bob) })
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// gnupgKey has alice sign with a key of a folder of its own.
func gnupgKey(t *testing.T, u *byGnuPG, userID, algorithm, expire string, args ...string) string {
	t.Helper()
	u.alice = gnupg.New(t)
	return u.alice.Make(userID, algorithm, "sign", expire, args...)
}

// What GnuPG learns counts for the next calls, while sipward runs.
func TestGnuPGIsAskedLive(t *testing.T) {
	t.Parallel()
	secret, bobs := gnupg.New(t), gnupg.New(t)
	first := secret.Make("alice@a.example", "ed25519", "sign", "never")
	bobKey := bobs.Make("bob@b.example", "nistp256", "sign", "never")
	ring := knows(t)
	ring.Import(secret.Export(first))
	u := byGnuPG{alice: secret, bob: bobs, ringA: knows(t, bobs.Export(bobKey)), ringB: ring, signA: first, signB: bobKey}
	u.play(t, func(_ *testing.T, w *world) {
		unknown := keyless + "alice@a.example"
		w.comesToNothing(unknown, "")
		later := func(change func()) {
			change()
			time.Sleep(10 * time.Minute) // a list is as old as that at most
		}
		later(func() { ring.Trust(first, gnupg.Ultimate) })
		w.verified(first, bobKey)
		later(func() { ring.Trust(first, gnupg.Undefined) })
		w.comesToNothing(unknown, "")
		later(func() { ring.Trust(first, gnupg.Ultimate) })
		w.verified(first, bobKey)
		later(func() { ring.Import(secret.Revocation(first)) })
		w.comesToNothing(unknown, "")
	})
}
