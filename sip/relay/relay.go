package relay

import (
	"log/slog"
	"net/netip"
	"sync"

	"github.com/sipward/sipward/sip"
)

// Limits of a [Relay], for all sources together and for each; an IPv6 source
// is its /64.
const (
	maxSubscriptions = 10000
	maxSubscribed    = 1000 // a PBX that watches many phones is one source
	maxRequests      = 2000 // that wait for their answers
	maxRequested     = 200
)

// Relay holds what is on its way. It may be used by several goroutines.
type Relay struct {
	stack *sip.Stack
	agent string
	log   *slog.Logger

	mu            sync.Mutex
	ends          map[endKey]joint
	subscriptions bound
	requests      bound
	closed        bool
}

type endKey struct{ callID, tag string }

// joint leads from an end to its subscription.
type joint struct {
	s          *subscription
	subscriber bool // the end is the subscriber's
}

// New returns a relay that sends through a stack; agent is what User-Agent of
// its requests says.
func New(stack *sip.Stack, agent string, log *slog.Logger) *Relay {
	return &Relay{stack: stack, agent: agent, log: log, ends: map[endKey]joint{},
		subscriptions: newBound(maxSubscriptions, maxSubscribed), requests: newBound(maxRequests, maxRequested)}
}

// Subscriptions counts those that hold, or wait for their first answer.
func (r *Relay) Subscriptions() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.subscriptions.all
}

// Close forgets everything. Nothing is sent: a subscriber hears 481 when it
// refreshes, and subscribes anew.
func (r *Relay) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for _, j := range r.ends {
		j.s.stopTimer()
	}
	clear(r.ends)
	r.subscriptions.clear()
}

// bound counts what there is at once, of each source and in all.
type bound struct {
	all, most, each int
	by              map[netip.Prefix]int
}

func newBound(most, each int) bound { return bound{most: most, each: each, by: map[netip.Prefix]int{}} }

func (b *bound) take(source netip.Prefix) bool {
	if b.all >= b.most || b.by[source] >= b.each {
		return false
	}
	b.all++
	b.by[source]++
	return true
}

func (b *bound) give(source netip.Prefix) {
	if b.by[source] == 0 {
		return // cleared since
	}
	b.all--
	if b.by[source]--; b.by[source] == 0 {
		delete(b.by, source)
	}
}

func (b *bound) clear() {
	b.all = 0
	clear(b.by)
}

// sourceOf is who a request counts for.
func sourceOf(f sip.Flow) netip.Prefix {
	addr := f.Remote().Addr().Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits)
	return p
}
