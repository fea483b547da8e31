package sip

import (
	"errors"
	"net/url"
	"strings"
)

// ReferTo is what a Refer-To field asks for (RFC 3515 section 2.1).
type ReferTo struct {
	URI      URI       // without method and headers
	Method   string    // "INVITE" where none is named
	Replaces *Replaces // the call that the new one replaces; nil: none
}

// Replaces names a dialog (RFC 3891 section 6.1), as the one that is asked to
// replace it sees it.
type Replaces struct {
	CallID    string
	ToTag     string // its own
	FromTag   string // that of its peer
	EarlyOnly bool   // only while the dialog is not confirmed
}

var (
	errReferTo  = errors.New("sip: malformed Refer-To")
	errReplaces = errors.New("sip: malformed Replaces")
)

// maxReferTo bounds the value of a Refer-To field, in octets.
const maxReferTo = 2048

// ParseReferTo reads a Refer-To field. Of the headers in its URI, Replaces alone
// counts: nothing else that somebody puts there may enter a request.
func ParseReferTo(s string) (ReferTo, error) {
	a, err := ParseAddress(s)
	if err != nil || len(s) > maxReferTo || a.URI.Scheme != "sip" && a.URI.Scheme != "sips" {
		return ReferTo{}, errReferTo
	}
	r := ReferTo{URI: a.URI, Method: "INVITE"}
	r.URI.Params = ""
	for rest := a.URI.Params; rest != ""; {
		var one string
		one, rest = cutParam(strings.TrimPrefix(rest, ";"))
		name, value, _ := strings.Cut(one, "=")
		switch {
		case strings.EqualFold(name, "method"):
			r.Method = strings.ToUpper(value)
		case one != "":
			r.URI.Params += ";" + one
		}
	}
	for _, header := range strings.Split(uriHeaders(s), "&") {
		name, value, _ := strings.Cut(header, "=")
		if !strings.EqualFold(name, "Replaces") {
			continue
		}
		text, err := url.PathUnescape(value)
		if err != nil || r.Replaces != nil {
			return ReferTo{}, errReferTo
		}
		replaces, err := ParseReplaces(text)
		if err != nil {
			return ReferTo{}, err
		}
		r.Replaces = &replaces
	}
	return r, nil
}

// uriHeaders are the headers of the URI in a name-addr or addr-spec that
// ParseAddress has taken, as they stand.
func uriHeaders(s string) string {
	if open := strings.IndexByte(s, '<'); open >= 0 {
		for i, quoted := 0, false; i < len(s); i++ { // a display name may hold one
			if quoted && s[i] == '\\' {
				i++
			} else if s[i] == '"' {
				quoted = !quoted
			} else if s[i] == '<' && !quoted {
				open = i
				break
			}
		}
		s, _, _ = strings.Cut(s[open+1:], ">")
	} else {
		s, _, _ = strings.Cut(s, ";")
	}
	if _, tail, found := strings.Cut(s, "@"); found { // a user part may hold a "?"
		s = tail
	}
	_, headers, _ := strings.Cut(s, "?")
	return headers
}

// ParseReplaces reads a Replaces field. All of its three parts must be there, each
// once.
func ParseReplaces(s string) (Replaces, error) {
	if hasControl(s) || len(s) > maxReferTo {
		return Replaces{}, errReplaces
	}
	id, params, _ := strings.Cut(s, ";")
	r := Replaces{CallID: strings.TrimSpace(id)}
	to, from := false, false
	for _, one := range strings.Split(params, ";") {
		name, value, _ := strings.Cut(one, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case strings.EqualFold(name, "to-tag"):
			if to {
				return Replaces{}, errReplaces
			}
			r.ToTag, to = value, true
		case strings.EqualFold(name, "from-tag"):
			if from {
				return Replaces{}, errReplaces
			}
			r.FromTag, from = value, true
		case strings.EqualFold(name, "early-only"):
			r.EarlyOnly = true
		}
	}
	if r.CallID == "" || r.ToTag == "" || r.FromTag == "" || strings.ContainsAny(r.CallID+r.ToTag+r.FromTag, " ,\"<>") {
		return Replaces{}, errReplaces
	}
	return r, nil
}

// String writes the value of a Replaces field.
func (r Replaces) String() string {
	s := r.CallID + ";to-tag=" + r.ToTag + ";from-tag=" + r.FromTag
	if r.EarlyOnly {
		s += ";early-only"
	}
	return s
}

// Is says whether a dialog, of which this is one side, is the one that Replaces
// names.
func (d *Dialog) Is(r Replaces) bool {
	return d.confirmed && d.callID == r.CallID && d.local.tag == r.ToTag && d.peer.tag == r.FromTag
}

// Replaces is how the far end of a dialog names it to this side.
func (d *Dialog) Replaces() Replaces {
	return Replaces{CallID: d.callID, ToTag: d.peer.tag, FromTag: d.local.tag}
}
