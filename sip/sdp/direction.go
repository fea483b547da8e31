package sdp

import (
	"slices"
	"strconv"
)

// Resume takes every hold out of a description: the directions (RFC 3264 section
// 5.1), whose absence means sendrecv. So do the addresses of
// a hold the old way (section 8.4); only after Apply is there one again.
func (s *Session) Resume() {
	lines := s.lines()
	for i, l := range lines {
		if addr, ok := readConnection(l.value()); l.kind == 'c' && ok && held(addr) {
			lines[i] = l.with("IN IP4 127.0.0.1") // any that is no hold: Apply puts the one that is meant
		}
	}
	s.put(slices.DeleteFunc(lines, func(l line) bool {
		if l.kind != 'a' {
			return false
		}
		switch attributeKey(l.value()) {
		case "sendrecv", "sendonly", "recvonly", "inactive":
			return true
		}
		return false
	}))
}

// Origin returns the user, the session id and the version of the o= line; ok is
// false where it has not all of them.
func (s *Session) Origin() (user, id, version string, ok bool) {
	for _, l := range s.lines() {
		if l.kind != 'o' {
			continue
		}
		v := l.value()
		f, n := originFields(v)
		if n < 3 {
			return "", "", "", false
		}
		word := func(sp span) string { return v[sp.from:sp.to] }
		return v[f[0].from:f[n-3].to], word(f[n-2]), word(f[n-1]), true
	}
	return "", "", "", false
}

// After returns the version that follows one of an o= line: larger by one, as RFC
// 3264 section 8 asks for, or "" where it is no number.
func After(version string) string {
	n, err := strconv.ParseUint(version, 10, 63)
	if err != nil {
		return ""
	}
	return strconv.FormatUint(n+1, 10)
}
