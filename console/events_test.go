package console

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
)

func TestEventsOnTheWire(t *testing.T) {
	t.Parallel()
	src := newFakeSource(view("b", 1), view("a", 0))
	_, base := serve(t, Options{Source: src})
	resp, err := http.Get(base + "/api/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type %q", got)
	}
	r := bufio.NewReader(resp.Body)
	first, _ := io.ReadAll(paragraph(t, r))
	lines := strings.Split(string(first), "\n")
	if len(lines) != 6 || lines[0] != "retry: 2000" || lines[1] != "id: 1" || lines[2] != "event: snapshot" {
		t.Fatalf("the stream begins with %q", first)
	}
	var snap snapshot
	if err := json.Unmarshal([]byte(strings.TrimPrefix(lines[3], "data: ")), &snap); err != nil {
		t.Fatal(err)
	}
	if want := []b2bua.View{view("a", 0), view("b", 1)}; !reflect.DeepEqual(snap.Calls, want) {
		t.Errorf("snapshot %+v", snap)
	}

	// The subscription stands once the snapshot is there: nothing published now is lost.
	changed := view("a", 0)
	changed.Reason = "two\r\nlines\n\nevent: forged"
	for _, e := range []b2bua.Event{
		{Type: "call-started", Call: b2bua.View{ID: "c"}},
		{Type: "call-changed", Call: changed},
		{Type: "forged\nid: 7", Call: changed}, // not a name: left out
		{Type: "call-ended", Call: changed},
	} {
		src.publish(e)
	}
	for i, want := range []string{
		"id: 2\nevent: call-started\ndata: {",
		"id: 3\nevent: call-changed\ndata: {",
		"id: 4\nevent: call-ended\ndata: {",
	} {
		text, _ := io.ReadAll(paragraph(t, r))
		if !strings.HasPrefix(string(text), want) || strings.Count(string(text), "\n") != 4 {
			t.Errorf("event %d: %q", i, text)
		}
		if strings.Contains(string(text), "null") {
			t.Errorf("event %d holds null: %s", i, text)
		}
	}
}

func TestEventsReaderLeaves(t *testing.T) {
	t.Parallel()
	src := newFakeSource()
	s, base := serve(t, Options{Source: src})
	resp, err := http.Get(base + "/api/events")
	if err != nil {
		t.Fatal(err)
	}
	<-src.news
	resp.Body.Close()
	<-src.ended
	waitReaders(t, s, 0)
	if n := src.subscriptions(); n != 0 {
		t.Errorf("%d subscriptions are left", n)
	}
}

// waitReaders waits until the server counts n open streams: the last step of a
// handler comes after what the test can see of it.
func waitReaders(t *testing.T, s *Server, n int) {
	t.Helper()
	if n == 0 {
		s.streams.Wait()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readers != n {
		t.Errorf("%d readers are counted, want %d", s.readers, n)
	}
}

func TestEventsTooManyReaders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ln := newPipeListener()
		s := serveOn(t, Options{Source: newFakeSource()}, ln)
		for range maxReaders {
			r := openStream(t, ln)
			go io.Copy(io.Discard, r)
		}
		conn := openConn(t, ln, "/api/events")
		defer conn.Close()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("reader %d: %s, %v", maxReaders+1, resp.Status, resp.Header)
		}
		waitReaders(t, s, maxReaders)
	})
}

// The stream outlives the server's read and write timeouts, and says every
// 15 s that it lives.
func TestEventsHeartbeat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		src := newFakeSource()
		ln := newPipeListener()
		serveOn(t, Options{Source: src}, ln)
		r := openStream(t, ln)
		begun := time.Now()
		for i := 1; i <= 20; i++ {
			text, _ := io.ReadAll(paragraph(t, r))
			if string(text) != ": alive\n\n" {
				t.Fatalf("heartbeat %d is %q", i, text)
			}
			if at := time.Since(begun); at != time.Duration(i)*15*time.Second {
				t.Fatalf("heartbeat %d after %v", i, at)
			}
		}
		src.publish(b2bua.Event{Type: "call-ended", Call: view("a", 0)})
		if text, _ := io.ReadAll(paragraph(t, r)); !strings.HasPrefix(string(text), "id: 2\nevent: call-ended\n") {
			t.Errorf("after five minutes: %q", text)
		}
		go io.Copy(io.Discard, r)
	})
}

// A reader who takes nothing is cut off when one write takes too long, though
// few events wait for it.
func TestEventsStuckReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		src := newFakeSource(view("a", 0))
		ln := newPipeListener()
		s := serveOn(t, Options{Source: src}, ln)
		begun := time.Now()
		conn := openConn(t, ln, "/api/events")
		defer conn.Close()
		<-src.news
		<-src.ended
		if took := time.Since(begun); took != eventTimeout {
			t.Errorf("cut off after %v, want %v", took, eventTimeout)
		}
		waitReaders(t, s, 0)
		if got := metric(t, s, "sipward_console_event_streams_cut_total"); got != 1 {
			t.Errorf("%v streams are counted as cut", got)
		}
	})
}

// A reader slower than the events is cut off when the buffer is full, and told
// why if it reads on.
func TestEventsSlowReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		src := newFakeSource()
		ln := newPipeListener()
		s := serveOn(t, Options{Source: src}, ln)
		r := openStream(t, ln)
		closed, sent := 0, 0
		for ; closed == 0 && sent < 100*eventBuffer; sent++ {
			closed = src.publish(b2bua.Event{Type: "call-changed", Call: view("a", 0)})
			if sent == 0 {
				synctest.Wait() // the server takes it and waits for the reader
			}
		}
		if sent != eventBuffer+2 { // one being written, the buffer, the one without room
			t.Errorf("cut off at event %d", sent)
		}
		rest, err := io.ReadAll(r)
		if err != nil {
			t.Errorf("the stream broke off: %v", err)
		}
		if !strings.Contains(string(rest), "event: closed") || !strings.Contains(string(rest), "keep up") {
			t.Errorf("the stream ended with %.200q", rest)
		}
		waitReaders(t, s, 0)
	})
}
