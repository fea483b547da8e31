package keyexchange

import (
	"crypto/mlkem"
	"fmt"
	"slices"
)

// NewResponder answers the dh-init that Read took from an INVITE: it chooses
// the first group and the first suite of the offer that cfg allows and makes
// resp, the value of the dh-resp. The error is ErrAbsent or ErrNoCommon for a
// peer without dh-srtp, a *Failure for what points to an attack. chain is as
// for NewInitiator.
func NewResponder(cfg Config, init Attrs, chain []byte) (x *Exchange, resp string, err error) {
	if x, err = newExchange(cfg, chain); err != nil {
		return nil, "", err
	}
	defer func(x *Exchange) {
		if err != nil {
			x.Erase()
		}
	}(x)
	if !init.Present {
		return nil, "", ErrAbsent
	}
	offered, err := parseInit(init.Value)
	if err != nil {
		return nil, "", absentOr(err)
	}
	if !x.choose(offered) {
		return nil, "", ErrNoCommon
	}
	x.stage, x.init = stageAnswered, init.Value
	answer := respValue{group: x.group.name, suite: x.suite.Name}
	if x.group.hybrid {
		seed, err := cfg.draw(kemSeedLen)
		if err != nil {
			return nil, "", err
		}
		x.kem, err = mlkem.NewDecapsulationKey768(seed)
		clear(seed)
		if err != nil {
			return nil, "", fmt.Errorf("keyexchange: %w", err)
		}
		answer.share = x.kem.EncapsulationKey().Bytes()
	}
	if x.key, err = newX25519(cfg); err != nil {
		return nil, "", err
	}
	answer.share = append(answer.share, x.key.PublicKey().Bytes()...)
	x.resp = answer.String()
	x.t1 = transcript1(x.init, x.resp)
	return x, x.resp, nil
}

// choose follows the order of the offer (protocol §2, "Choice").
func (x *Exchange) choose(offered initValue) bool {
	allowed := make(map[string]bool)
	for _, name := range x.cfg.Groups {
		allowed[name] = true
	}
	for _, o := range offered.offers {
		if allowed[o.group] {
			x.group, _ = builtGroup(o.group)
			x.commit = o.commit
			break
		}
	}
	for _, name := range offered.suites {
		if s, ok := findSuite(x.cfg.Suites, name); ok {
			x.suite = s
			break
		}
	}
	return x.group.name != "" && x.suite.Name != ""
}

// TakeFin takes the dh-fin that Read took from an ACK or PRACK: it must open
// the commitment of the chosen group. After it the keys are there. The same
// octets again change nothing, and the signatures beside them are not read
// again; any other dh-fin is a *Failure. Without an attribute the error is
// ErrAbsent and nothing changes.
func (x *Exchange) TakeFin(a Attrs) error {
	switch {
	case x.initiator:
		return ErrNoKeys
	case x.handshake == nil:
		return x.repeats("dh-fin", a)
	case x.stage == stageOver:
		return x.err
	case !a.Present:
		return ErrAbsent
	case x.fin != "":
		if a.Value != x.fin {
			return x.fail("dh-fin", "it is not the one that was taken before")
		}
		return nil
	}
	opened, err := parseFin(a.Value)
	if err != nil {
		return x.faulty(err)
	}
	if err := checkSigs(a.Sigs); err != nil {
		return x.faulty(err)
	}
	if len(opened.share) != x.group.finLen {
		return x.fail("dh-fin", "its share does not have the length of the chosen group")
	}
	kem, committed := x.group.split(opened.share)
	if !commitmentMatches(x.commit, x.group.name, committed) {
		return x.fail("dh-fin", "its share is not the one that the caller committed to")
	}
	if x.z, err = agree(x.key, committed); err != nil {
		return x.fail("dh-fin", "its share gives no secret, it is a point of low order")
	}
	if x.group.hybrid {
		// A ciphertext of the right length never fails (FIPS 203, implicit
		// rejection); a wrong one gives other keys and so no confirmation.
		if x.p, err = x.kem.Decapsulate(kem); err != nil {
			return x.fail("dh-fin", "its ML-KEM ciphertext has a wrong length")
		}
	}
	x.fin = a.Value
	x.besideFin = slices.Clone(a.Sigs)
	x.key, x.kem = nil, nil
	if err := x.agreed(committed); err != nil {
		return err
	}
	return x.bind()
}
