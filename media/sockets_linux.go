package media

// noSocket is what an event names that is no socket's.
const noSocket = -1

// sockets finds a socket by what its epoll event carries: a place and a count
// of who had that place. A closed socket's last events so find nobody, not the
// socket that came after it.
type sockets struct {
	places []place
	free   []int32
}

type place struct {
	socket *epollSocket
	turn   int32
}

// add gives a socket a place.
func (t *sockets) add(s *epollSocket) (index, turn int32) {
	if n := len(t.free); n > 0 {
		index = t.free[n-1]
		t.free = t.free[:n-1]
	} else {
		index = int32(len(t.places))
		t.places = append(t.places, place{})
	}
	p := &t.places[index]
	p.socket = s
	s.index = index
	return index, p.turn
}

// get is nil where the socket was closed.
func (t *sockets) get(index, turn int32) *epollSocket {
	if index < 0 || t.places[index].turn != turn {
		return nil
	}
	return t.places[index].socket
}

func (t *sockets) remove(s *epollSocket) {
	p := &t.places[s.index]
	p.socket = nil
	p.turn++
	t.free = append(t.free, s.index)
}
