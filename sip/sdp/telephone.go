package sdp

import (
	"slices"
	"strconv"
	"strings"
)

// Named telephone events, the keys of a phone (RFC 4733): a payload type of the
// m-line whose a=rtpmap says telephone-event.

const telephoneEvent = "telephone-event"

// TelephoneEvent returns the payload type of the events on m-line i, counted from
// 0, and how many units of their time a second has; not ok where the line has
// none.
func (s *Session) TelephoneEvent(i int) (payloadType uint8, rate uint32, ok bool) {
	lines := s.Media()
	if i < 0 || i >= len(lines) || !lines[i].RTP || lines[i].Rejected {
		return 0, 0, false
	}
	for _, l := range section(s.lines(), i) {
		if pt, r, is := l.event(); is && slices.Contains(lines[i].Formats, strconv.Itoa(int(pt))) {
			return pt, r, true
		}
	}
	return 0, 0, false
}

// DropTelephoneEvents takes the events off m-line i, unless nothing else is on it.
func (s *Session) DropTelephoneEvents(i int) {
	lines := s.Media()
	if i < 0 || i >= len(lines) || !lines[i].RTP {
		return
	}
	gone := map[string]bool{}
	s.keepOf(i, func(l line) bool {
		if pt, _, is := l.event(); is {
			gone[strconv.Itoa(int(pt))] = true
		}
		return true
	})
	left := slices.DeleteFunc(slices.Clone(lines[i].Formats), func(f string) bool { return gone[f] })
	if len(gone) == 0 || len(left) == 0 {
		return
	}
	s.changeMedia(i, func(l line) line { return l.withFormats(left) })
	s.keepOf(i, func(l line) bool {
		if l.kind != 'a' {
			return true
		}
		key := attributeKey(l.value())
		_, v := l.attribute()
		f := strings.Fields(v)
		return !(key == "rtpmap" || key == "fmtp" || key == "rtcp-fb") || len(f) == 0 || !gone[f[0]]
	})
}

// AddTelephoneEvent offers or takes events on m-line i: the digits, *, #, A to D
// and flash. Nothing is added to a line that has the payload type, or events.
func (s *Session) AddTelephoneEvent(i int, payloadType uint8, rate uint32) {
	lines := s.Media()
	pt := strconv.Itoa(int(payloadType))
	if i < 0 || i >= len(lines) || !lines[i].RTP || slices.Contains(lines[i].Formats, pt) {
		return
	}
	if _, _, has := s.TelephoneEvent(i); has {
		return
	}
	s.changeMedia(i, func(l line) line { return l.withFormats(append(slices.Clone(lines[i].Formats), pt)) })
	s.AddMediaAttribute(i, "rtpmap", pt+" "+telephoneEvent+"/"+strconv.FormatUint(uint64(rate), 10))
	s.AddMediaAttribute(i, "fmtp", pt+" 0-16")
}

// FreePayloadType is a dynamic payload type that m-line i does not use: the one
// that is preferred, if it is free. Not ok where none is.
func (s *Session) FreePayloadType(i int, preferred uint8) (payloadType uint8, ok bool) {
	lines := s.Media()
	if i < 0 || i >= len(lines) {
		return 0, false
	}
	behind := section(s.lines(), i)
	free := func(pt uint8) bool {
		text := strconv.Itoa(int(pt))
		return !slices.Contains(lines[i].Formats, text) && !slices.ContainsFunc(behind, func(l line) bool {
			_, v := l.attribute()
			f := strings.Fields(v)
			return l.kind == 'a' && attributeKey(l.value()) == "rtpmap" && len(f) > 0 && f[0] == text
		})
	}
	if preferred >= 96 && preferred <= 127 && free(preferred) {
		return preferred, true
	}
	for pt := uint8(127); pt >= 96; pt-- {
		if free(pt) {
			return pt, true
		}
	}
	return 0, false
}

// event reads an a=rtpmap of telephone events.
func (l line) event() (payloadType uint8, rate uint32, ok bool) {
	if l.kind != 'a' || attributeKey(l.value()) != "rtpmap" {
		return 0, 0, false
	}
	_, v := l.attribute()
	f := strings.Fields(v)
	if len(f) != 2 {
		return 0, 0, false
	}
	name, clock, _ := strings.Cut(f[1], "/")
	pt, err := strconv.ParseUint(f[0], 10, 7)
	r, err2 := strconv.ParseUint(clock, 10, 32)
	if err != nil || err2 != nil || r < 1000 || r > 1_000_000 || !strings.EqualFold(name, telephoneEvent) {
		return 0, 0, false
	}
	return uint8(pt), uint32(r), true
}

// section is the lines behind m-line i, counted from 0, up to the next one.
func section(lines []line, i int) []line {
	from, at := len(lines), -1
	for k, l := range lines {
		if l.kind != 'm' {
			continue
		}
		if at++; at == i {
			from = k + 1
		} else if at > i {
			return lines[from:k]
		}
	}
	return lines[from:]
}

// keepOf removes the lines behind m-line i that keep does not want.
func (s *Session) keepOf(i int, keep func(line) bool) {
	at := -1
	s.put(slices.DeleteFunc(s.lines(), func(l line) bool {
		if l.kind == 'm' {
			at++
			return false
		}
		return at == i && !keep(l)
	}))
}

// withFormats is an m-line with other formats.
func (l line) withFormats(formats []string) line {
	v := l.value()
	f := fieldSpans(v, 4)
	if len(f) < 4 {
		return l
	}
	return l.with(v[:f[3].from] + strings.Join(formats, " "))
}
