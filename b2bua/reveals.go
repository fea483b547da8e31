package b2bua

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/sipward/sipward/sip"
)

// reveals says whether a text that came with a message would tell the far end of a
// leg outside what is inside: an address there, the other leg's Call-ID, or what
// the phone is.
func (c *Call) reveals(text string, m *sip.Message, to *Leg) bool {
	if to.side == policyInside || text == "" {
		return false
	}
	plain := text
	if u, err := url.PathUnescape(text); err == nil {
		plain = u
	}
	for _, name := range []string{"Call-ID", "User-Agent", "Server"} {
		if v := m.Get(name); len(v) > 3 && (strings.Contains(text, v) || strings.Contains(plain, v)) {
			return true
		}
	}
	hidden := func(a netip.Addr) bool { return c.p.hidden(a, to.l) }
	return holdsAddress(text, hidden) || holdsAddress(plain, hidden)
}

// phrase is the reason phrase of a response for the far end of the other leg; ""
// is the usual one.
func (c *Call) phrase(res *sip.Message, to *Leg) string {
	if c.reveals(res.Reason, res, to) {
		return ""
	}
	return res.Reason
}

// hidden says whether an address is no business of those outside: one of the
// inside, or any private one but the listener's own, by which they reach it.
func (p *Proxy) hidden(a netip.Addr, l *listener) bool {
	a = a.Unmap()
	if a == l.sip.Advertised().Addr() || a == l.sip.Local().Addr() {
		return false
	}
	return p.isInside(a) || a.IsPrivate() || a.IsLinkLocalUnicast()
}

// holdsAddress says whether an IP address for which is holds stands anywhere in
// a text, within other words as well.
func holdsAddress(text string, is func(netip.Addr) bool) bool {
	for i := range len(text) {
		if !addressOctet(text[i]) || i > 0 && isDigit(text[i]) && isDigit(text[i-1]) {
			continue // within a number no address begins
		}
		end := i
		for end < len(text) && end-i < maxAddressText && addressOctet(text[end]) {
			end++
		}
		for ; end-i >= 2; end-- {
			if end < len(text) && isDigit(text[end]) && isDigit(text[end-1]) {
				continue // nor does one end there
			}
			if a, err := netip.ParseAddr(text[i:end]); err == nil && is(a.Unmap()) {
				return true
			}
		}
	}
	return false
}

// maxAddressText is the length of the longest text of an IPv6 address.
const maxAddressText = 45

func addressOctet(c byte) bool {
	return c == '.' || c == ':' || isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
