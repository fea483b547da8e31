package door

import (
	"strconv"
	"testing"
	"time"
)

func TestGuesses(t *testing.T) {
	t.Parallel()
	g := newGuesses()
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	begin := func(address string, after time.Duration, want bool) {
		t.Helper()
		if got := g.begin(address, now.Add(after)); got != want {
			t.Errorf("%s after %v: %v, want %v", address, after, got, want)
		}
	}
	begin("sip:bob@b.example", 0, true)
	begin("sip:bob@b.example", time.Minute, true)
	begin("sip:bob@b.example", 2*time.Minute, true)
	begin("sip:bob@b.example", 3*time.Minute, false)
	begin("sip:carol@b.example", 3*time.Minute, true)
	g.answered("sip:bob@b.example", now.Add(time.Minute))
	begin("sip:bob@b.example", 4*time.Minute, true)
	begin("sip:bob@b.example", 5*time.Minute, false)
	g.answered("sip:bob@b.example", now.Add(time.Hour)) // none of those
	begin("sip:bob@b.example", 10*time.Minute-1, false)
	begin("sip:bob@b.example", 10*time.Minute, true)
	begin("sip:bob@b.example", 11*time.Minute, false)
	begin("sip:bob@b.example", 12*time.Minute, true)
}

// A full memory lets nobody have more tries, and empties with time.
func TestGuessesAreBounded(t *testing.T) {
	t.Parallel()
	g := newGuesses()
	g.max = 10
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for i := range 10 {
		if !g.begin(strconv.Itoa(i), now) {
			t.Fatalf("the %dth callee", i)
		}
	}
	if g.begin("one more", now.Add(time.Minute)) || len(g.callees) != 10 {
		t.Errorf("%d callees", len(g.callees))
	}
	if !g.begin("3", now.Add(time.Minute)) {
		t.Error("one that is known has tries left")
	}
	if !g.begin("one more", now.Add(10*time.Minute)) || len(g.callees) != 2 {
		t.Errorf("%d callees after ten minutes", len(g.callees))
	}
}
