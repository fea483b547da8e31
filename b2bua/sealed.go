package b2bua

import (
	"strings"

	"github.com/sipward/sipward/media"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

// sealed says whether an offered m-line is relayed without a look into it,
// where policy does not require protection: what is not RTP (T.38 over UDPTL,
// say), and RTP whose keys the two ends agree by themselves. From outside that
// is DTLS, whose keys the signalling does not show; between phones inside SDES
// as well. Outwards no phone's own keying goes: the exchange is the leg's.
func (c *Call) sealed(m sdp.Media) bool {
	switch {
	case m.Rejected || c.decision.Mode == policy.Require:
		return false
	case !m.RTP:
		return overUDP(m.Proto)
	case !c.passesKeying():
		return false
	}
	return m.DTLS || c.internal() && (m.Secure || len(m.Crypto) > 0)
}

// overUDP says whether a protocol that is not RTP goes over UDP and brings no
// keying of its own, which would end here.
func overUDP(proto string) bool {
	p := strings.ToUpper(proto)
	return p == "UDP" || p == "UDPTL" || strings.HasPrefix(p, "UDP/") && !strings.Contains(p, "TLS")
}

func (c *Call) internal() bool { return c.a.real().side == policy.Inside && c.b.side == policy.Inside }

// passesKeying says whether the ends' own keying may cross: in calls without
// any exchange that did not begin inside and go out, and in which no phone's
// keying ends here.
func (c *Call) passesKeying() bool {
	if c.decision.Mode == policy.Require || c.a.real().exchange != nil || c.passage.begun || c.passage.taken || c.a.sdes || c.b.sdes {
		return false
	}
	return c.internal() || c.a.real().side == policy.Outside && c.b.side == policy.Inside
}

// openSealed gives a slot its session and says where a leg sends to.
func (c *Call) openSealed(r *relay, to *Leg) (sdp.Port, error) {
	if r.sealed == nil {
		s, err := c.p.o.Media.Open(c.a.l.media(), c.b.l.media())
		if err != nil {
			return sdp.Port{}, err
		}
		r.sealed = s
	}
	return portOf(r.sealed, to), nil
}

// connectSealed tells a slot's session where both legs want what it carries,
// or closes it where they want something else now.
func (c *Call) connectSealed(r *relay, offered, answered sdp.Media, answerer *Leg) {
	mode := media.Closed
	if c.sealed(offered) && !answered.Rejected && answered.RTP == offered.RTP {
		mode = media.Opaque
		offerer := c.other(answerer)
		r.sealed.SetRemote(offerer.end, remoteOf(offered, offerer, false))
		r.sealed.SetRemote(answerer.end, remoteOf(answered, answerer, false))
		c.clearly = append(c.clearly, offered.Kind+" ("+offered.Proto+")")
	}
	r.sealed.SetMode(media.A, mode)
	r.sealed.SetMode(media.B, mode)
}

// offersRTP says whether the call has something that an exchange could protect.
func (c *Call) offersRTP() bool {
	if c.offer == nil {
		return true
	}
	for _, m := range c.offer.Media() {
		if m.RTP && !m.Rejected {
			return true
		}
	}
	return false
}

// nothingToRelay is the sentence for an offer none of whose lines can be
// relayed.
func (c *Call) nothingToRelay() string {
	for _, m := range c.offer.Media() {
		switch {
		case m.Rejected:
		case !m.RTP && c.decision.Mode == policy.Require:
			return "This call must be encrypted, and only RTP can be: the offer has none"
		case m.RTP && m.DTLS:
			return "The keys of this offer come by DTLS, which does not pass here: plain RTP or SDES is needed"
		case m.RTP && m.Secure:
			return "The keys of this offer cannot be used here: plain RTP is needed"
		}
	}
	return "Nothing in this offer can be relayed: plain RTP is needed"
}

// trickles says whether a request names further addresses for media (RFC 8840).
// What the descriptions do not tell the far end, an INFO does not either.
func trickles(req *sip.Message) bool {
	name, _, _ := strings.Cut(req.Get("Info-Package"), ";")
	return strings.EqualFold(strings.TrimSpace(name), "trickle-ice") || strings.EqualFold(req.ContentType(), "application/trickle-ice-sdpfrag")
}
