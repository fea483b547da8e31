package b2bua

import "slices"

// KeyState is where the key exchange of one leg of a call stands.
type KeyState string

// A leg goes down this list. New keys for a call that has some take it from
// KeysConfirmed to KeysAgreed and back.
const (
	KeysNone      KeyState = "none"      // no exchange
	KeysOffered   KeyState = "offered"   // dh-init was sent or taken
	KeysAgreed    KeyState = "agreed"    // both ends have keys, as far as this one knows, and the media is under them
	KeysConfirmed KeyState = "confirmed" // a packet of the far end has verified
	KeysErased    KeyState = "erased"    // the leg has ended, and nothing can read its media any more
)

// callMoves are all transitions of a call. docs/calls.md has the same table, with
// what causes them; a test compares the two.
func callMoves(from State) []State {
	switch from {
	case Routing:
		return []State{Calling, Ended}
	case Calling:
		return []State{Ringing, Answered, Ended}
	case Ringing:
		return []State{Calling, Answered, Ended}
	case Answered:
		return []State{Established, Ended}
	case Established:
		return []State{Ended}
	}
	return nil
}

// keyMoves are all transitions of a leg's exchange, likewise.
func keyMoves(from KeyState) []KeyState {
	switch from {
	case KeysNone:
		return []KeyState{KeysOffered}
	case KeysOffered:
		return []KeyState{KeysNone, KeysAgreed, KeysErased}
	case KeysAgreed:
		return []KeyState{KeysConfirmed, KeysErased}
	case KeysConfirmed:
		return []KeyState{KeysAgreed, KeysErased}
	}
	return nil
}

// keys says where the leg's exchange stands.
func (l *Leg) keys() KeyState {
	switch {
	case l.exchange == nil:
		was := l.noted
		if was == KeysAgreed || was == KeysConfirmed || was == KeysErased || was == KeysOffered && l.call.state == Ended {
			return KeysErased
		}
		return KeysNone
	case !l.protect:
		return KeysOffered
	case !l.exchange.IsConfirmed():
		return KeysAgreed
	}
	return KeysConfirmed
}

// note holds every change of a call and of its legs against the tables. A change
// that they do not have is a mistake in this package: it is logged, and each test
// of whole calls fails for it.
func (c *Call) note() {
	if was := c.noted; was != c.state {
		if was != "" && !slices.Contains(callMoves(was), c.state) {
			c.p.log.Error("internal error: a call may not change like this", "call", c.id, "from", was, "to", c.state)
		}
		c.noted = c.state
	}
	for _, l := range []*Leg{c.a, c.b} {
		if was, is := l.noted, l.keys(); was != is {
			if was != "" && !slices.Contains(keyMoves(was), is) {
				c.p.log.Error("internal error: a leg's keys may not change like this", "call", c.id, "side", l.side, "from", was, "to", is)
			}
			l.noted = is
		}
	}
}
