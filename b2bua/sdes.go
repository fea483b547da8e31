package b2bua

import (
	"errors"
	"maps"
	"slices"

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

// errNoCrypto: a phone that was offered keys has answered without one that fits.
var errNoCrypto = errors.New("the phone has answered the keys for its SRTP with none, or with one that does not fit")

// sdesOffer is the key that a phone inside offers for a secure m-line, where
// it can be used.
func (c *Call) sdesOffer(m sdp.Media, from *Leg) (keyexchange.Crypto, bool) {
	if from.real().side != policy.Inside || !m.RTP || !m.Secure || m.Rejected || c.passage.begun || c.passage.taken {
		return keyexchange.Crypto{}, false
	}
	return keyexchange.ChooseCrypto(m.Crypto, commonSuites())
}

// offerSDES writes an offer's m-line for a phone that has SDES on it: its
// profile, and the key of this side. One that has none on this line yet is
// offered some.
func (l *Leg) offerSDES(out *sdp.Session, i int) error {
	if s := l.sdesKeys[i]; s != nil {
		out.SetProto(i, s.proto)
		out.AddMediaAttribute(i, "crypto", s.ours.Value())
		return nil
	}
	if l.sdes {
		return l.offerKeys(out, i)
	}
	return nil
}

// answerSDES writes an answer's m-line for a phone that offered a key. An
// offer with the key of before gets the one of before.
func (c *Call) answerSDES(out *sdp.Session, i int, offered sdp.Media, to *Leg) error {
	theirs, ok := c.sdesOffer(offered, to)
	if !ok {
		if s := to.sdesKeys[i]; s != nil {
			s.erase()
			delete(to.sdesKeys, i)
			to.sdes = false
		}
		return nil
	}
	to.sdes = true
	if s := to.sdesKeys[i]; s == nil || !s.theirs.SameKey(theirs) {
		ours, err := keyexchange.NewCrypto(theirs.Tag, theirs.Suite)
		if err != nil {
			return err
		}
		fresh := &sdes{ours: ours, theirs: theirs}
		if s != nil {
			fresh.inUse = s.inUse
		}
		to.keep(i, fresh)
	}
	s := to.sdesKeys[i]
	s.proto, s.ours.Tag = offered.Proto, theirs.Tag
	out.AddMediaAttribute(i, "crypto", s.ours.Value())
	return nil
}

// keep sets the keys of an m-line.
func (l *Leg) keep(i int, s *sdes) {
	if l.sdesKeys == nil {
		l.sdesKeys = map[int]*sdes{}
	}
	l.sdesKeys[i] = s
}

// takeSDES reads a phone's answer for an m-line that offerSDES wrote. Before the call
// is answered, another one behind the same INVITE may still take another of the keys.
func (l *Leg) takeSDES(m sdp.Media, i int) error {
	s, offer := l.sdesKeys[i], l.keysOffered[i]
	if s == nil && offer == nil || m.Rejected {
		return nil
	}
	if offer == nil {
		offer = &keysOffer{proto: s.proto, keys: []keyexchange.Crypto{s.ours}}
	}
	ours, theirs, err := keyexchange.AnswerCrypto(m.Crypto, offer.keys)
	if err != nil || !m.Secure {
		return errNoCrypto
	}
	if s == nil {
		s = &sdes{proto: offer.proto}
		l.sdes = true
		l.keep(i, s)
	}
	s.ours = ours
	if !s.theirs.SameKey(theirs) {
		s.theirs = theirs
	}
	if l.keysOffered[i] != nil && l.dialog.Confirmed() {
		l.keepKey(i, ours)
	}
	return nil
}

// secures says whether a line that the leg has described is under keys in the
// description: its call has them, or they passed to a phone inside.
func (l *Leg) secures(m sdp.Media, i int) bool {
	return l.sdesKeys[i] != nil || l.side == policy.Inside && m.RTP && m.Secure && !m.Rejected && len(m.Crypto) > 0
}

// withoutSDES makes a description of the leg's one of plain RTP, in the place of
// lines under its keys: those stay on its own wire, whoever hears of the rest.
func (l *Leg) withoutSDES(described *sdp.Session) {
	secure := false
	for i, m := range described.Media() {
		if l.secures(m, i) {
			described.SetProto(i, m.PlainProto())
			secure = true
		}
	}
	if secure {
		described.DropSDES()
	}
}

// withSDES makes an offer of plain RTP for the leg one of SRTP on the lines that it
// has described so, perhaps under keys that passed to somebody who leaves.
func (l *Leg) withSDES(out *sdp.Session) error {
	if l.described == nil {
		return nil
	}
	lines := out.Media()
	for i, m := range l.described.Media() {
		if i >= len(lines) || !lines[i].RTP || lines[i].Secure || lines[i].Rejected || !l.secures(m, i) {
			continue
		}
		offer := l.offerSDES
		if l.sdesKeys[i] == nil {
			offer = l.offerKeys
		}
		if err := offer(out, i); err != nil {
			return err
		}
	}
	return nil
}

// takeAllSDES reads a phone's answer to an offer that withSDES wrote.
func (l *Leg) takeAllSDES(answer *sdp.Session) error {
	for i, m := range answer.Media() {
		if err := l.takeSDES(m, i); err != nil {
			return err
		}
	}
	return nil
}

// overheard says whether a description from before the answer has to wait for it:
// another one behind the same INVITE was heard first, under keys of its own, and
// whose keys have come into force once cannot return behind others.
func (c *Call) overheard(l *Leg, tag string) bool {
	return len(l.sdesKeys) > 0 && c.early != nil && c.early.tag != tag
}

// protectSDES gives the media the keys that phone and sipward have told each
// other. False means that the leg has none of its own.
func (c *Call) protectSDES(i int, l *Leg) bool {
	r, s := c.relays[i], l.sdesKeys[i]
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

// dropSDES forgets the keys of a leg.
func (l *Leg) dropSDES() {
	for _, s := range l.sdesKeys {
		s.erase()
	}
	l.sdesKeys = nil
}

func (s *sdes) erase() {
	s.ours.Erase()
	s.theirs.Erase()
	if s.inUse != nil {
		s.inUse[0].Erase()
		s.inUse[1].Erase()
	}
}

// sdesSuite is the suite of a leg's first m-line that has keys of its own.
func (l *Leg) sdesSuite() string {
	if len(l.sdesKeys) == 0 {
		return ""
	}
	return l.sdesKeys[slices.Min(slices.Collect(maps.Keys(l.sdesKeys)))].ours.Suite.Name
}
