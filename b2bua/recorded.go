package b2bua

import (
	"time"

	"github.com/sipward/sipward/record"
)

// keepRecord hands a call that has ended to the record; last is how it ended.
func (c *Call) keepRecord(last View) {
	if c.p.o.Record == nil {
		return
	}
	r := record.Call{ID: last.ID, From: last.From, To: last.To, Direction: last.Direction,
		Started: c.started.UTC(), Ended: time.Now().UTC(), Protection: last.Protection, Group: last.Group, Suite: last.Suite,
		Trust: last.Trust, Identity: last.Identity, Key: last.Key, Rule: c.decision.Rule, Reason: last.Reason, Emergency: c.urgent, Continues: last.Continues}
	if !c.stood.IsZero() {
		r.Answered = c.stood.UTC()
	}
	for _, l := range last.Legs {
		r.Legs = append(r.Legs, record.Leg{Side: l.Side, Peer: l.Peer, PacketsIn: l.PacketsIn, PacketsOut: l.PacketsOut,
			Lost: l.Lost, Dropped: l.DroppedAuth + l.DroppedReplay + l.DroppedSource})
	}
	c.p.o.Record.Add(r)
}
