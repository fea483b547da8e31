package b2bua

import "time"

// TrunkStatus says how the registration of a trunk is.
type TrunkStatus struct {
	Peer   string    `json:"peer"`
	State  string    `json:"state"`          // fixed (it does not register), registering, registered, failing, refused
	Server string    `json:"server"`         // that was tried last, or holds the registration: network ip:port; "" none yet
	Until  time.Time `json:"until,omitzero"` // end of the registration that stands, which is renewed before
	Reason string    `json:"reason"`         // why there is none, or it was not renewed
	Retry  time.Time `json:"retry,omitzero"` // the next try after a failure
}

// States of TrunkStatus.
const (
	trunkFixed       = "fixed"
	trunkRegistering = "registering"
	trunkRegistered  = "registered"
	trunkFailing     = "failing"
	trunkRefused     = "refused"
)

// Trunks says how the trunks are, in their order.
func (p *Proxy) Trunks() []TrunkStatus {
	out := make([]TrunkStatus, 0, len(p.trunks))
	for _, t := range p.trunks {
		s := *t.status.Load()
		if s.State == trunkRegistered && !time.Now().Before(s.Until) {
			s.State = trunkFailing
		}
		out = append(out, s)
	}
	return out
}

// show publishes how the registration is. One that stands is shown as long as it
// does, with the reason why it was not renewed.
func (t *trunk) show(state, reason string, retry time.Time) {
	s := &TrunkStatus{Peer: t.Peer, State: state, Reason: reason, Retry: retry}
	if t.hop.Addr.IsValid() {
		s.Server = t.hop.Network + " " + t.hop.Addr.String()
	}
	if time.Now().Before(t.until) {
		s.State, s.Until = trunkRegistered, t.until
	}
	t.status.Store(s)
}
