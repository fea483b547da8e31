package b2bua

import (
	"slices"
	"sync"
	"time"
)

// hub hands events to its subscribers. One that does not read loses events
// rather than holding up a call.
type hub struct {
	mu     sync.Mutex
	subs   map[chan Event]struct{}
	closed bool
}

// Subscribe returns a channel of events that holds up to buffer of them; it
// is closed by cancel, when the proxy ends, and when the reader falls behind.
func (p *Proxy) Subscribe(buffer int) (<-chan Event, func()) {
	ch := make(chan Event, max(buffer, 1))
	h := &p.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(ch)
		return ch, func() {}
	}
	if h.subs == nil {
		h.subs = map[chan Event]struct{}{}
	}
	h.subs[ch] = struct{}{}
	return ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.drop(ch)
	}
}

func (h *hub) drop(ch chan Event) {
	if _, ok := h.subs[ch]; ok {
		delete(h.subs, ch)
		close(ch)
	}
}

// publish tells of a call. Its view, which costs a look at the media, is made
// only where somebody listens, and outside of the lock.
func (h *hub) publish(kind string, view func() View) {
	h.mu.Lock()
	heard := len(h.subs) > 0
	h.mu.Unlock()
	if !heard {
		return
	}
	e := Event{Type: kind, Time: time.Now(), Call: view()}
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch := range h.subs {
		select {
		case ch <- e:
		default:
			h.drop(ch)
		}
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for ch := range h.subs {
		h.drop(ch)
	}
}

func sortViews(v []View) {
	slices.SortFunc(v, func(a, b View) int {
		if c := a.Started.Compare(b.Started); c != 0 {
			return c
		}
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
}
