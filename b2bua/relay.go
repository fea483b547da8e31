package b2bua

import (
	"errors"
	"net/netip"
	"strconv"

	"github.com/sipward/sipward/media"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip/sdp"
)

// relay is what carries one m-line: a media session, or none where the line
// is not relayed.
type relay struct {
	session *media.Session
	secured [2]bool // by end: that leg's exchange has given it keys
}

var (
	errNoMedia    = errors.New("no media line of the offer can be relayed")
	errAnswerForm = errors.New("the answer does not fit the offer")
)

// relayable says whether an offered m-line gets a relay: RTP, not rejected,
// and no SAVP from where no exchange could give it keys.
func relayable(m sdp.Media, from *Leg) bool {
	return m.RTP && !m.Rejected && (!m.Secure || from.exchange != nil)
}

// rewriteOffer turns the offer of one leg into that for the other: own
// addresses and ports, no keying, no exchange of the leg that it came from,
// plain profiles (protocol section 7), and port 0 for what is not relayed.
func (c *Call) rewriteOffer(offer *sdp.Session, from, to *Leg) (*sdp.Session, error) {
	out := offer.Clone()
	out.DropDH()
	lines := offer.Media()
	ports := make([]sdp.Port, len(lines))
	usable := 0
	for i, m := range lines {
		if i >= len(c.relays) {
			c.relays = append(c.relays, &relay{})
		}
		r := c.relays[i]
		if !relayable(m, from) {
			continue
		}
		if r.session == nil {
			s, err := c.p.o.Media.Open(c.a.l.media(), c.b.l.media())
			if err != nil {
				return nil, err
			}
			// A phone may speak before its answer was read: kept, not lost.
			s.SetMode(media.A, media.Waiting)
			s.SetMode(media.B, media.Waiting)
			for _, l := range []*Leg{c.a, c.b} {
				s.KeepAlive(l.end, l.side == policy.Outside)
			}
			r.session = s
		}
		if m.Secure {
			out.SetProto(i, m.PlainProto())
		}
		rtp, rtcp := r.session.Local(to.end)
		ports[i] = sdp.Port{RTP: int(rtp.Port()), RTCP: int(rtcp.Port()), Mux: false}
		usable++
	}
	if usable == 0 && anyOpen(lines) {
		return nil, errNoMedia
	}
	if err := out.Apply(c.rewrite(offer, to, ports)); err != nil {
		return nil, err
	}
	return out, nil
}

// rewrite says what the other side of a description may see. Towards the
// outside, addresses of the inside are hidden wherever they stand.
func (c *Call) rewrite(s *sdp.Session, to *Leg, ports []sdp.Port) sdp.Rewrite {
	r := sdp.Rewrite{Addr: to.l.shown(), Ports: ports, DropKeying: true}
	if v, ok := s.Version(); ok && to.renewed > 0 {
		r.SessionVersion = strconv.FormatUint(v+to.renewed, 10)
	}
	if to.side == policy.Outside {
		r.Hide = c.p.ground.Load().hide
	}
	return r
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
	lines, offered := answer.Media(), c.offer.Media()
	if len(lines) != len(offered) {
		return nil, errAnswerForm
	}
	out := answer.Clone()
	out.DropDH()
	ports := make([]sdp.Port, len(lines))
	for i, m := range lines {
		if m.Rejected || !relayable(offered[i], to) || c.relays[i].session == nil {
			continue
		}
		if m.Proto != offered[i].Proto {
			out.SetProto(i, offered[i].Proto)
		}
		rtp, rtcp := c.relays[i].session.Local(to.end)
		ports[i] = sdp.Port{RTP: int(rtp.Port()), RTCP: int(rtcp.Port())}
	}
	if err := out.Apply(c.rewrite(answer, to, ports)); err != nil {
		return nil, err
	}
	return out, nil
}

// connect tells the relays where both legs want their media, once offer and
// answer are known.
func (c *Call) connect(answer *sdp.Session, answerer *Leg) {
	offerer := c.other(answerer)
	offerer.described, answerer.described = c.offer, answer
	offered, answered := c.offer.Media(), answer.Media()
	c.held = true
	for i, r := range c.relays {
		if r.session == nil || i >= len(offered) || i >= len(answered) {
			continue
		}
		if !offered[i].Rejected && !answered[i].Rejected && !offered[i].Held() && !answered[i].Held() {
			c.held = false
		}
		if offered[i].Rejected || answered[i].Rejected {
			r.session.SetMode(media.A, media.Closed)
			r.session.SetMode(media.B, media.Closed)
			continue
		}
		mux := offered[i].Mux && answered[i].Mux
		r.session.SetRemote(offerer.end, remoteOf(offered[i], offerer, mux))
		r.session.SetRemote(answerer.end, remoteOf(answered[i], answerer, mux))
		for _, l := range []*Leg{c.a, c.b} {
			c.setMode(r.session, l)
		}
	}
	c.hold(c.a, c.held)
	c.hold(c.b, c.held)
}

// setMode opens one end of a relay as far as its leg allows.
func (c *Call) setMode(s *media.Session, l *Leg) {
	switch {
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
	}
}
