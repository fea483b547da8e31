package route

import (
	"errors"
	"fmt"
	"strings"
)

// Rewrite writes the numbers that match in another way: 0049* as +49*. The star
// of To stands for what the star of Match stood for.
type Rewrite struct {
	Match string // a number or user, with one star at most
	To    string // the same; without a star, it replaces the whole number
}

// Rewrites is an ordered list of ways to write numbers, of which the first that
// matches counts, once. It does not change once made and may be used by several
// goroutines. A nil one matches nothing.
type Rewrites struct{ rules []rewrite }

type rewrite struct{ match, to glob }

// NewRewrites checks the rules and keeps them in their order. The error names the
// first faulty one and says what to write instead.
func NewRewrites(rules []Rewrite) (*Rewrites, error) {
	if len(rules) == 0 {
		return nil, nil
	}
	out := &Rewrites{}
	for _, r := range rules {
		match, err := numberGlob(r.Match)
		if err != nil {
			return nil, fmt.Errorf("match %s: %w", quote(r.Match), err)
		}
		to, err := numberGlob(r.To)
		if err != nil {
			return nil, fmt.Errorf("to %s: %w", quote(r.To), err)
		}
		if len(to.parts) > len(match.parts) {
			return nil, fmt.Errorf("to %s: has a star, and match %s has none that it could stand for", quote(r.To), quote(r.Match))
		}
		out.rules = append(out.rules, rewrite{match, to})
	}
	return out, nil
}

// numberGlob reads the user part of an address, or its beginning and end around a
// star.
func numberGlob(s string) (glob, error) {
	switch {
	case s == "":
		return glob{}, errors.New("is empty; write a number, or * for every number")
	case len(s) > maxPattern:
		return glob{}, fmt.Errorf("longer than %d octets", maxPattern)
	case strings.Count(s, "*") > 1:
		return glob{}, errors.New("has more than one star")
	}
	for i := range len(s) {
		if c := s[i]; !numberOctet(c) {
			return glob{}, fmt.Errorf("has %q; a number or user stands here without domain, such as +49*", c)
		}
	}
	return newGlob(s), nil
}

// numberOctet says what the user part of an address holds unescaped (RFC 3261
// section 25.1), but for what would read as its parameters or a password.
func numberOctet(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || strings.IndexByte("+*-_.!~'()&=$,", c) >= 0
}

// Apply returns a number as the first rule that matches writes it; ok is false
// where none does, and the number then stays as it is.
func (r *Rewrites) Apply(number string) (written string, ok bool) {
	if r == nil {
		return number, false
	}
	for _, rule := range r.rules {
		if !rule.match.match(number) {
			continue
		}
		first, last := rule.match.parts[0], ""
		if len(rule.match.parts) > 1 {
			last = rule.match.parts[1]
		}
		return strings.Join(rule.to.parts, number[len(first):len(number)-len(last)]), true
	}
	return number, false
}
