package b2bua

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sipward/sipward/keyexchange"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

// SRTP for phones that are called. A phone which is set to SRTP alone refuses
// plain RTP, and how a phone is set can be seen only from what it does: it is
// offered SRTP under keys in the description (RFC 4568) where it has offered that
// itself, or where it has just refused plain RTP. A phone that knows no SRTP so
// never sees any of it.

// SDES says whether phones of an inside listener that are called are offered SRTP
// under keys in the session description.
type SDES string

const (
	// SDESLearn: a phone is offered what it has offered itself the last time, and
	// the other of the two where it refuses that; plain RTP at first.
	SDESLearn SDES = ""
	// SDESAlways: each is, and nothing else.
	SDESAlways SDES = "always"
	// SDESOff: none is.
	SDESOff SDES = "off"
)

// keysOffer is what a phone was offered on an m-line and has not answered yet:
// one key for each suite, its own for each phone.
type keysOffer struct {
	proto string
	keys  []keyexchange.Crypto
}

// offerKeys offers SRTP on the m-line of an offer.
func (l *Leg) offerKeys(out *sdp.Session, i int) error {
	lines := out.Media()
	if i >= len(lines) || !lines[i].RTP || lines[i].Rejected {
		return nil
	}
	offer := l.keysOffered[i]
	if offer == nil {
		offer = &keysOffer{}
		for n, suite := range commonSuites() {
			key, err := keyexchange.NewCrypto(strconv.Itoa(n+1), suite)
			if err != nil {
				offer.erase()
				return err
			}
			offer.keys = append(offer.keys, key)
		}
		if l.keysOffered == nil {
			l.keysOffered = map[int]*keysOffer{}
		}
		l.keysOffered[i] = offer
	}
	offer.proto = secured(lines[i].PlainProto())
	out.SetProto(i, offer.proto)
	for _, key := range offer.keys {
		out.AddMediaAttribute(i, "crypto", key.Value())
	}
	return nil
}

// secured is the profile with SRTP that corresponds to RTP/AVP or RTP/AVPF.
func secured(proto string) string {
	if at := strings.LastIndex(proto, "/"); at >= 0 {
		return proto[:at+1] + "S" + proto[at+1:]
	}
	return proto
}

// keepKey: a phone has taken one of the keys on a line, the others are not
// needed.
func (l *Leg) keepKey(i int, taken keyexchange.Crypto) {
	for _, key := range l.keysOffered[i].keys {
		if !key.SameKey(taken) {
			key.Erase()
		}
	}
	delete(l.keysOffered, i)
}

// dropKeys erases all keys of a leg whose call, or whose part in it, is over.
func (l *Leg) dropKeys() {
	l.dropSDES()
	l.dropOffered()
}

// dropOffered erases the keys that a leg was offered and will not use.
func (l *Leg) dropOffered() {
	for _, offer := range l.keysOffered {
		offer.erase()
	}
	l.keysOffered = nil
}

func (o *keysOffer) erase() {
	for i := range o.keys {
		o.keys[i].Erase()
	}
}

// chooseProfile decides what a candidate for the B leg is offered.
func (c *Call) chooseProfile(l *Leg) {
	if l.side != policy.Inside || l.firstRefusal != nil {
		return
	}
	switch l.l.SDES {
	case SDESAlways:
		l.sdes = true
	case SDESLearn:
		l.sdes = c.p.sdesPhones.has(phoneName(l.l, l.flow.Remote(), c.calledUser()), time.Now())
	}
}

// otherProfile asks a phone again that has refused what the call was offered as:
// with SRTP in the place of plain RTP, or the reverse.
func (c *Call) otherProfile(l *Leg, res *sip.Message) bool {
	switch {
	case res == nil || res.Status != 488 && res.Status != 606 && res.Status != 415:
		return false
	case l.side != policy.Inside || l.l.SDES != SDESLearn || l.firstRefusal != nil || c.bound(l):
		return false
	case res.HasToken("Supported", optionTag): // a sipward: its reasons are others
		return false
	case c.offer == nil || c.offerer != c.a || !c.offersPlainRTP():
		return false
	}
	again := c.newLeg()
	again.l, again.routes, again.proved = l.l, l.routes, l.proved
	again.session.least = l.session.least
	again.firstRefusal, again.sdes = res, !l.sdes
	if l.sdes {
		c.p.sdesPhones.forget(phoneName(l.l, l.flow.Remote(), c.calledUser()))
	}
	c.b = again
	if err := c.dial(again, l.flow, l.uri); err != nil {
		c.p.log.Error("cannot offer a phone its other kind of media", "call", c.id, "error", err)
		return false
	}
	return true
}

// offersPlainRTP says whether a line of the offer could go to a phone under either
// profile.
func (c *Call) offersPlainRTP() bool {
	for _, m := range c.offer.Media() {
		if c.relayable(m, c.a) && !c.sealed(m) {
			return true
		}
	}
	return false
}

// learnSDES remembers what a phone's own offer asks for.
func (c *Call) learnSDES(l *Leg, user string, offer *sdp.Session) {
	if l.side != policy.Inside || l.l.SDES != SDESLearn || c.passage.begun || c.passage.taken || carriesDH(offer) {
		return
	}
	name := phoneName(l.l, l.dialog.Flow().Remote(), user)
	plain, secure := false, false
	for _, m := range offer.Media() {
		switch {
		case !m.RTP || m.Rejected || m.DTLS:
		case !m.Secure:
			plain = true
		default:
			_, ok := keyexchange.ChooseCrypto(m.Crypto, commonSuites())
			secure = secure || ok
		}
	}
	switch {
	case plain: // it takes that as well, whatever else it offers
		c.p.sdesPhones.forget(name)
	case secure:
		c.p.sdesPhones.remember(name, time.Now())
	}
}

// carriesDH says whether a description has something of an exchange: then it is
// not a phone's.
func carriesDH(s *sdp.Session) bool { return len(s.DH()) > 0 }

// sdesWorks: a phone that was asked a second time has answered, so the next call
// asks so at once.
func (c *Call) sdesWorks(l *Leg) {
	if l.firstRefusal != nil && l.sdes {
		c.p.sdesPhones.remember(phoneName(l.l, l.flow.Remote(), c.calledUser()), time.Now())
	}
}

// calledUser is the user whose phone is called.
func (c *Call) calledUser() string {
	if u, err := sip.ParseURI(c.meant); err == nil && u.User != "" {
		return u.User
	}
	return c.calledURI().User
}

// phoneName tells phones apart in the memory of what they offer: by where they
// are, and behind one address (a PBX, a NAT) by their users.
func phoneName(l *listener, at netip.AddrPort, user string) string {
	return l.Name + " " + l.sip.Network + " " + at.String() + " " + strings.ToLower(user)
}
