package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/sipward/sipward/sas/attest"
)

// Entry is what is remembered of one identity.
type Entry struct {
	Identity  string    `json:"identity"`
	Protected time.Time `json:"protected,omitzero"`
	Blocked   bool      `json:"blocked,omitempty"`
	Pins      []Pin     `json:"pins,omitempty"`
}

// List returns everything, sorted by identity.
func (m *Memory) List() []Entry {
	m.mu.RLock()
	defer m.mu.RUnlock()
	all := map[string]Entry{}
	for id, p := range m.peers {
		all[id] = Entry{Identity: id, Protected: p.Protected, Blocked: p.Blocked}
	}
	for id, pins := range m.pins {
		e := all[id]
		e.Identity, e.Pins = id, slices.Clone(pins)
		all[id] = e
	}
	out := make([]Entry, 0, len(all))
	for _, e := range all {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Entry) int { return strings.Compare(a.Identity, b.Identity) })
	return out
}

// BlockedKeys returns the keys that are blocked whomever they speak for, as
// type and key with a space between them.
func (m *Memory) BlockedKeys() []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make([]string, 0, len(m.blockedKeys))
	for k := range m.blockedKeys {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// Get returns what is remembered of one identity; ErrUnknown where that is
// nothing.
func (m *Memory) Get(identity string) (Entry, error) {
	id := canonical(identity)
	m.mu.RLock()
	defer m.mu.RUnlock()
	p, known := m.peers[id]
	if !known && len(m.pins[id]) == 0 {
		return Entry{}, ErrUnknown
	}
	return Entry{Identity: id, Protected: p.Protected, Blocked: p.Blocked, Pins: slices.Clone(m.pins[id])}, nil
}

// Blocked says whether calls with an identity are blocked.
func (m *Memory) Blocked(identity string) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.peers[canonical(identity)].Blocked
}

// Confirm notes that a person has checked a key of an identity, also after words
// that differed. The key may be cut short where that leaves no doubt, and left out
// where there is one only.
func (m *Memory) Confirm(identity, key, how string, now time.Time) error {
	m.change.Lock()
	defer m.change.Unlock()
	e, err := m.Get(identity)
	if err != nil {
		return err
	}
	p, err := choose(e, key)
	if err != nil {
		return err
	}
	if p.Type == attest.TypeOpenPGP { // of which nothing is kept but that words differed: the keyring decides again
		return m.dropPin(p)
	}
	p.Strong, p.Differed = true, time.Time{}
	p.Confirmations = append(slices.Clone(p.Confirmations), Confirmation{When: now, How: how})
	return m.savePin(p)
}

func choose(e Entry, key string) (Pin, error) {
	key = strings.ReplaceAll(key, " ", "")
	pins := slices.DeleteFunc(slices.Clone(e.Pins), func(p Pin) bool { return !strings.HasPrefix(p.Key, key) })
	switch {
	case len(pins) == 1:
		return pins[0], nil
	case len(pins) == 0:
		return Pin{}, fmt.Errorf("%w: %s has no key that begins with %q", ErrUnknown, e.Identity, key)
	}
	return Pin{}, fmt.Errorf("trust: %s has %d keys that fit; name more of the one that is meant", e.Identity, len(pins))
}

// Forget drops everything about an identity, or with a key only that pin. A
// block stays.
func (m *Memory) Forget(identity, key string) error {
	m.change.Lock()
	defer m.change.Unlock()
	e, err := m.Get(identity)
	if err != nil {
		return err
	}
	if key != "" {
		p, err := choose(e, key)
		if err != nil {
			return err
		}
		return m.dropPin(p)
	}
	for _, p := range e.Pins {
		if err := m.dropPin(p); err != nil {
			return err
		}
	}
	if e.Blocked {
		return m.savePeer(Peer{Identity: e.Identity, Blocked: true})
	}
	if m.keeper != nil {
		if err := m.keeper.Delete("peer " + e.Identity); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.peers, e.Identity)
	return nil
}

// Block ends calls with an identity, or lets them take place again.
func (m *Memory) Block(identity string, blocked bool) error {
	id := canonical(identity)
	if id == "" {
		return fmt.Errorf("trust: %q is not an identity of the form sip:user@host", identity)
	}
	m.change.Lock()
	defer m.change.Unlock()
	m.mu.RLock()
	p := m.peers[id]
	m.mu.RUnlock()
	p.Identity, p.Blocked = id, blocked
	return m.savePeer(p)
}

// BlockKey is Block for a key, whomever it speaks for.
func (m *Memory) BlockKey(typ, key string, blocked bool) error {
	if typ != attest.TypeEd25519 && typ != attest.TypeOpenPGP || key == "" || strings.Contains(key, " ") {
		return errors.New("trust: a key is blocked by its type, ed25519 or openpgp, and the whole key")
	}
	m.change.Lock()
	defer m.change.Unlock()
	name := keyName(typ, key)
	if !blocked {
		if m.keeper != nil {
			if err := m.keeper.Delete("key " + name); err != nil {
				return err
			}
		}
	} else if err := m.save("key "+name, struct{}{}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if blocked {
		m.blockedKeys[name] = true
	} else {
		delete(m.blockedKeys, name)
	}
	return nil
}

// exported is the form of Export.
type exported struct {
	Version     int      `json:"version"`
	Entries     []Entry  `json:"entries"`
	BlockedKeys []string `json:"blocked_keys,omitempty"`
}

// maxImport bounds what Import reads, in octets.
const maxImport = 64 << 20

// Export writes everything as one JSON object.
func (m *Memory) Export(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(exported{Version: 1, Entries: m.List(), BlockedKeys: m.BlockedKeys()})
}

// yields says whether what another sipward remembers of the same key takes the
// place of what is remembered here: the later word of a person does, and where
// nobody has said that words differed the one that more was said of.
func (p Pin) yields(other Pin) bool {
	if p.Differed.IsZero() && other.Differed.IsZero() {
		return len(other.Confirmations) > len(p.Confirmations)
	}
	if !other.Differed.IsZero() {
		return !p.said().After(other.Differed)
	}
	return other.said().After(p.Differed)
}

// said is when a person last said something of a key, zero for never.
func (p Pin) said() time.Time {
	at := p.Differed
	if n := len(p.Confirmations); n > 0 && p.Confirmations[n-1].When.After(at) {
		at = p.Confirmations[n-1].When
	}
	return at
}

// Import takes over what Export has written, beside what is there. Nothing is
// taken where any of it is of another form. It returns how many keys came.
func (m *Memory) Import(r io.Reader) (pins int, err error) {
	var in exported
	d := json.NewDecoder(io.LimitReader(r, maxImport))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return 0, fmt.Errorf("trust: not an export: %w", err)
	}
	if in.Version != 1 {
		return 0, fmt.Errorf("trust: an export of version %d, and this sipward reads version 1", in.Version)
	}
	for _, e := range in.Entries {
		if canonical(e.Identity) != e.Identity {
			return 0, fmt.Errorf("trust: %q is not an identity of the form sip:user@host", e.Identity)
		}
		for _, p := range e.Pins {
			v, err := attest.Parse(p.Type + " " + p.Key + " " + p.Identity + " x")
			if err != nil || p.Identity != e.Identity || v.Type != attest.TypeEd25519 && (v.Type != attest.TypeOpenPGP || p.Differed.IsZero()) {
				return 0, fmt.Errorf("trust: %s has a key that is not of this form", e.Identity)
			}
		}
	}
	m.change.Lock()
	defer m.change.Unlock()
	for _, e := range in.Entries {
		m.mu.RLock()
		had := m.peers[e.Identity]
		m.mu.RUnlock()
		p := Peer{Identity: e.Identity, Protected: e.Protected, Blocked: e.Blocked || had.Blocked}
		if had.Protected.After(p.Protected) {
			p.Protected = had.Protected
		}
		if err := m.savePeer(p); err != nil {
			return pins, err
		}
		for _, p := range e.Pins {
			had, known := m.find(p)
			if known && !had.yields(p) {
				continue
			}
			if !p.Differed.IsZero() {
				p = p.differs(p.Differed)
			}
			if err := m.savePin(p); err != nil {
				return pins, err
			}
			pins++
		}
	}
	for _, k := range in.BlockedKeys {
		if err := m.save("key "+k, struct{}{}); err != nil {
			return pins, err
		}
		m.mu.Lock()
		m.blockedKeys[k] = true
		m.mu.Unlock()
	}
	return pins, nil
}
