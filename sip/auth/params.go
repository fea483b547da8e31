package auth

import "strings"

// Bounds on what is read of one request or response. A phone's field has some
// 300 octets and a dozen parameters.
const (
	maxOctets  = 16 << 10 // of all values together
	maxEntries = 16       // challenges or credentials of any scheme
	maxParams  = 32       // of one entry
)

// entry is one challenge or one set of credentials: a scheme and its
// parameters, in order.
type entry struct {
	scheme string
	params []param
}

// param is one parameter. The value stands as between its quotes, which is
// what enters hashes (RFC 7616 section 3.4: "without surrounding quotes"); unescaped removes the backslashes.
type param struct {
	name, value string
	quoted      bool
}

// get returns the value of the parameter of that name, or "".
func (e *entry) get(name string) string {
	v, _ := e.lookup(name)
	return v
}

func (e *entry) lookup(name string) (string, bool) {
	for i := range e.params {
		if strings.EqualFold(e.params[i].name, name) {
			return e.params[i].value, true
		}
	}
	return "", false
}

// parse reads the values of WWW-Authenticate, Proxy-Authenticate,
// Authorization or Proxy-Authorization fields and returns the well-formed
// Digest entries in order.
//
// It reads what phones really send: several entries in one value, values
// that someone split at their commas, blanks around "=", commas missing or
// doubled, values that should be quoted and are not, and the other way round.
// An entry that cannot be read for certain is left out as a whole: one with a
// quote that never ends, a control character, or two values for one name.
func parse(values []string) []entry {
	var out []entry
	cur, bad, entries, octets := entry{}, true, 0, 0
	end := func() {
		if !bad && strings.EqualFold(cur.scheme, "Digest") && len(cur.params) > 0 {
			out = append(out, cur)
		}
		cur, bad = entry{}, true
	}
	for _, v := range values {
		if octets += len(v); octets > maxOctets {
			bad = true // it may go on in what is not read
			break
		}
		for {
			v = strings.TrimLeft(v, " \t\r\n,")
			if v == "" {
				break
			}
			n := 0
			for n < len(v) && !strings.ContainsRune(" \t\r\n,=\"", rune(v[n])) {
				n++
			}
			word := v[:n]
			rest := strings.TrimLeft(v[n:], " \t\r\n")
			if n == 0 || !isPlain(word) {
				bad = true
				break
			}
			if rest == "" || rest[0] != '=' {
				// No parameter, so the name of a scheme: the next entry.
				end()
				if entries++; entries > maxEntries {
					return out
				}
				cur.scheme, bad, v = word, false, rest
				continue
			}
			p := param{name: word}
			var ok bool
			if p.value, p.quoted, v, ok = readValue(strings.TrimLeft(rest[1:], " \t\r\n")); !ok || !cur.add(p) {
				bad = true
			}
			if !ok {
				break
			}
		}
	}
	end()
	return out
}

// readValue reads a quoted string or a word from the front of s.
func readValue(s string) (value string, quoted bool, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		n := strings.IndexAny(s, " \t\r\n,")
		if n < 0 {
			n = len(s)
		}
		return s[:n], false, s[n:], isPlain(s[:n]) && !strings.ContainsAny(s[:n], `"\`)
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && s[i+1] >= ' ' && s[i+1] != 0x7f:
			i++
		case c == '"':
			return s[1:i], true, s[i+1:], true
		case c < ' ' || c == 0x7f || c == '\\':
			return "", true, "", false
		}
	}
	return "", true, "", false
}

// add appends a parameter; false where there are too many or another value of
// that name stands already. What is repeated word for word does no harm.
func (e *entry) add(p param) bool {
	if old, there := e.lookup(p.name); there {
		return old == p.value
	}
	if len(e.params) == maxParams {
		return false
	}
	if e.params == nil {
		e.params = make([]param, 0, 12)
	}
	e.params = append(e.params, p)
	return true
}

// isPlain says whether s has no control characters.
func isPlain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// unescaped removes the backslashes of quoted pairs.
func unescaped(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}

var escapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// write renders the entry as a field value.
func (e *entry) write() string {
	var b strings.Builder
	b.Grow(320)
	b.WriteString(e.scheme)
	for i, p := range e.params {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte(' ')
		b.WriteString(p.name)
		b.WriteByte('=')
		if p.quoted {
			b.WriteByte('"')
			b.WriteString(p.value)
			b.WriteByte('"')
		} else {
			b.WriteString(p.value)
		}
	}
	return b.String()
}
