package sip

import (
	"sync"
	"testing"
)

// What was posted to a queue that has joined another one runs there, in order,
// and never beside what runs there already.
func TestQueuesJoin(t *testing.T) {
	t.Parallel()
	var one, other Queue
	const n = 1000
	var (
		ran  []int // by the joined queue alone, or before it joined
		busy bool
		wg   sync.WaitGroup
	)
	wg.Add(2 * n)
	run := func(i int) func() {
		return func() {
			defer wg.Done()
			if busy {
				t.Error("two at once")
			}
			busy = true
			ran = append(ran, i)
			busy = false
		}
	}
	hold, done := make(chan bool), make(chan bool)
	one.Post(func() {
		<-hold
		one.Join(&other)
	})
	for i := range n {
		one.Post(run(i))
	}
	close(hold)
	for i := range n {
		one.Post(run(n + i))
	}
	wg.Wait()
	other.Post(func() {
		for i, got := range ran {
			if got != i {
				t.Errorf("place %d: %d", i, got)
				break
			}
		}
		close(done)
	})
	if <-done; one.depth() != other.depth() {
		t.Errorf("%d and %d wait", one.depth(), other.depth())
	}
}
