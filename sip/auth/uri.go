package auth

import "strings"

// sameURI says whether the URI that was hashed names what the Request-URI
// names (RFC 3261 section 22.4 wants them equal), so that an answer that was
// made for one callee opens no other.
//
// Phones write the URI without its parameters, without the port, or in
// brackets. Those differences are let pass, save for maddr and method, which
// say where and what; user, scheme and host must be the same.
func sameURI(hashed, request string) bool {
	hashed = strings.TrimSpace(hashed)
	if len(hashed) > 1 && hashed[0] == '<' && hashed[len(hashed)-1] == '>' {
		hashed = hashed[1 : len(hashed)-1]
	}
	if hashed == "" {
		return false
	}
	if hashed == request {
		return true
	}
	h, ok1 := splitURI(hashed)
	r, ok2 := splitURI(request)
	return ok1 && ok2 &&
		strings.EqualFold(h.scheme, r.scheme) &&
		h.user == r.user &&
		strings.EqualFold(h.host, r.host) &&
		(h.port == r.port || h.port == "" || r.port == "") &&
		strings.EqualFold(h.param("maddr"), r.param("maddr")) &&
		strings.EqualFold(h.param("method"), r.param("method"))
}

// uri is a SIP URI in parts; headers behind "?" are left out.
type uri struct{ scheme, user, host, port, params string }

// splitURI takes a sip or sips URI apart; ok is false for other schemes.
func splitURI(s string) (u uri, ok bool) {
	var rest string
	if u.scheme, rest, ok = strings.Cut(s, ":"); !ok || !strings.EqualFold(u.scheme, "sip") && !strings.EqualFold(u.scheme, "sips") {
		return uri{}, false
	}
	rest = strings.TrimPrefix(rest, "//") // some write it as on the web
	// The first "@" ends the user part, which may hold ";" and "?".
	if user, tail, found := strings.Cut(rest, "@"); found {
		u.user, rest = user, tail
	}
	rest, _, _ = strings.Cut(rest, "?")
	if i := strings.IndexByte(rest, ';'); i >= 0 {
		rest, u.params = rest[:i], rest[i:]
	}
	u.host = rest
	if i := strings.LastIndexByte(rest, ':'); i >= 0 && i > strings.IndexByte(rest, ']') {
		u.host, u.port = rest[:i], rest[i+1:]
	}
	return u, u.host != ""
}

// param returns the first parameter of that name, or "".
func (u *uri) param(name string) string {
	for rest := u.params; rest != ""; {
		var p string
		p, rest, _ = strings.Cut(strings.TrimPrefix(rest, ";"), ";")
		if k, v, _ := strings.Cut(p, "="); strings.EqualFold(k, name) {
			return v
		}
	}
	return ""
}
