package attest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// keySet is a set of certificates that were read together. It is not changed once
// it is used.
type keySet struct {
	certificates map[string]*certificate   // by fingerprint
	byAddress    map[string][]*certificate // by addressKey of each user ID
	now          func() time.Time
}

func newKeySet() *keySet {
	return &keySet{certificates: map[string]*certificate{}, byAddress: map[string][]*certificate{}, now: time.Now}
}

func (k *keySet) add(b []byte) error {
	list, err := readKeys(b)
	if err != nil {
		return fmt.Errorf("no OpenPGP keys: %w", err)
	}
	if slices.ContainsFunc(list, hasSecret) {
		return errors.New("holds a secret key; export public keys only (gpg --export)")
	}
	for _, e := range list {
		c := k.certificates[hexOf(e.PrimaryKey)]
		if c == nil {
			c = newCertificate(e)
			k.certificates[c.fingerprint] = c
		} else {
			c.merge(e)
		}
		for name, id := range e.Identities {
			id.OtherCertifications = nil // nobody asks for them
			address := addressKey(addressOf(name))
			if address != "" && !slices.Contains(k.byAddress[address], c) {
				k.byAddress[address] = append(k.byAddress[address], c)
			}
		}
	}
	return nil
}

// addressKey is equal for the same identities, "" for what is none.
func addressKey(identity string) string {
	user, host, ok := cutIdentity(identity)
	if !ok {
		return ""
	}
	return user + "@" + strings.ToLower(host)
}

// merge adds what another copy of the same key has: a revocation counts in
// whichever copy it stands.
func (c *certificate) merge(from *openpgp.Entity) {
	to := c.entity
	to.Revocations = append(to.Revocations, from.Revocations...)
	to.DirectSignatures = append(to.DirectSignatures, from.DirectSignatures...)
	for name, id := range from.Identities {
		if have := to.Identities[name]; have != nil {
			have.SelfCertifications = append(have.SelfCertifications, id.SelfCertifications...)
			have.Revocations = append(have.Revocations, id.Revocations...)
			continue
		}
		id.Primary = to
		to.Identities[name] = id
	}
	for _, sub := range from.Subkeys {
		i := slices.IndexFunc(to.Subkeys, func(s openpgp.Subkey) bool {
			return bytes.Equal(s.PublicKey.Fingerprint, sub.PublicKey.Fingerprint)
		})
		if i < 0 {
			sub.Primary = to
			to.Subkeys = append(to.Subkeys, sub)
			continue
		}
		have := &to.Subkeys[i]
		have.Bindings = append(have.Bindings, sub.Bindings...)
		have.Revocations = append(have.Revocations, sub.Revocations...)
	}
}

// verify counts only user IDs that accept lets through.
func (k *keySet) verify(fingerprint, identity string, text, signature []byte, accept func(userID string) bool) Result {
	c := k.certificates[fingerprint]
	if c == nil {
		return Result{Why: "the OpenPGP key " + clip(fingerprint) + " is not in the keyring"}
	}
	now := k.now()
	r := c.verify(text, signature, now)
	if r.State == Right {
		r.Owned = c.owns(identity, now, accept)
	}
	if r.State == Right && !r.Owned {
		r.Why += ", which is not known to belong to " + clip(identity)
	}
	return r
}

// clip shortens what comes from outside to what a sentence bears.
func clip(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// usable is Usable that counts only user IDs that accept lets through.
func (k *keySet) usable(identity string, accept func(c *certificate, userID string) bool) bool {
	now := k.now()
	return slices.ContainsFunc(k.byAddress[addressKey(identity)], func(c *certificate) bool {
		return c.signs(now) && c.owns(identity, now, func(name string) bool { return accept(c, name) })
	})
}
