package attest

import (
	"bytes"
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// minRSA is the length below which an RSA key counts for nothing, in bits.
const minRSA = 2048

// weakHashes count for nothing, neither in signatures nor in what binds a name
// or a subkey to a key.
var weakHashes = map[crypto.Hash]bool{crypto.MD5: true, crypto.SHA1: true, crypto.RIPEMD160: true, crypto.SHA224: true}

// Keys are OpenPGP public keys that were read once. Being among them is trust:
// whoever filled the file or the folder has checked whose they are.
type Keys struct {
	entities openpgp.EntityList
	now      func() time.Time // nil: time.Now
}

// maxKeyFile bounds a file of keys, in octets.
const maxKeyFile = 16 << 20

// OpenKeys reads a file of exported keys, armored or not, or all files of a
// folder. Secret keys in them are a fault: they do not belong there.
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
	k := &Keys{}
	for _, name := range names {
		b, err := readLimited(name)
		if err != nil {
			return nil, fmt.Errorf("attest: %w", err)
		}
		if err := k.add(b); err != nil {
			return nil, fmt.Errorf("attest: %s: %w", name, err)
		}
	}
	return k, nil
}

func readLimited(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err == nil && len(b) > maxKeyFile {
		err = fmt.Errorf("%s: longer than %d octets", name, maxKeyFile)
	}
	return b, err
}

// NewKeys makes Keys of exported ones, armored or not.
func NewKeys(exported []byte) (*Keys, error) {
	k := &Keys{}
	if err := k.add(exported); err != nil {
		return nil, fmt.Errorf("attest: %w", err)
	}
	return k, nil
}

func (k *Keys) add(b []byte) error {
	list, err := readKeys(b)
	if err != nil {
		return fmt.Errorf("no OpenPGP keys: %w", err)
	}
	for _, e := range list {
		if e.PrivateKey != nil {
			return errors.New("holds a secret key; export public keys only (gpg --export)")
		}
	}
	k.entities = append(k.entities, list...)
	return nil
}

func readKeys(b []byte) (openpgp.EntityList, error) {
	if bytes.Contains(b[:min(len(b), 4096)], []byte("-----BEGIN PGP")) {
		return openpgp.ReadArmoredKeyRing(bytes.NewReader(b))
	}
	return openpgp.ReadKeyRing(bytes.NewReader(b))
}

// Len is how many keys there are.
func (k *Keys) Len() int { return len(k.entities) }

func (k *Keys) config() *packet.Config {
	now := k.now
	if now == nil {
		now = time.Now
	}
	return &packet.Config{Time: now, MinRSABits: minRSA, RejectHashAlgorithms: weakHashes, RejectMessageHashAlgorithms: weakHashes}
}

// Verify implements [Keyring].
func (k *Keys) Verify(_ context.Context, fingerprint, identity string, text, signature []byte) Result {
	e := k.find(fingerprint)
	if e == nil {
		return Result{Why: "the OpenPGP key " + fingerprint + " is not in the keyring"}
	}
	r := verify(e, k.config(), text, signature)
	if r.State == Right {
		r.Owned = owns(e, k.config(), identity)
	}
	return r
}

// verify checks a signature by one key or its signing subkeys.
func verify(e *openpgp.Entity, config *packet.Config, text, signature []byte) Result {
	now := config.Now()
	if why := unusable(e, config); why != "" {
		return Result{Why: why}
	}
	if !binary(signature) {
		return Result{State: Wrong, Why: "it is not one binary OpenPGP signature"}
	}
	_, signer, err := openpgp.VerifyDetachedSignature(openpgp.EntityList{e}, bytes.NewReader(text), bytes.NewReader(signature), config)
	switch {
	case err == nil && signer == e:
		return Result{State: Right, Why: "signed by the OpenPGP key " + fingerprintOf(e)}
	case errors.Is(err, pgperrors.ErrKeyExpired), errors.Is(err, pgperrors.ErrKeyRevoked):
		return Result{Why: "the subkey that signed is expired or revoked"}
	}
	// A weak hash or key is not a forged signature, but says nothing either.
	if why := weakSignature(signature); why != "" {
		return Result{Why: why}
	}
	if _, ok := e.SigningKey(now, config); !ok {
		return Result{Why: "the key " + fingerprintOf(e) + " may not sign"}
	}
	return Result{State: Wrong, Why: "the signature is not by the key that it names, or not of this call"}
}

// binary says whether there is one signature packet of type 0x00 and nothing
// else.
func binary(signature []byte) bool {
	sig, rest := oneSignature(signature)
	return sig != nil && rest == 0 && sig.SigType == packet.SigTypeBinary
}

func oneSignature(b []byte) (*packet.Signature, int) {
	in := bytes.NewReader(b)
	p, err := packet.Read(in)
	if err != nil {
		return nil, 0
	}
	sig, ok := p.(*packet.Signature)
	if !ok {
		return nil, 0
	}
	return sig, in.Len()
}

func weakSignature(signature []byte) string {
	if sig, _ := oneSignature(signature); sig != nil && weakHashes[sig.Hash] {
		return "the signature is made with the weak digest " + sig.Hash.String()
	}
	return ""
}

// unusable says why a key counts for nothing, "" where it counts.
func unusable(e *openpgp.Entity, config *packet.Config) string {
	now := config.Now()
	name := "the OpenPGP key " + fingerprintOf(e)
	if e.Revoked(now) {
		return name + " is revoked"
	}
	if bits, err := e.PrimaryKey.BitLength(); err == nil && bits < minRSA && rsa(e.PrimaryKey.PubKeyAlgo) {
		return fmt.Sprintf("%s is an RSA key of %d bits, and %d are needed", name, bits, minRSA)
	}
	sig, err := e.VerifyPrimaryKey(now, config)
	if err != nil {
		return name + " is expired, or nothing strong binds it to a name"
	}
	if e.PrimaryKey.KeyExpired(sig, now) {
		return name + " is expired"
	}
	return ""
}

func rsa(a packet.PublicKeyAlgorithm) bool {
	return a == packet.PubKeyAlgoRSA || a == packet.PubKeyAlgoRSASignOnly || a == packet.PubKeyAlgoRSAEncryptOnly
}

// owns says whether a user ID that is in force holds the identity's address.
func owns(e *openpgp.Entity, config *packet.Config, identity string) bool {
	for _, id := range e.Identities {
		if !Holds(id.Name, identity) {
			continue
		}
		if _, err := id.Verify(config.Now(), config); err == nil && !id.Revoked(nil, config.Now(), config) {
			return true
		}
	}
	return false
}

// Holds says whether an OpenPGP user ID names an identity: sip:user@host or
// user@host, alone or in angle brackets behind a name (protocol section 5).
func Holds(userID, identity string) bool {
	address := strings.TrimSpace(userID)
	if open := strings.LastIndexByte(address, '<'); open >= 0 && strings.HasSuffix(address, ">") {
		address = address[open+1 : len(address)-1]
	}
	if !strings.HasPrefix(address, "sip:") {
		address = "sip:" + address
	}
	return SameIdentity(address, identity)
}

// Usable implements [Keyring].
func (k *Keys) Usable(_ context.Context, identity string) bool {
	config := k.config()
	return slices.ContainsFunc(k.entities, func(e *openpgp.Entity) bool {
		_, signs := e.SigningKey(config.Now(), config)
		return unusable(e, config) == "" && signs && owns(e, config, identity)
	})
}

func (k *Keys) find(fingerprint string) *openpgp.Entity {
	for _, e := range k.entities {
		if fingerprintOf(e) == fingerprint {
			return e
		}
	}
	return nil
}

func fingerprintOf(e *openpgp.Entity) string {
	return strings.ToUpper(hex.EncodeToString(e.PrimaryKey.Fingerprint))
}
