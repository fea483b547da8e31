package attest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Keys are OpenPGP public keys that were read once. Being among them is trust:
// whoever filled the file or the folder has checked whose they are. It is a
// [Keyring] that never waits.
//
// A revocation counts only where it stands in the file, and one by another key,
// a designated revoker, does not.
type Keys struct {
	certificates map[string]*certificate   // by fingerprint
	byAddress    map[string][]*certificate // by addressKey of each user ID
	now          func() time.Time
}

// maxKeyFile bounds a file of keys, in octets.
const maxKeyFile = 16 << 20

// OpenKeys reads a file of exported keys, armored or not, or all files of a
// folder but hidden ones. The error names the file: one without keys, or with a
// secret key, which does not belong there. Copies of one key are put together.
func OpenKeys(path string) (*Keys, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("attest: %w", err)
	}
	names := []string{path}
	if info.IsDir() {
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, fmt.Errorf("attest: %w", err)
		}
		names = nil
		for _, e := range entries {
			if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
				names = append(names, filepath.Join(path, e.Name()))
			}
		}
	}
	k := emptyKeys()
	for _, name := range names {
		b, err := readLimited(name, maxKeyFile)
		if err != nil {
			return nil, fmt.Errorf("attest: %w", err)
		}
		if err := k.add(b); err != nil {
			return nil, fmt.Errorf("attest: %s: %w", name, err)
		}
	}
	return k, nil
}

func readLimited(name string, limit int) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(b) > limit {
		err = fmt.Errorf("%s is longer than %d octets", name, limit)
	}
	return b, err
}

func emptyKeys() *Keys {
	return &Keys{certificates: map[string]*certificate{}, byAddress: map[string][]*certificate{}, now: time.Now}
}

func (k *Keys) add(b []byte) error {
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

// Len is how many keys there are.
func (k *Keys) Len() int { return len(k.certificates) }

// Verify implements [Keyring].
func (k *Keys) Verify(_ context.Context, fingerprint, identity string, text, signature []byte) Result {
	return k.verify(fingerprint, identity, text, signature, anyName)
}

func anyName(string) bool { return true }

// verify counts only user IDs that accept lets through.
func (k *Keys) verify(fingerprint, identity string, text, signature []byte, accept func(userID string) bool) Result {
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

// Usable implements [Keyring].
func (k *Keys) Usable(_ context.Context, identity string) bool {
	return k.usable(identity, func(*certificate, string) bool { return true })
}

func (k *Keys) usable(identity string, accept func(c *certificate, userID string) bool) bool {
	now := k.now()
	return slices.ContainsFunc(k.byAddress[addressKey(identity)], func(c *certificate) bool {
		return c.signs(now) && c.owns(identity, now, func(name string) bool { return accept(c, name) })
	})
}
