package console

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	src := newFakeSource()
	for _, c := range []struct {
		name string
		o    Options
		want string // "" for accepted
	}{
		{"no source", Options{}, "no source"},
		{"all addresses, no token", Options{Source: src, Listen: "0.0.0.0:5080"}, "token file"},
		{"no host, no token", Options{Source: src, Listen: ":5080"}, "token file"},
		{"name, no token", Options{Source: src, Listen: "pbx.example.com:5080"}, "listen on 127.0.0.1"},
		{"IPv6 all, no token", Options{Source: src, Listen: "[::]:5080"}, "token file"},
		{"no port", Options{Source: src, Listen: "127.0.0.1"}, "host:port"},
		{"short token", Options{Source: src, Token: "secret"}, "at least 16"},
		{"token with space", Options{Source: src, Token: "correct horse battery"}, "visible ASCII"},
		{"short token in file", Options{Source: src, TokenFile: short}, "at least 16"},
		{"no file", Options{Source: src, TokenFile: short + "er"}, "token file"},
		{"two tokens", Options{Source: src, Token: testToken, TokenFile: short}, "keep one"},
		{"host with port", Options{Source: src, Hosts: []string{"proxy:80"}}, "bare host"},
		{"empty host", Options{Source: src, Hosts: []string{""}}, "bare host"},
		{"all addresses, token", Options{Source: src, Listen: "0.0.0.0:5080", Token: testToken}, ""},
		{"loopback", Options{Source: src, Listen: "127.0.0.1:5080"}, ""},
		{"localhost", Options{Source: src, Listen: "localhost:5080"}, ""},
		{"IPv6 loopback", Options{Source: src, Listen: "[::1]:5080"}, ""},
		{"IPv6 host", Options{Source: src, Hosts: []string{"2001:db8::1"}}, ""},
	} {
		_, err := New(c.o)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		case err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("%s: the error holds the token: %v", c.name, err)
		}
	}
}

// addrListener claims another address than it has.
type addrListener struct {
	net.Listener
	addr net.Addr
}

func (l addrListener) Addr() net.Addr { return l.addr }

func TestServeRefusesOpenListener(t *testing.T) {
	t.Parallel()
	for _, addr := range []net.Addr{
		&net.TCPAddr{IP: net.IPv4zero, Port: 5080},
		&net.TCPAddr{IP: net.IPv6unspecified, Port: 5080},
		&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5080},
		&net.UnixAddr{Name: "/run/sipward.sock", Net: "unix"},
	} {
		s, err := New(Options{Source: newFakeSource()})
		if err != nil {
			t.Fatal(err)
		}
		ln := newPipeListener()
		err = s.Serve(addrListener{ln, addr})
		if err == nil || !strings.Contains(err.Error(), "token file") {
			t.Errorf("%v: Serve returned %v", addr, err)
		}
		select {
		case <-ln.closed:
		default:
			t.Errorf("%v: the listener was left open", addr)
		}
	}
}

func TestServeAfterShutdown(t *testing.T) {
	t.Parallel()
	s, err := New(Options{Source: newFakeSource()})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Serve(newPipeListener()); err != nil {
		t.Errorf("Serve after Shutdown: %v", err)
	}
}

func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	in := newPipeListener()
	l := &limitedListener{Listener: in, room: 2}
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := in.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	dial()
	first := <-accepted
	dial()
	<-accepted
	if _, err := dial().Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("third connection: read error %v, want it closed", err)
	}
	first.Close()
	first.Close() // gives one place back, not two
	dial()
	<-accepted
	if _, err := dial().Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("connection beyond the limit: read error %v, want it closed", err)
	}
	in.Close()
	if _, ok := <-accepted; ok {
		t.Error("accepted another connection")
	}
}

// Shutdown leaves no goroutine behind, though streams are open: synctest fails
// a test whose bubble does not empty.
func TestShutdownEndsEverything(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		src := newFakeSource(view("a", 0))
		s, err := New(Options{Source: src})
		if err != nil {
			t.Fatal(err)
		}
		ln := newPipeListener()
		served := make(chan error, 1)
		go func() { served <- s.Serve(ln) }()

		var readers []*bufio.Reader
		for range 3 {
			readers = append(readers, openStream(t, ln))
		}
		synctest.Wait()
		if n := src.subscriptions(); n != 3 {
			t.Fatalf("%d subscriptions, want 3", n)
		}
		ends := make(chan string, len(readers))
		for _, r := range readers {
			go func() {
				rest, _ := io.ReadAll(r)
				ends <- string(rest)
			}()
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if n := src.subscriptions(); n != 0 {
			t.Errorf("%d subscriptions are left", n)
		}
		for range readers {
			if rest := <-ends; !strings.Contains(rest, "event: closed") || !strings.Contains(rest, "stopping") {
				t.Errorf("the stream ended with %q", rest)
			}
		}
	})
}

// A reader who takes nothing cannot hold Shutdown longer than its context.
func TestShutdownCutsStuckReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		src := newFakeSource(view("a", 0))
		s, err := New(Options{Source: src})
		if err != nil {
			t.Fatal(err)
		}
		ln := newPipeListener()
		go s.Serve(ln)
		conn := openConn(t, ln, "/api/events")
		defer conn.Close()
		synctest.Wait() // the server is writing what nobody reads
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		begun := time.Now()
		err = s.Shutdown(ctx)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
		if took := time.Since(begun); took != 2*time.Second {
			t.Errorf("Shutdown took %v", took)
		}
		if n := src.subscriptions(); n != 0 {
			t.Errorf("%d subscriptions are left", n)
		}
	})
}

// openConn sends a request and reads nothing.
func openConn(t *testing.T, ln *pipeListener, path string) net.Conn {
	t.Helper()
	conn, err := ln.dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return conn
}

// openStream opens an event stream and reads its header and snapshot.
func openStream(t *testing.T, ln *pipeListener) *bufio.Reader {
	t.Helper()
	conn := openConn(t, ln, "/api/events")
	t.Cleanup(func() { conn.Close() })
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 200 {
		t.Fatalf("status %s", resp.Status)
	}
	r := bufio.NewReader(resp.Body)
	m, err := newEventReader(paragraph(t, r), maxEvent).next()
	if err != nil || m.name != EventSnapshot {
		t.Fatalf("first event %+v, %v", m, err)
	}
	return r
}

// paragraph reads to the next empty line.
func paragraph(t *testing.T, r *bufio.Reader) io.Reader {
	t.Helper()
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q: %v", b.String(), err)
		}
		b.WriteString(line)
		if line == "\n" {
			return strings.NewReader(b.String())
		}
	}
}

// A connection that sends no request, or half of one, is closed.
func TestSilentConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ln := newPipeListener()
		serveOn(t, Options{Source: newFakeSource()}, ln)
		for _, sent := range []string{"", "GET / HTTP/1.1\r\nHost: loc"} {
			conn, err := ln.dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			if _, err := io.WriteString(conn, sent); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(conn); err != nil {
				t.Errorf("after %q: %v", sent, err)
			}
			if took := time.Since(begun); took > readTimeout {
				t.Errorf("after %q: closed after %v", sent, took)
			}
			conn.Close()
		}
	})
}

func TestHeaderTooLarge(t *testing.T) {
	t.Parallel()
	_, base := serve(t, Options{Source: newFakeSource()})
	resp, _ := ask(t, base+"/api/calls", func(r *http.Request) { r.Header.Set("X-Long", strings.Repeat("x", 2*maxHeaderBytes)) })
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %s", resp.Status)
	}
}
