package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sipward/sipward/sas/attest"
)

// Pin is a key that spoke for an identity. One with Differed is the contrary of a
// pin: calls that it signs for the identity are a mismatch, and it stands for
// nothing against which other keys were to be held. It alone may be of OpenPGP,
// where otherwise the keyring says what counts.
type Pin struct {
	Identity      string         `json:"identity"`
	Type          string         `json:"type"`
	Key           string         `json:"key"` // as the attribute has it
	First         time.Time      `json:"first"`
	Last          time.Time      `json:"last"`
	Strong        bool           `json:"strong"`
	Differed      time.Time      `json:"differed,omitzero"` // when a person said that the words of a call with it differed, and none has said otherwise since
	Confirmations []Confirmation `json:"confirmations,omitempty"`
}

// Confirmation is that a person said the key is the right one.
type Confirmation struct {
	When time.Time `json:"when"`
	How  string    `json:"how"` // words (read to each other), console, import
}

// Peer is what is remembered of an identity apart from its keys.
type Peer struct {
	Identity  string    `json:"identity"`
	Protected time.Time `json:"protected,omitzero"` // when it was last heard encrypted
	Blocked   bool      `json:"blocked,omitempty"`
}

// Keeper keeps records over a restart, durably before Save and Delete return.
type Keeper interface {
	Load(fn func(key string, value []byte) error) error
	Save(key string, value []byte) error
	Delete(keys ...string) error
}

// Memory is what is remembered of peers. It may be used by several goroutines.
type Memory struct {
	keeper Keeper
	limit  int // of pins that callers can make

	change sync.Mutex // one change at a time; taken before mu
	mu     sync.RWMutex
	pins   map[string][]Pin // by identity
	peers  map[string]Peer
	// blockedKeys by type and key; a key is blocked whomever it speaks for.
	blockedKeys map[string]bool
	weak        int // pins that are
}

// Bounds of what outsiders can fill.
const (
	maxWeak     = 10000
	maxPerPeer  = 16  // pins of one identity
	maxIdentity = 512 // octets
)

// ErrUnknown: nothing is remembered of it.
var ErrUnknown = errors.New("trust: nothing is remembered of it")

// Open reads the memory. A keeper of nil keeps it in this process only. Records
// that cannot be read are an error: trust that is lost unnoticed would be worse.
func Open(k Keeper) (*Memory, error) {
	m := &Memory{keeper: k, limit: maxWeak, pins: map[string][]Pin{}, peers: map[string]Peer{}, blockedKeys: map[string]bool{}}
	if k == nil {
		return m, nil
	}
	err := k.Load(func(key string, value []byte) error {
		kind, _, _ := strings.Cut(key, " ")
		switch kind {
		case "pin":
			var p Pin
			if err := json.Unmarshal(value, &p); err != nil {
				return fmt.Errorf("trust: record %q: %w", key, err)
			}
			m.put(p)
		case "peer":
			var p Peer
			if err := json.Unmarshal(value, &p); err != nil {
				return fmt.Errorf("trust: record %q: %w", key, err)
			}
			m.peers[p.Identity] = p
		case "key":
			m.blockedKeys[strings.TrimPrefix(key, "key ")] = true
		default:
			return fmt.Errorf("trust: record %q is of an unknown kind", key)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

func keyName(typ, key string) string { return typ + " " + key }

// isWeak says whether nothing but incoming calls has shown a key.
func (p Pin) isWeak() bool { return !p.Strong && p.Differed.IsZero() }

// differs is a pin once the words of a call with its key have differed.
func (p Pin) differs(when time.Time) Pin {
	p.Strong, p.Confirmations, p.Differed = false, nil, when
	return p
}

// worth orders pins: those that are lost first come first.
func (p Pin) worth() int {
	switch {
	case !p.Differed.IsZero():
		return 3
	case len(p.Confirmations) > 0:
		return 2
	case p.Strong:
		return 1
	}
	return 0
}

func (p Pin) record() string { return "pin " + p.Identity + " " + keyName(p.Type, p.Key) }

// canonical is the one spelling of an identity: its host in lower case.
func canonical(identity string) string {
	user, host, ok := strings.Cut(identity, "@")
	if !ok || !attest.SameIdentity(identity, identity) || len(identity) > maxIdentity {
		return ""
	}
	return user + "@" + strings.ToLower(host)
}

// Learn takes the changes of a verdict over. It returns when they are durable.
func (m *Memory) Learn(changes []Change) error {
	m.change.Lock()
	defer m.change.Unlock()
	for _, c := range changes {
		if err := m.learn(c); err != nil {
			return err
		}
	}
	return nil
}

func (m *Memory) learn(c Change) error {
	if c.peer.Identity != "" {
		m.mu.RLock()
		had := m.peers[c.peer.Identity]
		m.mu.RUnlock()
		c.peer.Blocked = had.Blocked
		return m.savePeer(c.peer)
	}
	if c.drop {
		return m.dropPin(c.pin)
	}
	had, known := m.find(c.pin)
	if c.differ {
		c.pin = c.pin.differs(c.pin.Last)
	} else if known && !had.Differed.IsZero() {
		// What the call has taught, or somebody said in it before, holds no longer.
		if !c.joined || !c.pin.Confirmations[0].When.After(had.Differed) {
			return nil
		}
		c.pin.Differed = time.Time{}
	} else if c.joined {
		if known {
			c.pin.Confirmations = append(slices.Clone(had.Confirmations), c.pin.Confirmations...)
			if n := len(c.pin.Confirmations); n > 10 {
				c.pin.Confirmations = c.pin.Confirmations[n-10:]
			}
		}
	} else if known {
		// What was confirmed since the verdict stays.
		c.pin.Confirmations, c.pin.Strong = had.Confirmations, c.pin.Strong || had.Strong
	}
	if err := m.makeRoom(c.pin); err != nil {
		return err
	}
	return m.savePin(c.pin)
}

func (m *Memory) find(p Pin) (Pin, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, had := range m.pins[p.Identity] {
		if had.Type == p.Type && had.Key == p.Key {
			return had, true
		}
	}
	return Pin{}, false
}

// makeRoom drops the weak pins that were longest unheard, where there are too
// many of them.
func (m *Memory) makeRoom(p Pin) error {
	m.mu.RLock()
	full := p.isWeak() && m.weak >= m.limit
	var oldest Pin
	if full {
		for _, pins := range m.pins {
			for _, q := range pins {
				if q.isWeak() && (oldest.Identity == "" || q.Last.Before(oldest.Last)) {
					oldest = q
				}
			}
		}
	}
	if own := m.pins[p.Identity]; len(own) >= maxPerPeer && oldest.Identity == "" {
		oldest = slices.MinFunc(own, func(a, b Pin) int {
			if d := a.worth() - b.worth(); d != 0 {
				return d
			}
			return a.Last.Compare(b.Last)
		})
	}
	m.mu.RUnlock()
	if oldest.Identity == "" || oldest.record() == p.record() {
		return nil
	}
	return m.dropPin(oldest)
}

// put places a pin, in place of one of the same key.
func (m *Memory) put(p Pin) {
	pins := m.pins[p.Identity]
	i := slices.IndexFunc(pins, func(q Pin) bool { return q.Type == p.Type && q.Key == p.Key })
	if i >= 0 && pins[i].isWeak() {
		m.weak--
	}
	if p.isWeak() {
		m.weak++
	}
	pins = slices.Clone(pins) // a verdict may be reading the old ones
	if i >= 0 {
		pins[i] = p
	} else {
		pins = append(pins, p)
	}
	m.pins[p.Identity] = pins
}

func (m *Memory) savePin(p Pin) error {
	if err := m.save(p.record(), p); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(p)
	return nil
}

func (m *Memory) dropPin(p Pin) error {
	if m.keeper != nil {
		if err := m.keeper.Delete(p.record()); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	pins := m.pins[p.Identity]
	i := slices.IndexFunc(pins, func(q Pin) bool { return q.Type == p.Type && q.Key == p.Key })
	if i < 0 {
		return nil
	}
	if pins[i].isWeak() {
		m.weak--
	}
	if pins = slices.Delete(slices.Clone(pins), i, i+1); len(pins) == 0 {
		delete(m.pins, p.Identity)
	} else {
		m.pins[p.Identity] = pins
	}
	return nil
}

func (m *Memory) savePeer(p Peer) error {
	if err := m.save("peer "+p.Identity, p); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.peers[p.Identity] = p
	return nil
}

func (m *Memory) save(key string, v any) error {
	if m.keeper == nil {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return m.keeper.Save(key, b)
}
