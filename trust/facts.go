package trust

import "github.com/sipward/sipward/sas/attest"

// Word is what a call is worth.
type Word string

// The words, from the least.
const (
	None      Word = "none"
	Encrypted Word = "encrypted"
	Pinned    Word = "pinned"
	Verified  Word = "verified"
	Mismatch  Word = "mismatch"
)

// Reaches says whether a call of this word is worth at least the other one; a
// mismatch reaches nothing.
func (w Word) Reaches(least Word) bool { return w != Mismatch && w.rank() >= least.rank() }

func (w Word) rank() int {
	switch w {
	case Encrypted:
		return 1
	case Pinned:
		return 2
	case Verified:
		return 3
	}
	return 0
}

// Exchange is how far the key exchange of a call has come.
type Exchange int

// Stages of an exchange.
const (
	NoExchange Exchange = iota
	Pending             // under way, or not confirmed yet
	Confirmed           // a packet of the other end has verified
	Attacked            // it failed in a way that points to an attack
)

// SAS is what people said about the short authentication string.
type SAS int

// Words about the string.
const (
	Unsaid SAS = iota
	Equal
	Different
)

// Facts are what a verdict rests on.
type Facts struct {
	Identity   string // sip:user@host of the peer that the call names: who was dialled, or From; "" for nobody
	Dialled    bool   // this end called
	Exchange   Exchange
	Signatures []attest.Result // of the other end
	SAS        SAS
	// Provable says that the keyring holds a usable key of the identity, so that
	// a signature by it could have been expected.
	Provable bool
}

// Verdict is what a call is worth, and why.
type Verdict struct {
	Word      Word
	Says      string // a sentence for people
	Identity  string // whom a key has proved the other end to be, "" for nobody
	Key       string // that key, as the attribute has it
	KeyType   string
	Downgrade bool // the peer gave more before: encryption, or a signature
	Changed   bool // another key than before
	Blocked   bool // the identity or its key is blocked here: no call
}
