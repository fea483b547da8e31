package policy

// phrase ends a sentence that begins with "calls ...".
func phrase(m Mode, least Trust) string {
	switch m {
	case Require:
		switch least {
		case Pinned:
			return "must be signed with a key of an earlier call"
		case Verified:
			return "must be signed with a key that was checked"
		}
		return "must be protected"
	case Prefer:
		return "are protected where the other end can"
	case Off:
		return "stay plain"
	}
	return "are refused"
}

// calls names the calls that a rule is for, as in "calls from inside to *@b.example".
func (r *Rule) calls() string {
	from, to := r.From.describe(), r.To.describe()
	switch {
	case from == "" && to == "":
		return "all calls"
	case from == "":
		return "calls to " + to
	case to == "":
		return "calls from " + from
	}
	return "calls from " + from + " to " + to
}

// describe names what was set, "" if nothing: an address, with the side and the
// network in brackets behind it.
func (m *Match) describe() string {
	var words []string
	if m.Address != nil {
		words = append(words, m.Address.String())
	}
	if m.Side != "" {
		words = append(words, string(m.Side))
	}
	if m.Network.IsValid() {
		words = append(words, m.Network.String())
	}
	switch len(words) {
	case 0:
		return ""
	case 1:
		return words[0]
	case 2:
		return words[0] + " (" + words[1] + ")"
	}
	return words[0] + " (" + words[1] + ", " + words[2] + ")"
}
