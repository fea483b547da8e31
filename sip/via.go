package sip

import (
	"net/netip"
	"strconv"
	"strings"
)

// Via is one parsed value of a Via field (RFC 3261 section 20.42).
type Via struct {
	Transport string // upper case
	Host      string // sent-by, without brackets
	Port      int    // 0 if absent
	Params    string // ";branch=…"
}

// ParseVia reads one value of a Via field.
func ParseVia(s string) (Via, error) {
	name, rest, _ := strings.Cut(s, "/")
	version, rest, ok := strings.Cut(rest, "/")
	rest = strings.Trim(rest, " \t")
	blank := strings.IndexAny(rest, " \t")
	if !ok || blank < 0 || hasControl(s) || !strings.EqualFold(strings.TrimSpace(name), "SIP") || strings.TrimSpace(version) != "2.0" {
		return Via{}, malformed("Via")
	}
	v := Via{Transport: strings.ToUpper(rest[:blank])}
	host := strings.TrimLeft(rest[blank:], " \t")
	if i := strings.IndexByte(host, ';'); i >= 0 {
		host, v.Params = host[:i], host[i:]
	}
	port := ""
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host, port = host[:i], ":"+strings.TrimSpace(host[i+1:]) // "first.example.com: 4000" is allowed
	}
	u, err := ParseURI("sip:" + strings.TrimSpace(host) + port)
	if err != nil || !isToken(v.Transport) || strings.ContainsAny(host, "/?@") {
		return Via{}, malformed("Via")
	}
	if !quotesClosed(v.Params) {
		return Via{}, malformed("Via") // what is added behind it would be part of the string
	}
	v.Host, v.Port = u.Host, u.Port
	return v, nil
}

// quotesClosed says whether every quoted string ends.
func quotesClosed(s string) bool {
	open := false
	for i := 0; i < len(s); i++ {
		switch {
		case open && s[i] == '\\':
			i++
		case s[i] == '"':
			open = !open
		}
	}
	return !open
}

// Branch returns the branch parameter, or "".
func (v Via) Branch() string { b, _ := param(v.Params, "branch"); return b }

// stampVia adds received and rport to the topmost Via of a request (RFC 3261
// section 18.2.1, RFC 3581 section 4). A received that the sender put there
// itself goes.
func stampVia(m *Message, from netip.AddrPort) {
	for i := range m.Fields {
		if m.Fields[i].Name != "Via" {
			continue
		}
		values := splitList(m.Fields[i].Value)
		if len(values) == 0 {
			continue
		}
		v, err := ParseVia(values[0])
		if err != nil {
			return
		}
		values[0] = stamped(values[0], v, from)
		m.Fields[i].Value = strings.Join(values, ", ")
		return
	}
}

func stamped(value string, v Via, from netip.AddrPort) string {
	addr := from.Addr().WithZone("").String()
	_, rport := param(v.Params, "rport")
	_, received := param(v.Params, "received")
	if !rport && !received && v.Host == addr {
		return value
	}
	var b strings.Builder
	b.WriteString(strings.TrimSuffix(value, v.Params))
	for params := strings.TrimPrefix(v.Params, ";"); params != ""; {
		var one string
		one, params = cutParam(params)
		name, _, _ := strings.Cut(one, "=")
		switch name = strings.TrimSpace(name); {
		case strings.EqualFold(name, "received"):
		case strings.EqualFold(name, "rport"):
			b.WriteString(";rport=" + strconv.Itoa(int(from.Port())))
		default:
			b.WriteString(";" + one)
		}
	}
	if rport || v.Host != addr {
		b.WriteString(";received=" + addr)
	}
	return b.String()
}
