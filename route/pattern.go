package route

import (
	"errors"
	"fmt"
	"strings"
)

// maxPattern bounds a pattern, in octets.
const maxPattern = 512

// Pattern matches addresses; the package comment describes its language. The
// zero value matches nothing.
type Pattern struct {
	text       string
	scheme     string // "", sip, sips or tel
	user, host glob
}

// ParsePattern reads a pattern. An error says what is wrong with it and what to
// write instead.
func ParsePattern(s string) (Pattern, error) {
	p, err := parsePattern(s)
	if err != nil {
		return Pattern{}, fmt.Errorf("pattern %s: %w", quote(s), err)
	}
	p.text = s
	return p, nil
}

// MustPattern is [ParsePattern] for patterns that stand in the source; it
// panics where ParsePattern returns an error.
func MustPattern(s string) Pattern {
	p, err := ParsePattern(s)
	if err != nil {
		panic(err)
	}
	return p
}

func parsePattern(s string) (Pattern, error) {
	var p Pattern
	if len(s) > maxPattern {
		return p, fmt.Errorf("longer than %d octets", maxPattern)
	}
	rest := s
	for _, scheme := range []string{"sip", "sips", "tel"} {
		if len(s) > len(scheme) && s[len(scheme)] == ':' && strings.EqualFold(s[:len(scheme)], scheme) {
			p.scheme, rest = scheme, s[len(scheme)+1:]
		}
	}
	user, host, both := strings.Cut(rest, "@")
	switch {
	case rest == "":
		return p, errors.New("is empty; write * for every address")
	case strings.Contains(host, "@"):
		return p, errors.New("holds more than one @")
	case both && user == "":
		return p, errors.New("has no user before the @; write *@ for every user")
	case both && host == "":
		return p, errors.New("has no domain behind the @; write @* for every domain")
	case p.scheme == "tel" && both:
		return p, errors.New("tel: is followed by a number only, such as tel:+49*")
	case !both && p.scheme != "tel" && looksLikeDomain(rest):
		user, host = "*", rest
	case !both:
		host = "*"
	}
	if p.scheme == "tel" {
		user = visualSeparators.Replace(user)
		if user == "" {
			return p, errors.New("has no number behind tel:")
		}
	}
	var err error
	if p.user, err = userGlob(user); err != nil {
		return p, err
	}
	p.host, err = hostGlob(host)
	return p, err
}

// looksLikeDomain tells b.example and [::1] from bob and +49*. What holds a
// colon is taken for a domain with a port, which hostGlob then refuses.
func looksLikeDomain(s string) bool {
	return strings.HasPrefix(s, "[") || strings.ContainsAny(s, ".:")
}

func userGlob(s string) (glob, error) {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f || c == '<' || c == '>' || c == '"' || c == '\\' || c == ':' {
			return glob{}, fmt.Errorf("has %q in the user", c)
		}
	}
	g := newGlob(s)
	for i := range g.parts {
		g.parts[i] = unescape(g.parts[i])
	}
	return g, nil
}

func hostGlob(s string) (glob, error) {
	if !strings.Contains(s, "*") {
		host, port, err := splitHostPort(s)
		if err != nil {
			return glob{}, fmt.Errorf("%w; a domain stands there as in *@b.example or *@[2001:db8::1]", err)
		}
		if port != 0 {
			return glob{}, errors.New("ports play no part in a pattern; leave it out")
		}
		return newGlob(host), nil
	}
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		s = s[1 : len(s)-1]
		for i := range len(s) {
			if c := s[i]; !hostOctet(c) && c != ':' && c != '*' {
				return glob{}, fmt.Errorf("has %q in the domain", c)
			}
		}
		return newGlob(strings.ToLower(s)), nil
	}
	s = strings.TrimSuffix(s, ".")
	for i := range len(s) {
		if c := s[i]; !hostOctet(c) && c != '*' {
			return glob{}, fmt.Errorf("has %q in the domain; ports and parameters play no part in a pattern", c)
		}
	}
	return newGlob(strings.ToLower(s)), nil
}

// String returns the pattern as it was written.
func (p Pattern) String() string { return p.text }

// Match reports whether an address fits the pattern. The error says that the
// address cannot be read ([ParseURI]); it is never a match.
func (p Pattern) Match(uri string) (bool, error) {
	u, err := ParseURI(uri)
	if err != nil {
		return false, err
	}
	return p.MatchURI(u), nil
}

// MatchURI is [Pattern.Match] for an address that was read before.
func (p Pattern) MatchURI(u URI) bool {
	switch p.scheme {
	case "":
	case "sip":
		if u.Scheme == "tel" {
			return false
		}
	default:
		if u.Scheme != p.scheme {
			return false
		}
	}
	return p.user.match(unescape(u.User)) && p.host.match(u.Host)
}

// glob is a text with stars in it, cut at the stars: the first part must begin
// the subject, the last end it, and the others follow one another between.
type glob struct{ parts []string }

func newGlob(s string) glob { return glob{strings.Split(s, "*")} }

// match takes the leftmost place for every part, which is never worse than a
// later one, and so needs no second try.
func (g glob) match(s string) bool {
	switch len(g.parts) {
	case 0:
		return false
	case 1:
		return s == g.parts[0]
	}
	first, last := g.parts[0], g.parts[len(g.parts)-1]
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, part := range g.parts[1 : len(g.parts)-1] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return true
}

// unescape turns %HH into the octet it stands for and leaves what is not two
// hex digits behind a percent sign as it is.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, lo := hexDigit(s[i+1]), hexDigit(s[i+2])
			if hi >= 0 && lo >= 0 {
				b = append(b, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
