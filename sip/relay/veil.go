package relay

import (
	"net/netip"
	"strings"

	"github.com/sipward/sipward/sip"
)

// Veil takes addresses that are nobody's business out of what leaves: in header
// fields, and in the bodies that programs write. What a person wrote, the body
// of a MESSAGE, goes as it is. A nil Veil changes nothing.
type Veil struct {
	Hide func(netip.Addr) bool // the addresses
	By   netip.Addr            // what stands there instead
}

// body returns the body as it may leave; ok is false where it cannot be looked
// into.
func (v *Veil) body(m *sip.Message, method string) (body []byte, ok bool) {
	if v == nil || len(m.Body) == 0 || method == "MESSAGE" {
		return m.Body, true
	}
	for _, coding := range m.Values("Content-Encoding") {
		if !strings.EqualFold(coding, "identity") {
			return nil, false
		}
	}
	return []byte(v.text(string(m.Body))), true
}

// text replaces each hidden address that stands in s.
func (v *Veil) text(s string) string {
	if v == nil {
		return s
	}
	var b strings.Builder
	done := 0 // s[:done] is in b
	for i := 0; i < len(s); {
		if !addressOctet(s[i]) {
			i++
			continue
		}
		end := i
		for end < len(s) && addressOctet(s[end]) {
			end++
		}
		v.word(s, i, end, &done, &b)
		i = end
	}
	if done == 0 {
		return s
	}
	b.WriteString(s[done:])
	return b.String()
}

// addressOctet says whether an octet may stand in an address.
func addressOctet(c byte) bool {
	return c == '.' || c == ':' || c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// word replaces the hidden addresses within s[i:end], a run of octets of which
// addresses are made. The run may hold more: "c:10.0.0.1:5060" in what follows
// "tel" or "sip:a", so the longest address at each place is taken.
func (v *Veil) word(s string, i, end int, done *int, b *strings.Builder) {
	for i < end {
		if i > 0 && isDigit(s[i]) && isDigit(s[i-1]) {
			i++ // within a number: no address begins here
			continue
		}
		n := v.longest(s[i:end])
		if n == 0 {
			i++
			continue
		}
		by := v.By.String()
		bracketed := i > 0 && s[i-1] == '[' && i+n < len(s) && s[i+n] == ']'
		from, to := i, i+n
		switch {
		case bracketed && v.By.Is4():
			from, to = i-1, i+n+1
		case !bracketed && v.By.Is6():
			by = "[" + by + "]"
		}
		b.WriteString(s[*done:from])
		b.WriteString(by)
		*done = to
		i += n
	}
}

// longest returns the length of the longest hidden address that s begins with,
// or 0. A dotted one ends where its digits do.
func (v *Veil) longest(s string) int {
	if len(s) > 45 {
		s = s[:45] // the longest text of an IPv6 address
	}
	for n := len(s); n >= 2; n-- {
		if n < len(s) && isDigit(s[n]) && isDigit(s[n-1]) {
			continue
		}
		if a, err := netip.ParseAddr(s[:n]); err == nil && v.Hide(a.Unmap()) {
			return n
		}
	}
	return 0
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
