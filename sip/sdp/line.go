package sdp

import "strings"

const bom = "\xef\xbb\xbf"

// line is one line as it came. text holds no CR and no LF. end is "\r\n" or
// "\n", "" on a last line without one, or what odd senders put there: stray
// CRs before the LF, or a CR alone. A CR alone ends a line here because there
// are phones to whom it does; a c= behind one must not pass unseen.
type line struct {
	text string
	end  string
	kind byte // the letter before '='; 0 for a line that has no such form
	at   int  // where in text the value begins, behind '='
}

// newLine makes a line of text, which holds no line end.
func newLine(text, end string) line {
	l := line{text: text, end: end}
	i := 0
	for {
		if strings.HasPrefix(text[i:], bom) {
			i += len(bom)
		} else if i < len(text) && isSpace(text[i]) {
			i++
		} else {
			break
		}
	}
	if i+1 < len(text) && text[i+1] == '=' && text[i] >= 'a' && text[i] <= 'z' {
		l.kind, l.at = text[i], i+2
	}
	return l
}

// split cuts a body into lines. The texts and ends, one after the other, are
// the body again.
func split(body string) []line {
	lines := make([]line, 0, 2+strings.Count(body, "\n"))
	for len(body) > 0 {
		i := strings.IndexAny(body, "\r\n")
		if i < 0 {
			return append(lines, newLine(body, ""))
		}
		j := i
		for j < len(body) && body[j] == '\r' {
			j++
		}
		if j < len(body) && body[j] == '\n' {
			j++
		}
		lines = append(lines, newLine(body[:i], body[i:j]))
		body = body[j:]
	}
	return lines
}

// value is what stands behind '='; the whole text of a line that has none.
func (l line) value() string { return l.text[l.at:] }

// with is the line with another value and all else as it was.
func (l line) with(value string) line {
	l.text = l.text[:l.at] + value
	return l
}

// blank says that nothing can be seen in the line.
func (l line) blank() bool { return strings.Trim(l.text, " \t\x00") == "" }

// attribute splits the value of an a= line at its first colon.
func (l line) attribute() (name, value string) {
	name, value, _ = strings.Cut(l.value(), ":")
	return name, value
}

// attributeKey is the attribute's name as tables hold it: lower case, and
// ended by white space as well as by the colon, so that a sloppily written
// a=candidate is still one.
func attributeKey(value string) string {
	value = strings.TrimLeft(value, " \t")
	if i := strings.IndexAny(value, ": \t"); i >= 0 {
		value = value[:i]
	}
	return strings.ToLower(value)
}

// isDH says that the line is an attribute of the key exchange. Attribute names
// are case-sensitive (RFC 8866 §6) and these are written in lower case.
func (l line) isDH() bool {
	return l.kind == 'a' && strings.HasPrefix(l.value(), "dh-")
}

// span is where one field of a value stands.
type span struct{ from, to int }

// fieldSpans finds the fields of s, separated by spaces or tabs, at most max of
// them; all that follows the last is left out.
func fieldSpans(s string, max int) []span {
	spans := make([]span, 0, min(max, 8))
	for i := 0; i < len(s) && len(spans) < max; {
		if isSpace(s[i]) {
			i++
			continue
		}
		j := i
		for j < len(s) && !isSpace(s[j]) {
			j++
		}
		spans = append(spans, span{i, j})
		i = j
	}
	return spans
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isHex(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// decimal reads a number of at most nine digits and nothing else.
func decimal(s string) (int, bool) {
	if len(s) == 0 || len(s) > 9 {
		return 0, false
	}
	n := 0
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return 0, false
		}
		n = 10*n + int(s[i]-'0')
	}
	return n, true
}
