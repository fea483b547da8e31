package relay

import (
	"crypto/rand"
	"encoding/base32"
	"strconv"
	"strings"

	"github.com/sipward/sipward/sip"
)

// end is this side of a dialog, or of what may become one (RFC 3261 section
// 12). It belongs to one queue.
type end struct {
	callID        string
	tag, far      string // tags of this side and of the far end; "" while not known
	local, remote sip.Address
	target        sip.URI // of requests
	routes        []string
	flow          sip.Flow      // where the far end was last heard from
	name          string        // over TLS: whom it must prove to be
	home          *sip.Listener // where the far end reaches this side
	user          string        // as whom
	seq           uint32        // of the last request of this side
	heard         uint32        // of the last request of the far end
}

// newEnd begins a dialog towards a destination.
func newEnd(w Way) *end {
	e := &end{callID: token() + token(), tag: token(), local: w.From, remote: w.To, target: w.URI, routes: w.Routes, flow: w.Flow, name: w.Flow.Name()}
	e.home, e.user = w.Flow.Listener(), w.From.URI.User
	return e
}

// endOf is this side of the dialog that a request begins.
func endOf(in *sip.Incoming) *end {
	e := &end{callID: in.CallID(), tag: token(), far: in.From().Tag(), local: in.To(), remote: in.From(), target: in.From().URI,
		routes: in.Values("Record-Route"), flow: in.Flow, name: in.Flow.ProvedName(in.From().URI.Host)}
	e.heard, _, _ = in.CSeq()
	e.home, e.user = in.Flow.Listener(), in.URI.User
	e.retarget(in.Message)
	return e
}

// contact is where the far end reaches this side now: listeners may move.
func (e *end) contact() sip.URI { return e.home.Flow(e.flow.Remote()).ContactURI(e.user) }

// retarget takes the far end's Contact, where it has one (RFC 3261 section 12.2).
func (e *end) retarget(m *sip.Message) {
	for _, v := range m.Values("Contact") {
		if a, err := sip.ParseAddress(v); err == nil && a.URI.Host != "" {
			e.target = a.URI
			return
		}
	}
}

// request makes the next request of this side.
func (e *end) request(method string, forwards int, agent string) *sip.Message {
	e.seq++
	m := &sip.Message{Method: method, URI: e.target, Fields: make([]sip.Field, 0, 20)}
	for _, r := range e.routes {
		m.Add("Route", r)
	}
	m.Add("Max-Forwards", strconv.Itoa(forwards))
	m.Add("From", e.local.WithTag(e.tag).String())
	m.Add("To", e.remote.WithTag(e.far).String())
	m.Add("Call-ID", e.callID)
	m.Add("CSeq", strconv.FormatUint(uint64(e.seq), 10)+" "+method)
	if agent != "" {
		m.Add("User-Agent", agent)
	}
	if method == "SUBSCRIBE" || method == "NOTIFY" {
		m.Add("Contact", "<"+e.contact().String()+">")
	}
	return m
}

// way returns where the next request goes: the first to where the destination
// is, those behind it to where the far end says.
func (e *end) way() sip.Flow {
	if e.far == "" {
		return e.flow
	}
	return e.flow.Toward(e.target, e.routes, e.name)
}

// token returns 80 unguessable bits as text, for tags and Call-IDs (RFC 3261
// section 19.3).
func token() string {
	var b [10]byte
	rand.Read(b[:])
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}
