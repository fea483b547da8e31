package trust

import (
	"slices"
	"time"

	"github.com/sipward/sipward/sas/attest"
)

// Change is one change of the memory that a verdict asks for.
type Change struct {
	pin    Pin  // of this identity, type and key
	drop   bool // the pin goes
	peer   Peer // where Identity is set
	joined bool // a confirmation joins those of the pin
	differ bool // the words of a call with the key differed
}

// Judge says what a call is worth, and what is to be remembered of it: nothing
// before the exchange is confirmed, and nothing of a call that is a mismatch, but
// that the words differed.
// It takes microseconds and may be called from any goroutine.
func (m *Memory) Judge(f Facts, now time.Time) (Verdict, []Change) {
	f.Identity = canonical(f.Identity)
	m.mu.RLock()
	defer m.mu.RUnlock()
	j := judgement{m: m, f: f, now: now, pins: m.pins[f.Identity]}
	j.read()
	v := j.verdict()
	v.Blocked = j.blocked
	if v.Blocked {
		v.Says = "this caller, or the key that signed, is blocked here"
	}
	switch {
	case v.Blocked || f.Exchange != Confirmed:
		return v, nil
	case f.SAS == Different:
		return v, j.differ()
	case v.Word == Mismatch:
		return v, nil
	}
	return v, j.changes
}

type judgement struct {
	m       *Memory
	f       Facts
	now     time.Time
	pins    []Pin           // of the identity
	owned   []attest.Result // right ones of the keyring for the identity
	keys    []attest.Result // right ones by ed25519 for the identity
	others  []string        // identities that were proved and are not the one that the call names
	wrong   string
	blocked bool
	changes []Change
}

// read sorts the signatures. One that could not be checked counts as not there.
func (j *judgement) read() {
	j.blocked = j.m.peers[j.f.Identity].Blocked
	for _, r := range j.f.Signatures {
		if r.State == attest.Unchecked {
			continue
		}
		if j.m.blockedKeys[keyName(r.Value.Type, r.Value.Key)] {
			j.blocked = true
		}
		switch {
		case r.State == attest.Wrong:
			j.wrong = r.Why
		case !attest.SameIdentity(r.Value.Identity, j.f.Identity):
			if r.Owned || r.Value.Type == attest.TypeEd25519 {
				j.others = append(j.others, r.Value.Identity)
			}
		case r.Value.Type == attest.TypeEd25519:
			j.keys = append(j.keys, r)
		case r.Owned:
			j.owned = append(j.owned, r)
		}
	}
}

func (j *judgement) verdict() Verdict {
	switch {
	case j.f.Exchange == Attacked:
		return Verdict{Word: Mismatch, Says: "the key exchange was tampered with on its way"}
	case j.wrong != "":
		return Verdict{Word: Mismatch, Says: "a signature of the other end is wrong: " + j.wrong}
	case j.f.SAS == Different:
		return Verdict{Word: Mismatch, Says: "the two people read different words: somebody sits in between"}
	case j.doubted() != nil && j.f.SAS != Equal:
		return Verdict{Word: Mismatch, Says: "on " + j.doubted().Differed.Format(day) + " the words of a call with this key differed: ask on another way whose key it is, and then confirm or forget it"}
	case j.f.Exchange == NoExchange:
		return j.plain()
	case j.f.Exchange == Pending:
		return Verdict{Word: None, Says: "the keys are being agreed"}
	}
	v := j.signed()
	if j.f.SAS == Equal && v.Word != Verified {
		v = j.spoken(v)
	}
	j.remember(v)
	return v
}

// plain is the verdict of a call without an exchange.
func (j *judgement) plain() Verdict {
	switch {
	case !j.m.peers[j.f.Identity].Protected.IsZero():
		return Verdict{Word: None, Downgrade: true, Says: "not encrypted, although earlier calls with this peer were"}
	case j.strong() || j.f.Provable:
		return Verdict{Word: None, Downgrade: true, Says: "not encrypted, although this peer has a key that is known here"}
	}
	return Verdict{Word: None, Says: "not encrypted"}
}

// signed is the verdict of a confirmed exchange by its signatures.
func (j *judgement) signed() Verdict {
	if len(j.owned) > 0 {
		return j.byKeyring()
	}
	if len(j.keys) == 0 {
		switch {
		case j.strong() || j.f.Provable:
			return Verdict{Word: Encrypted, Downgrade: true, Says: "encrypted, but without the signature that this peer's key could give"}
		case len(j.others) > 0:
			return Verdict{Word: Encrypted, Says: "encrypted; the other end signed as " + j.others[0] + ", which is not who this call names"}
		}
		return Verdict{Word: Encrypted, Says: "encrypted; read the words to each other to be sure with whom"}
	}
	// A known key counts before one that is new.
	known := slices.IndexFunc(j.keys, func(r attest.Result) bool { return j.pin(r.Value.Key) != nil })
	if known < 0 {
		return j.newKey()
	}
	return j.knownKey(j.keys[known])
}

func (j *judgement) byKeyring() Verdict {
	v := proved(j.owned[0], Verified, "the keyring's key signed this call")
	if len(j.keys) > 0 && j.strong() && !slices.ContainsFunc(j.keys, func(r attest.Result) bool { return j.pin(r.Value.Key) != nil }) {
		v.Changed = true
		v.Says += "; the pinned key has changed with it"
		j.forget(func(p Pin) bool { return p.Differed.IsZero() })
	}
	for _, r := range j.keys { // vouched for by who signed beside them
		j.keep(r, true)
	}
	return v
}

// knownKey: a pinned key has signed.
func (j *judgement) knownKey(r attest.Result) Verdict {
	pin := *j.pin(r.Value.Key)
	var v Verdict
	switch {
	case len(pin.Confirmations) > 0:
		c := pin.Confirmations[len(pin.Confirmations)-1]
		v = proved(r, Verified, "the key that was confirmed on "+c.When.Format(day))
	case pin.Strong, j.f.Dialled:
		v = proved(r, Pinned, "the same key as in an earlier call")
	default:
		v = proved(r, Encrypted, "encrypted; the key is that of an earlier call from there, which proves little until you call back or read the words")
	}
	j.keep(r, pin.Strong || j.f.Dialled)
	if pin.Strong {
		for _, other := range j.keys {
			if j.pin(other.Value.Key) == nil {
				v.Changed = true
				v.Says += "; it hands over to a new key"
				j.keep(other, true)
			}
		}
	}
	return v
}

// newKey: none of the keys that signed is known.
func (j *judgement) newKey() Verdict {
	r := j.keys[0]
	if j.strong() && j.f.SAS != Equal {
		return Verdict{Word: Mismatch, Changed: true, Key: r.Value.Key, KeyType: r.Value.Type,
			Says: "another key than in earlier calls: ask on another way before you trust it"}
	}
	v := proved(r, Encrypted, "encrypted; the key is new, and is remembered")
	if slices.ContainsFunc(j.pins, func(p Pin) bool { return p.Differed.IsZero() }) {
		v.Changed = true
		v.Says = "encrypted; another key than before, which nobody had confirmed"
		if j.strong() {
			v.Says = "encrypted; another key than before"
		}
		j.forget(Pin.isWeak)
	}
	for _, r := range j.keys {
		j.keep(r, j.f.Dialled)
	}
	return v
}

// spoken is the verdict once both people have read the same words.
func (j *judgement) spoken(v Verdict) Verdict {
	v.Word = Verified
	v.Downgrade = false
	v.Says = "both people read the same words"
	if len(j.keys) == 0 {
		return v
	}
	v.Says += ", and the key is remembered for later calls"
	for _, r := range j.keys {
		c := Change{pin: j.next(r, true), joined: true}
		c.pin.Confirmations = []Confirmation{{When: j.now, How: "words"}}
		j.changes = append(j.changes, c)
	}
	return v
}

// differ withdraws what was said and remembered of the keys that signed: whoever
// holds them sits in between, or has them from somebody. Nothing less than another
// word of a person lets them count again, since the next call of the same man in
// the middle is signed with the same key.
func (j *judgement) differ() (changes []Change) {
	if j.f.Identity == "" {
		return nil
	}
	for _, r := range slices.Concat(j.keys, j.owned) {
		changes = append(changes, Change{pin: j.next(r, false), differ: true})
	}
	return changes
}

// doubted is the pin of a key that has signed and of which somebody said that the
// words differed, nil for none.
func (j *judgement) doubted() *Pin {
	for _, r := range slices.Concat(j.keys, j.owned) {
		if p := j.pin(r.Value.Key); p != nil && !p.Differed.IsZero() {
			return p
		}
	}
	return nil
}

// remember notes that the peer was heard encrypted, where that is more than a
// claim.
func (j *judgement) remember(v Verdict) {
	if j.f.Identity == "" || !j.f.Dialled && !v.Word.Reaches(Pinned) {
		return
	}
	p := j.m.peers[j.f.Identity]
	p.Identity, p.Protected = j.f.Identity, j.now
	j.changes = append(j.changes, Change{peer: p})
}

func (j *judgement) pin(key string) *Pin {
	for i := range j.pins {
		if j.pins[i].Key == key {
			return &j.pins[i]
		}
	}
	return nil
}

// strong says whether a strong pin of the identity exists.
func (j *judgement) strong() bool {
	return slices.ContainsFunc(j.pins, func(p Pin) bool { return p.Strong })
}

func (j *judgement) keep(r attest.Result, strong bool) {
	if j.f.Identity != "" {
		j.changes = append(j.changes, Change{pin: j.next(r, strong)})
	}
}

// next is the pin of a key as it will be.
func (j *judgement) next(r attest.Result, strong bool) Pin {
	p := Pin{Identity: j.f.Identity, Type: r.Value.Type, Key: r.Value.Key, First: j.now}
	if had := j.pin(r.Value.Key); had != nil {
		p = *had
	}
	p.Last, p.Strong = j.now, p.Strong || strong
	return p
}

func (j *judgement) forget(which func(Pin) bool) {
	for _, p := range j.pins {
		if which(p) {
			j.changes = append(j.changes, Change{pin: p, drop: true})
		}
	}
}

// day is how sentences name a day.
const day = "2 January 2006"

func proved(r attest.Result, w Word, says string) Verdict {
	return Verdict{Word: w, Says: says, Identity: r.Value.Identity, Key: r.Value.Key, KeyType: r.Value.Type}
}

// Expects is the best word that a call with an identity could reach by its
// signatures alone, as far as pins say.
func (m *Memory) Expects(identity string) Word {
	m.mu.RLock()
	defer m.mu.RUnlock()
	best := Encrypted
	for _, p := range m.pins[canonical(identity)] {
		switch {
		case len(p.Confirmations) > 0:
			return Verified
		case p.Strong:
			best = Pinned
		}
	}
	return best
}
