package attest

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// KeyFile signs with an OpenPGP secret key from a file.
type KeyFile struct {
	mu      sync.Mutex // the library notes in the key what it has checked
	cert    *certificate
	now     func() time.Time
	closed  bool
	primary string
}

// OpenKeyFile reads one secret key as gpg --export-secret-keys or
// --export-secret-subkeys writes it, armored or not. passphraseFile holds the
// passphrase in its first line; "": the key has none. Others may not be able to
// read the files. The error says what to mend.
func OpenKeyFile(path, passphraseFile string) (*KeyFile, error) {
	k, err := openKeyFile(path, passphraseFile, time.Now)
	if err != nil {
		return nil, fmt.Errorf("attest: %w", err)
	}
	return k, nil
}

func openKeyFile(path, passphraseFile string, now func() time.Time) (*KeyFile, error) {
	b, err := readSecret(path)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	list, err := readKeys(b)
	if err != nil {
		return nil, fmt.Errorf("%s: no OpenPGP key: %w", path, err)
	}
	if len(list) != 1 || !hasSecret(list[0]) {
		return nil, fmt.Errorf("%s is not one secret key; gpg --export-secret-keys FINGERPRINT writes one", path)
	}
	if passphraseFile != "" {
		pass, err := readSecret(passphraseFile)
		if err != nil {
			return nil, err
		}
		defer clear(pass)
		line, _, _ := bytes.Cut(pass, []byte("\n"))
		if err := list[0].DecryptPrivateKeys(bytes.TrimSuffix(line, []byte("\r"))); err != nil {
			return nil, fmt.Errorf("%s: the passphrase in %s does not open it", path, passphraseFile)
		}
	}
	c := newCertificate(list[0])
	k := &KeyFile{cert: c, primary: c.fingerprint, now: now}
	if _, err := k.signingKey(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// signingKey finds the newest key that may sign and whose secret is here.
func (k *KeyFile) signingKey() (*packet.PrivateKey, error) {
	s := k.cert.at(k.now())
	if s.why != "" {
		return nil, errors.New(s.why)
	}
	why := "it holds no secret key that may sign"
	var best *packet.PrivateKey
	for _, secret := range k.secrets() {
		for _, key := range s.keys {
			if !bytes.Equal(key.key.Fingerprint, secret.Fingerprint) {
				continue
			}
			switch {
			case key.why != "":
				why = key.why
			case secret.Dummy():
				why = "its secret key is elsewhere (a stub for a card or for the primary key)"
			case secret.Encrypted:
				why = "its secret key has a passphrase: name the file that holds it"
			case best == nil || !secret.CreationTime.Before(best.CreationTime):
				best = secret
			}
		}
	}
	if best == nil {
		return nil, errors.New(why)
	}
	return best, nil
}

func (k *KeyFile) secrets() []*packet.PrivateKey {
	var all []*packet.PrivateKey
	e := k.cert.entity
	if e.PrivateKey != nil {
		all = append(all, e.PrivateKey)
	}
	for i := range e.Subkeys {
		if p := e.Subkeys[i].PrivateKey; p != nil {
			all = append(all, p)
		}
	}
	return all
}

// Fingerprint is the primary key's, as it stands in the attribute.
func (k *KeyFile) Fingerprint() string { return k.primary }

// Sign implements [Signer]. It takes as long as the key's algorithm: below a
// millisecond but for long RSA keys.
func (k *KeyFile) Sign(_ context.Context, role Role, t [32]byte, identity string) (string, error) {
	return signOpenPGP(k.primary, role, t, identity, func(text []byte) ([]byte, error) {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.closed {
			return nil, errors.New("the key is erased")
		}
		key, err := k.signingKey()
		if err != nil {
			return nil, err
		}
		salt := false // EdDSA and RSA need none, and the message has to stay small
		config := openpgpConfig(k.now())
		config.DefaultHash, config.SigningKeyId, config.NonDeterministicSignaturesViaNotation = crypto.SHA256, key.KeyId, &salt
		var out bytes.Buffer
		if err := openpgp.DetachSign(&out, []*openpgp.Entity{k.cert.entity}, bytes.NewReader(text), config); err != nil {
			return nil, err
		}
		return out.Bytes(), nil
	})
}

// Close drops the secret key; Sign then fails. The library's own key types cannot
// be overwritten.
func (k *KeyFile) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	k.cert.entity.PrivateKey = nil
	for i := range k.cert.entity.Subkeys {
		k.cert.entity.Subkeys[i].PrivateKey = nil
	}
}
