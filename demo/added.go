package demo

import (
	"strconv"
	"strings"
)

// added is by how many octets the key exchange makes a message longer, as it
// stands on the wire: the difference between its length as sent and its length
// without
//
//   - the a=dh-* lines of its session description, line ends included,
//   - the header field DH-Init,
//   - the option tag dh-srtp in Supported and Require: the whole field where
//     it stands there alone, else the tag and its comma,
//   - a body of type application/dh-sdpfrag with the fields Content-Type and
//     Content-Disposition,
//   - the digits by which Content-Length grows.
func added(raw []byte) int { return len(raw) - lengthWithout(raw) }

// fragmentBody is the media type of a body with dh-* attributes alone.
const fragmentBody = "application/dh-sdpfrag"

// lengthWithout is the length of a message without the exchange.
func lengthWithout(raw []byte) int {
	head, body, _ := strings.Cut(string(raw), "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	fragment := false
	for _, l := range lines {
		name, value := field(l)
		if name == "content-type" || name == "c" {
			kind, _, _ := strings.Cut(value, ";")
			fragment = strings.EqualFold(strings.TrimSpace(kind), fragmentBody)
		}
	}
	if fragment {
		body = ""
	} else {
		body = withoutLines(body)
	}
	n := len("\r\n") + len(body)
	for _, l := range lines {
		name, value := field(l)
		switch name {
		case "dh-init":
			continue
		case "content-type", "c", "content-disposition":
			if fragment {
				continue
			}
		case "supported", "k", "require":
			l = withoutTag(l, value)
		case "content-length", "l":
			l = l[:len(l)-len(value)] + strconv.Itoa(len(body))
		}
		if l != "" {
			n += len(l) + len("\r\n")
		}
	}
	return n
}

// field is the name of a header line in lower case, and its value.
func field(l string) (name, value string) {
	name, value, _ = strings.Cut(l, ":")
	return strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
}

// withoutTag is a header line without the option tag; "" where nothing is left.
func withoutTag(l, value string) string {
	tags := strings.Split(value, ",")
	kept := tags[:0:0]
	for _, t := range tags {
		if !strings.EqualFold(strings.TrimSpace(t), optionTag) {
			kept = append(kept, t)
		}
	}
	switch {
	case len(kept) == len(tags):
		return l
	case len(kept) == 0:
		return ""
	}
	return l[:len(l)-len(value)] + strings.TrimSpace(strings.Join(kept, ","))
}

// withoutLines is a session description without its a=dh-* lines.
func withoutLines(body string) string {
	var b strings.Builder
	for l := range strings.Lines(body) {
		if !strings.HasPrefix(l, "a=dh-") {
			b.WriteString(l)
		}
	}
	return b.String()
}
