package configs

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
)

// Warnings are about what the file says in vain: routes, aliases and rules that can
// never match, because an earlier one takes all that they are for or because
// nothing of the kind ever comes. They are in the order of their places.
func (c *Config) Warnings() Errors {
	w := &warnings{c: c}
	w.aliases()
	w.routes()
	w.rules()
	w.trunks()
	w.found.Sort()
	return w.found
}

type warnings struct {
	c     *Config
	found Errors
}

func (w *warnings) warn(key, format string, args ...any) {
	p := w.c.Problem(key, format, args...)
	p.Warning = true
	w.found = append(w.found, p)
}

// line says where a key stands, for messages about another one.
func (w *warnings) line(key string) string {
	if at := placeOf(w.c.places, key); at.line > 0 {
		return fmt.Sprintf(" (line %d)", at.line)
	}
	return ""
}

func (w *warnings) aliases() {
	for j, b := range w.c.AliasList {
		for i, a := range w.c.AliasList[:j] {
			if covers(a.Match, b.Match) {
				w.warn(at("aliases", j, "number"), "never used: aliases[%d]%s is for all of %s already", i, w.line(at("aliases", i, "")), show(b.Match.String()))
				break
			}
		}
	}
}

func (w *warnings) routes() {
	for j, b := range w.c.StaticRoutes {
		from := []string{b.From}
		if b.From == "" {
			from = from[:0]
			for _, side := range []string{route.Inside, route.Outside} {
				if w.c.listens(policy.Side(side)) {
					from = append(from, side)
				}
			}
		}
		earlier := -1
		for _, side := range from {
			i := w.covering(j, side)
			if i < 0 {
				earlier = -1
				break
			}
			earlier = max(earlier, i)
		}
		if earlier >= 0 {
			w.warn(at("routes", j, "match"), "never used: %s in routes[%d]%s takes these calls first", show(w.c.StaticRoutes[earlier].Match.String()), earlier, w.line(at("routes", earlier, "")))
		}
	}
}

// covering finds the first route before j that takes all of its calls from a side.
func (w *warnings) covering(j int, side string) int {
	for i, a := range w.c.StaticRoutes[:j] {
		if (a.From == "" || a.From == side) && covers(a.Match, w.c.StaticRoutes[j].Match) {
			return i
		}
	}
	return -1
}

func (c *Config) listens(side policy.Side) bool {
	for _, l := range c.Listeners {
		if l.Side == side {
			return true
		}
	}
	return false
}

func (w *warnings) rules() {
	for j, b := range w.c.Rules.List {
		if w.nobody(j, b) {
			continue
		}
		for i, a := range w.c.Rules.List[:j] {
			if ruleCovers(a, b) {
				w.warn(at("policy.rules", j, ""), "never used: rule %s%s decides these calls first", show(a.Name), w.line(at("policy.rules", i, "")))
				break
			}
		}
	}
}

// nobody finds parties that there are not: of a side without a listener, or callers
// of a network from which no inside listener takes calls.
func (w *warnings) nobody(j int, r policy.Rule) bool {
	for _, p := range []struct {
		key string
		policy.Match
	}{{"from", r.From}, {"to", r.To}} {
		if p.Side != "" && !w.c.listens(p.Side) {
			w.warn(at("policy.rules", j, p.key+".side"), "never used: there is no %s listener", p.Side)
			return true
		}
	}
	if r.From.Side != policy.Inside || !r.From.Network.IsValid() {
		return false
	}
	for _, l := range w.c.Listeners {
		for _, n := range l.Networks {
			if l.Side == policy.Inside && n.Overlaps(r.From.Network) {
				return false
			}
		}
	}
	w.warn(at("policy.rules", j, "from.network"), "never used: no inside listener has %s among its networks", r.From.Network)
	return true
}

// ruleCovers reports whether every call that b is for is one that a is for. What
// both leave open about the side differs for calls from outside to outside, which
// only rules that name both sides decide.
func ruleCovers(a, b policy.Rule) bool {
	through := func(r policy.Rule) bool { return r.From.Side == policy.Outside && r.To.Side == policy.Outside }
	if through(b) && !through(a) {
		return false
	}
	return matchCovers(a.From, b.From) && matchCovers(a.To, b.To)
}

func matchCovers(a, b policy.Match) bool {
	if a.Side != "" && a.Side != b.Side {
		return false
	}
	if a.Network.IsValid() && (!b.Network.IsValid() || !contains(a.Network, b.Network)) {
		return false
	}
	if a.Address == nil {
		return true
	}
	p, ok := a.Address.(route.Pattern)
	q, ok2 := b.Address.(route.Pattern)
	return ok && ok2 && covers(p, q)
}

func contains(a, b netip.Prefix) bool { return a.Bits() <= b.Bits() && a.Contains(b.Addr()) }

// covers reports whether a matches every address that b matches. It asks a about
// addresses made of b with each star replaced by a letter that a does not hold: only
// a star of a can take such a letter, and then it takes anything else as well.
//
// Where no such address can be written, since b has a star within an IPv6 address
// or a holds every letter, only the same pattern is said to cover it.
func covers(a, b route.Pattern) bool {
	if a.String() == b.String() {
		return true
	}
	letter, ok := strange(a.String())
	if !ok {
		return false
	}
	asked := false
	for _, uri := range samples(b.String(), letter) {
		if ok, err := b.Match(uri); err != nil || !ok {
			continue // b is not for addresses of this scheme
		}
		if ok, err := a.Match(uri); err != nil || !ok {
			return false
		}
		asked = true
	}
	return asked
}

// strange returns a letter or digit that does not occur in a pattern.
func strange(pattern string) (letter string, ok bool) {
	held := strings.ToLower(pattern)
	if plain, err := url.PathUnescape(pattern); err == nil {
		held += strings.ToLower(plain)
	} else if strings.Contains(pattern, "%") {
		return "", false
	}
	for _, c := range "qxzjvkwybfghmpucdtlnrosiaeq9876543210" {
		if !strings.ContainsRune(held, c) {
			return string(c), true
		}
	}
	return "", false
}

// samples makes an address of a pattern for each scheme, with a letter for every star.
func samples(pattern, letter string) []string {
	scheme, rest, ok := strings.Cut(pattern, ":")
	if scheme = strings.ToLower(scheme); !ok || scheme != "sip" && scheme != "sips" && scheme != "tel" {
		scheme, rest = "", pattern
	}
	user, host, both := strings.Cut(rest, "@")
	switch {
	case both || scheme == "tel":
	case strings.HasPrefix(rest, "[") || strings.ContainsAny(rest, ".:"):
		user, host = "*", rest
	default:
		host = "*"
	}
	user, host = strings.ReplaceAll(user, "*", letter), strings.ReplaceAll(host, "*", letter)
	switch scheme {
	case "tel":
		return []string{"tel:" + user}
	case "sips":
		return []string{"sips:" + user + "@" + host}
	case "sip":
		return []string{"sip:" + user + "@" + host, "sips:" + user + "@" + host}
	}
	return []string{"sip:" + user + "@" + host, "sips:" + user + "@" + host, "tel:" + user}
}
