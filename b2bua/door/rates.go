package door

import (
	"net/netip"
	"sync"
	"time"

	"github.com/sipward/sipward/b2bua/recent"
)

// rates bounds how often something happens for each source, for each user, and
// for all strangers together.
type rates struct {
	mu        sync.Mutex
	answers   *recent.Memory[netip.Prefix, bucket] // refusals to one source
	requests  *recent.Memory[Who, bucket]          // INVITE and REGISTER of a source or a user
	all       bucket                               // refusals to all of them
	strangers bucket                               // calls that strangers begin
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

func newRates() *rates {
	return &rates{answers: recent.New[netip.Prefix, bucket](maxSources), requests: recent.New[Who, bucket](maxSources)}
}

// answer says whether a source may have one more refusal. greedy is true where
// it has had its own share, not where all together have had theirs.
func (r *rates) answer(source netip.Prefix, now time.Time) (may, greedy bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.answers.Use(source).take(now, sourceRate, sourceBurst) {
		return false, true
	}
	return r.all.take(now, allRate, allBurst), false
}

// request says whether one more request may be served, of so many a second and
// ten times as many at once.
func (r *rates) request(w Who, now time.Time, rate float64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests.Use(w).take(now, rate, burstSeconds*rate)
}

// burstSeconds is for how long somebody may have been silent to be served that
// much at once.
const burstSeconds = 10

// strangerCalls says whether one more call of a stranger may begin.
func (r *rates) strangerCalls(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.strangers.take(now, strangerRate, strangerBurst)
}
