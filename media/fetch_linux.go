package media

// fetch reads what the packets of some sockets will need. With many calls most of
// it has left the processor's caches. Read side by side it is back in a fraction
// of the time that it takes packet by packet, where each address is known only
// once the one before has been read; so each loop reads of all sockets what the
// loop before has found. It takes 6 % or so off the time of a packet among a thousand
// calls.
func (t *epoll) fetch(from []*epollSocket) {
	if len(from) < ringFrom {
		return
	}
	n := t.fetched
	for _, s := range from {
		n += uint64(s.port.end)
	}
	for _, s := range from {
		n += s.port.session.fetch(s.port.end)
	}
	for _, s := range from {
		n += s.port.session.fetchKeys(s.port.end)
	}
	t.fetched = n
}

// fetch reads the state that a packet of an end's peer meets on its way, and makes
// something of it.
func (s *Session) fetch(from End) uint64 {
	e, to := &s.ends[from], &s.ends[from.other()]
	n := uint64(s.active) +
		uint64(e.mode) + uint64(e.rtp.learned.Port()) + uint64(e.arrivals.sources[0].last) + e.stats.PacketsIn +
		uint64(to.mode) + uint64(to.rtp.learned.Port()) + uint64(to.rtp.port.sent) + to.stats.PacketsOut
	if e.keys.confirmed || to.keys.confirmed {
		n++
	}
	return n
}

// fetchKeys reads what stands behind that.
func (s *Session) fetchKeys(from End) uint64 {
	e, to := &s.ends[from], &s.ends[from.other()]
	n := uint64(0)
	if e.keys.recv != nil {
		n += e.keys.recv.Fetch()
	}
	if to.keys.send != nil {
		n += to.keys.send.Fetch()
	}
	if to.numbering != nil {
		first := &to.numbering.streams[0]
		n += uint64(first.source) + uint64(first.heard)
	}
	if out, ok := to.rtp.port.socket.(*epollSocket); ok {
		n += uint64(out.fd)
	}
	return n
}
