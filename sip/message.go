package sip

import (
	"strconv"
	"strings"
)

// Field is one header field. Name has its long, canonical form (a compact "f"
// was read as "From"); Value has no surrounding white space.
type Field struct{ Name, Value string }

// Message is a SIP request or response (RFC 3261 section 7). Header fields
// keep their order and their octets, so what is not understood travels on as
// it came; Content-Length is none of them, it is len(Body). A message is not changed any more once it was sent or handed over.
type Message struct {
	Method string // request: the method; response: ""
	URI    URI    // request: the Request-URI
	Status int    // response: the status code; request: 0
	Reason string // response: the reason phrase
	Fields []Field
	Body   []byte
}

// IsRequest tells a request from a response.
func (m *Message) IsRequest() bool { return m.Method != "" }

// Get returns the value of the first field of that name, or "".
func (m *Message) Get(name string) string {
	for i := range m.Fields {
		if strings.EqualFold(m.Fields[i].Name, name) {
			return m.Fields[i].Value
		}
	}
	return ""
}

// Has says whether a field of that name is there.
func (m *Message) Has(name string) bool {
	for i := range m.Fields {
		if strings.EqualFold(m.Fields[i].Name, name) {
			return true
		}
	}
	return false
}

// Values returns every value of that name, in order; values that stand in one
// field, separated by commas, come out one by one (RFC 3261 section 7.3.1).
func (m *Message) Values(name string) []string {
	var out []string
	for i := range m.Fields {
		if strings.EqualFold(m.Fields[i].Name, name) {
			out = appendList(out, m.Fields[i].Value)
		}
	}
	return out
}

// Add appends a field.
func (m *Message) Add(name, value string) {
	m.Fields = append(m.Fields, Field{name, value})
}

// addAll appends fields, with all option tags in one Supported field: some user
// agents read the first of several only.
func (m *Message) addAll(fields []Field) {
	supported := -1
	for _, f := range fields {
		if f.Name == "Supported" {
			if supported >= 0 {
				m.Fields[supported].Value += ", " + f.Value
				continue
			}
			supported = len(m.Fields)
		}
		m.Fields = append(m.Fields, f)
	}
}

// Set replaces the first field of that name and removes the others; without
// one it appends.
func (m *Message) Set(name, value string) {
	out := make([]Field, 0, len(m.Fields)+1)
	done := false
	for _, f := range m.Fields {
		if strings.EqualFold(f.Name, name) {
			if done {
				continue
			}
			f.Value, done = value, true
		}
		out = append(out, f)
	}
	if !done {
		out = append(out, Field{name, value})
	}
	m.Fields = out
}

// Remove takes every field of that name out.
func (m *Message) Remove(name string) {
	out := make([]Field, 0, len(m.Fields))
	for _, f := range m.Fields {
		if !strings.EqualFold(f.Name, name) {
			out = append(out, f)
		}
	}
	m.Fields = out
}

// HasToken says whether the comma-separated field holds the token, for
// Supported, Require, Allow and their like.
func (m *Message) HasToken(name, token string) bool {
	for _, v := range m.Values(name) {
		if strings.EqualFold(v, token) {
			return true
		}
	}
	return false
}

// CallID returns the Call-ID.
func (m *Message) CallID() string { return m.Get("Call-ID") }

// CSeq returns number and method of the CSeq field; ok is false where it is
// absent or malformed (RFC 3261 section 8.1.1.5: below 2^31).
func (m *Message) CSeq() (seq uint32, method string, ok bool) {
	v := m.Get("CSeq")
	blank := strings.IndexAny(v, " \t")
	if blank < 0 {
		return 0, "", false
	}
	n, err := strconv.ParseUint(v[:blank], 10, 31)
	method = strings.TrimLeft(v[blank:], " \t")
	if err != nil || !isToken(method) {
		return 0, "", false
	}
	return uint32(n), method, true
}

// From and To return the parsed address fields; a malformed one is the zero
// Address.
func (m *Message) From() Address { a, _ := ParseAddress(m.Get("From")); return a }

// To returns the parsed To field.
func (m *Message) To() Address { a, _ := ParseAddress(m.Get("To")); return a }

// ContentType returns the media type in lower case, without parameters.
func (m *Message) ContentType() string {
	t, _, _ := strings.Cut(m.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(t))
}

// SetBody sets body and Content-Type; an empty body removes the type, an empty
// type leaves the fields as they are.
func (m *Message) SetBody(contentType string, body []byte) {
	m.Body = body
	switch {
	case len(body) == 0:
		m.Remove("Content-Type")
	case contentType != "":
		m.Set("Content-Type", contentType)
	}
}

// Clone returns a copy whose fields may be changed; the body is shared.
func (m *Message) Clone() *Message {
	c := *m
	c.Fields = append([]Field(nil), m.Fields...)
	return &c
}

// Bytes returns the message as sent. Content-Length is always written and
// always true, whatever stands among the fields. Fields are written as they
// are: who takes values from elsewhere than a parsed message keeps line ends
// out of them.
func (m *Message) Bytes() []byte {
	size := 64 + len(m.Body)
	for _, f := range m.Fields {
		size += len(f.Name) + len(f.Value) + 4
	}
	b := make([]byte, 0, size+64)
	if m.IsRequest() {
		b = append(b, m.Method...)
		b = append(b, ' ')
		b = append(b, m.URI.String()...)
		b = append(b, " SIP/2.0\r\n"...)
	} else {
		b = append(b, "SIP/2.0 "...)
		b = strconv.AppendInt(b, int64(m.Status), 10)
		b = append(b, ' ')
		b = append(b, m.Reason...)
		b = append(b, "\r\n"...)
	}
	for _, f := range m.Fields {
		if strings.EqualFold(f.Name, "Content-Length") {
			continue
		}
		b = append(b, f.Name...)
		b = append(b, ": "...)
		b = append(b, f.Value...)
		b = append(b, "\r\n"...)
	}
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(m.Body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, m.Body...)
}

// NewResponse makes a response to req: Via fields, From, To, Call-ID and CSeq
// are copied (RFC 3261 section 8.2.6.2); toTag is added to a To without tag,
// except in 100. An empty reason becomes the usual phrase.
func NewResponse(req *Message, status int, reason, toTag string) *Message {
	if reason == "" {
		reason = ReasonPhrase(status)
	}
	res := &Message{Status: status, Reason: reason, Fields: make([]Field, 0, 10)}
	for _, f := range req.Fields {
		switch f.Name {
		case "Via", "From", "Call-ID", "CSeq":
			res.Fields = append(res.Fields, f)
		case "Record-Route":
			if status > 100 && status < 300 {
				res.Fields = append(res.Fields, f)
			}
		case "To":
			if status > 100 && toTag != "" {
				if a, err := ParseAddress(f.Value); err == nil && a.Tag() == "" {
					f.Value += ";tag=" + toTag
				}
			}
			res.Fields = append(res.Fields, f)
		}
	}
	return res
}

// splitList splits a field value at commas that stand neither in quotes nor
// between angle brackets.
func splitList(v string) []string { return appendList(nil, v) }

// appendList is splitList after what is there already.
func appendList(out []string, v string) []string {
	start, quoted, angle := 0, false, false
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<':
			angle = true
		case c == '>':
			angle = false
		case c == ',' && !angle:
			if s := strings.TrimSpace(v[start:i]); s != "" {
				out = append(out, s)
			}
			start = i + 1
		}
	}
	if s := strings.TrimSpace(v[start:]); s != "" {
		out = append(out, s)
	}
	return out
}
