package sip

// Join lets everything that is posted from now on, and what waits, run on the
// other queue, behind what waits there. It must be called by a function that the
// queue itself runs, which still ends here; whatever follows is the other's.
//
// So two calls whose parties are led together become one without a timer or a
// message that ran on a queue of its own.
func (q *Queue) Join(other *Queue) {
	if q == other {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.joining = other
}

// joined hands what is left over, once Join was called.
func (q *Queue) joined(rest []func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.joining == nil {
		return false
	}
	q.next, q.joining = q.joining, nil
	for _, f := range append(rest, q.pending...) {
		q.next.Post(f)
	}
	q.pending, q.running = nil, false
	return true
}
