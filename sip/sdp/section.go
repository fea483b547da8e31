package sdp

// AddMediaAttribute puts a=name:value behind the last line of m-line i's
// section, counted from 0. Nothing is added where i names no m-line, or where
// name or value would not be one line.
func (s *Session) AddMediaAttribute(i int, name, value string) {
	text, ok := attributeText(name, value)
	if !ok || i < 0 {
		return
	}
	lines := s.lines()
	at, section := len(lines), -1
	for k, l := range lines {
		if l.kind != 'm' {
			continue
		}
		if section++; section == i+1 {
			at = k
			break
		}
	}
	if section < i {
		return
	}
	s.insert(lines, at, text)
}
