package keyexchange

import (
	"crypto/ecdh"
	"crypto/mlkem"
	"slices"
)

// ephemeral is the initiator's private key for one offered group. Every group
// has a key of its own.
type ephemeral struct {
	group group
	key   *ecdh.PrivateKey
}

// NewInitiator begins an exchange with fresh keys for every group of cfg.
// chain is the [Exchange.Chain] of the dialog's last exchange, nil if there
// was none; it is copied. A commitment is opened once, so every INVITE that is
// sent after a dh-resp was taken needs a new exchange (protocol §7).
func NewInitiator(cfg Config, chain []byte) (*Exchange, error) {
	x, err := newExchange(cfg, chain)
	if err != nil {
		return nil, err
	}
	x.initiator, x.stage = true, stageOffered
	var v initValue
	for _, name := range cfg.Groups {
		g, _ := builtGroup(name) // cfg was checked
		key, err := newX25519(cfg)
		if err != nil {
			x.Erase()
			return nil, err
		}
		x.offered = append(x.offered, ephemeral{g, key})
		v.offers = append(v.offers, offer{group: name, commit: commitment(name, key.PublicKey().Bytes())})
	}
	for _, s := range cfg.Suites {
		v.suites = append(v.suites, s.Name)
	}
	x.init = v.String()
	return x, nil
}

// TakeResp takes the dh-resp that Read took from a 2xx or reliable 1xx and
// gives the value of the dh-fin that opens the commitment. The same octets
// again, as a retransmission has them, give the same dh-fin, and the
// signatures beside them are not read again; any other dh-resp is a *Failure.
// Answers of other dialogs (a forked INVITE) must not be given to this
// exchange. Without an attribute the error is ErrAbsent and nothing changes. Of a
// Settled exchange dh-fin is not known any more.
func (x *Exchange) TakeResp(a Attrs) (fin string, err error) {
	switch {
	case !x.initiator:
		return "", ErrNoKeys
	case x.handshake == nil:
		return "", x.repeats("dh-resp", a)
	case x.stage == stageOver:
		return "", x.err
	case !a.Present:
		return "", ErrAbsent
	case x.resp != "":
		if a.Value != x.resp {
			return "", x.fail("dh-resp", "it is not the one that was taken before")
		}
		return x.fin, nil
	}
	answer, err := parseResp(a.Value)
	if err != nil {
		return "", x.faulty(err)
	}
	if err := checkSigs(a.Sigs); err != nil {
		return "", x.faulty(err)
	}
	group, key, ok := x.offeredGroup(answer.group)
	if !ok {
		return "", x.fail("dh-resp", "it chooses a group that was not offered")
	}
	x.group = group
	if x.suite, ok = findSuite(x.cfg.Suites, answer.suite); !ok {
		return "", x.fail("dh-resp", "it chooses a suite that was not offered")
	}

	kem, dh := x.group.split(answer.share)
	if x.z, err = agree(key, dh); err != nil {
		return "", x.fail("dh-resp", "its share gives no secret, it is a point of low order")
	}
	committed := key.PublicKey().Bytes()
	share := committed
	if x.group.hybrid {
		ek, err := mlkem.NewEncapsulationKey768(kem)
		if err != nil {
			return "", x.fail("dh-resp", "its ML-KEM key does not pass the check of FIPS 203")
		}
		var ciphertext []byte
		if x.cfg.encapsulate != nil {
			x.p, ciphertext = x.cfg.encapsulate(ek)
		} else {
			x.p, ciphertext = ek.Encapsulate()
		}
		share = append(ciphertext, committed...)
	}
	x.resp, x.fin = a.Value, finValue{share}.String()
	x.besideResp = slices.Clone(a.Sigs)
	x.offered = nil
	x.t1 = transcript1(x.init, x.resp)
	return x.fin, x.agreed(committed)
}

// offeredGroup finds a group of the offer and the key that was made for it.
func (x *Exchange) offeredGroup(name string) (g group, key *ecdh.PrivateKey, ok bool) {
	for _, e := range x.offered {
		if e.group.name == name {
			return e.group, e.key, true
		}
	}
	return group{}, nil, false
}
