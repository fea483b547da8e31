package sdp

import (
	"slices"
	"strings"
)

// DropSDES removes every a=crypto and k= line: they hold keys in clear.
func (s *Session) DropSDES() {
	s.put(slices.DeleteFunc(s.lines(), func(l line) bool {
		return l.kind == 'k' || l.kind == 'a' && strings.HasPrefix(attributeKey(l.value()), "crypto")
	}))
}

// drops says that an attribute is one of those that never reach the other leg.
// key is the attribute's, section the index of its m-line or -1.
func (w *rewriter) drops(l line, key string, section int) bool {
	switch key {
	case "group":
		_, v := l.attribute()
		f := strings.Fields(v)
		return len(f) > 0 && strings.EqualFold(f[0], "BUNDLE")
	case "ssrc", "ssrc-group", "cname":
		return w.DropSources
	case "bundle-only":
		return true
	case "pcfg", "acfg":
		return w.dropCfg
	case "acap": // a=acap:<number> <attribute>
		_, v := l.attribute()
		f := strings.Fields(v)
		if len(f) < 2 {
			return false
		}
		inner := attributeKey(f[1])
		return namesAddresses(inner) || w.DropKeying && w.isKeying(inner, section)
	}
	return namesAddresses(key) || w.DropKeying && w.isKeying(key, section)
}

// namesAddresses says that an attribute holds addresses that the peer would
// try beside, or instead of, the one in c=: ICE and what came before it, and
// the like.
func namesAddresses(key string) bool {
	switch key {
	case "candidate", "remote-candidates", "remote-candidate", "end-of-candidates", // RFC 8839, RFC 8840
		"alt",                              // ICE as first drafted
		"altc",                             // RFC 6947
		"source-filter",                    // RFC 4570
		"visited-realm", "secondary-realm", // 3GPP TS 29.079
		"path", // MSRP, RFC 4975
		"maddr":
		return true
	}
	return strings.HasPrefix(key, "ice-") || strings.HasPrefix(key, "x-candidate")
}

// isKeying says that an attribute takes part in another way to key SRTP.
func (w *rewriter) isKeying(key string, section int) bool {
	switch key {
	case "key-mgmt", // MIKEY, RFC 4567
		"fingerprint", "tls-id", // DTLS, RFC 8122, RFC 8842
		"identity",   // RFC 8827, signs fingerprints
		"zrtp-hash",  // RFC 6189
		"encryption": // snom: whether SDES is meant
		return true
	case "setup":
		return section < 0 || !w.plainSetup(section)
	}
	return strings.HasPrefix(key, "crypto") || strings.HasPrefix(key, "dtls-") // SDES, RFC 4568
}

// plainSetup says that a=setup in this section tells who opens a connection
// that is not encrypted (RFC 4145, RFC 8856): T.38 over TCP, BFCP.
func (w *rewriter) plainSetup(section int) bool {
	m := w.media[section]
	return !m.RTP && !strings.Contains(strings.ToUpper(m.Proto), "TLS")
}
