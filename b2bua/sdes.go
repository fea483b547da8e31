package b2bua

import (
	"errors"

	"github.com/sipward/sipward/keyexchange"
	"github.com/sipward/sipward/media"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip/sdp"
)

// sdes is the SRTP that a phone inside asked for on one m-line, under keys that
// stand in its session descriptions (RFC 4568). It ends here: the keys protect
// the wire to the phone as far as its signalling does, and never go outside.
type sdes struct {
	proto        string // the phone's profile
	ours, theirs keyexchange.Crypto
	inUse        *[2]keyexchange.Crypto // ours and theirs that the media has
}

// errNoCrypto: a phone that asked for SDES has answered without it.
var errNoCrypto = errors.New("the phone's answer has no key for its SRTP")

// sdesOffer is the key that a phone inside offers for a secure m-line, where
// it can be used.
func (c *Call) sdesOffer(m sdp.Media, from *Leg) (keyexchange.Crypto, bool) {
	if from.side != policy.Inside || !m.RTP || !m.Secure || m.Rejected || c.passage.begun || c.passage.taken {
		return keyexchange.Crypto{}, false
	}
	return keyexchange.ChooseCrypto(m.Crypto, commonSuites())
}

// offerSDES writes an offer's m-line for a phone that has SDES on it: its
// profile, and the key of this side.
func (r *relay) offerSDES(out *sdp.Session, i int, to *Leg) {
	if s := r.sdes[to.end]; s != nil {
		out.SetProto(i, s.proto)
		out.AddMediaAttribute(i, "crypto", s.ours.Value())
	}
}

// answerSDES writes an answer's m-line for a phone that offered a key. An
// offer with the key of before gets the one of before.
func (c *Call) answerSDES(out *sdp.Session, i int, offered sdp.Media, to *Leg) error {
	r := c.relays[i]
	theirs, ok := c.sdesOffer(offered, to)
	if !ok {
		r.dropSDES(to)
		return nil
	}
	if s := r.sdes[to.end]; s == nil || !s.theirs.SameKey(theirs) {
		ours, err := keyexchange.NewCrypto(theirs.Tag, theirs.Suite)
		if err != nil {
			return err
		}
		fresh := &sdes{ours: ours, theirs: theirs}
		if s != nil {
			fresh.inUse = s.inUse
		}
		r.sdes[to.end] = fresh
	}
	s := r.sdes[to.end]
	s.proto, s.ours.Tag = offered.Proto, theirs.Tag
	out.AddMediaAttribute(i, "crypto", s.ours.Value())
	return nil
}

// takeSDES reads a phone's answer to an offer that offerSDES wrote.
func (r *relay) takeSDES(m sdp.Media, from *Leg) error {
	s := r.sdes[from.end]
	if s == nil || m.Rejected {
		return nil
	}
	theirs, ok := keyexchange.ChooseCrypto(m.Crypto, []keyexchange.Suite{s.ours.Suite})
	if !ok || !m.Secure {
		return errNoCrypto
	}
	if !s.theirs.SameKey(theirs) {
		s.theirs = theirs
	}
	return nil
}

// protectSDES gives the media the keys that phone and sipward have told each
// other. False means that the leg has none of its own.
func (c *Call) protectSDES(r *relay, l *Leg) bool {
	s := r.sdes[l.end]
	if s == nil {
		return false
	}
	keys := media.Keys{Suite: s.ours.Suite.Name, SendKey: s.ours.Key, SendSalt: s.ours.Salt, RecvKey: s.theirs.Key, RecvSalt: s.theirs.Salt}
	var err error
	switch used := s.inUse; {
	case used == nil || !used[0].SameKey(s.ours) && !used[1].SameKey(s.theirs):
		err = r.session.Protect(l.end, keys, media.ProtectOptions{})
	case !used[0].SameKey(s.ours) || !used[1].SameKey(s.theirs):
		err = r.session.ChangeOne(l.end, keys)
	default:
		r.session.SetMode(l.end, media.Protected)
	}
	if err != nil {
		r.session.SetMode(l.end, media.Closed)
		c.p.log.Error("a phone's keys cannot be used", "call", c.id, "error", err)
		c.queue.Post(func() { c.end("The phone offers keys for its SRTP that it has used before") })
		return true
	}
	if s.inUse != nil {
		for i, now := range []keyexchange.Crypto{s.ours, s.theirs} {
			if !s.inUse[i].SameKey(now) {
				s.inUse[i].Erase()
			}
		}
	}
	s.inUse = &[2]keyexchange.Crypto{s.ours, s.theirs}
	return true
}

// dropSDES forgets the keys of a leg's m-line.
func (r *relay) dropSDES(l *Leg) {
	if s := r.sdes[l.end]; s != nil {
		s.erase()
		r.sdes[l.end] = nil
	}
}

func (s *sdes) erase() {
	s.ours.Erase()
	s.theirs.Erase()
	if s.inUse != nil {
		s.inUse[0].Erase()
		s.inUse[1].Erase()
	}
}
