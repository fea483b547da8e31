package sip

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// URI is a SIP or SIPS URI (RFC 3261 section 19.1); a URI of another scheme
// keeps its text and has no parts.
type URI struct {
	Scheme string // "sip", "sips", or another in lower case
	User   string // as it stands, escapes included; "" if absent
	Host   string // name or address; an IPv6 address without brackets
	Port   int    // 0 if absent
	Params string // ";transport=tcp;lr" with the leading semicolon, or ""
	opaque string // the whole text where the scheme is none of ours
}

var errURI = errors.New("sip: malformed URI")

// ParseURI reads a URI. Headers behind "?" are dropped: nothing that a peer
// puts there may enter a request.
func ParseURI(s string) (URI, error) {
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || rest == "" || !isScheme(scheme) || !isURIText(s) {
		return URI{}, errURI
	}
	u := URI{Scheme: strings.ToLower(scheme)}
	if u.Scheme != "sip" && u.Scheme != "sips" {
		u.opaque = s
		return u, nil
	}
	if rest = strings.TrimPrefix(rest, "//"); strings.HasPrefix(rest, "//") { // some write it as on the web
		return URI{}, errURI // it could not be written again
	}
	// The first "@" ends the user part, which may hold any of ";?/" (RFC 3261
	// section 25.1).
	if user, tail, found := strings.Cut(rest, "@"); found {
		if u.User, rest = user, tail; user == "" {
			return URI{}, errURI
		}
	}
	rest, _, _ = strings.Cut(rest, "?")
	if i := strings.IndexByte(rest, ';'); i >= 0 {
		rest, u.Params = rest[:i], rest[i:]
	}
	if u.Host, u.Port, ok = splitHostPort(rest); !ok || strings.IndexByte(u.Params, '@') >= 0 {
		return URI{}, errURI
	}
	return u, nil
}

// splitHostPort reads "host", "host:port" or the same with "[IPv6 address]".
func splitHostPort(s string) (host string, port int, ok bool) {
	var rest string
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", 0, false
		}
		host, rest = s[1:end], s[end+1:]
		if a, err := netip.ParseAddr(host); err != nil || !a.Is6() {
			return "", 0, false
		}
	} else {
		end := len(s)
		if i := strings.IndexByte(s, ':'); i >= 0 {
			end = i
		}
		host, rest = s[:end], s[end:]
		if !isHostText(host) {
			return "", 0, false
		}
	}
	if rest != "" {
		n, err := strconv.ParseUint(strings.TrimPrefix(rest, ":"), 10, 16)
		if err != nil || rest[0] != ':' {
			return "", 0, false
		}
		port = int(n)
	}
	return host, port, host != ""
}

// isHostText allows what names of hosts and IPv4 addresses are made of.
func isHostText(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !isAlnum(c) && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

func isScheme(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if letter := c|0x20 >= 'a' && c|0x20 <= 'z'; !letter && (i == 0 || !isAlnum(c) && strings.IndexByte("+-.", c) < 0) {
			return false
		}
	}
	return s != ""
}

// isURIText excludes what would end a URI in a start line or between angle
// brackets.
func isURIText(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c == 0x7f || c == '<' || c == '>' || c == '"' {
			return false
		}
	}
	return true
}

// String writes the URI in its request form.
func (u URI) String() string {
	if u.opaque != "" {
		return u.opaque
	}
	if u.Host == "" {
		return ""
	}
	var b strings.Builder
	b.WriteString(u.Scheme)
	b.WriteByte(':')
	if u.User != "" {
		b.WriteString(u.User)
		b.WriteByte('@')
	}
	b.WriteString(bracket(u.Host))
	if u.Port != 0 {
		b.WriteByte(':')
		b.WriteString(strconv.Itoa(u.Port))
	}
	b.WriteString(u.Params)
	return b.String()
}

// AOR returns scheme, user and host alone: "sip:user@host".
func (u URI) AOR() string {
	if u.Scheme != "sip" && u.Scheme != "sips" {
		return u.String()
	}
	if u.User == "" {
		return "sip:" + bracket(u.Host)
	}
	return "sip:" + u.User + "@" + bracket(u.Host)
}

// Param returns a URI parameter; ok says whether it is there.
func (u URI) Param(name string) (value string, ok bool) { return param(u.Params, name) }

// Addr returns the host as an address where it is one.
func (u URI) Addr() (netip.Addr, bool) {
	a, err := netip.ParseAddr(u.Host)
	return a.Unmap(), err == nil
}

func bracket(host string) string {
	if strings.IndexByte(host, ':') >= 0 {
		return "[" + host + "]"
	}
	return host
}

// Address is the value of a From, To or Contact field: a display name, a URI
// and field parameters.
type Address struct {
	Display string // as it stands, quotes included
	URI     URI
	Params  string // ";tag=x" with the leading semicolon, or ""
}

// ParseAddress reads a name-addr or addr-spec (RFC 3261 section 20.10).
func ParseAddress(s string) (Address, error) {
	s = strings.TrimSpace(s)
	if hasControl(s) {
		return Address{}, errURI
	}
	open := -1
	for i, quoted := 0, false; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case !quoted && s[i] == '<':
			open = i
		}
		if open >= 0 {
			break
		}
	}
	if open < 0 {
		// addr-spec: parameters belong to the field, not to the URI.
		text, params, found := strings.Cut(s, ";")
		if found {
			params = ";" + params
		}
		u, err := ParseURI(strings.TrimSpace(text))
		return Address{URI: u, Params: params}, err
	}
	end := strings.IndexByte(s[open:], '>')
	if end < 0 {
		return Address{}, errURI
	}
	u, err := ParseURI(s[open+1 : open+end])
	if err != nil {
		return Address{}, err
	}
	params := strings.TrimSpace(s[open+end+1:])
	if params != "" && params[0] != ';' {
		return Address{}, errURI
	}
	return Address{Display: strings.TrimSpace(s[:open]), URI: u, Params: params}, nil
}

// String writes the address in its name-addr form.
func (a Address) String() string {
	d := a.Display
	if d != "" {
		d += " "
	}
	return d + "<" + a.URI.String() + ">" + a.Params
}

// Param returns a field parameter; ok says whether it is there.
func (a Address) Param(name string) (value string, ok bool) { return param(a.Params, name) }

// Tag returns the tag parameter, or "".
func (a Address) Tag() string { t, _ := param(a.Params, "tag"); return t }

// WithTag returns the address with this tag and no other parameter.
func (a Address) WithTag(tag string) Address {
	a.Params = ""
	if tag != "" {
		a.Params = ";tag=" + tag
	}
	return a
}

// param finds a parameter. A semicolon in quotes separates nothing, so that a
// quoted value cannot pose as another parameter.
func param(params, name string) (string, bool) {
	for params != "" {
		var one string
		one, params = cutParam(strings.TrimPrefix(params, ";"))
		k, v, _ := strings.Cut(one, "=")
		if strings.EqualFold(strings.TrimSpace(k), name) {
			return strings.TrimSpace(v), true
		}
	}
	return "", false
}

// cutParam cuts at the first semicolon that stands outside quotes.
func cutParam(params string) (one, rest string) {
	quoted := false
	for i := 0; i < len(params); i++ {
		switch c := params[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ';' && !quoted:
			return params[:i], params[i+1:]
		}
	}
	return params, ""
}
