package sip

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	sipgo "github.com/emiago/sipgo/sip"
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
	scheme = strings.ToLower(scheme)
	if !ok || rest == "" || scheme == "" || strings.ContainsAny(s, " \r\n\t<>\"") {
		return URI{}, errURI
	}
	if scheme != "sip" && scheme != "sips" {
		return URI{Scheme: scheme, opaque: s}, nil
	}
	var u sipgo.Uri
	if err := sipgo.ParseUri(scheme+":"+rest, &u); err != nil || u.Host == "" {
		return URI{}, errURI
	}
	out := URI{Scheme: scheme, User: u.User, Host: strings.Trim(u.Host, "[]"), Port: u.Port}
	if u.Password != "" {
		out.User += ":" + u.Password
	}
	if out.Port < 0 || out.Port > 65535 || strings.ContainsAny(out.Host, "/\\@;?") {
		return URI{}, errURI
	}
	// The host ends the part before parameters; sipgo's parsed form of these
	// loses their order, so they are taken from the text.
	tail := rest[strings.LastIndexByte(rest, '@')+1:]
	if q := strings.IndexByte(tail, '?'); q >= 0 {
		tail = tail[:q]
	}
	if p := strings.IndexByte(tail, ';'); p >= 0 {
		out.Params = tail[p:]
	}
	return out, nil
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
	return Address{Display: strings.TrimSpace(s[:open]), URI: u, Params: strings.TrimSpace(s[open+end+1:])}, nil
}

// String writes the address in its name-addr form.
func (a Address) String() string {
	d := a.Display
	if d != "" {
		d += " "
	}
	return d + "<" + a.URI.String() + ">" + a.Params
}

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

func param(params, name string) (string, bool) {
	for params != "" {
		params = strings.TrimPrefix(params, ";")
		one := params
		if i := strings.IndexByte(params, ';'); i >= 0 {
			one, params = params[:i], params[i:]
		} else {
			params = ""
		}
		k, v, _ := strings.Cut(strings.TrimSpace(one), "=")
		if strings.EqualFold(strings.TrimSpace(k), name) {
			return strings.TrimSpace(v), true
		}
	}
	return "", false
}
