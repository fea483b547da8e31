package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/sipward/sipward/b2bua"
)

const (
	maxReaders     = 64               // event streams at once
	eventBuffer    = 128              // events that wait for one reader
	heartbeatEvery = 15 * time.Second // a comment line: the stream is alive
	eventTimeout   = 10 * time.Second // for one event to leave
	retryAfter     = 2 * time.Second  // when a browser reconnects
)

// Names of events beside those of b2bua.Event.
const (
	EventSnapshot = "snapshot" // the live calls, first in every stream
	eventClosed   = "closed"   // the server ends the stream, and why
)

type snapshot struct {
	Type  string       `json:"type"`
	Time  time.Time    `json:"time"`
	Calls []b2bua.View `json:"calls"`
}

func (s *Server) getEvents(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", "text/event-stream")
		return
	}
	if !s.openStream() {
		w.Header().Set("Retry-After", "5")
		writeError(w, http.StatusServiceUnavailable, fmt.Sprintf("no further reader of events: there are %d, or sipward is stopping", maxReaders))
		return
	}
	defer s.closeStream()

	// Before the snapshot: nothing may fall between the two.
	events, cancel := s.source.Subscribe(eventBuffer)
	defer cancel()

	out := eventWriter{w: w, rc: http.NewResponseController(w)}
	w.Header().Set("Content-Type", "text/event-stream")
	if err := s.stream(&out, events, r.Context().Done()); err != nil && !s.isStopping() {
		s.metrics.cut.Inc()
		s.log.Debug("console event stream cut off", "remote", r.RemoteAddr, "error", err)
	}
}

// stream writes events until the reader leaves, the server stops (both nil) or
// the reader does not keep up.
func (s *Server) stream(out *eventWriter, events <-chan b2bua.Event, gone <-chan struct{}) error {
	heartbeat := time.NewTicker(heartbeatEvery)
	defer heartbeat.Stop()
	err := out.send(fmt.Sprintf("retry: %d\n", retryAfter.Milliseconds()), EventSnapshot, snapshot{EventSnapshot, time.Now(), s.calls()})
	for err == nil {
		select {
		case <-gone:
			return nil
		case <-s.stop:
			out.send("", eventClosed, problem{"sipward is stopping"})
			return nil
		case e, ok := <-events:
			if !ok {
				out.send("", eventClosed, problem{"this reader did not keep up with the events, or sipward is stopping"})
				return fmt.Errorf("more than %d events waited", eventBuffer)
			}
			if !isEventName(e.Type) {
				s.log.Error("event with an unusable type", "type", e.Type)
				continue
			}
			e.Call = shown(e.Call)
			err = out.send("", e.Type, e)
		case <-heartbeat.C:
			err = out.write(": alive\n\n")
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("an event did not leave within %v", eventTimeout)
	}
	return nil // the reader closed the connection while something was written
}

// openStream takes one of the places for readers.
func (s *Server) openStream() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping || s.readers >= maxReaders {
		return false
	}
	s.readers++
	s.streams.Add(1)
	return true
}

func (s *Server) closeStream() {
	s.mu.Lock()
	s.readers--
	s.mu.Unlock()
	s.streams.Done()
}

func (s *Server) isStopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

// isEventName keeps line ends and the like out of the event line.
func isEventName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && r != '-'
	})
}

// eventWriter writes one stream. Each write has its own deadline, which takes
// the place of the server's write timeout: a stream may last, a single event
// may not.
type eventWriter struct {
	w  http.ResponseWriter
	rc *http.ResponseController
	id uint64
}

// send writes one event; first stands before it, whole lines.
func (o *eventWriter) send(first, name string, v any) error {
	data, err := json.Marshal(v) // one line: JSON escapes line ends
	if err != nil {
		return err
	}
	o.id++
	return o.write(fmt.Sprintf("%sid: %d\nevent: %s\ndata: %s\n\n", first, o.id, name, data))
}

func (o *eventWriter) write(text string) error {
	if err := o.rc.SetWriteDeadline(time.Now().Add(eventTimeout)); err != nil {
		return err
	}
	if _, err := o.w.Write([]byte(text)); err != nil {
		return err
	}
	return o.rc.Flush()
}
