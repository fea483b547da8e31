package b2bua

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// guard bounds what strangers cost: each source gets an answer a second with
// a burst of five, all sources together a hundred a second, and no more than
// maxSources of them are remembered.
type guard struct {
	mu      sync.Mutex
	sources map[netip.Prefix]*list.Element
	order   *list.List // of *source, the longest unseen in front
	all     bucket
}

const (
	maxSources  = 4096
	sourceRate  = 1.0 // answers a second to one source
	sourceBurst = 5.0
	allRate     = 100.0 // answers a second to all sources
	allBurst    = 200.0
)

type source struct {
	key netip.Prefix
	b   bucket
}

type bucket struct {
	tokens float64
	last   time.Time
}

func (b *bucket) take(now time.Time, rate, burst float64) bool {
	if b.last.IsZero() {
		b.tokens = burst
	} else {
		b.tokens = min(burst, b.tokens+now.Sub(b.last).Seconds()*rate)
	}
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func newGuard() *guard {
	return &guard{sources: map[netip.Prefix]*list.Element{}, order: list.New()}
}

// allow says whether a stranger at addr may have one more answer. An IPv6
// source is its /64: its owner has 2^64 addresses to spoof from.
func (g *guard) allow(addr netip.Addr, now time.Time) bool {
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	key, err := addr.Prefix(bits)
	if err != nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	e := g.sources[key]
	if e == nil {
		if len(g.sources) >= maxSources {
			oldest := g.order.Front()
			delete(g.sources, oldest.Value.(*source).key)
			g.order.Remove(oldest)
		}
		e = g.order.PushBack(&source{key: key})
		g.sources[key] = e
	} else {
		g.order.MoveToBack(e)
	}
	return e.Value.(*source).b.take(now, sourceRate, sourceBurst) && g.all.take(now, allRate, allBurst)
}

// pathMemory remembers paths on which an intermediary dropped the ACK's body
// (protocol section 7): they are answered without dh-resp for a day.
type pathMemory struct {
	mu    sync.Mutex
	paths map[string]time.Time
}

const (
	maxPaths  = 1024
	pathsLast = 24 * time.Hour
)

func newPathMemory() *pathMemory { return &pathMemory{paths: map[string]time.Time{}} }

func (m *pathMemory) remember(path string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.paths) >= maxPaths {
		var oldest string
		for p, t := range m.paths {
			if oldest == "" || t.Before(m.paths[oldest]) {
				oldest = p
			}
		}
		delete(m.paths, oldest)
	}
	m.paths[path] = now
}

func (m *pathMemory) has(path string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.paths[path]
	if ok && now.Sub(t) > pathsLast {
		delete(m.paths, path)
		return false
	}
	return ok
}
