package route

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// maxURI bounds an address, in octets. Request-URIs of real calls are below 300.
const maxURI = 2048

// maxHost bounds a host name, in octets (RFC 1035 section 2.3.4).
const maxHost = 255

// URI is what routing reads of a SIP, SIPS (RFC 3261 section 19.1) or tel
// (RFC 3966) address. The rest of it, parameters other than transport and
// headers, is passed over.
type URI struct {
	Scheme    string // sip, sips or tel
	User      string // as written, without a password; "" if none. tel: the number without its visual separators
	Host      string // lower case, without brackets or a final dot; an IP address in its canonical form; "" for tel
	Port      int    // 0 if none
	Transport string // value of the transport parameter in lower case, "" if none
}

// ParseURI reads an address such as sip:bob@b.example:5070;transport=tcp. It is
// strict where a lenient reader could see another user or host than the next
// hop does: a second @, control characters, white space and hosts with octets
// outside letters, digits, dot, hyphen and underscore are errors.
func ParseURI(s string) (URI, error) {
	u, err := parseURI(s)
	if err != nil {
		return URI{}, fmt.Errorf("address %s: %w", quote(s), err)
	}
	return u, nil
}

func parseURI(s string) (URI, error) {
	if len(s) > maxURI {
		return URI{}, fmt.Errorf("longer than %d octets", maxURI)
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c <= ' ' || c == 0x7f || c == '<' || c == '>' || c == '"' || c == '\\':
			return URI{}, fmt.Errorf("holds %q, which no address may", c)
		}
	}
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok {
		return URI{}, errors.New("begins with none of sip:, sips:, tel:")
	}
	u := URI{Scheme: strings.ToLower(scheme)}
	switch u.Scheme {
	case "tel":
		number, _, _ := strings.Cut(rest, ";")
		u.User = visualSeparators.Replace(number)
		if u.User == "" || strings.Contains(number, "@") {
			return URI{}, errors.New("is not a telephone number")
		}
		return u, nil
	case "sip", "sips":
	default:
		return URI{}, errors.New("begins with none of sip:, sips:, tel:")
	}
	switch strings.Count(rest, "@") {
	case 0:
	case 1:
		var userinfo string
		userinfo, rest, _ = strings.Cut(rest, "@")
		u.User, _, _ = strings.Cut(userinfo, ":")
		if u.User == "" {
			return URI{}, errors.New("has no user before the @")
		}
	default:
		return URI{}, errors.New("holds more than one @")
	}
	rest, _, _ = strings.Cut(rest, "?")
	hostport, params, _ := strings.Cut(rest, ";")
	host, port, err := splitHostPort(hostport)
	if err != nil {
		return URI{}, err
	}
	u.Host, u.Port = host, port
	u.Transport, err = transportOf(params)
	return u, err
}

var visualSeparators = strings.NewReplacer("-", "", ".", "", "(", "", ")", "")

// splitHostPort reads host, host:port, [v6] or [v6]:port; no port is 0.
func splitHostPort(s string) (host string, port int, err error) {
	host, rest := s, ""
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", 0, errors.New("has a [ without ]")
		}
		host, rest = s[:end+1], s[end+1:]
	} else if i := strings.IndexByte(s, ':'); i >= 0 {
		host, rest = s[:i], s[i:]
	}
	if host, err = canonicalHost(host); err != nil {
		return "", 0, err
	}
	if rest == "" {
		return host, 0, nil
	}
	port, ok := parsePort(strings.TrimPrefix(rest, ":"))
	if !ok || rest[0] != ':' {
		return "", 0, errors.New("has no port from 1 to 65535 behind the host")
	}
	return host, port, nil
}

func parsePort(s string) (int, bool) {
	if len(s) == 0 || len(s) > 5 || s[0] == '+' || s[0] == '-' {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 1 && n <= 65535
}

// canonicalHost gives every spelling of a host the same form.
func canonicalHost(s string) (string, error) {
	if strings.HasPrefix(s, "[") {
		addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
		if err != nil || !addr.Is6() || addr.Zone() != "" || !strings.HasSuffix(s, "]") {
			return "", fmt.Errorf("%s is not an IPv6 address in brackets", quote(s))
		}
		return addr.Unmap().String(), nil
	}
	s = strings.TrimSuffix(s, ".")
	if s == "" {
		return "", errors.New("has no host")
	}
	if len(s) > maxHost {
		return "", fmt.Errorf("has a host longer than %d octets", maxHost)
	}
	for i := range len(s) {
		if !hostOctet(s[i]) {
			return "", fmt.Errorf("has a host with %q in it", s[i])
		}
	}
	if strings.HasPrefix(s, ".") || strings.HasSuffix(s, ".") || strings.Contains(s, "..") {
		return "", errors.New("has a host with an empty label")
	}
	return strings.ToLower(s), nil
}

func hostOctet(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_'
}

// transportOf finds the transport parameter. Two of them are an error: the next
// hop might take the other one.
func transportOf(params string) (string, error) {
	found := ""
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(p, "=")
		if !strings.EqualFold(name, "transport") {
			continue
		}
		if found != "" || value == "" {
			return "", errors.New("has no single transport parameter")
		}
		found = strings.ToLower(value)
	}
	return found, nil
}

// quote shows what an outsider sent without its control characters and cut to
// a length that fits a log line.
func quote(s string) string {
	if len(s) > 80 {
		return strconv.QuoteToASCII(s[:80]) + "..."
	}
	return strconv.QuoteToASCII(s)
}
