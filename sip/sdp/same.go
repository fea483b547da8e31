package sdp

import "strings"

// Same says whether two descriptions offer the same media: they differ in the
// exchange's attributes and the version, or not at all.
func (s *Session) Same(o *Session) bool { return s.essence(true) == o.essence(true) }

// SameButDirection is Same where the directions of the media do not count.
func (s *Session) SameButDirection(o *Session) bool { return s.essence(false) == o.essence(false) }

func (s *Session) essence(directions bool) string {
	var b strings.Builder
	for _, l := range s.lines() {
		text := strings.TrimRight(l.text, " \t")
		switch {
		case l.isDH(), l.blank():
			continue
		case l.kind == 'o':
			v := l.value()
			if f, n := originFields(v); n >= 3 {
				text = v[:f[n-1].from] + v[f[n-1].to:]
			}
		case l.kind == 'a' && !directions && isDirection(attributeKey(l.value())):
			continue
		}
		b.WriteString(text)
		b.WriteByte('\n')
	}
	return b.String()
}

func isDirection(key string) bool {
	return key == "sendrecv" || key == "sendonly" || key == "recvonly" || key == "inactive"
}

// AnswerDirections makes the directions such as an answer to this offer may
// have (RFC 3264 section 6.1): nobody sends to who only sends.
func (s *Session) AnswerDirections(offer *Session) {
	own, offered := s.Media(), offer.Media()
	want := make([]string, len(own))
	change := false
	for i := range own {
		want[i] = own[i].Direction
		if i < len(offered) {
			want[i] = answerDirection(own[i].Direction, offered[i].Direction)
		}
		change = change || want[i] != own[i].Direction
	}
	if !change {
		return
	}
	lines := s.lines()
	eol := lineEnd(lines)
	mendEnds(lines, eol)
	var out []line
	section := -1
	for _, l := range lines {
		switch {
		case l.kind == 'a' && isDirection(attributeKey(l.value())):
			continue
		case l.kind == 'm':
			out = append(finishDirection(out, want, section, eol), l)
			section++
			continue
		}
		out = append(out, l)
	}
	out = finishDirection(out, want, section, eol)
	mendEnds(out, eol)
	s.put(out)
}

func finishDirection(lines []line, want []string, section int, eol string) []line {
	if section < 0 {
		return lines
	}
	return append(lines, newLine("a="+want[section], eol))
}

func answerDirection(own, offered string) string {
	sends := own != "recvonly" && own != "inactive" && offered != "sendonly" && offered != "inactive"
	hears := own != "sendonly" && own != "inactive" && offered != "recvonly" && offered != "inactive"
	switch {
	case sends && hears:
		return "sendrecv"
	case sends:
		return "sendonly"
	case hears:
		return "recvonly"
	}
	return "inactive"
}
