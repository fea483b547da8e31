package sip

import (
	"log/slog"
	"runtime/debug"
	"sync"
)

// Queue runs functions one after the other in the order in which they were
// posted. It holds a goroutine only while there is something to run, so a
// quiet call costs none. The zero value is ready for use.
//
// A function that panics is logged with its stack and ends there; the queue
// goes on: one malformed message must not take other calls down.
type Queue struct {
	Log *slog.Logger // nil: slog.Default

	mu      sync.Mutex
	pending []func()
	running bool
	joining *Queue // Join was called by the function that runs
	next    *Queue // where everything goes since
}

// Post appends f. It never blocks and may be called from any goroutine,
// also from a function that the queue itself runs.
func (q *Queue) Post(f func()) {
	q.mu.Lock()
	if next := q.next; next != nil {
		q.mu.Unlock()
		next.Post(f)
		return
	}
	q.pending = append(q.pending, f)
	start := !q.running
	q.running = true
	q.mu.Unlock()
	if start {
		go q.run()
	}
}

// depth counts what waits.
func (q *Queue) depth() int {
	q.mu.Lock()
	next, n := q.next, len(q.pending)
	q.mu.Unlock()
	if next != nil {
		return next.depth()
	}
	return n
}

func (q *Queue) run() {
	for {
		q.mu.Lock()
		if len(q.pending) == 0 {
			q.running = false
			q.pending = nil
			q.mu.Unlock()
			return
		}
		batch := q.pending
		q.pending = nil
		q.mu.Unlock()
		for i, f := range batch {
			guard(q.Log, f)
			if q.joined(batch[i+1:]) {
				return
			}
		}
	}
}

// guard is the one place where a panic of a handler is caught.
func guard(log *slog.Logger, f func()) {
	defer func() {
		if p := recover(); p != nil {
			if log == nil {
				log = slog.Default()
			}
			log.Error("internal error: handler panicked", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	f()
}
