package keyexchange

import (
	"crypto/ecdh"
	"crypto/mlkem"
	"crypto/sha256"
	"fmt"
	"slices"
)

// stage is how far an exchange is.
type stage int

const (
	stageOffered  stage = iota // initiator: dh-init made
	stageAnswered              // responder: dh-resp made
	stageAgreed                // both shares known: Z and SAS are there, signatures may still be set
	stageKeyed                 // signatures bound, prk and chain are there
	stageOver                  // failed or erased, see Exchange.err
)

// Exchange is one exchange of one dialog, in one role. Its methods are for one
// goroutine at a time.
type Exchange struct {
	*handshake // nil: Settled
	initiator  bool
	stage      stage
	err        error // why it is over

	group group
	suite Suite

	prk, chain []byte
	sas        [sasLen]byte
	taken      [hashLen]byte // settled: hash of the peer's share as sent

	confirmation confirmation
}

// handshake is what an exchange needs until the dialog stands.
type handshake struct {
	cfg Config

	init, resp, fin       string   // values as sent
	besideResp, besideFin []string // dh-sig values as sent

	offered []ephemeral                // initiator, until dh-resp
	key     *ecdh.PrivateKey           // responder, until dh-fin
	kem     *mlkem.DecapsulationKey768 // responder of a hybrid group, until dh-fin
	commit  [hashLen]byte              // responder: of the chosen group

	c      [chainLen]byte // chain key of the exchange before, or zero
	z, p   []byte         // until the keys are bound
	t1, t2 [hashLen]byte
}

func newExchange(cfg Config, chain []byte) (*Exchange, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if chain != nil && len(chain) != chainLen {
		return nil, fmt.Errorf("keyexchange: a chain key has %d octets, this one %d", chainLen, len(chain))
	}
	cfg.Groups, cfg.Suites = slices.Clone(cfg.Groups), slices.Clone(cfg.Suites)
	x := &Exchange{handshake: &handshake{cfg: cfg}}
	copy(x.c[:], chain)
	return x, nil
}

func newX25519(cfg Config) (*ecdh.PrivateKey, error) {
	b, err := cfg.draw(x25519Len)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	// Not GenerateKey: it takes no randomness but its own.
	key, err := ecdh.X25519().NewPrivateKey(b)
	if err != nil {
		return nil, fmt.Errorf("keyexchange: %w", err)
	}
	return key, nil
}

// agree is the Diffie-Hellman of RFC 7748 §6.1. It fails for a result of all
// zeros, and so for every point of low order in every encoding.
func agree(key *ecdh.PrivateKey, share []byte) ([]byte, error) {
	public, err := ecdh.X25519().NewPublicKey(share)
	if err != nil {
		return nil, err
	}
	return key.ECDH(public)
}

// agreed follows both shares: T2 and the SAS, which hang on no signature.
func (x *Exchange) agreed(committed []byte) error {
	x.t2 = transcript2(x.init, x.resp, x.fin)
	sas, err := expandSAS(transcriptSAS(x.init, x.resp, committed), x.z)
	if err != nil {
		return err
	}
	x.sas, x.stage = sas, stageAgreed
	return nil
}

// bind ends the choice of signatures and derives what all keys come from.
func (x *Exchange) bind() error {
	switch {
	case x.stage == stageOver:
		return x.err
	case x.stage == stageKeyed:
		return nil
	case x.stage != stageAgreed:
		return ErrNoKeys
	}
	prk, err := extractPRK(bindSignatures(x.t2, x.besideResp, x.besideFin), x.c[:], x.p, x.z)
	if err != nil {
		return fmt.Errorf("keyexchange: %w", err)
	}
	chain, err := expandChain(prk)
	if err != nil {
		return fmt.Errorf("keyexchange: %w", err)
	}
	x.prk, x.chain, x.stage = prk, chain, stageKeyed
	clear(x.z)
	clear(x.p)
	clear(x.c[:])
	x.z, x.p = nil, nil
	return nil
}

// SetSignatures says which dh-sig values this end sends: the responder's stand
// beside dh-resp and are set before it is sent, the initiator's beside dh-fin
// and are set after TakeResp and before anything is asked of the keys. They
// replace what was set before. It is an error to set more than four, one of a
// wrong form, or any outside that time.
func (x *Exchange) SetSignatures(own []string) error {
	if err := checkSigs(own); err != nil {
		return fmt.Errorf("keyexchange: own signature: %s", err)
	}
	own = slices.Clone(own)
	switch {
	case x.stage == stageOver:
		return x.err
	case x.initiator && x.stage == stageAgreed:
		x.besideFin = own
	case x.stage == stageAnswered:
		x.besideResp = own
	default:
		return ErrNoKeys
	}
	return nil
}

// PeerSignatures gives the dh-sig values that stood beside the peer's share
// when it was taken: well formed, bound into the keys, and not checked.
func (x *Exchange) PeerSignatures() []string {
	if x.handshake == nil {
		return nil
	}
	if x.initiator {
		return slices.Clone(x.besideResp)
	}
	return slices.Clone(x.besideFin)
}

// Init is the value of the dh-init.
func (x *Exchange) Init() string { return x.handshakeOf().init }

// Initiator says which role this end has.
func (x *Exchange) Initiator() bool { return x.initiator }

// Group is the chosen group, "" while none is.
func (x *Exchange) Group() string { return x.group.name }

// Suite is the chosen suite, its zero value while none is.
func (x *Exchange) Suite() Suite { return x.suite }

// T1 is the transcript that the responder signs, zero before dh-resp.
func (x *Exchange) T1() [32]byte { return x.handshakeOf().t1 }

// T2 is the transcript that the initiator signs, zero before dh-fin.
func (x *Exchange) T2() [32]byte { return x.handshakeOf().t2 }

func (x *Exchange) handshakeOf() *handshake {
	if x.handshake == nil {
		return &handshake{}
	}
	return x.handshake
}

// Settled says that the dialog stands: nothing is signed, checked or answered any
// more. A call may last for hours, so from now on the exchange keeps of what was sent
// and taken only what tells a repetition from another share. Before it is confirmed
// it does nothing. After it, Init, T1, T2 and PeerSignatures are zero.
func (x *Exchange) Settled() {
	if x.handshake == nil || x.stage != stageKeyed || !x.confirmation.confirmed {
		return
	}
	share := x.resp
	if !x.initiator {
		share = x.fin
	}
	x.taken, x.handshake = sha256.Sum256([]byte(share)), nil
}

// repeats judges a share that comes when the exchange is settled.
func (x *Exchange) repeats(attribute string, a Attrs) error {
	switch {
	case x.stage == stageOver:
		return x.err
	case !a.Present:
		return ErrAbsent
	case sha256.Sum256([]byte(a.Value)) != x.taken:
		return x.fail(attribute, "it is not the one that was taken before")
	}
	return nil
}

// Keys gives the SRTP keys of the m= line with index m, 0 to 255; m= lines on
// one transport use the first one's. The slices are the caller's own.
func (x *Exchange) Keys(m int) (Keys, error) {
	if m < 0 || m > 255 {
		return Keys{}, fmt.Errorf("keyexchange: m= line %d has no keys, 0 to 255 have", m)
	}
	if err := x.bind(); err != nil {
		return Keys{}, err
	}
	i, err := expandSRTP(x.prk, x.suite, 'i', byte(m))
	if err != nil {
		return Keys{}, err
	}
	r, err := expandSRTP(x.prk, x.suite, 'r', byte(m))
	if err != nil {
		return Keys{}, err
	}
	if x.initiator {
		return Keys{Send: i, Recv: r}, nil
	}
	return Keys{Send: r, Recv: i}, nil
}

// SAS gives the four octets of the short authentication string; ok is false
// before both shares are known and after the exchange is over. It is shown
// only once the exchange is confirmed, and the first of a dialog is the only
// one (protocol §4).
func (x *Exchange) SAS() (octets [4]byte, ok bool) {
	return x.sas, x.stage == stageAgreed || x.stage == stageKeyed
}

// Chain gives the chain key for the next exchange of the dialog, nil while
// there is none. The slice is the caller's own.
func (x *Exchange) Chain() []byte {
	if x.bind() != nil {
		return nil
	}
	return slices.Clone(x.chain)
}

// Erase overwrites every secret of the exchange: what is left of shares and
// results, the chain key before, prk, chain and SAS. It is due when the next
// exchange of the dialog is confirmed or the dialog ends (protocol §3,
// "Erasure"). Private keys belong to the standard library, which cannot
// overwrite them; they are let go as soon as the peer's share was taken.
func (x *Exchange) Erase() { x.end(ErrErased) }

// fail ends the exchange with a *Failure.
func (x *Exchange) fail(attribute, reason string) error {
	return x.faulty(failure(attribute, reason))
}

// faulty ends the exchange with the parser's error; a value of another version
// is as if it were not there and ends nothing.
func (x *Exchange) faulty(err error) error {
	if err = absentOr(err); err != ErrAbsent {
		x.end(err)
	}
	return err
}

func (x *Exchange) end(why error) {
	if x.stage != stageOver {
		x.stage, x.err = stageOver, why
	}
	for _, secret := range [][]byte{x.prk, x.chain, x.sas[:]} {
		clear(secret)
	}
	x.prk, x.chain = nil, nil
	if h := x.handshake; h != nil {
		for _, secret := range [][]byte{h.c[:], h.z, h.p} {
			clear(secret)
		}
		h.z, h.p = nil, nil
		h.offered, h.key, h.kem = nil, nil, nil
	}
}
