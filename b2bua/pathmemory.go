package b2bua

import (
	"sync"
	"time"

	"github.com/sipward/sipward/b2bua/recent"
)

// pathMemory remembers paths on which an intermediary dropped the ACK's body
// (protocol section 7): they are answered without dh-resp for a day.
type pathMemory struct {
	mu    sync.Mutex
	paths *recent.Memory[string, time.Time]
}

const (
	maxPaths  = 1024
	pathsLast = 24 * time.Hour
)

func newPathMemory() *pathMemory { return &pathMemory{paths: recent.New[string, time.Time](maxPaths)} }

func (m *pathMemory) remember(path string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*m.paths.Use(path) = now
}

func (m *pathMemory) forget(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.paths.Forget(path)
}

func (m *pathMemory) has(path string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.paths.Find(path)
	return t != nil && now.Sub(*t) <= pathsLast
}
