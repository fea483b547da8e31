package sip

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	sipgo "github.com/emiago/sipgo/sip"
)

// MaxMessage bounds a message, in octets: that of a UDP datagram.
const MaxMessage = 65535

// maxFields bounds the header fields of a message, so that one datagram of
// many short lines cannot cost more than it is long.
const maxFields = 256

// parser leaves every header field but Content-Length as text. sipgo's typed
// headers would make one malformed Contact lose the whole message, where
// RFC 3261 section 16.3 asks for a 400.
var parser = sipgo.NewParser(sipgo.WithHeadersParsers(sipgo.HeadersParser{
	"content-length": sipgo.DefaultHeadersParser()["content-length"],
	"l":              sipgo.DefaultHeadersParser()["l"],
}))

// ErrMalformed is wrapped by every error of Parse.
var ErrMalformed = errors.New("sip: malformed message")

// Parse reads one datagram. Where the start line and header fields could be
// read but the body is shorter than Content-Length says, the message comes
// back beside the error, so that a request can be answered 400.
func Parse(b []byte) (*Message, error) {
	if len(b) > MaxMessage {
		return nil, fmt.Errorf("%w: longer than %d octets", ErrMalformed, MaxMessage)
	}
	raw, err := parser.ParseSIP(bytes.TrimLeft(b, "\r\n"))
	if raw == nil {
		return nil, fmt.Errorf("%w: not SIP", ErrMalformed)
	}
	m, cerr := convert(raw)
	if cerr != nil {
		return nil, cerr
	}
	if err != nil {
		if errors.Is(err, sipgo.ErrParseReadBodyIncomplete) {
			return m, fmt.Errorf("%w: body shorter than Content-Length", ErrMalformed)
		}
		return nil, fmt.Errorf("%w: header fields", ErrMalformed)
	}
	return m, nil
}

func convert(raw sipgo.Message) (*Message, error) {
	m := &Message{Body: raw.Body()}
	var fields []sipgo.Header
	switch r := raw.(type) {
	case *sipgo.Request:
		m.Method = string(r.Method)
		u, err := ParseURI(r.Recipient.String())
		if err != nil {
			return nil, fmt.Errorf("%w: Request-URI", ErrMalformed)
		}
		m.URI = u
		fields = r.Headers()
	case *sipgo.Response:
		m.Status, m.Reason = r.StatusCode, r.Reason
		fields = r.Headers()
	}
	if len(fields) > maxFields {
		return nil, fmt.Errorf("%w: more than %d header fields", ErrMalformed, maxFields)
	}
	m.Fields = make([]Field, 0, len(fields))
	for _, h := range fields {
		m.Fields = append(m.Fields, Field{canonical(h.Name()), h.Value()})
	}
	return m, nil
}

// compact holds the one-letter names of RFC 3261 section 7.3.3 and of the
// extensions that registered one.
var compact = map[string]string{
	"a": "Accept-Contact", "b": "Referred-By", "c": "Content-Type", "e": "Content-Encoding", "f": "From",
	"i": "Call-ID", "j": "Reject-Contact", "k": "Supported", "l": "Content-Length", "m": "Contact",
	"o": "Event", "r": "Refer-To", "s": "Subject", "t": "To", "u": "Allow-Events", "v": "Via", "x": "Session-Expires",
	"y": "Identity", "d": "Request-Disposition",
}

// known are the names that the code looks for, so that a comparison of two
// canonical names is one of octets.
var known = func() map[string]string {
	out := map[string]string{}
	for _, n := range []string{"Via", "From", "To", "Call-ID", "CSeq", "Contact", "Max-Forwards", "Route", "Record-Route",
		"Content-Type", "Content-Length", "Content-Disposition", "Supported", "Require", "Proxy-Require", "Allow", "Warning", "Reason",
		"User-Agent", "Server", "Retry-After", "RSeq", "RAck", "Expires", "DH-Init", "Unsupported", "Accept"} {
		out[strings.ToLower(n)] = n
	}
	for k, n := range compact {
		out[k] = n
	}
	return out
}()

func canonical(name string) string {
	if n, ok := known[strings.ToLower(name)]; ok {
		return n
	}
	return name
}

// Via is one parsed value of a Via field (RFC 3261 section 20.42).
type Via struct {
	Transport string // upper case
	Host      string // sent-by, without brackets
	Port      int    // 0 if absent
	Params    string // ";branch=…"
}

// ParseVia reads one value of a Via field.
func ParseVia(s string) (Via, error) {
	proto, rest, ok := strings.Cut(strings.TrimSpace(s), " ")
	parts := strings.Split(proto, "/")
	if !ok || len(parts) != 3 || !strings.EqualFold(parts[0], "SIP") || parts[1] != "2.0" {
		return Via{}, fmt.Errorf("%w: Via", ErrMalformed)
	}
	rest = strings.TrimSpace(rest)
	v := Via{Transport: strings.ToUpper(parts[2])}
	if i := strings.IndexByte(rest, ';'); i >= 0 {
		v.Params, rest = rest[i:], strings.TrimSpace(rest[:i])
	}
	u, err := ParseURI("sip:" + strings.ReplaceAll(rest, " ", ""))
	if err != nil || u.User != "" {
		return Via{}, fmt.Errorf("%w: Via", ErrMalformed)
	}
	v.Host, v.Port = u.Host, u.Port
	return v, nil
}

// Branch returns the branch parameter, or "".
func (v Via) Branch() string { b, _ := param(v.Params, "branch"); return b }

// validate checks what every request needs (RFC 3261 section 8.1.1) and gives
// the sentence for a 400. sipgo leaves absent fields nil and lets a CSeq of
// another method pass.
func validate(m *Message) error {
	for _, name := range []string{"Via", "From", "To", "Call-ID", "CSeq"} {
		n := 0
		for _, f := range m.Fields {
			if f.Name == name {
				n++
			}
		}
		if n == 0 {
			return fmt.Errorf("%w: no %s", ErrMalformed, name)
		}
		if n > 1 && name != "Via" {
			return fmt.Errorf("%w: more than one %s", ErrMalformed, name)
		}
	}
	_, method, ok := m.CSeq()
	if !ok {
		return fmt.Errorf("%w: CSeq", ErrMalformed)
	}
	if m.IsRequest() && method != m.Method {
		return fmt.Errorf("%w: CSeq names another method", ErrMalformed)
	}
	if id := m.CallID(); id == "" || len(id) > 512 {
		return fmt.Errorf("%w: Call-ID", ErrMalformed)
	}
	from, err := ParseAddress(m.Get("From"))
	if err != nil || len(from.Tag()) > 256 {
		return fmt.Errorf("%w: From", ErrMalformed)
	}
	if m.IsRequest() && from.Tag() == "" {
		return fmt.Errorf("%w: From has no tag", ErrMalformed)
	}
	if to, err := ParseAddress(m.Get("To")); err != nil || len(to.Tag()) > 256 {
		return fmt.Errorf("%w: To", ErrMalformed)
	}
	vias := m.Values("Via")
	if len(vias) == 0 {
		return fmt.Errorf("%w: Via", ErrMalformed)
	}
	v, err := ParseVia(vias[0])
	if err != nil {
		return err
	}
	if b := v.Branch(); b == "" || len(b) > 256 {
		return fmt.Errorf("%w: Via has no branch", ErrMalformed)
	}
	return nil
}
