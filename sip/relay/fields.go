package relay

import (
	"strings"

	"github.com/sipward/sipward/sip"
)

// onward and back name the header fields that go on with a request and with an
// answer, in lower case. What is not here belongs to one hop or one dialog, or
// tells where a phone is, and is made anew or left out.
var (
	onward = set("accept", "accept-encoding", "accept-language", "allow-events", "content-disposition", "content-encoding",
		"content-language", "content-type", "date", "event", "expires", "info-package", "mime-version", "priority", "sip-if-match",
		"subject", "subscription-state")
	back = set("accept", "accept-encoding", "accept-language", "allow-events", "authentication-info", "content-disposition",
		"content-encoding", "content-language", "content-type", "date", "expires", "mime-version", "min-expires", "retry-after",
		"sip-etag", "unsupported", "warning")
	// credentials go on, and challenges back, where the password is between the
	// two ends: octet for octet, as a digest speaks for them.
	credentials = set("authorization", "proxy-authorization")
	challenges  = set("www-authenticate", "proxy-authenticate")
)

func set(names ...string) map[string]bool {
	s := make(map[string]bool, len(names))
	for _, n := range names {
		s[n] = true
	}
	return s
}

// copyFields appends the fields of one message that are in the table to
// another. Those in asIs keep their octets.
func copyFields(to, from *sip.Message, table, asIs map[string]bool, veil *Veil) {
	for _, f := range from.Fields {
		switch name := strings.ToLower(f.Name); {
		case asIs[name]:
			to.Fields = append(to.Fields, f)
		case table[name]:
			to.Add(f.Name, veil.text(f.Value))
		}
	}
}

// eventList is the one extension that a relay may let through: the answer to a
// subscription to a list (RFC 4662) needs nothing of who carries it.
const eventList = "eventlist"

// Unsupported returns the extensions that a request requires and that a relay
// does not carry (RFC 3261 section 8.2.2.3).
func Unsupported(req *sip.Message) (tags []string) {
	for _, tag := range append(req.Values("Require"), req.Values("Proxy-Require")...) {
		if !strings.EqualFold(tag, eventList) {
			tags = append(tags, tag)
		}
	}
	return tags
}

// copyExtensions lets the extension through that Unsupported lets through.
func copyExtensions(to, from *sip.Message) {
	for _, name := range []string{"Supported", "Require"} {
		if from.HasToken(name, eventList) {
			to.Add(name, eventList)
		}
	}
}
