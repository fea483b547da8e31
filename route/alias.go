package route

import "fmt"

// Alias leads an address that was called to the one that is meant: a number to
// a person, a direct-dial number to a user.
type Alias struct {
	Match Pattern
	// To replaces the address called. With a star as user (sip:*@example.org)
	// the user called stands in place of the star.
	To string
}

// Aliases is an ordered list of aliases. It does not change once made and may
// be used by several goroutines. A nil one changes nothing.
type Aliases struct{ table *Table }

// NewAliases checks the aliases and keeps them in their order. The error names
// the first faulty one by its pattern.
func NewAliases(aliases []Alias) (*Aliases, error) {
	var routes []Route
	for _, a := range aliases {
		u, err := ParseURI(a.To)
		if err != nil {
			return nil, fmt.Errorf("alias %q: %w", a.Match, err)
		}
		if u.User == "" {
			return nil, fmt.Errorf("alias %q: %s names no user; write sip:name@host, or sip:*@host to keep the user", a.Match, a.To)
		}
		routes = append(routes, Route{Match: a.Match, To: a.To, Side: Inside})
	}
	t, err := NewTable(routes)
	if err != nil {
		return nil, err
	}
	return &Aliases{t}, nil
}

// Resolve returns the address that is meant by the first alias which matches,
// or the address itself. An alias of an alias is not followed.
func (a *Aliases) Resolve(uri string) string {
	if i, t := a.find(uri); i >= 0 {
		return t.URI
	}
	return uri
}

// find returns the alias that matches and what it leads to; -1 where none does.
func (a *Aliases) find(uri string) (int, Target) {
	if a == nil {
		return -1, Target{}
	}
	return a.table.find("", uri)
}
