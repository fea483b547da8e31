package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
)

func client(t *testing.T, base, token string) *Client {
	t.Helper()
	c, err := NewClient(base, token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestNewClient(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]string{
		"127.0.0.1:5080":            "http://127.0.0.1:5080",
		"http://127.0.0.1:5080/":    "http://127.0.0.1:5080",
		"https://example.com/sip/":  "https://example.com/sip",
		"[::1]:5080":                "http://[::1]:5080",
		"":                          "",
		"ftp://example.com":         "",
		"http://":                   "",
		"http://u:hunter2@host":     "",
		"http://host/?a=b":          "",
		"http://host:port":          "",
		"http://ho st":              "",
		"unix:///run/sipward.sock":  "",
		"http://127.0.0.1:5080#top": "",
	} {
		c, err := NewClient(base, "")
		switch {
		case want == "" && err == nil:
			t.Errorf("%q is taken as %q", base, c.base)
		case want == "" && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("%q: the error holds a password: %v", base, err)
		case want != "" && (err != nil || c.base != want):
			t.Errorf("%q: %+v, %v, want %q", base, c, err, want)
		}
	}
	if _, err := NewClient("127.0.0.1:5080", "secret with space!!"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("unusable token: %v", err)
	}
}

func TestClientCalls(t *testing.T) {
	t.Parallel()
	_, base := serve(t, Options{Source: newFakeSource(view("b", 1), view("a", 0)), Token: testToken})
	got, err := client(t, base, testToken).Calls(t.Context())
	if err != nil || !reflect.DeepEqual(got, []b2bua.View{view("a", 0), view("b", 1)}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestClientErrors(t *testing.T) {
	t.Parallel()
	_, closed := serve(t, Options{Source: newFakeSource(), Token: testToken})
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	taken := make(chan string, 10)
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { taken <- r.Header.Get("Authorization") }))
	t.Cleanup(thief.Close)
	other := func(h http.HandlerFunc) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	both := func(w http.ResponseWriter, r *http.Request, body string) {
		w.Header().Set("Content-Type", r.Header.Get("Accept"))
		io.WriteString(w, body)
	}
	for _, c := range []struct {
		name, base, token, want string
	}{
		{"nobody", "http://" + nobody.Addr().String(), "", "no sipward answers at http://" + nobody.Addr().String() + ": is `sipward run` running?"},
		{"no token", closed, "", "wants its token"},
		{"wrong token", closed, testToken + "x", "does not take this token"},
		{"another program", other(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }), "", "does not speak as sipward"},
		{"another program's 404", other(http.NotFound), "", "status 404"},
		{"broken JSON", other(func(w http.ResponseWriter, r *http.Request) {
			both(w, r, "event: snapshot\ndata: [{]\n\n")
		}), "", "does not speak as sipward"},
		{"escape sequences", other(func(w http.ResponseWriter, _ *http.Request) {
			writeError(w, 403, "no \x1b[31m\x07"+strings.Repeat("é", 1000))
		}), "", "refused: no  [31m"},
		{"redirection", other(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, thief.URL, http.StatusFound) }), testToken, "status 302"},
		{"breaks off", other(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			both(w, r, "data: [")
		}), "", "broke off"},
		{"not HTTP", rawServer(t, "SIP/2.0 400 Bad Request\r\n\r\n"), "", "no answer from"},
		{"endless", other(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", r.Header.Get("Accept"))
			line := []byte(strings.Repeat("x", 1<<20))
			for {
				if _, err := w.Write(line); err != nil {
					return
				}
			}
		}), "", "too long"},
	} {
		cl := client(t, c.base, c.token)
		_, callsErr := cl.Calls(t.Context())
		watchErr := cl.Watch(t.Context(), func(b2bua.Event) {})
		_, statusErr := cl.Status(t.Context())
		for verb, err := range map[string]error{"Calls": callsErr, "Watch": watchErr, "Status": statusErr} {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, %s: %v, want %q", c.name, verb, err, c.want)
				continue
			}
			if strings.ContainsAny(err.Error(), "\x1b\x07\n") || len(err.Error()) > 700 || strings.Contains(err.Error(), testToken) {
				t.Errorf("%s, %s: unfit for a terminal: %q", c.name, verb, err)
			}
			if got := errors.Is(err, ErrUnreachable); got != (c.name == "nobody") {
				t.Errorf("%s, %s: unreachable: %v", c.name, verb, got)
			}
		}
	}
	select {
	case field := <-taken:
		t.Errorf("the redirection was followed with Authorization %q", field)
	default:
	}
}

// rawServer answers every connection with these octets.
func rawServer(t *testing.T, answer string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 4096))
			io.WriteString(c, answer)
			c.Close()
		}
	}()
	return "http://" + ln.Addr().String()
}

func TestWatch(t *testing.T) {
	t.Parallel()
	src := newFakeSource(view("a", 0), view("b", 1))
	_, base := serve(t, Options{Source: src, Token: testToken})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []string
	err := client(t, base, testToken).Watch(ctx, func(e b2bua.Event) {
		got = append(got, e.Type+" "+e.Call.ID)
		switch len(got) {
		case 2:
			src.publish(b2bua.Event{Type: "call-started", Call: view("c", 2)})
			src.publish(b2bua.Event{Type: "call-from-the-future", Call: view("x", 2)})
			src.publish(b2bua.Event{Type: "call-ended", Call: view("a", 0)})
		case 4:
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Watch returned %v", err)
	}
	if want := []string{"snapshot a", "snapshot b", "call-started c", "call-ended a"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	<-src.ended // the server saw it leave
}

func TestWatchServerStops(t *testing.T) {
	t.Parallel()
	src := newFakeSource(view("a", 0))
	s, base := serve(t, Options{Source: src})
	err := client(t, base, "").Watch(t.Context(), func(b2bua.Event) {
		go s.Shutdown(context.Background())
	})
	if err == nil || !strings.Contains(err.Error(), "sipward is stopping") {
		t.Errorf("Watch returned %v", err)
	}
}

// Heartbeats keep a stream without events alive for the client; silence ends it.
func TestWatchSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ln := newPipeListener()
		const heartbeats = 10
		mute := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprintf(w, "event: snapshot\ndata: {\"calls\":[{\"id\":\"a\"}]}\n\n")
			w.(http.Flusher).Flush()
			for range heartbeats {
				time.Sleep(heartbeatEvery) // the bubble's clock
				io.WriteString(w, ": alive\n\n")
				w.(http.Flusher).Flush()
			}
			<-r.Context().Done()
		})}
		go mute.Serve(ln)
		defer mute.Close()
		c := client(t, "http://localhost", "")
		c.http.Transport.(*http.Transport).DialContext = ln.dial
		begun, events := time.Now(), 0
		err := c.Watch(t.Context(), func(b2bua.Event) {
			events++
			time.Sleep(2 * silenceLimit) // a slow callback is not the server's silence
		})
		if err == nil || !strings.Contains(err.Error(), "silent for 45s") || events != 1 {
			t.Errorf("%d events, then %v", events, err)
		}
		if took := time.Since(begun); took < heartbeats*heartbeatEvery+silenceLimit || took > heartbeats*heartbeatEvery+3*silenceLimit {
			t.Errorf("ended after %v", took)
		}
	})
}
