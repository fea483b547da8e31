package sdp

import (
	"errors"
	"strings"
)

// FragmentType is the media type of a body that holds dh-* attributes and
// nothing else: the body of an ACK or PRACK that has no description.
const FragmentType = "application/dh-sdpfrag"

// maxFragmentLines is several times what an exchange can need: one value and
// four signatures.
const maxFragmentLines = 64

// ErrFragment says that a body of type application/dh-sdpfrag holds something
// other than dh-* attributes, or more of them than any exchange has.
var ErrFragment = errors.New("sdp: fragment holds something other than dh-* attributes")

// ParseFragment reads a body of type application/dh-sdpfrag: a=dh-* lines ended
// by CRLF or LF, the last one also by the body's end. An empty body has none.
func ParseFragment(body []byte) ([]Attribute, error) {
	if len(body) > MaxSize {
		return nil, ErrTooLarge
	}
	lines := split(string(body))
	if len(lines) > maxFragmentLines {
		return nil, ErrFragment
	}
	var attrs []Attribute
	for _, l := range lines {
		if !l.isDH() || !strings.HasPrefix(l.text, "a=") {
			return nil, ErrFragment
		}
		attrs = append(attrs, l.dh(false))
	}
	return attrs, nil
}

// Fragment writes attributes as a body of type application/dh-sdpfrag. One
// whose name or value holds a CR, LF or NUL is left out.
func Fragment(attrs []Attribute) []byte {
	var b []byte
	for _, a := range attrs {
		if text, ok := attributeText(a.Name, a.Value); ok {
			b = append(append(b, text...), "\r\n"...)
		}
	}
	return b
}
