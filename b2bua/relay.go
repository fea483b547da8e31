package b2bua

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sipward/sipward/media"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip/sdp"
)

// relay is what carries one m-line: a media session, or none where the line
// is not relayed. A slot that changes between RTP and something else has a
// session for each: keys and numbers of the one stay out of the other.
type relay struct {
	session *media.Session
	sealed  *media.Session // see sealed.go
	secured [2]bool        // by end: that leg's exchange has given it keys
}

var (
	errNoMedia    = errors.New("no media line of the offer can be relayed")
	errAnswerForm = errors.New("the answer does not fit the offer")
)

// relayable says whether an offered m-line gets a relay: RTP, not rejected,
// and no SAVP from where no exchange could give it keys.
func (c *Call) relayable(m sdp.Media, from *Leg) bool {
	if m.RTP && !m.Rejected && m.Secure && from.real().exchange == nil && !c.passage.begun && !c.passage.taken {
		_, ok := c.sdesOffer(m, from)
		return ok
	}
	return m.RTP && !m.Rejected
}

// rewriteOffer turns the offer of one leg into that for the other: own
// addresses and ports, no keying, no exchange of the leg that it came from,
// plain profiles (protocol section 7), and port 0 for what is not relayed.
func (c *Call) rewriteOffer(offer *sdp.Session, from, to *Leg) (*sdp.Session, error) {
	out := offer.Clone()
	if (!c.passage.begun || to.readHere()) && !c.passage.taken {
		out.DropDH()
	}
	lines := offer.Media()
	ports := make([]sdp.Port, len(lines))
	usable := 0
	for i, m := range lines {
		if i >= len(c.relays) {
			c.relays = append(c.relays, &relay{})
		}
		r := c.relays[i]
		if c.sealed(m) {
			port, err := c.openSealed(r, to)
			if err != nil {
				return nil, err
			}
			ports[i] = port
			usable++
			continue
		}
		if !c.relayable(m, from) {
			continue
		}
		if r.session == nil {
			s, err := c.openMedia()
			if err != nil {
				return nil, err
			}
			r.session = s
		}
		if m.Secure && !c.passage.keepsProfile(from) {
			out.SetProto(i, m.PlainProto())
		}
		ports[i] = portOf(r.session, to)
		usable++
	}
	if usable == 0 && anyOpen(lines) {
		return nil, errNoMedia
	}
	if err := out.Apply(c.rewrite(offer, to, ports)); err != nil {
		return nil, err
	}
	if !c.internal() || !c.passesKeying() {
		out.DropSDES()
	}
	for i, m := range lines {
		if !c.relayable(m, from) || c.sealed(m) {
			continue
		}
		if err := to.offerSDES(out, i); err != nil {
			return nil, err
		}
		c.rewriteEvents(out, i, from, to, nil)
	}
	to.heard = heardIn(out)
	return out, nil
}

// openMedia opens the ports of one m-line.
func (c *Call) openMedia() (*media.Session, error) {
	s, err := c.p.o.Media.Open(c.a.l.media(), c.b.l.media())
	if err != nil {
		return nil, err
	}
	// A phone may speak before its answer was read: kept, not lost.
	s.SetMode(media.A, media.Waiting)
	s.SetMode(media.B, media.Waiting)
	return s, nil
}

// rewrite says what the other side of a description may see. Towards the
// outside, addresses of the inside are hidden wherever they stand.
func (c *Call) rewrite(s *sdp.Session, to *Leg, ports []sdp.Port) sdp.Rewrite {
	r := sdp.Rewrite{Addr: to.l.shown(), Ports: ports, DropKeying: !c.passesKeying()}
	if v, ok := s.Version(); ok && to.renewed > 0 {
		r.SessionVersion = strconv.FormatUint(v+to.renewed, 10)
	}
	if to.real().side == policy.Outside {
		r.Hide, r.DropSources = c.p.ground.Load().hide, true
	}
	if to.moved && to.heard != nil {
		// The session that this leg knows goes on (RFC 3264 section 8), whoever
		// describes it now.
		if h := to.heard; h.id != "" {
			r.OriginUser, r.SessionID, r.SessionVersion = h.user, h.id, sdp.After(h.version)
		}
	}
	return r
}

// lastHeard is what must be known of a description that went to a leg: which session
// it is (RFC 8866 section 5.2), how many m-lines it has, as the next may not
// have fewer (RFC 3264 section 8), and what carries telephone events on them.
type lastHeard struct {
	user, id, version string // id is "" where it has no whole o= line
	media             int
	events            []int16 // by m-line: payload type, -1 for none
}

func heardIn(s *sdp.Session) *lastHeard {
	t := &lastHeard{media: len(s.Media())}
	t.events = make([]int16, t.media)
	for i := range t.events {
		t.events[i] = -1
		if pt, _, ok := s.TelephoneEvent(i); ok {
			t.events[i] = int16(pt)
		}
	}
	if user, id, version, ok := s.Origin(); ok {
		t.user, t.id, t.version = strings.Clone(user), strings.Clone(id), strings.Clone(version)
	}
	return t
}

func anyOpen(lines []sdp.Media) bool {
	for _, m := range lines {
		if !m.Rejected {
			return true
		}
	}
	return false
}

// rewriteAnswer turns the answer of one leg into that for the offerer's.
func (c *Call) rewriteAnswer(answer *sdp.Session, from, to *Leg) (*sdp.Session, error) {
	return c.answerFrom(answer, from, to, from.takeSDES)
}

// repeatAnswer is rewriteAnswer for what a leg has described before, in an offer or
// an answer: it says nothing new of the leg's keys.
func (c *Call) repeatAnswer(described *sdp.Session, from, to *Leg) (*sdp.Session, error) {
	return c.answerFrom(described, from, to, func(sdp.Media, int) error { return nil })
}

func (c *Call) answerFrom(answer *sdp.Session, from, to *Leg, take func(sdp.Media, int) error) (*sdp.Session, error) {
	lines, offered := answer.Media(), c.offer.Media()
	if len(lines) != len(offered) {
		return nil, errAnswerForm
	}
	out := answer.Clone()
	if !c.passage.taken {
		out.DropDH()
	}
	ports := make([]sdp.Port, len(lines))
	for i, m := range lines {
		if r := c.relays[i]; c.sealed(offered[i]) {
			if r.sealed != nil && !m.Rejected && m.RTP == offered[i].RTP {
				ports[i] = portOf(r.sealed, to)
			}
			continue
		}
		if m.Rejected || !m.RTP || !c.relayable(offered[i], to) || c.relays[i].session == nil {
			continue
		}
		if m.Proto != offered[i].Proto {
			out.SetProto(i, offered[i].Proto)
		}
		if err := take(m, i); err != nil {
			return nil, err
		}
		ports[i] = portOf(c.relays[i].session, to)
		if offered[i].Mux { // each leg has RTCP where it wants it
			ports[i].RTCP, ports[i].Mux = ports[i].RTP, true
		}
	}
	if err := out.Apply(c.rewrite(answer, to, ports)); err != nil {
		return nil, err
	}
	if !c.internal() || !c.passesKeying() {
		out.DropSDES()
	}
	for i := range lines {
		if ports[i].RTP == 0 || c.sealed(offered[i]) {
			continue
		}
		if err := c.answerSDES(out, i, offered[i], to); err != nil {
			return nil, err
		}
		c.rewriteEvents(out, i, from, to, c.offer)
	}
	to.heard = heardIn(out)
	return out, nil
}

// portOf is where a session takes what a leg sends.
func portOf(s *media.Session, l *Leg) sdp.Port {
	rtp, rtcp := s.Local(l.end)
	return sdp.Port{RTP: int(rtp.Port()), RTCP: int(rtcp.Port())}
}

// connect tells the relays where both legs want their media, once offer and
// answer are known.
func (c *Call) connect(answer *sdp.Session, answerer *Leg) {
	offerer := c.other(answerer)
	offerer.described, answerer.described = c.offer, answer
	offered, answered := c.offer.Media(), answer.Media()
	c.held = true
	c.clearly = nil
	for i, r := range c.relays {
		if i >= len(offered) || i >= len(answered) {
			continue
		}
		if r.sealed != nil {
			c.connectSealed(r, offered[i], answered[i], answerer)
		}
		if r.session == nil {
			continue
		}
		if !offered[i].Rejected && !answered[i].Rejected && offered[i].RTP && !offered[i].Held() && !answered[i].Held() {
			c.held = false
		}
		if offered[i].Rejected || answered[i].Rejected || !offered[i].RTP || c.sealed(offered[i]) {
			r.session.SetMode(media.A, media.Closed)
			r.session.SetMode(media.B, media.Closed)
			continue
		}
		// The answer that the offerer got has a=rtcp-mux where its offer had; the
		// offer that the answerer got had none.
		r.session.SetRemote(offerer.end, remoteOf(offered[i], offerer, offered[i].Mux))
		r.session.SetRemote(answerer.end, remoteOf(answered[i], answerer, false))
		for _, l := range []*Leg{c.a, c.b} {
			if l.side == policy.Outside && l.standsFor == nil {
				r.session.Conceal(l.end, c.names)
				r.session.KeepAlive(l.end, true)
			}
			if !c.protectSDES(i, l) {
				c.setMode(r.session, l)
			}
		}
	}
	c.hold(c.a, c.held)
	c.hold(c.b, c.held)
	c.tapDigits()
}

// setMode opens one end of a relay as far as its leg allows.
func (c *Call) setMode(s *media.Session, l *Leg) {
	switch {
	case l.standsFor != nil:
		s.SetMode(l.end, media.Closed)
	case c.passage.taken:
		s.SetMode(l.end, media.Passing)
	case l.protect:
		s.SetMode(l.end, media.Protected) // Closed where the line has no keys yet
	case l.exchange != nil && !c.clearEarly(l):
		s.SetMode(l.end, media.Waiting)
	case l.side == policy.Outside && c.decision.Mode == policy.Require:
		s.SetMode(l.end, media.Closed)
	default:
		s.SetMode(l.end, media.Plain)
	}
}

// clearEarly says whether media may cross a leg in clear while its exchange
// still waits for the answer: early media without 100rel, where policy allows
// unprotected media (protocol section 7).
func (c *Call) clearEarly(l *Leg) bool {
	if c.state != Calling && c.state != Ringing || c.decision.Mode == policy.Require {
		return false
	}
	return l == c.b && l.opened == "" || l == c.a && (c.early == nil || !c.early.resp)
}

func remoteOf(m sdp.Media, l *Leg, mux bool) media.Remote {
	signalling := l.dialog.Flow().Remote().Addr()
	addr, err := netip.ParseAddr(m.Addr)
	addr = addr.Unmap()
	if err != nil || addr.Is4() != l.l.media().Is4() {
		addr = signalling // a name, or the other family: where the phone signals from
	}
	if m.Held() || m.Port == 0 {
		return media.Remote{Signalling: signalling} // on hold (RFC 3264 section 8.4), or an impossible port
	}
	r := media.Remote{RTP: netip.AddrPortFrom(addr, uint16(m.Port)), Mux: mux, Signalling: signalling}
	r.RTCP = r.RTP
	if !mux {
		rtcp := addr
		if a, err := netip.ParseAddr(m.RTCPAddr); err == nil && a.Unmap().Is4() == addr.Is4() && !a.IsUnspecified() {
			rtcp = a.Unmap()
		}
		port := m.RTCPPort
		if port == 0 {
			port = m.Port + 1
		}
		r.RTCP = netip.AddrPortFrom(rtcp, uint16(port))
	}
	return r
}

// closeMedia gives ports back and erases the media's keys.
func (c *Call) closeMedia() {
	for _, r := range c.relays {
		if r.session != nil {
			r.session.Close()
			r.session = nil
		}
		if r.sealed != nil {
			r.sealed.Close()
			r.sealed = nil
		}
	}
	for _, l := range []*Leg{c.a, c.b} {
		if l.call == c { // else a transfer has led it away, or has not brought it yet
			l.dropSDES()
		}
	}
}
