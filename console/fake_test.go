package console

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sipward/sipward/b2bua"
)

const testToken = "correct-horse-battery-staple"

// fakeSource keeps the contract of Source with calls that the test sets.
type fakeSource struct {
	mu    sync.Mutex
	calls []b2bua.View
	subs  map[chan b2bua.Event]bool // true: closed because it was full
	news  chan struct{}             // one for each Subscribe
	ended chan struct{}             // one for each cancel
}

func newFakeSource(calls ...b2bua.View) *fakeSource {
	return &fakeSource{calls: calls, subs: map[chan b2bua.Event]bool{}, news: make(chan struct{}, 1000), ended: make(chan struct{}, 1000)}
}

func (f *fakeSource) Calls() []b2bua.View {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]b2bua.View(nil), f.calls...)
}

func (f *fakeSource) Call(id string) (b2bua.View, bool) {
	for _, v := range f.Calls() {
		if v.ID == id {
			return v, true
		}
	}
	return b2bua.View{}, false
}

func (f *fakeSource) Subscribe(buffer int) (<-chan b2bua.Event, func()) {
	ch := make(chan b2bua.Event, buffer)
	f.mu.Lock()
	f.subs[ch] = false
	f.mu.Unlock()
	f.news <- struct{}{}
	return ch, func() {
		f.mu.Lock()
		delete(f.subs, ch)
		f.mu.Unlock()
		f.ended <- struct{}{}
	}
}

// publish never waits, as Source wants it; it reports how many subscriptions
// it closed.
func (f *fakeSource) publish(e b2bua.Event) (closed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for ch, full := range f.subs {
		if full {
			continue
		}
		select {
		case ch <- e:
		default:
			close(ch)
			f.subs[ch] = true
			closed++
		}
	}
	return closed
}

func (f *fakeSource) subscriptions() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.subs)
}

func view(id string, minute int) b2bua.View {
	return b2bua.View{
		ID: id, From: "sip:alice@example.com", To: "sip:bob@example.org",
		Protection: "srtp", Suite: "AEAD_AES_256_GCM", SASCode: "123 456",
		Started: time.Date(2030, 1, 2, 3, minute, 0, 0, time.UTC),
		Legs: []b2bua.LegView{
			{Side: "inside", PacketsIn: 10, PacketsOut: 9, Bytes: 3000, DroppedSource: 1},
			{Side: "outside", PacketsIn: 9, PacketsOut: 10, Bytes: 3200, DroppedAuth: 2, DroppedReplay: 3, Lost: 4},
		},
	}
}

// serve runs a server on a free port of 127.0.0.1 until the test ends.
func serve(t *testing.T, o Options) (*Server, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, o, ln), "http://" + ln.Addr().String()
}

func serveOn(t *testing.T, o Options, ln net.Listener) *Server {
	t.Helper()
	s, err := New(o)
	if err != nil {
		ln.Close()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

// ask makes one request on a connection of its own; edit may change it.
func ask(t *testing.T, url string, edit func(*http.Request)) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(req)
	}
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func withToken(r *http.Request) { r.Header.Set("Authorization", "Bearer "+testToken) }

// pipeListener is a network in memory, for tests under a clock of their own.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
