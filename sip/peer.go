package sip

import "strings"

// party is an end of a dialog as From and To name it.
type party struct {
	text string // name-addr form, with tag
	tag  string
}

func partyOf(a Address) party {
	p := party{text: a.String(), tag: a.Tag()}
	if i := strings.LastIndex(p.text, p.tag); i >= 0 {
		p.tag = p.text[i : i+len(p.tag)] // one piece of memory, and none of a message
	}
	return p
}

// peer is the far end of a dialog: what a request to it needs.
type peer struct {
	party
	target URI
	routes []string
	flow   Flow // where it was last heard from

	translated bool // its target is an address behind a NAT
}
