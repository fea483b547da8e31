package door

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	maxGuesses   = 3 // unanswered exchanges of a user within guessWindow
	guessWindow  = 10 * time.Minute
	maxCallees   = 4096 // users of whom such are remembered
	guessCleanUp = guessWindow / 10
)

// guesses counts, for each called user, the exchanges in which dh-resp left
// before the user answered, and that the user did not answer (protocol section
// 4): whoever replaces shares learns the callee's SAS from a dh-resp, and must
// not draw one after the other while nobody takes part.
//
// An exchange counts from its dh-resp on and is taken back by the answer, so
// that many at once are no way around. Where the memory is full nothing is
// forgotten before its time: then everybody's dh-resp waits for the answer.
type guesses struct {
	mu      sync.Mutex
	max     int
	callees map[callee][]time.Time // the oldest first
	cleaned time.Time
}

// callee stands for an address of any length.
type callee [sha256.Size]byte

func calleeOf(address string) callee { return sha256.Sum256([]byte(address)) }

func newGuesses() *guesses { return &guesses{max: maxCallees, callees: map[callee][]time.Time{}} }

// begin counts an exchange for a user; false where its dh-resp has to wait for
// the answer.
func (g *guesses) begin(address string, now time.Time) bool {
	callee := calleeOf(address)
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Sub(g.cleaned) >= guessCleanUp || len(g.callees) >= g.max {
		for name := range g.callees {
			g.expire(name, now)
		}
		g.cleaned = now
	}
	g.expire(callee, now)
	times := g.callees[callee]
	if len(times) >= maxGuesses || times == nil && len(g.callees) >= g.max {
		return false
	}
	g.callees[callee] = append(times, now)
	return true
}

// answered takes back what begin counted at that time.
func (g *guesses) answered(address string, at time.Time) {
	callee := calleeOf(address)
	g.mu.Lock()
	defer g.mu.Unlock()
	times := g.callees[callee]
	for i, t := range times {
		if t.Equal(at) {
			g.keep(callee, append(times[:i:i], times[i+1:]...))
			return
		}
	}
}

func (g *guesses) expire(callee callee, now time.Time) {
	times := g.callees[callee]
	for len(times) > 0 && now.Sub(times[0]) >= guessWindow {
		times = times[1:]
	}
	g.keep(callee, times)
}

func (g *guesses) keep(callee callee, times []time.Time) {
	if len(times) == 0 {
		delete(g.callees, callee)
	} else {
		g.callees[callee] = times
	}
}
