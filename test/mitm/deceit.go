package mitm

import (
	"slices"

	"github.com/sipward/sipward/keyexchange"
	"github.com/sipward/sipward/media/srtp"
	"github.com/sipward/sipward/sip"
)

// Deceit says how he goes about it when he takes the callee's place towards the
// caller and the caller's towards the callee. The zero value hands on shares of his
// own without a signature.
type Deceit struct {
	// Within has him leave the first exchange of a call alone and step into those
	// that replace its keys.
	Within bool
	// BesideResp and BesideFin choose the signatures beside his shares: t is the
	// transcript that they would be over, theirs is what the real one had sent.
	BesideResp func(t [32]byte, theirs []string) []string
	BesideFin  func(t [32]byte, theirs []string) []string
	// Open, where it is set, is told the dh-resp of the callee and what the string
	// of the caller's side is, and chooses with which key his commitment towards
	// the callee is opened; "" for the one that he committed to.
	Open func(init, resp string, caller [4]byte) (fin string)
}

// Impersonate has him do so in the calls that begin from now on at house A, one at
// a time.
func (m *Man) Impersonate(how Deceit) {
	which := func(w Which) Which { return w }
	if how.Within {
		which = m.Rekeying
	}
	m.On(which(Invites), func(msg *sip.Message) *sip.Message {
		own, err := keyexchange.Read(keyexchange.KindInvite, found(msg))
		if err != nil || !own.Present {
			return msg
		}
		if m.deceit == nil || m.deceit.answers.Init() != own.Value {
			m.deceit = m.begin(how, own)
		}
		if m.deceit == nil {
			return msg
		}
		return Replace("dh-init", func(string) string { return m.deceit.asks.Init() })(msg)
	})
	m.On(which(Answers), func(msg *sip.Message) *sip.Message {
		own, err := keyexchange.Read(keyexchange.KindAnswer, found(msg))
		if m.deceit == nil || err != nil || !own.Present || !m.deceit.takeResp(own) {
			return msg
		}
		msg = Replace("dh-resp", func(string) string { return m.deceit.resp })(msg)
		return Edit("dh-sig", func([]string) []string { return m.deceit.besideResp })(msg)
	})
	m.On(which(Acks), func(msg *sip.Message) *sip.Message {
		own, err := keyexchange.Read(keyexchange.KindAck, found(msg))
		if m.deceit == nil || err != nil || !own.Present || !m.deceit.takeFin(own) {
			return msg
		}
		msg = Replace("dh-fin", func(string) string { return m.deceit.fin })(msg)
		return Edit("dh-sig", func([]string) []string { return m.deceit.besideFin })(msg)
	})
}

// Overheard counts the packets of speech of a house that he could read.
func (m *Man) Overheard(who Side) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.deceit == nil {
		return 0
	}
	return m.deceit.overheard[who]
}

// deceit is one call in which he has an exchange with either house.
type deceit struct {
	how                   Deceit
	answers, asks         *keyexchange.Exchange // with A as the responder, with B as the initiator
	resp, fin             string                // of his
	calleeResp            string
	besideResp, besideFin []string
	keyed                 bool
	from, to              [2]*srtp.Context // by who sends: of that house's keys, and of the other one's
	overheard             [2]int
}

// begin answers a dh-init and makes one for the callee.
func (m *Man) begin(how Deceit, init keyexchange.Attrs) *deceit {
	d := &deceit{how: how}
	var err error
	if d.answers, d.resp, err = keyexchange.NewResponder(m.config(), init, nil); err != nil {
		return nil
	}
	if d.asks, err = keyexchange.NewInitiator(m.config(), nil); err != nil {
		return nil
	}
	return d
}

// takeResp takes the callee's share and makes his own ready for the caller.
func (d *deceit) takeResp(own keyexchange.Attrs) bool {
	fin, err := d.asks.TakeResp(own)
	if err != nil {
		return false
	}
	if d.calleeResp == "" { // not a repetition
		d.fin, d.calleeResp = fin, own.Value
		if d.how.BesideResp != nil {
			d.besideResp = d.how.BesideResp(d.answers.T1(), own.Sigs)
		}
		if d.answers.SetSignatures(d.besideResp) != nil {
			return false
		}
	}
	return true
}

// takeFin takes the caller's share and with it has the keys of both sides.
func (d *deceit) takeFin(own keyexchange.Attrs) bool {
	if d.answers.TakeFin(own) != nil {
		return false
	}
	if d.keyed {
		return true
	}
	if d.how.BesideFin != nil {
		d.besideFin = d.how.BesideFin(d.asks.T2(), own.Sigs)
	}
	if d.asks.SetSignatures(d.besideFin) != nil {
		return false
	}
	d.keyed = true
	if d.how.Open != nil {
		caller, _ := d.answers.SAS()
		if fin := d.how.Open(d.asks.Init(), d.calleeResp, caller); fin != "" {
			d.fin = fin
		}
	}
	for who, x := range map[Side]*keyexchange.Exchange{FromA: d.answers, FromB: d.asks} {
		k, err := x.Keys(0)
		if err != nil {
			return false
		}
		suite := x.Suite().Name
		if d.from[who], err = srtp.NewContext(suite, k.Recv.Key, k.Recv.Salt); err != nil {
			return false
		}
		if d.to[1-who], err = srtp.NewContext(suite, k.Send.Key, k.Send.Salt); err != nil {
			return false
		}
	}
	return true
}

// recode takes a packet out of the keys of who sent it and puts it into those of
// the other house.
func (d *deceit) recode(who Side, b []byte) ([]byte, bool) {
	from, to := d.from[who], d.to[who]
	if from == nil || to == nil {
		return nil, false
	}
	unprotect, protect := from.Unprotect, to.Protect
	if isRTCP(b) {
		unprotect, protect = from.UnprotectRTCP, to.ProtectRTCP
	}
	plain, err := unprotect(nil, b)
	if err != nil {
		return nil, false
	}
	if !isRTCP(b) {
		d.overheard[who]++
	}
	out, err := protect(make([]byte, 0, len(plain)+srtp.MaxOverhead), slices.Clone(plain))
	return out, err == nil
}

// found is what a message holds of the exchange, each where it stands.
func found(m *sip.Message) (out []keyexchange.Found) {
	place := keyexchange.PlaceSession
	if m.ContentType() != sdpType {
		place = keyexchange.PlaceFragment
	}
	for _, a := range attributes(m) {
		out = append(out, keyexchange.Found{Name: a.Name, Value: a.Value, Place: place})
	}
	return out
}
