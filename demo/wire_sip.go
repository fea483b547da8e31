package demo

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

// message takes one SIP message in and sends it on. The wire stands between two
// sipwards and nobody else, so what comes in on one link goes out on the other.
func (w *Wire) message(in *face, from netip.AddrPort, raw []byte, stream bool) {
	m, err := sip.Parse(raw)
	if m == nil || err != nil {
		w.see(Sighting{Link: in.link, Kind: Other, From: from, To: in.local, Stream: stream, Data: raw})
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.see(Sighting{Link: in.link, Kind: SIP, From: from, To: in.local, Stream: stream, Data: raw, Message: m.Clone()})
	out := w.faces[in.link.other()]
	if w.closed || !out.peer.IsValid() {
		return
	}
	if m.IsRequest() {
		if !in.requestVia(m, out, from) {
			return
		}
	} else if !in.popVia(m) {
		return
	}
	w.body(in, out, m)
	out.send(m)
}

// requestVia does to a request what a proxy does (RFC 3261 section 16.6).
func (f *face) requestVia(m *sip.Message, out *face, from netip.AddrPort) bool {
	hops, err := strconv.Atoi(m.Get("Max-Forwards"))
	if err != nil || hops <= 0 {
		return false
	}
	m.Set("Max-Forwards", strconv.Itoa(hops-1))
	routes := slices.DeleteFunc(m.Values("Route"), func(r string) bool {
		a, err := sip.ParseAddress(r)
		return err == nil && (f.w.own(a.URI))
	})
	m.Remove("Route")
	vias := m.Values("Via")
	if len(vias) == 0 {
		return false
	}
	top, err := sip.ParseVia(vias[0])
	if err != nil {
		return false
	}
	// RFC 3581 section 4: where the sender really is.
	vias[0] = strings.Replace(vias[0], ";rport", ";received="+from.Addr().String()+";rport="+strconv.Itoa(int(from.Port())), 1)
	// The branch follows from the sender's: an ACK of a refusal and a CANCEL
	// belong to their INVITE on the next hop as well (RFC 3261 section 16.11).
	sum := sha256.Sum256([]byte(top.Branch()))
	own := "SIP/2.0/" + strings.ToUpper(f.w.o.Transport) + " " + out.local.String() + ";branch=z9hG4bK" + hex.EncodeToString(sum[:10])
	m.Remove("Via")
	head := []sip.Field{{Name: "Via", Value: own}}
	for _, v := range vias {
		head = append(head, sip.Field{Name: "Via", Value: v})
	}
	if m.Method == "INVITE" && m.To().Tag() == "" {
		for _, on := range []*face{out, f} {
			head = append(head, sip.Field{Name: "Record-Route", Value: "<sip:" + on.local.String() + ";transport=" + f.w.o.Transport + ";lr>"})
		}
	}
	for _, r := range routes {
		head = append(head, sip.Field{Name: "Route", Value: r})
	}
	m.Fields = append(head, m.Fields...)
	return true
}

// own says whether a URI is one of the wire's faces.
func (w *Wire) own(u sip.URI) bool {
	addr, ok := u.Addr()
	at := netip.AddrPortFrom(addr, uint16(u.Port))
	return ok && (at == w.faces[LinkA].local || at == w.faces[LinkB].local)
}

// popVia takes the wire's own Via off a response; false where it is none of
// the wire's.
func (f *face) popVia(m *sip.Message) bool {
	vias := m.Values("Via")
	if len(vias) < 2 {
		return false
	}
	top, err := sip.ParseVia(vias[0])
	if err != nil || netip.AddrPortFrom(addrOf(top.Host), uint16(top.Port)) != f.local {
		return false
	}
	m.Remove("Via")
	head := make([]sip.Field, 0, len(vias)+len(m.Fields))
	for _, v := range vias[1:] {
		head = append(head, sip.Field{Name: "Via", Value: v})
	}
	m.Fields = append(head, m.Fields...)
	return true
}

func addrOf(host string) netip.Addr {
	a, _ := netip.ParseAddr(host) // a name is nobody's address here
	return a.Unmap()
}

// body leads the media of a session description through the wire, and gives
// the man in the middle his turn.
func (w *Wire) body(in, out *face, m *sip.Message) {
	_, method, _ := m.CSeq()
	p := w.dialogs[m.CallID()]
	if p == nil {
		if m.Method != "INVITE" {
			return
		}
		p = w.newPassing(m.CallID())
	}
	if w.man != nil {
		w.man.turn(p, in.link, m)
	}
	if m.ContentType() == sdpType {
		w.lead(p, in, out, m)
	}
	over := m.Status >= 300 && method == "INVITE" && m.Status != 491 && !p.answered
	if over || m.Status >= 200 && method == "BYE" {
		w.forget(p)
	}
	if m.Status >= 200 && m.Status < 300 && method == "INVITE" {
		p.answered = true
	}
}

// lead puts the wire's own media addresses into a session description.
func (w *Wire) lead(p *passing, in, out *face, m *sip.Message) {
	s, err := sdp.Parse(m.Body)
	if err != nil {
		return
	}
	lines := s.Media()
	ports := make([]sdp.Port, len(lines))
	for i, line := range lines {
		for len(p.relays) <= i {
			r, err := w.newRelay(p, len(p.relays))
			if err != nil {
				w.o.Log.Warn("wire: no relay", "error", err)
				return
			}
			p.relays = append(p.relays, r)
		}
		if line.Rejected {
			continue
		}
		p.relays[i].setRemote(in.link, line)
		side := p.relays[i].sides[out.link]
		ports[i] = sdp.Port{RTP: int(portOf(side.rtp)), RTCP: int(portOf(side.rtcp)), Mux: line.Mux}
		if line.Mux {
			ports[i].RTCP = ports[i].RTP
		}
	}
	if err := s.Apply(sdp.Rewrite{Addr: out.local.Addr(), Ports: ports}); err != nil {
		w.o.Log.Warn("wire: session description stays as it is", "error", err)
		return
	}
	m.Body = s.Bytes()
}

func (w *Wire) newPassing(id string) *passing {
	p := &passing{id: id}
	w.dialogs[id] = p
	w.order = append(w.order, p)
	if len(w.order) > maxDialogs {
		w.forget(w.order[0])
	}
	return p
}

// forget ends a call's media.
func (w *Wire) forget(p *passing) {
	p.close()
	delete(w.dialogs, p.id)
	w.order = slices.DeleteFunc(w.order, func(x *passing) bool { return x == p })
}

func (p *passing) close() {
	for _, r := range p.relays {
		r.close()
	}
	p.deceit.erase()
}
