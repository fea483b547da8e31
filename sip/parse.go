package sip

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MaxMessage bounds a message, in octets: that of a UDP datagram.
const MaxMessage = 65535

// maxFields bounds the header fields of a message, so that one datagram of
// many short lines cannot cost more than it is long.
const maxFields = 256

// ErrMalformed is wrapped by every error of Parse.
var ErrMalformed = errors.New("sip: malformed message")

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

// Parse reads one datagram. Where the start line could be read but not all of
// the rest, or the body is shorter than Content-Length says, the message comes
// back beside the error, so that a request can be answered 400; it holds
// nothing then that could not be sent. Content-Length is not among the fields
// of what comes back: [Message.Bytes] writes it.
func Parse(b []byte) (*Message, error) {
	if len(b) > MaxMessage {
		return nil, malformed("longer than " + strconv.Itoa(MaxMessage) + " octets")
	}
	b = bytes.TrimLeft(b, "\r\n")
	h := parseHead(b)
	if h.message == nil {
		return nil, h.err
	}
	body := b[h.size:]
	switch {
	case h.length < 0: // the datagram's end is the body's
	case h.length > len(body):
		h.fail("body shorter than Content-Length")
	default:
		body = body[:h.length] // RFC 3261 section 18.3: the rest is no part of it
	}
	if len(body) > 0 {
		h.message.Body = bytes.Clone(body)
	}
	return h.message, h.err
}

// head is what stands before a body.
type head struct {
	message *Message
	size    int   // octets, the empty line included
	length  int   // the Content-Length; -1 where absent or unreadable
	err     error // the first thing that was wrong
}

func (h *head) fail(what string) {
	if h.err == nil {
		h.err = malformed(what)
	}
}

// parseHead reads start line and header fields. Values stay text: one
// malformed Contact must not lose the whole message, where RFC 3261 section
// 16.3 asks for a 400.
func parseHead(b []byte) head {
	h := head{length: -1}
	line, rest, ok := bytes.Cut(b, crlf)
	if !ok {
		h.fail("not SIP")
		return h
	}
	h.startLine(string(line))
	if h.message == nil {
		h.fail("not SIP")
		return h
	}
	h.message.Fields = make([]Field, 0, 16)
	for {
		line, rest, ok = bytes.Cut(rest, crlf)
		if !ok {
			h.fail("no end of the header fields")
			h.size = len(b)
			return h
		}
		if len(line) == 0 {
			h.size = len(b) - len(rest)
			return h
		}
		if len(rest) > 0 && isBlank(rest[0]) {
			line, rest = unfold(line, rest)
		}
		if len(h.message.Fields) == maxFields {
			h.fail("more than " + strconv.Itoa(maxFields) + " header fields")
			h.size = len(b)
			return h
		}
		h.field(line)
	}
}

var crlf = []byte("\r\n")

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// unfold joins a field's continuation lines to it (RFC 3261 section 7.3.1).
func unfold(line, rest []byte) (whole, after []byte) {
	whole = append([]byte(nil), bytes.TrimRight(line, " \t")...)
	for len(rest) > 0 && isBlank(rest[0]) {
		more, next, ok := bytes.Cut(rest, crlf)
		if !ok {
			break
		}
		whole = append(whole, ' ')
		whole = append(whole, bytes.Trim(more, " \t")...)
		rest = next
	}
	return whole, rest
}

// field reads one line. What would be unsafe to write again is left out or
// blanked, beside the error.
func (h *head) field(line []byte) {
	name, value, ok := bytes.Cut(line, []byte(":"))
	name = bytes.TrimRight(name, " \t")
	if !ok || !isToken(string(name)) {
		h.fail("header field without a name")
		return
	}
	f := Field{canonical(name), string(bytes.Trim(value, " \t"))}
	if hasControl(f.Value) {
		h.fail("control characters in " + f.Name)
		f.Value = strings.Trim(strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return ' '
			}
			return r
		}, f.Value), " ")
	}
	if f.Name == "Content-Length" {
		n, err := strconv.ParseUint(f.Value, 10, 31)
		if err != nil || (h.length >= 0 && h.length != int(n)) {
			h.fail("Content-Length")
			h.length = -1
			return
		}
		h.length = int(n)
		return
	}
	h.message.Fields = append(h.message.Fields, f)
}

// startLine makes the message, or leaves it nil where the line is not SIP.
func (h *head) startLine(s string) {
	if len(s) > 4 && strings.EqualFold(s[:4], "SIP/") {
		version, rest, _ := strings.Cut(s[4:], " ")
		code, reason, _ := strings.Cut(rest, " ")
		status, err := strconv.ParseUint(code, 10, 16)
		if version != "2.0" || err != nil || len(code) != 3 || status < 100 || status > 699 || hasControl(reason) {
			return
		}
		h.message = &Message{Status: int(status), Reason: reason}
		return
	}
	method, rest, _ := strings.Cut(s, " ")
	last := strings.LastIndexByte(rest, ' ')
	if last < 0 || !isToken(method) || len(method) > 64 {
		return
	}
	version := rest[last+1:]
	if len(version) < 4 || !strings.EqualFold(version[:4], "SIP/") {
		return
	}
	h.message = &Message{Method: method} // case counts: RFC 3261 section 7.1
	if version[4:] != "2.0" {
		h.fail("SIP version")
	}
	u, err := ParseURI(rest[:last])
	if err != nil {
		h.fail("Request-URI")
	}
	h.message.URI = u
}

// isToken recognises a token of RFC 3261 section 25.1.
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !isAlnum(c) && strings.IndexByte("-.!%*_+`'~", c) < 0 {
			return false
		}
	}
	return s != ""
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// hasControl finds what would end a line or a string somewhere on the way.
func hasControl(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return false
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
		out[n], out[strings.ToLower(n)] = n, n // found without a copy in either spelling
	}
	for k, n := range compact {
		out[k] = n
	}
	return out
}()

// canonical is written for names as they stand in a message: a known one, in
// the usual spelling, costs no memory.
func canonical(name []byte) string {
	if n, ok := known[string(name)]; ok {
		return n
	}
	text := string(name)
	if n, ok := known[strings.ToLower(text)]; ok {
		return n
	}
	return text
}
