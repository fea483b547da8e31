package attest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// HandOver is how long the key before signs beside a new one, unless a rotation
// says otherwise: a peer that is called once a month learns of the new one.
const HandOver = 60 * 24 * time.Hour

// IdentityKeyFile is the name of the file of a sipward's own key.
const IdentityKeyFile = "sipward.key"

// IdentityKeys are the ed25519 keys of one sipward: one that speaks for all its
// users, and for users who have one their own. Each is a file of mode 0600:
//
//	FOLDER/sipward.key
//	FOLDER/users/USER.key      USER with %HH for what has no place in a URI's path
//
// A file holds PEM blocks PRIVATE KEY (PKCS #8, RFC 8410): the key, and behind
// it, while a hand-over lasts, the key before with a header Signs-Until, a time
// (RFC 3339). A user's file names the user in a header User.
//
// A rotation is a hand-over: until that time every message carries signatures by
// both keys for the same identity (protocol section 5). Nobody but who holds the
// old key can have put them side by side, because they are bound into the keys of
// the call; so a peer that knows the old key may take the new one for its
// successor.
//
// A file that has changed is read again at the next [IdentityKeys.Signers], so
// that a rotation does not need a restart. A new file belongs to who owned the one
// before, or owns the folder, so that an administrator can rotate the keys of a
// service. Methods may be called from any
// goroutine.
type IdentityKeys struct {
	dir string
	now func() time.Time

	mu      sync.Mutex
	loaded  map[string]*keyPair // by user, "" for the sipward's own
	retired []*keyPair          // whose files have changed: calls may still sign with them
	closed  bool
}

// keyPair is what one file holds.
type keyPair struct {
	info   fs.FileInfo // of the file; nil: there is none
	key    *Ed25519    // nil likewise
	before *Ed25519    // nil: there is none
	until  time.Time   // that before signs
}

// maxUsers bounds the users of whom it is remembered that they have no key.
const maxUsers = 10000

// OpenIdentityKeys opens the keys in a folder, and makes folder and key where
// there are none. The error names the file and what to do: one that others can
// read is refused.
func OpenIdentityKeys(dir string) (*IdentityKeys, error) {
	k := &IdentityKeys{dir: dir, now: time.Now, loaded: map[string]*keyPair{}}
	p, err := k.load("")
	if err == nil && p.key == nil {
		if err = k.create("", nil, time.Time{}, true); errors.Is(err, fs.ErrExist) {
			err = nil // another one was faster
		}
		if err == nil {
			_, err = k.load("")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("attest: identity key: %w", err)
	}
	return k, nil
}

// File is where the key of a user is, or would be; user "" stands for the
// sipward's own.
func (k *IdentityKeys) File(user string) string {
	if user == "" {
		return filepath.Join(k.dir, IdentityKeyFile)
	}
	return filepath.Join(k.dir, "users", url.PathEscape(user)+".key")
}

// Signers gives the keys that sign for a user: the user's own, or else the
// sipward's; behind it, while a hand-over lasts, the one before.
func (k *IdentityKeys) Signers(user string) ([]*Ed25519, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p, err := k.pair(user)
	if err == nil && p.key == nil {
		p, err = k.pair("")
	}
	if err == nil && p.key == nil {
		err = fmt.Errorf("%s is gone", k.File(""))
	}
	if err != nil {
		return nil, fmt.Errorf("attest: identity key: %w", err)
	}
	if p.before != nil && k.now().Before(p.until) {
		return []*Ed25519{p.key, p.before}, nil
	}
	return []*Ed25519{p.key}, nil
}

// Until says when the hand-over of a user's key ends, zero where there is none.
// Where a user has no key it is of the sipward's.
func (k *IdentityKeys) Until(user string) time.Time {
	signers, err := k.Signers(user)
	if err != nil || len(signers) < 2 {
		return time.Time{}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.loaded[user]; p != nil && p.key != nil {
		return p.until
	}
	return k.loaded[""].until
}

// Own says whether a user has a key of their own.
func (k *IdentityKeys) Own(user string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	p, err := k.pair(user)
	return err == nil && p.key != nil
}

// Rotate makes a new key for a user, or for the sipward where user is "". For the
// time handOver the key that has spoken for the user signs as well; 0: it does
// not sign any more, as it must be where others may have it. A user without an
// own key gets one; the sipward's is then the key before.
func (k *IdentityKeys) Rotate(user string, handOver time.Duration) error {
	signers, err := k.Signers(user)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var before *Ed25519
	if handOver > 0 {
		before = signers[0]
	}
	if err := k.create(user, before, k.now().Add(handOver), false); err != nil {
		return fmt.Errorf("attest: identity key: %w", err)
	}
	return nil
}

// create writes a new key. mu is held, but while it is opened.
func (k *IdentityKeys) create(user string, before *Ed25519, until time.Time, fresh bool) error {
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed)
	defer clear(seed)
	b := bytes.NewBuffer(make([]byte, 0, 4096)) // it does not grow, and so leaves no copy
	defer func() { clear(b.Bytes()) }()
	headers := map[string]string{}
	if user != "" {
		headers["User"] = user
	}
	if err := encodeKey(b, ed25519.NewKeyFromSeed(seed), headers); err != nil {
		return err
	}
	if before != nil {
		before.mu.RLock()
		defer before.mu.RUnlock()
		if before.key == nil {
			return errors.New("the key is erased")
		}
		if err := encodeKey(b, before.key, map[string]string{signsUntil: until.UTC().Format(time.RFC3339)}); err != nil {
			return err
		}
	}
	return writeSecret(k.File(user), b.Bytes(), fresh)
}

const (
	pemType    = "PRIVATE KEY"
	signsUntil = "Signs-Until"
)

func encodeKey(b *bytes.Buffer, key ed25519.PrivateKey, headers map[string]string) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	defer clear(der)
	return pem.Encode(b, &pem.Block{Type: pemType, Headers: headers, Bytes: der})
}

// pair gives what is loaded, read again where the file is another. mu is held.
func (k *IdentityKeys) pair(user string) (*keyPair, error) {
	if k.closed {
		return nil, errors.New("the keys are erased")
	}
	if p := k.loaded[user]; p != nil {
		info, err := os.Stat(k.File(user))
		switch {
		case errors.Is(err, fs.ErrNotExist) && p.info == nil:
			return p, nil
		case err == nil && p.info != nil && os.SameFile(info, p.info) && info.ModTime().Equal(p.info.ModTime()) && info.Mode() == p.info.Mode():
			return p, nil
		}
	}
	return k.load(user)
}

// load reads a user's file. mu is held, but while it is opened.
func (k *IdentityKeys) load(user string) (*keyPair, error) {
	p := &keyPair{}
	path := k.File(user)
	info, err := os.Stat(path)
	if err == nil {
		p, err = readKeyPair(path, user)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if p.key != nil {
		p.info = info
	}
	old := k.loaded[user]
	switch {
	case old != nil && old.same(p):
		p.close()
		p = &keyPair{info: info, key: old.key, before: old.before, until: p.until}
	case old != nil && old.key != nil:
		k.retired = append(k.retired, old)
	case old == nil && len(k.loaded) >= maxUsers:
		maps.DeleteFunc(k.loaded, func(_ string, p *keyPair) bool { return p.key == nil })
	}
	k.loaded[user] = p
	return p, nil
}

// same says whether two pairs are of the same keys.
func (p *keyPair) same(q *keyPair) bool { return sameKey(p.key, q.key) && sameKey(p.before, q.before) }

func sameKey(a, b *Ed25519) bool {
	return a == b || a != nil && b != nil && a.public == b.public
}

func readKeyPair(path, user string) (*keyPair, error) {
	b, err := readSecret(path)
	if err != nil {
		return &keyPair{}, err
	}
	defer clear(b)
	p, err := parseKeyPair(b, user)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; put a backup in its place, or move it away to have a new key made", path, err)
	}
	return p, nil
}

func parseKeyPair(b []byte, user string) (*keyPair, error) {
	p := &keyPair{}
	block, rest := pem.Decode(b)
	if block == nil {
		return nil, errors.New("no PEM block PRIVATE KEY in it")
	}
	defer clear(block.Bytes)
	if block.Headers["User"] != user {
		return nil, fmt.Errorf("it is the key of user %q", clip(block.Headers["User"]))
	}
	var err error
	if p.key, err = decodeKey(block); err != nil {
		return nil, err
	}
	if block, rest = pem.Decode(rest); block == nil {
		return p, nil
	}
	defer clear(block.Bytes)
	if p.until, err = time.Parse(time.RFC3339, block.Headers[signsUntil]); err != nil {
		p.close()
		return nil, fmt.Errorf("the second key has no header %s with a time such as 2030-01-31T00:00:00Z", signsUntil)
	}
	if p.before, err = decodeKey(block); err != nil {
		p.close()
		return nil, err
	}
	if block, _ = pem.Decode(rest); block != nil {
		p.close()
		return nil, errors.New("it holds more than two keys")
	}
	return p, nil
}

func decodeKey(block *pem.Block) (*Ed25519, error) {
	if block.Type != pemType {
		return nil, fmt.Errorf("it holds a block %q, not %s", clip(block.Type), pemType)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("its private key is damaged, or of a form that is not known here")
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("its private key is not of type ed25519")
	}
	defer clear(key)
	return NewEd25519(key.Seed())
}

func (p *keyPair) close() {
	for _, s := range []*Ed25519{p.key, p.before} {
		if s != nil {
			s.Close()
		}
	}
}

// Close overwrites all keys. What Signers gave signs no more.
func (k *IdentityKeys) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	for _, p := range k.retired {
		p.close()
	}
	for _, p := range k.loaded {
		p.close()
	}
	clear(k.loaded)
	k.retired = nil
}
