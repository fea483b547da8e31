package registrar

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/sipward/sipward/route"
)

// maxAOR bounds an address of record in its canonical form, in octets.
const maxAOR = 512

// Canonical returns the one form of all spellings of an address of record, which
// is a SIP address with a user: sip:user@host without port, password and
// parameters, the host in lower case, the user with nothing escaped but what
// cannot stand there (RFC 3261 section 10.3, step 5). It is its own canonical
// form.
func Canonical(aor string) (string, error) {
	u, err := route.ParseURI(aor)
	if err != nil {
		return "", err
	}
	if u.Scheme != "sip" {
		return "", fmt.Errorf("%s addresses are not registered here, only sip addresses", u.Scheme)
	}
	if u.User == "" {
		return "", errors.New("the address has no user")
	}
	host := u.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	key := "sip:" + canonicalUser(u.User) + "@" + host
	if len(key) > maxAOR {
		return "", fmt.Errorf("the address is longer than %d octets", maxAOR)
	}
	return key, nil
}

// canonicalUser unescapes a user, and escapes again what the grammar of RFC 3261
// section 25.1 does not let stand there as it is.
func canonicalUser(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' && i+2 < len(s) {
			hi, lo := strings.IndexByte(hex, upper(s[i+1])), strings.IndexByte(hex, upper(s[i+2]))
			if hi >= 0 && lo >= 0 {
				c = byte(hi<<4 | lo)
				i += 2
			}
		}
		if isAlphanumeric(c) || strings.IndexByte("-_.!~*'()&=+$,;?/", c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

func upper(c byte) byte {
	if c >= 'a' && c <= 'z' {
		return c - 'a' + 'A'
	}
	return c
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// contact is a contact's URI, read for comparison.
type contact struct {
	user, password string
	hasPassword    bool
	host           string
	port           int
	params         map[string]string // names and values in lower case, unescaped
}

// mustBoth are the parameters that keep two addresses apart when only one of
// them has it. transport is among them as it has a default, which it may not
// stand for (RFC 3261 section 19.1.4).
var mustBoth = []string{"user", "ttl", "method", "maddr", "transport"}

// parseContact reads the URI of a contact: one that requests can be sent to.
func parseContact(s string) (contact, error) {
	if len(s) > maxContact || !utf8.ValidString(s) {
		return contact{}, fmt.Errorf("a contact is not of at most %d octets of UTF-8", maxContact)
	}
	u, err := route.ParseNextHop(s)
	if err != nil {
		return contact{}, err
	}
	c := contact{user: canonicalUser(u.User), host: u.Host, port: u.Port, params: map[string]string{}}
	_, rest, _ := strings.Cut(s, ":")
	if userinfo, behind, ok := strings.Cut(rest, "@"); ok {
		_, c.password, c.hasPassword = strings.Cut(userinfo, ":")
		c.password = canonicalUser(c.password)
		rest = behind
	}
	if strings.Contains(rest, "?") {
		return contact{}, errors.New("a contact has headers in its address, which nobody is to put into requests from here")
	}
	_, params, some := strings.Cut(rest, ";")
	if !some {
		return c, nil
	}
	for p := range strings.SplitSeq(params, ";") {
		if p == "" {
			continue
		}
		name, value, _ := strings.Cut(p, "=")
		name, value = strings.ToLower(canonicalUser(name)), strings.ToLower(canonicalUser(value))
		if _, twice := c.params[name]; twice {
			return contact{}, errors.New("a contact has the same parameter twice")
		}
		c.params[name] = value
	}
	return c, nil
}

// equal compares by RFC 3261 section 19.1.4. A parameter that only one of the
// two has does not count, save those of mustBoth; so equality does not carry
// over from a pair to the next.
func (c contact) equal(d contact) bool {
	if c.user != d.user || c.password != d.password || c.hasPassword != d.hasPassword || c.host != d.host || c.port != d.port {
		return false
	}
	for _, name := range mustBoth {
		_, here := c.params[name]
		if _, there := d.params[name]; here != there {
			return false
		}
	}
	for name, value := range c.params {
		if other, ok := d.params[name]; ok && other != value {
			return false
		}
	}
	return true
}
