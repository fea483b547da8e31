package sdp

import (
	"errors"
	"slices"
	"strings"
)

// Limits of a description, so that a stranger's message costs no more than
// they allow.
const (
	MaxSize  = 64 << 10 // octets
	MaxMedia = 64       // m-lines
)

// What Parse refuses. Everything else that is odd is carried along.
var (
	ErrTooLarge     = errors.New("sdp: description is larger than 64 KiB")
	ErrTooManyMedia = errors.New("sdp: description has more than 64 m-lines")
	ErrNotSDP       = errors.New("sdp: body holds no line of a session description")
)

// Session is one session description. It is not for use by several goroutines
// at once; [Session.Clone] is cheap.
type Session struct {
	parsed []line
	packed string   // instead of parsed, where Pack was called
	media  *[]Media // what Media has read of it; nil: nothing yet
}

// Parse reads a description of at most [MaxSize] octets and [MaxMedia] m-lines.
// Lines may end in CRLF, LF or CR, the last one in nothing; they may stand in
// any order, and lines that RFC 8866 §5 demands may be missing; a body without
// any of v=, o=, s=, c=, t= and m= is none. b is not kept.
func Parse(b []byte) (*Session, error) {
	if len(b) > MaxSize {
		return nil, ErrTooLarge
	}
	s := &Session{parsed: split(string(b))}
	media, known := 0, false
	for _, l := range s.parsed {
		known = known || l.kind != 0 && strings.IndexByte("vosctm", l.kind) >= 0
		if l.kind == 'm' {
			media++
		}
	}
	if !known {
		return nil, ErrNotSDP
	}
	if media > MaxMedia {
		return nil, ErrTooManyMedia
	}
	return s, nil
}

// Bytes is the description as it goes out. What was not changed comes back
// octet for octet.
func (s *Session) Bytes() []byte {
	if s.packed != "" {
		return []byte(s.packed)
	}
	b := make([]byte, 0, size(s.parsed))
	for _, l := range s.parsed {
		b = append(append(b, l.text...), l.end...)
	}
	return b
}

// Clone is a copy that can be changed without changing s.
func (s *Session) Clone() *Session {
	return &Session{parsed: slices.Clone(s.parsed), packed: s.packed, media: s.media}
}

// Pack makes a description small that is to be kept for a while: a third or
// less of what reading it took. It can be read and changed as before, and is
// read anew each time; a change unpacks it.
func (s *Session) Pack() {
	if s != nil && s.packed == "" {
		s.packed, s.parsed, s.media = string(s.Bytes()), nil, nil
	}
}

// lines are those of the description; who changes them puts them back.
func (s *Session) lines() []line {
	if s.packed != "" {
		return split(s.packed)
	}
	return s.parsed
}

func (s *Session) put(lines []line) { s.parsed, s.packed, s.media = lines, "", nil }

// Attribute is one dh-* line: its name, the octets behind the first colon, and
// whether it stood behind an m-line.
type Attribute struct {
	Name, Value string
	Media       bool
}

// DH finds every a=dh-* line, in order, wherever it stands. A value whose line
// ended in something other than CRLF or LF has that at its end, so that it is
// seen to be of another form.
func (s *Session) DH() []Attribute {
	var found []Attribute
	media := false
	for _, l := range s.lines() {
		media = media || l.kind == 'm'
		if l.isDH() {
			found = append(found, l.dh(media))
		}
	}
	return found
}

func (l line) dh(media bool) Attribute {
	name, value := l.attribute()
	if l.end != "\r\n" && l.end != "\n" {
		value += l.end
	}
	// A value is kept for as long as the call, the description is not.
	return Attribute{Name: strings.Clone(name), Value: strings.Clone(value), Media: media}
}

// DropDH removes every a=dh-* line.
func (s *Session) DropDH() {
	s.put(slices.DeleteFunc(s.lines(), line.isDH))
}

// AddSessionAttribute puts a=name:value behind the last session-level line, or
// a=name where value is empty. Nothing is added where name or value holds a CR,
// LF or NUL: that would be another line to whoever reads it.
func (s *Session) AddSessionAttribute(name, value string) {
	text, ok := attributeText(name, value)
	if !ok {
		return
	}
	lines := s.lines()
	at := slices.IndexFunc(lines, func(l line) bool { return l.kind == 'm' })
	if at < 0 {
		at = len(lines)
	}
	s.insert(lines, at, text)
}

// insert puts a line before the one at this place, and before those above it
// in which nothing can be seen.
func (s *Session) insert(lines []line, at int, text string) {
	for at > 0 && lines[at-1].blank() {
		at--
	}
	eol := lineEnd(lines)
	lines = slices.Insert(lines, at, newLine(text, eol))
	mendEnds(lines, eol)
	s.put(lines)
}

// Reject sets the port of m-line i, counted from 0, to 0. An i that names no
// m-line changes nothing.
func (s *Session) Reject(i int) {
	s.changeMedia(i, func(l line) line { return l.withPort(0) })
}

// SetProto puts another transport protocol in m-line i, counted from 0: a plain
// profile where a phone offered a secure one, say (see [Media.PlainProto]). An
// i that names no m-line, or a proto that is no token, changes nothing.
func (s *Session) SetProto(i int, proto string) {
	if !isToken(proto) {
		return
	}
	s.changeMedia(i, func(l line) line {
		v := l.value()
		f := fieldSpans(v, 3)
		if len(f) < 3 {
			return l
		}
		return l.with(v[:f[2].from] + proto + v[f[2].to:])
	})
}

func (s *Session) changeMedia(i int, change func(line) line) {
	lines := s.lines()
	for k, l := range lines {
		if l.kind != 'm' {
			continue
		}
		if i == 0 {
			lines[k] = change(l)
			s.put(lines)
			return
		}
		i--
	}
}

// attributeText is the text of an attribute's line, or not ok where it would
// not be one line.
func attributeText(name, value string) (text string, ok bool) {
	text = "a=" + name
	if value != "" {
		text += ":" + value
	}
	return text, name != "" && !strings.ContainsAny(text, "\r\n\x00")
}

// isToken says that s can stand as one field of a line.
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return s != ""
}

// size is how many octets the lines are.
func size(lines []line) int {
	n := 0
	for _, l := range lines {
		n += len(l.text) + len(l.end)
	}
	return n
}

// lineEnd is how this sender ends its lines, for those that are added.
func lineEnd(lines []line) string {
	for _, l := range lines {
		if l.end == "\r\n" || l.end == "\n" {
			return l.end
		}
	}
	return "\r\n"
}

// mendEnds gives a line that had no end, being the last, one when another was
// put behind it.
func mendEnds(lines []line, eol string) {
	for i := range max(0, len(lines)-1) {
		if lines[i].end == "" {
			lines[i].end = eol
		}
	}
}
