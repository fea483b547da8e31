package mitm

import (
	"slices"

	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

// Side is who sends.
type Side int

// The houses, as [New] was told them.
const (
	FromA Side = iota
	FromB
)

// Which says of a message whether an order holds for it.
type Which func(*sip.Message) bool

// Invites are INVITE requests.
func Invites(m *sip.Message) bool { return m.Method == "INVITE" }

// Rings are 180s and 183s of INVITE that are not reliable.
func Rings(m *sip.Message) bool {
	_, method, _ := m.CSeq()
	return method == "INVITE" && (m.Status == 180 || m.Status == 183) && !m.Has("RSeq")
}

// Answers are 2xx and reliable 1xx (RFC 3262) of INVITE, repetitions included.
func Answers(m *sip.Message) bool {
	_, method, _ := m.CSeq()
	return method == "INVITE" && (m.Status/100 == 2 || m.Status/100 == 1 && m.Has("RSeq"))
}

// Acks are ACK requests, and PRACK, which acknowledges a reliable 1xx.
func Acks(m *sip.Message) bool { return m.Method == "ACK" || m.Method == "PRACK" }

// Byes are BYE requests.
func Byes(m *sip.Message) bool { return m.Method == "BYE" }

// transaction tells an INVITE within a dialog, with its responses and ACK, from
// others.
type transaction struct {
	call, tag string // of who asks
	seq       uint32
}

func transactionOf(m *sip.Message) transaction {
	seq, _, _ := m.CSeq()
	return transaction{m.CallID(), m.From().Tag(), seq}
}

// Rekeying is those of a kind that belong to a re-INVITE, which replaces keys. The
// houses ask for nothing else within a call in these tests.
func (m *Man) Rekeying(which Which) Which {
	return func(msg *sip.Message) bool { return which(msg) && m.within[transactionOf(msg)] }
}

// All is every message.
func All(*sip.Message) bool { return true }

// Change makes of a message, which is the man's own copy, what goes on in its
// place; nil for nothing.
type Change func(*sip.Message) *sip.Message

// Edit changes the values of an attribute, in their order; what it returns stands
// there instead. So it takes out, puts in and reorders as well.
func Edit(name string, f func(values []string) []string) Change {
	return func(m *sip.Message) *sip.Message {
		attrs := attributes(m)
		var values []string
		at := -1
		var rest []sdp.Attribute
		for _, a := range attrs {
			if a.Name != name {
				rest = append(rest, a)
				continue
			}
			if at < 0 {
				at = len(rest)
			}
			values = append(values, a.Value)
		}
		if at < 0 {
			at = len(rest)
		}
		edited := f(slices.Clone(values))
		if slices.Equal(edited, values) {
			return m
		}
		var own []sdp.Attribute
		for _, v := range edited {
			own = append(own, sdp.Attribute{Name: name, Value: v})
		}
		put(m, slices.Insert(rest, at, own...))
		return m
	}
}

// Drop takes an attribute out.
func Drop(name string) Change {
	return Edit(name, func([]string) []string { return nil })
}

// Add puts one in, behind those of its name.
func Add(name, value string) Change {
	return Edit(name, func(have []string) []string { return append(have, value) })
}

// Replace puts a value in the place of all of its name, where there is one.
func Replace(name string, f func(value string) string) Change {
	return Edit(name, func(have []string) []string {
		if len(have) == 0 {
			return nil
		}
		return []string{f(have[0])}
	})
}

// DropAll takes every attribute of the exchange out, and the option tag with it.
func DropAll(m *sip.Message) *sip.Message {
	if len(attributes(m)) > 0 {
		put(m, nil)
	}
	for _, name := range []string{"Require", "Supported"} {
		if m.HasToken(name, "dh-srtp") {
			m.Remove(name)
		}
	}
	return m
}

// Profile puts another transport protocol, such as RTP/AVP, in every m-line.
func Profile(proto string) Change {
	return func(m *sip.Message) *sip.Message {
		s, err := sdp.Parse(m.Body)
		if err != nil || m.ContentType() != sdpType {
			return m
		}
		for i := range s.Media() {
			s.SetProto(i, proto)
		}
		m.Body = s.Bytes()
		return m
	}
}

// SameAttributes puts the attributes of another message, an old one for example, in
// the place of a message's own.
func SameAttributes(old *sip.Message) Change {
	return func(m *sip.Message) *sip.Message {
		if len(attributes(m)) > 0 {
			put(m, attributes(old))
		}
		return m
	}
}

const sdpType = "application/sdp"

// Values gives the values of an attribute of a message.
func Values(m *sip.Message, name string) (out []string) {
	for _, a := range attributes(m) {
		if a.Name == name {
			out = append(out, a.Value)
		}
	}
	return out
}

// attributes are those of the exchange that a message holds.
func attributes(m *sip.Message) []sdp.Attribute {
	switch m.ContentType() {
	case sdpType:
		if s, err := sdp.Parse(m.Body); err == nil {
			return s.DH()
		}
	case sdp.FragmentType:
		if attrs, err := sdp.ParseFragment(m.Body); err == nil {
			return attrs
		}
	}
	return nil
}

// put has these attributes of the exchange stand in a message and no others.
func put(m *sip.Message, attrs []sdp.Attribute) {
	if m.ContentType() != sdpType {
		m.Body = sdp.Fragment(attrs)
		return
	}
	s, err := sdp.Parse(m.Body)
	if err != nil {
		return
	}
	s.DropDH()
	for _, a := range attrs {
		s.AddSessionAttribute(a.Name, a.Value)
	}
	m.Body = s.Bytes()
}
