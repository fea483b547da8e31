package b2bua

import (
	"net/netip"
	"sync"
	"time"
)

// guard bounds how often something happens for each source, for each user, and
// for all strangers together.
type guard struct {
	mu        sync.Mutex
	answers   *recent[netip.Prefix, bucket] // refusals to one source
	requests  *recent[suspect, bucket]      // INVITE and REGISTER of a source or a user
	all       bucket                        // refusals to all of them
	strangers bucket                        // calls that strangers begin
}

// Rates are a second.
const (
	maxSources    = 4096
	sourceRate    = 1.0 // refusals to one source
	sourceBurst   = 5.0
	allRate       = 100.0 // refusals to all sources
	allBurst      = 200.0
	strangerRate  = 50.0 // calls that all strangers together begin
	strangerBurst = 100.0
)

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
	return &guard{answers: newRecent[netip.Prefix, bucket](maxSources), requests: newRecent[suspect, bucket](maxSources)}
}

// answer says whether a source may have one more refusal. greedy is true where
// it has had its own share, not where all together have had theirs.
func (g *guard) answer(source netip.Prefix, now time.Time) (may, greedy bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.answers.use(source).take(now, sourceRate, sourceBurst) {
		return false, true
	}
	return g.all.take(now, allRate, allBurst), false
}

// request says whether one more request may be served, of so many a second and
// ten times as many at once.
func (g *guard) request(s suspect, now time.Time, rate float64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.requests.use(s).take(now, rate, burstSeconds*rate)
}

// burstSeconds is for how long somebody may have been silent to be served that
// much at once.
const burstSeconds = 10

// strangerCalls says whether one more call of a stranger may begin.
func (g *guard) strangerCalls(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.strangers.take(now, strangerRate, strangerBurst)
}

// pathMemory remembers paths on which an intermediary dropped the ACK's body
// (protocol section 7): they are answered without dh-resp for a day.
type pathMemory struct {
	mu    sync.Mutex
	paths *recent[string, time.Time]
}

const (
	maxPaths  = 1024
	pathsLast = 24 * time.Hour
)

func newPathMemory() *pathMemory { return &pathMemory{paths: newRecent[string, time.Time](maxPaths)} }

func (m *pathMemory) remember(path string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*m.paths.use(path) = now
}

func (m *pathMemory) forget(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.paths.forget(path)
}

func (m *pathMemory) has(path string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.paths.find(path)
	return t != nil && now.Sub(*t) <= pathsLast
}
