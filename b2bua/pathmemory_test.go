package b2bua

import (
	"fmt"
	"testing"
	"time"
)

func TestPathMemoryForgets(t *testing.T) {
	t.Parallel()
	m := newPathMemory()
	now := time.Unix(1000, 0)
	m.remember("first", now)
	if !m.has("first", now.Add(pathsLast)) || m.has("second", now) {
		t.Error("remembers the wrong path")
	}
	if m.has("first", now.Add(pathsLast+time.Second)) {
		t.Error("remembers longer than a day")
	}
	for i := range 2 * maxPaths {
		m.remember(fmt.Sprint(i), now.Add(time.Duration(i)))
	}
	if m.paths.Len() != maxPaths || !m.has(fmt.Sprint(2*maxPaths-1), now.Add(time.Hour)) || m.has("0", now.Add(time.Hour)) {
		t.Errorf("%d paths, or not the newest", m.paths.Len())
	}
}
