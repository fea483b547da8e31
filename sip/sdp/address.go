package sdp

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

func itoa(n int) string { return strconv.Itoa(n) }

// family is the addrtype of an address (RFC 8866 §5.7).
func family(a netip.Addr) string {
	if a.Is4() {
		return "IP4"
	}
	return "IP6"
}

// nowhere is the unspecified address in the family of a.
func nowhere(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// plain is the address itself: no zone, and IPv4 where it was mapped into IPv6.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// readAddr reads an address as phones write it: with a TTL, in brackets, with
// leading zeros.
func readAddr(s string) (netip.Addr, bool) {
	s = strings.Trim(trimTTL(s), "[]")
	if a, n := scanIPv4(s); n > 0 && n == len(s) {
		return a, true
	}
	a, err := netip.ParseAddr(s)
	return plain(a), err == nil
}

// held says that an address puts its stream on hold.
func held(addr string) bool {
	if a, ok := readAddr(addr); ok {
		return a.IsUnspecified()
	}
	name := strings.ToLower(strings.TrimSuffix(addr, "."))
	return name == "invalid" || strings.HasSuffix(name, ".invalid")
}

// hidden is what must not stand in the rewritten description, and what stands
// there instead.
type hidden struct {
	addrs []netip.Addr        // sorted before use
	names map[string]struct{} // lower case, with a dot
	nets  []netip.Prefix
	own   netip.Addr // never hidden
	text  string     // own, written out
	six   bool       // an IPv6 address may have to be found
}

// add takes in an address or host name as a line named it.
func (h *hidden) add(s string) {
	a, ok := readAddr(s)
	switch {
	case !ok:
		if strings.Contains(s, ".") && !held(s) {
			if h.names == nil {
				h.names = make(map[string]struct{})
			}
			h.names[strings.ToLower(strings.Trim(trimTTL(s), "."))] = struct{}{}
		}
	case !a.IsUnspecified() && a != h.own && (len(h.addrs) == 0 || h.addrs[len(h.addrs)-1] != a):
		h.addrs = append(h.addrs, a)
	}
}

// addAll takes in every field of a value that is an address.
func (h *hidden) addAll(value string) {
	for _, f := range fieldSpans(value, len(value)) {
		if s := value[f.from:f.to]; strings.ContainsAny(s, ".:") {
			if _, ok := readAddr(s); ok {
				h.add(s)
			}
		}
	}
}

func (h *hidden) ready() {
	slices.SortFunc(h.addrs, netip.Addr.Compare)
	h.addrs = slices.Compact(h.addrs)
	for _, a := range h.addrs {
		h.six = h.six || a.Is6()
	}
	for _, n := range h.nets {
		h.six = h.six || n.Addr().Is6()
	}
}

func (h *hidden) holds(a netip.Addr) bool {
	a = plain(a)
	if a == h.own || a.IsUnspecified() {
		return false
	}
	if _, ok := slices.BinarySearchFunc(h.addrs, a, netip.Addr.Compare); ok {
		return true
	}
	return slices.ContainsFunc(h.nets, func(n netip.Prefix) bool { return n.Contains(a) })
}

// scrub replaces every hidden address literal in s.
func (h *hidden) scrub(s string) string {
	if !mayHoldAddr(s, h.six) {
		return s
	}
	var b strings.Builder
	done := 0 // what of s is already in b
	for i := 0; i < len(s); {
		from, to := h.find(s, i)
		if to == 0 {
			i++
			continue
		}
		from = max(from, done)
		from, to, text := h.bracketed(s, from, to)
		h.writeBefore(&b, s[done:from])
		b.WriteString(text)
		i, done = to, to
	}
	if done == 0 {
		return s
	}
	b.WriteString(s[done:])
	return b.String()
}

// bracketed is what to write for the address s[from:to], and what of s that
// replaces: IPv6 needs brackets within a URI or before a port, IPv4 has none.
func (h *hidden) bracketed(s string, from, to int) (int, int, string) {
	var before, behind byte
	if from > 0 {
		before = s[from-1]
	}
	if to < len(s) {
		behind = s[to]
	}
	switch {
	case before == '[' && behind == ']':
		if h.own.Is4() {
			return from - 1, to + 1, h.text
		}
	case h.own.Is6() && (before == '/' || before == '@' || behind == '/' || behind == ':'):
		return from, to, "[" + h.text + "]"
	}
	return from, to, h.text
}

// mayHoldAddr is a quick look that spares most lines the search.
func mayHoldAddr(s string, six bool) bool {
	dots, colons := 0, 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '.':
			dots++
		case ':':
			colons++
		}
	}
	return dots >= 3 || six && colons >= 2
}

// find looks for a hidden address that begins at s[i]; to is 0 where there is
// none. from lies before i where the IPv4 address is the end of a mapped one.
func (h *hidden) find(s string, i int) (from, to int) {
	if h.six && (isHex(s[i]) || s[i] == ':') && (i == 0 || !isHex(s[i-1])) {
		if n := h.findIPv6(s[i:]); n > 0 {
			return i, i + n
		}
	}
	if !isDigit(s[i]) || i > 0 && isDigit(s[i-1]) {
		return 0, 0
	}
	a, n := scanIPv4(s[i:])
	if n == 0 || !h.holds(a) {
		return 0, 0
	}
	const mapped = "::ffff:"
	if p := i - len(mapped); p >= 0 && strings.EqualFold(s[p:i], mapped) {
		return p, i + n
	}
	return i, i + n
}

// findIPv6 is the length of the hidden IPv6 address that s begins with, its
// zone included. The longest reading goes first; shorter ones follow because a
// port or a sentence may stand behind the address.
func (h *hidden) findIPv6(s string) int {
	const longest = len("0000:0000:0000:0000:0000:0000:255.255.255.255")
	end := 0
	for colons := 0; end < len(s) && end < longest && (isHex(s[end]) || s[end] == ':' || s[end] == '.'); end++ {
		if s[end] == ':' {
			if colons++; colons > 8 {
				break
			}
		}
	}
	for e := end; e > 1; e-- {
		if e < len(s) && isHex(s[e]) && isHex(s[e-1]) {
			continue // would cut a group in two
		}
		if !countsAsIPv6(s[:e]) {
			continue
		}
		a, err := netip.ParseAddr(s[:e])
		if err != nil || !h.holds(a) {
			continue
		}
		if e+1 < len(s) && s[e] == '%' && isNameByte(s[e+1]) {
			for e++; e < len(s) && isNameByte(s[e]); e++ {
			}
		}
		return e
	}
	return 0
}

// countsAsIPv6 spares most strings the parser, whose errors cost memory: without
// a "::" an address has all its colons.
func countsAsIPv6(s string) bool {
	colons := strings.Count(s, ":")
	switch strings.Count(s, "::") {
	case 0:
		return colons == 7 || colons == 6 && strings.IndexByte(s, '.') > 0
	case 1:
		return true
	}
	return false
}

// writeBefore writes what stands before a replaced address; an addrtype right
// before it becomes that of the new address.
func (h *hidden) writeBefore(b *strings.Builder, s string) {
	k := len(strings.TrimRight(s, " \t"))
	if k < len(s) && k >= 3 && isFamily(s[k-3:k]) {
		b.WriteString(s[:k-1])
		b.WriteByte(family(h.own)[2])
		s = s[k:]
	}
	b.WriteString(s)
}

// scrubNames replaces every hidden host name in s.
func (h *hidden) scrubNames(s string) string {
	if len(h.names) == 0 {
		return s
	}
	var b strings.Builder
	done := 0
	for i := 0; i < len(s); {
		j := i
		for j < len(s) && isNameByte(s[j]) {
			j++
		}
		if j > i {
			word := strings.TrimRight(s[i:j], ".")
			if _, ok := h.names[strings.ToLower(word)]; ok {
				h.writeBefore(&b, s[done:i])
				b.WriteString(h.text)
				done = i + len(word)
			}
		}
		i = j + 1
	}
	if done == 0 {
		return s
	}
	b.WriteString(s[done:])
	return b.String()
}

// isNameByte says that c can be within a host name.
func isNameByte(c byte) bool {
	return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '.' || c == '-' || c == '_'
}

// scanIPv4 reads the dotted address that s begins with and its length, 0 where
// there is none. Leading zeros count as decimal, as they do to phones.
func scanIPv4(s string) (netip.Addr, int) {
	var a [4]byte
	i := 0
	for g := range a {
		if g > 0 {
			if i >= len(s) || s[i] != '.' {
				return netip.Addr{}, 0
			}
			i++
		}
		from, n := i, 0
		for i+1 < len(s) && s[i] == '0' && isDigit(s[i+1]) {
			i++ // any number of them
		}
		for first := i; i < len(s) && i < first+3 && isDigit(s[i]); {
			n = 10*n + int(s[i]-'0')
			i++
		}
		if i == from || n > 255 || i < len(s) && isDigit(s[i]) {
			return netip.Addr{}, 0
		}
		a[g] = byte(n)
	}
	return netip.AddrFrom4(a), i
}
