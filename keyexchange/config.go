package keyexchange

import (
	"crypto/mlkem"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
)

// Suite is a registered SRTP protection profile: its name on the wire and the
// octets of its master key and master salt. This package holds no SRTP; a
// suite is for it a name and two lengths.
type Suite struct {
	Name            string
	KeyLen, SaltLen int
}

// Config says what an end allows.
type Config struct {
	// Groups that are allowed. The initiator offers them in this order; the
	// responder follows the order of the offer. GroupX25519MLKEM768 belongs in
	// here only where its messages need not fit a datagram (protocol §2,
	// "group"), which the caller knows and this package does not.
	Groups []string
	// Suites that are allowed, in the order in which the initiator offers them.
	Suites []Suite
	// Rand is where private keys come from; nil is crypto/rand. The randomness
	// of ML-KEM encapsulation is always the library's own.
	Rand io.Reader

	// encapsulate stands in for ML-KEM encapsulation where test vectors fix
	// its randomness; nil is the library's.
	encapsulate func(*mlkem.EncapsulationKey768) (shared, ciphertext []byte)
}

// maxSuiteLen bounds key and salt of a suite together: far above any profile,
// far below what HKDF-Expand can give.
const maxSuiteLen = 256

// check finds mistakes of the own configuration.
func (c Config) check() error {
	if len(c.Groups) == 0 {
		return errors.New("keyexchange: no group is allowed")
	}
	if len(c.Suites) == 0 {
		return errors.New("keyexchange: no suite is allowed")
	}
	seen := make(map[string]bool)
	for _, name := range c.Groups {
		if _, ok := builtGroup(name); !ok {
			return fmt.Errorf("keyexchange: group %q is not built", name)
		}
		if seen[name] {
			return fmt.Errorf("keyexchange: group %q is there twice", name)
		}
		seen[name] = true
	}
	clear(seen)
	for _, s := range c.Suites {
		if !isToken(s.Name) {
			return fmt.Errorf("keyexchange: %q is not a suite's name", s.Name)
		}
		if s.KeyLen < 16 || s.SaltLen < 0 || s.KeyLen+s.SaltLen > maxSuiteLen {
			return fmt.Errorf("keyexchange: suite %q has a key of %d and a salt of %d octets", s.Name, s.KeyLen, s.SaltLen)
		}
		if seen[s.Name] {
			return fmt.Errorf("keyexchange: suite %q is there twice", s.Name)
		}
		seen[s.Name] = true
	}
	return nil
}

// draw reads n secret octets.
func (c Config) draw(n int) ([]byte, error) {
	b := make([]byte, n)
	r := c.Rand
	if r == nil {
		r = rand.Reader
	}
	if _, err := io.ReadFull(r, b); err != nil {
		clear(b)
		return nil, fmt.Errorf("keyexchange: no randomness: %w", err)
	}
	return b, nil
}

func findSuite(suites []Suite, name string) (Suite, bool) {
	for _, s := range suites {
		if s.Name == name {
			return s, true
		}
	}
	return Suite{}, false
}
