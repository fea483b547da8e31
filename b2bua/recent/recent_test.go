package recent

import (
	"fmt"
	"testing"
)

func TestRecentForgetsTheLongestUnused(t *testing.T) {
	t.Parallel()
	m := New[int, string](3)
	for i := range 3 {
		*m.Use(i) = fmt.Sprint(i)
	}
	m.Use(0)  // now 1 is the longest unused
	m.Find(1) // which asking does not change
	m.Use(3)
	m.Forget(2)
	m.Forget(7)
	for key, want := range map[int]bool{0: true, 1: false, 2: false, 3: true} {
		if got := m.Find(key) != nil; got != want {
			t.Errorf("%d remembered: %v, want %v", key, got, want)
		}
	}
	if *m.Find(0) != "0" || m.Len() != 2 || m.order.Len() != 2 {
		t.Errorf("%q, %d entries, %d in order", *m.Find(0), m.Len(), m.order.Len())
	}
}
