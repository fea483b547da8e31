package b2bua

import (
	"slices"
	"strings"

	"github.com/sipward/sipward/media"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sas"
)

// seen is what a call was like when it last changed. A View is made of it, for
// whoever looks; most calls are never looked at.
type seen struct {
	from, to, continues       string
	state                     State
	protection, trust, reason string
	group, suite              string
	says, identity            string
	key, keyType              string
	downgrade, changed        bool
	shown                     bool // sas is
	sas                       [4]byte
	rekeyings                 int
	legs                      [2]seenLeg
	live                      []*media.Session // for the counters
}

type seenLeg struct {
	side   policy.Side
	peer   string
	keys   KeyState
	sdes   string
	callID string // of its dialog
}

// publishView stores what the call looks like now.
func (c *Call) publishView() {
	c.note()
	v := &seen{from: c.invite.From().URI.AOR(), to: c.called(), state: c.state, protection: c.protection, trust: c.trust, reason: c.reason}
	known := &c.viewed().verdict
	v.says, v.identity, v.key, v.keyType, v.downgrade, v.changed = known.Says, known.Identity, known.Key, known.KeyType, known.Downgrade, known.Changed
	if c.led != nil {
		v.continues = c.led.before
	}
	for i, name := range []*string{&v.from, &v.to} {
		if c.sits[i] != nil {
			*name = c.sits[i].URI.AOR()
		}
	}
	if len(c.clearly) > 0 {
		v.reason += "; relayed as it is: " + strings.Join(c.clearly, ", ")
	}
	for i, l := range []*Leg{c.a, c.b} {
		v.legs[i] = seenLeg{side: l.side, peer: l.remote, keys: l.noted, sdes: l.sdesSuite()}
		if l.dialog != nil {
			v.legs[i].callID = l.dialog.CallID()
		}
		if x := l.exchange; x != nil && c.protection != "none" {
			v.group, v.suite = x.Group(), x.Suite().Name
			if octets, ok := l.ourSAS(); ok {
				v.rekeyings, v.sas, v.shown = l.rekey.done, octets, true
			}
		}
	}
	for _, r := range c.relays {
		if r != nil && r.session != nil {
			v.live = append(v.live, r.session)
		}
		if r != nil && r.sealed != nil {
			v.live = append(v.live, r.sealed)
		}
	}
	c.seen.Store(v)
}

// View returns the call as people and programs see it, with counters of now.
// It may be called from any goroutine.
func (c *Call) View() View {
	if last := c.last.Load(); last != nil {
		v := *last
		v.Legs = slices.Clone(v.Legs)
		return v
	}
	s := c.seen.Load()
	v := View{ID: c.id, From: s.from, To: s.to, Direction: "internal", State: string(s.state), Protection: s.protection, Group: s.group, Suite: s.suite,
		Rekeyings: s.rekeyings, Trust: s.trust, Says: s.says, Identity: s.identity, Key: s.key, KeyType: s.keyType, Downgrade: s.downgrade,
		KeyChanged: s.changed, Reason: s.reason, Started: c.started, Legs: make([]LegView, len(s.legs)), Continues: s.continues}
	switch policy.Outside {
	case s.legs[0].side:
		v.Direction = "inbound"
	case s.legs[1].side:
		v.Direction = "outbound"
	}
	if s.shown {
		v.SASWords, v.SASCode = sas.WordsString(s.sas), sas.Code(s.sas)
	}
	for i, l := range s.legs {
		v.Legs[i] = LegView{Side: string(l.side), Peer: l.peer, Keys: l.keys, SDES: l.sdes}
	}
	for i, session := range s.live {
		stats := session.Stats()
		for end := range v.Legs {
			st, leg := stats[end], &v.Legs[end]
			if i == 0 {
				rtp, _ := session.Local(media.End(end))
				leg.Media = rtp.String()
			}
			leg.PacketsIn += st.PacketsIn
			leg.PacketsOut += st.PacketsOut
			leg.Bytes += st.BytesIn + st.BytesOut
			leg.Lost += st.Lost
			leg.DroppedAuth += st.DroppedAuth
			leg.DroppedReplay += st.DroppedReplay
			leg.DroppedSource += st.DroppedSource
		}
	}
	return v
}

// hasDialog says whether the dialog of one of the legs has this Call-ID. It may be
// called from any goroutine.
func (c *Call) hasDialog(callID string) bool {
	s := c.seen.Load()
	return s.legs[0].callID == callID || s.legs[1].callID == callID
}

// emit publishes the call's present state as an event.
func (c *Call) emit(kind string) {
	c.publishView()
	c.p.hub.publish(kind, c.View)
}

func (c *Call) changed(s State) {
	if c.state != s && c.state != Ended { // nothing brings a call back
		c.state = s
		if s == Established {
			c.keepOpen()
			c.watchLegs()
		}
		c.emit("call-changed")
	}
}
