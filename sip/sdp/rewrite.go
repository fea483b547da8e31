package sdp

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
)

// Port is where one m-line is to be reached.
type Port struct {
	RTP  int  // 0 rejects the line; a line rejected before stays so
	RTCP int  // 0 is the port after RTP, or RTP itself with Mux
	Mux  bool // RTP and RTCP on one port: a=rtcp-mux stands in the section
}

// Rewrite says what Apply puts into a description.
type Rewrite struct {
	Addr  netip.Addr // in the place of every address; a hold stays unspecified, in Addr's family
	Ports []Port     // one for each m-line, in order

	// o= fields; "" keeps what stands there.
	OriginUser, SessionID, SessionVersion string

	DropKeying bool // removes SDES, MIKEY, DTLS and ZRTP attributes and k=

	// DropSources removes a=ssrc, a=ssrc-group and a=cname: they name the user
	// and host of a phone, and sources that have other numbers on the other leg.
	DropSources bool

	// Hide names further addresses that must not stand in the result, beside
	// those that the description itself names: the networks inside, say.
	Hide []netip.Prefix
}

// What Apply refuses; it then leaves the description as it was. The result
// never exceeds MaxSize (ErrTooLarge).
var (
	ErrNoAddress = errors.New("sdp: rewrite without a usable address")
	ErrPorts     = errors.New("sdp: rewrite needs one valid pair of ports for each m-line")
	ErrOrigin    = errors.New("sdp: origin field is not one word")
)

// check looks at everything that the caller hands in.
func (r *Rewrite) check(media int) error {
	if !r.Addr.IsValid() {
		return ErrNoAddress
	}
	if len(r.Ports) != media {
		return ErrPorts
	}
	for _, p := range r.Ports {
		if p.RTP < 0 || p.RTP > 65535 || p.RTCP < 0 || p.RTCP > 65535 || p.RTP > 0 && p.rtcp() > 65535 {
			return ErrPorts
		}
	}
	for _, f := range []string{r.OriginUser, r.SessionID, r.SessionVersion} {
		if f != "" && !isToken(f) {
			return ErrOrigin
		}
	}
	return nil
}

// rtcp is the port for RTCP with its default put in.
func (p Port) rtcp() int {
	switch {
	case p.RTCP != 0:
		return p.RTCP
	case p.Mux:
		return p.RTP
	}
	return p.RTP + 1
}

// Apply rewrites the description for another leg. The package comment says
// which lines it touches; every other one stays as it is, octet for octet.
func (s *Session) Apply(r Rewrite) error {
	media := s.Media()
	if err := r.check(len(media)); err != nil {
		return err
	}
	lines := s.lines()
	w := newRewriter(lines, media, r)
	for _, l := range lines {
		w.take(l)
	}
	w.endSection()
	mendEnds(w.out, w.eol)
	if size(w.out) > MaxSize {
		return ErrTooLarge
	}
	s.put(w.out)
	return nil
}

// rewriter takes the lines one by one and lets out what the other leg gets.
type rewriter struct {
	Rewrite
	media   []Media
	hidden  hidden
	dropCfg bool // capabilities went, so configurations that name them go
	eol     string
	out     []line

	section  int  // index of the m-line we are behind, -1 before the first
	owesC    bool // a c= has to be added at the next chance
	seenC    bool
	seenRTCP bool
	seenMux  bool
	last     int // where the section's last visible line ends in out
}

func newRewriter(lines []line, media []Media, r Rewrite) *rewriter {
	r.Addr = plain(r.Addr)
	w := &rewriter{
		Rewrite: r, media: media, section: -1, eol: lineEnd(lines),
		hidden: hidden{own: r.Addr, text: r.Addr.String(), nets: r.Hide},
		out:    make([]line, 0, len(lines)+3*len(media)),
	}
	w.survey(lines)
	return w
}

// survey reads ahead: which addresses the description names, and whether
// capabilities will go.
func (w *rewriter) survey(lines []line) {
	section := -1
	for _, l := range lines {
		switch l.kind {
		case 'm':
			section++
		case 'c':
			if addr, ok := readConnection(l.value()); ok {
				w.hidden.add(addr)
			} else {
				w.hidden.addAll(l.value())
			}
		case 'o':
			if addr, ok := readOrigin(l.value()); ok {
				w.hidden.add(addr)
			} else {
				w.hidden.addAll(l.value())
			}
		case 'a':
			key := attributeKey(l.value())
			switch {
			case key == "rtcp":
				_, v := l.attribute()
				if f := strings.Fields(v); len(f) > 3 {
					w.hidden.add(f[3])
				}
				w.hidden.addAll(v)
			case key == "acap":
				w.dropCfg = w.dropCfg || w.drops(l, key, section)
				w.hidden.addAll(l.value())
			case key == "ccap" || namesAddresses(key):
				w.hidden.addAll(l.value())
			}
		}
	}
	w.hidden.ready()
}

// take lets through one line, changed or not, or keeps it.
func (w *rewriter) take(l line) {
	if l.kind == 'm' {
		w.endSection()
		w.beginSection(l)
		return
	}
	if w.owesC && l.kind != 'i' { // RFC 8866 §5: c= comes behind m= and i=
		w.addConnection()
	}
	switch l.kind {
	case 'c':
		w.connection(l)
	case 'o':
		w.put(l.with(w.origin(l.value())))
	case 'k':
		if !w.DropKeying {
			w.put(w.scrubbed(l))
		}
	case 'a':
		w.attribute(l)
	default:
		w.put(w.scrubbed(l))
	}
}

func (w *rewriter) put(l line) {
	w.out = append(w.out, l)
	if !l.blank() {
		w.last = len(w.out)
	}
}

// add puts a line of ours behind the section's last visible one.
func (w *rewriter) add(text string) {
	w.out = slices.Insert(w.out, w.last, newLine(text, w.eol))
	w.last++
}

// scrubbed is a carried line without the addresses that must not leave.
func (w *rewriter) scrubbed(l line) line {
	return l.with(w.hidden.scrub(l.value()))
}

// live says that the section's stream goes on, and where.
func (w *rewriter) live() (Port, bool) {
	if w.section < 0 || w.media[w.section].Rejected {
		return Port{}, false
	}
	p := w.Ports[w.section]
	return p, p.RTP != 0
}

func (w *rewriter) beginSection(l line) {
	w.section++
	w.seenC, w.seenRTCP, w.seenMux = false, false, false
	m := w.media[w.section]
	if !m.Rejected {
		l = l.withPort(w.Ports[w.section].RTP)
	}
	w.owesC = m.noConnection
	w.put(w.scrubbed(l))
}

// endSection adds what the section needs and did not have.
func (w *rewriter) endSection() {
	if w.owesC {
		w.addConnection()
	}
	p, live := w.live()
	if !live || !w.media[w.section].RTP {
		return
	}
	if rtcp := p.rtcp(); !w.seenRTCP && rtcp != p.RTP+1 && !(p.Mux && rtcp == p.RTP) {
		w.add("a=rtcp:" + itoa(rtcp))
	}
	if p.Mux && !w.seenMux {
		w.add("a=rtcp-mux")
	}
}

func (w *rewriter) addConnection() {
	w.owesC, w.seenC = false, true
	w.put(newLine("c="+w.location(false), w.eol))
}

// location is nettype, addrtype and address as c= and a=rtcp write them.
func (w *rewriter) location(hold bool) string {
	a := w.hidden.text
	if hold {
		a = nowhere(w.Addr).String()
	}
	return "IN " + family(w.Addr) + " " + a
}

// connection rewrites the first c= of a section and keeps the rest back: two of
// them are legal for multicast only.
func (w *rewriter) connection(l line) {
	v := l.value()
	addr, ok := readConnection(v)
	if f := strings.Fields(v); !ok && len(f) >= 3 && !strings.EqualFold(f[0], "IN") {
		w.put(w.scrubbed(l)) // a telephone number, an ATM address (RFC 7195, RFC 3108)
		return
	}
	if w.seenC {
		return
	}
	w.seenC = true
	w.put(l.with(w.location(ok && held(addr))))
}

func (w *rewriter) attribute(l line) {
	v := l.value()
	key := attributeKey(v)
	switch {
	case l.isDH():
		w.put(l)
	case w.drops(l, key, w.section):
	case key == "rtcp":
		w.rtcp(l)
	case key == "rtcp-mux" || key == "rtcp-mux-only":
		if p, live := w.live(); live && p.Mux {
			w.seenMux = w.seenMux || key == "rtcp-mux"
			w.put(l)
		}
	default:
		w.put(l.with(w.hidden.scrubNames(w.hidden.scrub(v))))
	}
}

// rtcp rewrites the a=rtcp line of a live section (RFC 3605). Its address
// follows the section's: nowhere only where the stream is on hold.
func (w *rewriter) rtcp(l line) {
	p, live := w.live()
	if !live || w.seenRTCP {
		return
	}
	w.seenRTCP = true
	_, v := l.attribute()
	text := "rtcp:" + itoa(p.rtcp())
	if len(strings.Fields(v)) > 1 {
		text += " " + w.location(w.media[w.section].Held())
	}
	w.put(l.with(text))
}
