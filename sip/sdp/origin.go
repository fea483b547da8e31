package sdp

import (
	"strconv"
	"strings"
)

// originFields finds the fields of an o= value (RFC 8866 §5.2) and, among them,
// where nettype stands: behind a user name that holds spaces it is not the
// fourth. It is -1 where the line has no nettype and addrtype.
func originFields(v string) (f []span, nettype int) {
	f = fieldSpans(v, len(v))
	for i := len(f) - 2; i >= 0; i-- {
		if isFamily(v[f[i+1].from:f[i+1].to]) && strings.EqualFold(v[f[i].from:f[i].to], "IN") {
			return f, i
		}
	}
	if len(f) >= 6 {
		return f, len(f) - 3
	}
	return f, -1
}

// readOrigin takes the address out of an o= value.
func readOrigin(v string) (addr string, ok bool) {
	f, n := originFields(v)
	if n < 0 || n+2 >= len(f) {
		return "", false
	}
	return v[f[n+2].from:f[n+2].to], true
}

// Version is the version of the description (RFC 8866 section 5.2), which has to
// grow by one with each change of it (RFC 3264 section 8); not ok where the line
// is not there or the field is no number of 64 bits.
func (s *Session) Version() (version uint64, ok bool) {
	for _, l := range s.lines() {
		if l.kind != 'o' {
			continue
		}
		v := l.value()
		f, n := originFields(v)
		if n < 3 {
			return 0, false
		}
		version, err := strconv.ParseUint(v[f[n-1].from:f[n-1].to], 10, 64)
		return version, err == nil
	}
	return 0, false
}

// origin is the value of an o= line with the new address, and with the new user,
// session id and version where they are asked for. A line that has not all its
// fields gets them.
func (w *rewriter) origin(v string) string {
	f, n := originFields(v)
	if n < 3 {
		return w.mendedOrigin(v, f, n)
	}
	user, id, version := span{f[0].from, f[n-3].to}, f[n-2], f[n-1]
	return v[:user.from] + or(w.OriginUser, w.hidden.scrub(v[user.from:user.to])) +
		v[user.to:id.from] + or(w.SessionID, w.hidden.scrub(v[id.from:id.to])) +
		v[id.to:version.from] + or(w.SessionVersion, w.hidden.scrub(v[version.from:version.to])) +
		v[version.to:f[n].from] + w.location(false)
}

// mendedOrigin writes a whole value around the fields that a short one has.
func (w *rewriter) mendedOrigin(v string, f []span, n int) string {
	field := func(i int, none string) string {
		if i >= len(f) || n >= 0 && i >= n {
			return none
		}
		if s := v[f[i].from:f[i].to]; i == 0 || isNumber(s) {
			return w.hidden.scrub(s)
		}
		return none
	}
	return or(w.OriginUser, field(0, "-")) + " " + or(w.SessionID, field(1, "0")) + " " +
		or(w.SessionVersion, field(2, "0")) + " " + w.location(false)
}

// isNumber says that s is all digits, of any length: session ids outgrow 64 bits.
func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func or(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}
