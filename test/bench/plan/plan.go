// Package plan is the list of sessions by which a load generator and a relay
// agree before either runs: a JSON file, so that programs outside of this
// project can be either of them.
//
//	{"plain_local": "127.0.0.2:15000", "secure_local": "127.0.0.3:15000",
//	 "sessions": [{"plain": "127.0.0.1:20000", "secure": "127.0.0.1:20002",
//	               "suite": "AEAD_AES_128_GCM", "to_proxy": "...", "from_proxy": "..."}]}
//
// plain_local and secure_local are the generator's two sockets, the peers of
// every session; plain and secure are the relay's. The keys are base64 of
// master key and master salt (RFC 4568 section 6.1): to_proxy protects what the
// generator sends to the relay, from_proxy what it gets from there. The suite
// NONE leaves both sides plain.
package plan

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"

	"github.com/sipward/sipward/media/srtp"
)

// None is the suite of a session that is plain on both sides.
const None = "NONE"

// Plan is a list of sessions and the generator's own addresses.
type Plan struct {
	PlainLocal  netip.AddrPort `json:"plain_local"`
	SecureLocal netip.AddrPort `json:"secure_local"`
	Sessions    []Session      `json:"sessions"`
}

// Session is one call, as the generator sees it.
type Session struct {
	Plain     netip.AddrPort `json:"plain"`
	Secure    netip.AddrPort `json:"secure"`
	Suite     string         `json:"suite"`
	ToProxy   string         `json:"to_proxy"`
	FromProxy string         `json:"from_proxy"`
}

// Key is an SRTP master key with its salt.
type Key struct{ Key, Salt []byte }

// Read takes a plan from a file and checks all of it; an error names the
// session and what is wrong with it.
func Read(file string) (*Plan, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var p Plan
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&p); err != nil {
		return nil, fmt.Errorf("%s is no list of sessions: %w", file, err)
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &p, nil
}

// Write puts a plan into a file that nobody else may read: it holds keys.
func (p *Plan) Write(file string) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o600)
}

func (p *Plan) check() error {
	if !p.PlainLocal.IsValid() || !p.SecureLocal.IsValid() {
		return fmt.Errorf("plain_local and secure_local must be addresses with ports")
	}
	if len(p.Sessions) == 0 {
		return fmt.Errorf("no sessions")
	}
	for i, s := range p.Sessions {
		if !s.Plain.IsValid() || !s.Secure.IsValid() {
			return fmt.Errorf("session %d: plain and secure must be addresses with ports", i)
		}
		if s.Suite == None {
			continue
		}
		for _, text := range []string{s.ToProxy, s.FromProxy} {
			if _, err := ParseKey(s.Suite, text); err != nil {
				return fmt.Errorf("session %d: %w", i, err)
			}
		}
	}
	return nil
}

// ParseKey splits base64 key material of a suite.
func ParseKey(suite, text string) (Key, error) {
	keyLen, saltLen, err := lengths(suite)
	if err != nil {
		return Key{}, err
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil { // RFC 4568 pads; some writers do not
		b, err = base64.RawStdEncoding.DecodeString(text)
	}
	if err != nil {
		return Key{}, fmt.Errorf("a key is not base64")
	}
	if len(b) != keyLen+saltLen {
		return Key{}, fmt.Errorf("a key of %s has %d octets instead of %d", suite, len(b), keyLen+saltLen)
	}
	return Key{b[:keyLen], b[keyLen:]}, nil
}

// NewKey draws base64 key material for a suite.
func NewKey(suite string) (string, error) {
	keyLen, saltLen, err := lengths(suite)
	if err != nil {
		return "", err
	}
	b := make([]byte, keyLen+saltLen)
	rand.Read(b)
	return base64.StdEncoding.EncodeToString(b), nil
}

func lengths(suite string) (key, salt int, err error) {
	for _, s := range srtp.Suites() {
		if s.Name == suite {
			return s.KeyLen, s.SaltLen, nil
		}
	}
	return 0, 0, fmt.Errorf("the suite %q is not known here", suite)
}
