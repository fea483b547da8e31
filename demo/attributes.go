package demo

import (
	"github.com/sipward/sipward/keyexchange"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

const optionTag = "dh-srtp"

// Attributes are the values of the exchange as they cross one link.
type Attributes struct {
	Init string `json:"dh_init"`
	Resp string `json:"dh_resp"`
	Fin  string `json:"dh_fin"`
}

// found collects the attributes of the exchange in a message, wherever they
// stand.
func found(m *sip.Message) []keyexchange.Found {
	var out []keyexchange.Found
	if m.Has("DH-Init") {
		out = append(out, keyexchange.Found{Name: "dh-init", Value: m.Get("DH-Init"), Place: keyexchange.PlaceHeader})
	}
	var attrs []sdp.Attribute
	place := keyexchange.PlaceSession
	switch m.ContentType() {
	case sdpType:
		if s, err := sdp.Parse(m.Body); err == nil {
			attrs = s.DH()
		}
	case sdp.FragmentType:
		attrs, _ = sdp.ParseFragment(m.Body) // one that cannot be read has none
		place = keyexchange.PlaceFragment
	}
	for _, a := range attrs {
		if a.Media {
			place = keyexchange.PlaceMedia
		}
		out = append(out, keyexchange.Found{Name: a.Name, Value: a.Value, Place: place})
	}
	return out
}

// kindOf says which message of the exchange m is; method is that of its CSeq.
func kindOf(m *sip.Message, method string) keyexchange.MessageKind {
	switch {
	case m.Method == "INVITE" && len(m.Body) == 0:
		return keyexchange.KindInviteNoSDP
	case m.Method == "INVITE":
		return keyexchange.KindInvite
	case m.Method == "ACK" && m.ContentType() == sdpType:
		return keyexchange.KindAckSDP
	case m.Method == "ACK":
		return keyexchange.KindAck
	case m.Status >= 200 && m.Status < 300 && method == "INVITE":
		return keyexchange.KindAnswer
	}
	return keyexchange.KindOther
}

// attribute gives the message's own attribute and the signatures beside it.
func attribute(m *sip.Message) (keyexchange.Attrs, keyexchange.MessageKind) {
	_, method, _ := m.CSeq()
	kind := kindOf(m, method)
	a, err := keyexchange.Read(kind, found(m))
	if err != nil {
		return keyexchange.Attrs{}, kind
	}
	return a, kind
}

// set puts a value in the place of the message's own attribute and takes every
// other attribute of the exchange out.
func set(m *sip.Message, kind keyexchange.MessageKind, name, value string) {
	switch kind {
	case keyexchange.KindInviteNoSDP:
		m.Set("DH-Init", value)
	case keyexchange.KindAck:
		m.Body = sdp.Fragment([]sdp.Attribute{{Name: name, Value: value}})
	default:
		s, err := sdp.Parse(m.Body)
		if err != nil {
			return // it was read before, so it can be
		}
		s.DropDH()
		s.AddSessionAttribute(name, value)
		m.Body = s.Bytes()
	}
}
