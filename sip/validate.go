package sip

// errVias: a response whose topmost Via is not the only one is for a relay, if
// for anybody here (RFC 3261 section 8.1.3.3).
var errVias = malformed("more than one Via in a response")

// validate checks what every request needs (RFC 3261 section 8.1.1) and gives
// the sentence for a 400.
func validate(m *Message) error {
	for _, name := range []string{"Via", "From", "To", "Call-ID", "CSeq"} {
		n := 0
		for _, f := range m.Fields {
			if f.Name == name {
				n++
			}
		}
		if n == 0 {
			return malformed("no " + name)
		}
		if n > 1 && name != "Via" {
			return malformed("more than one " + name)
		}
	}
	_, method, ok := m.CSeq()
	if !ok {
		return malformed("CSeq")
	}
	if m.IsRequest() && method != m.Method {
		return malformed("CSeq names another method")
	}
	if id := m.CallID(); id == "" || len(id) > 512 {
		return malformed("Call-ID")
	}
	from, err := ParseAddress(m.Get("From"))
	if err != nil || len(from.Tag()) > 256 {
		return malformed("From")
	}
	if m.IsRequest() && from.Tag() == "" {
		return malformed("From has no tag")
	}
	if to, err := ParseAddress(m.Get("To")); err != nil || len(to.Tag()) > 256 {
		return malformed("To")
	}
	vias := m.Values("Via")
	if len(vias) == 0 {
		return malformed("Via")
	}
	v, err := ParseVia(vias[0])
	if err != nil {
		return err
	}
	if b := v.Branch(); b == "" || len(b) > 256 {
		return malformed("Via has no branch")
	}
	if !m.IsRequest() && len(vias) > 1 {
		return errVias
	}
	return nil
}
