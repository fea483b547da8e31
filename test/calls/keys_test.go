package calls

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pgppacket "github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sas/attest"
	"github.com/sipward/sipward/trust"
)

const (
	alice = "sip:alice@a.example"
	bob   = "sip:bob@b.example"
)

// ed25519Key makes the key that a letter stands for.
func ed25519Key(t testing.TB, letter byte) *attest.Ed25519 {
	t.Helper()
	k, err := attest.NewEd25519(bytes.Repeat([]byte{letter}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// keysOf makes keys of letters; of none there are none.
func keysOf(t testing.TB, letters string) (out []attest.Signer) {
	t.Helper()
	for _, l := range []byte(letters) {
		out = append(out, ed25519Key(t, l))
	}
	return out
}

func memory(t testing.TB) *trust.Memory {
	t.Helper()
	m, err := trust.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// pin has a memory learn the key of a letter as a call would have it.
func pin(t testing.TB, m *trust.Memory, identity string, letter byte, dialled bool, said trust.SAS) {
	t.Helper()
	_, changes := m.Judge(trust.Facts{Identity: identity, Dialled: dialled, Exchange: trust.Confirmed, SAS: said,
		Signatures: []attest.Result{{State: attest.Right, Value: attest.Value{Type: attest.TypeEd25519, Key: ed25519Key(t, letter).Public(), Identity: identity}}}}, time.Now())
	if err := m.Learn(changes); err != nil {
		t.Fatal(err)
	}
}

// signing gives a house keys that sign for the users of its domain.
func signing(domain string, m *trust.Memory, keys []attest.Signer) func(*b2bua.Options) {
	return func(o *b2bua.Options) {
		o.Listeners[0].Identities = func(id string) bool { return strings.HasSuffix(id, "@"+domain) }
		o.Signers = func(string) []attest.Signer { return keys }
		o.Memory = m
	}
}

// asking gives a house the rules of its calls with the other one.
func asking(t testing.TB, r policy.Rules) func(*b2bua.Options) {
	t.Helper()
	p, err := policy.New(r)
	if err != nil {
		t.Fatal(err)
	}
	return func(o *b2bua.Options) { o.Policy = p }
}

func all(fs ...func(*b2bua.Options)) func(*b2bua.Options) {
	return func(o *b2bua.Options) {
		for _, f := range fs {
			f(o)
		}
	}
}

// signsAs is a key that signs for whom it should not.
type signsAs struct {
	attest.Signer
	identity string
}

func (s signsAs) Sign(ctx context.Context, role attest.Role, t [32]byte, _ string) (string, error) {
	return s.Signer.Sign(ctx, role, t, s.identity)
}

// hangs is a key whose passphrase nobody types.
type hangs struct{}

func (hangs) Sign(ctx context.Context, _ attest.Role, _ [32]byte, _ string) (string, error) {
	<-ctx.Done()
	return "", ctx.Err()
}

// company is who has exchanged OpenPGP keys with another one.
type company struct {
	t        *testing.T
	dir      string // of public keys of others
	identity string
}

func newCompany(t *testing.T, identity string) *company {
	return &company{t, t.TempDir(), identity}
}

// pgpKey makes a key whose user ID is an address, and gives what signs with it and
// what its owner hands out; revoked, that is what a keyserver says of it.
func pgpKey(t *testing.T, address string, revoked bool) (attest.Signer, []byte) {
	t.Helper()
	made := func() time.Time { return time.Now().Add(-time.Hour) }
	cfg := &pgppacket.Config{Algorithm: pgppacket.PubKeyAlgoEdDSA, Curve: pgppacket.Curve25519, Time: made}
	e, err := openpgp.NewEntity("", "", address, cfg)
	if err != nil {
		t.Fatal(err)
	}
	var secret, public bytes.Buffer
	if err := e.SerializePrivate(&secret, cfg); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "secret.pgp")
	if err := os.WriteFile(file, secret.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	signer, err := attest.OpenKeyFile(file, "")
	if err != nil {
		t.Fatal(err)
	}
	if revoked {
		if err := e.Revoke(pgppacket.KeyCompromised, "stolen", &pgppacket.Config{Time: made}); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Serialize(&public); err != nil {
		t.Fatal(err)
	}
	return signer, public.Bytes()
}

// has puts a public key among those that the company has checked.
func (c *company) has(name string, public []byte) *company {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), public, 0o644); err != nil {
		c.t.Fatal(err)
	}
	return c
}

func (c *company) keyring() *attest.Keys {
	c.t.Helper()
	k, err := attest.OpenKeys(c.dir, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return k
}
