package b2bua

import (
	"strings"

	"github.com/sipward/sipward/media"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sas"
)

// publishView stores what the call looks like now.
func (c *Call) publishView() {
	c.note()
	v := &View{ID: c.id, From: c.invite.From().URI.AOR(), To: c.called(), State: string(c.state), Protection: c.protection,
		Trust: c.trust, Reason: c.reason, Started: c.started, Legs: make([]LegView, 0, 2)}
	known := c.viewed().verdict
	v.Says, v.Identity, v.Key, v.KeyType, v.Downgrade, v.KeyChanged = known.Says, known.Identity, known.Key, known.KeyType, known.Downgrade, known.Changed
	if c.led != nil {
		v.Continues = c.led.before
	}
	for i, name := range []*string{&v.From, &v.To} {
		if c.sits[i] != nil {
			*name = c.sits[i].URI.AOR()
		}
	}
	if len(c.clearly) > 0 {
		v.Reason += "; relayed as it is: " + strings.Join(c.clearly, ", ")
	}
	switch {
	case c.a.side == policy.Outside:
		v.Direction = "inbound"
	case c.b.side == policy.Outside:
		v.Direction = "outbound"
	default:
		v.Direction = "internal"
	}
	for i, l := range []*Leg{c.a, c.b} {
		if l.dialog != nil {
			v.callIDs[i] = l.dialog.CallID()
		}
		v.Legs = append(v.Legs, LegView{Side: string(l.side), Peer: l.remote, Keys: l.noted.keys, SDES: l.sdesSuite()})
		if x := l.exchange; x != nil && c.protection != "none" {
			v.Group, v.Suite = x.Group(), x.Suite().Name
			if octets, ok := l.ourSAS(); ok {
				v.Rekeyings = l.rekey.done
				v.SASWords, v.SASCode = sas.WordsString(octets), sas.Code(octets)
			}
		}
	}
	c.view.Store(v)
	var live []*media.Session
	for _, r := range c.relays {
		if r != nil && r.session != nil {
			live = append(live, r.session)
		}
		if r != nil && r.sealed != nil {
			live = append(live, r.sealed)
		}
	}
	c.live.Store(&live)
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
