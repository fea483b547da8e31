package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/sipward/sipward/b2bua"
)

const (
	answerTimeout = 10 * time.Second   // of a whole answer; of an event stream, until it begins
	silenceLimit  = 3 * heartbeatEvery // a stream without even a heartbeat is dead
	maxAnswer     = 16 << 20           // octets of an answer
)

// ErrUnreachable is in the chain of an error when nothing answers.
var ErrUnreachable = errors.New("nothing answers")

// Client asks a running sipward's console. It may be used by many goroutines.
type Client struct {
	base  string // without a slash at the end
	token string
	http  *http.Client
}

// NewClient makes a client of the console at baseURL, for example
// http://127.0.0.1:5080 (the scheme may be left out), which sends token unless
// it is "". It does not connect yet.
func NewClient(baseURL, token string) (*Client, error) {
	full := baseURL
	if !strings.Contains(full, "://") {
		full = "http://" + full
	}
	u, err := url.Parse(full)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		// The URL is not repeated: it may hold a password.
		return nil, errors.New("the console's address is not of the form http://host:port")
	}
	if token != "" {
		if err := checkToken(token); err != nil {
			return nil, err
		}
	}
	return &Client{
		base:  strings.TrimRight(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"),
		token: token,
		http: &http.Client{
			// No proxy from the environment, and no redirection: the token is
			// for this one address.
			Transport: &http.Transport{
				DialContext:            (&net.Dialer{Timeout: answerTimeout}).DialContext,
				TLSHandshakeTimeout:    answerTimeout,
				ResponseHeaderTimeout:  answerTimeout,
				MaxResponseHeaderBytes: 64 << 10,
				MaxIdleConns:           2,
				IdleConnTimeout:        idleTimeout / 2,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close ends idle connections. The client can still be used.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Calls returns the live calls, oldest first.
func (c *Client) Calls(ctx context.Context) ([]b2bua.View, error) {
	var calls []b2bua.View
	if err := c.read(ctx, "/api/calls", &calls); err != nil {
		return nil, err
	}
	return calls, nil
}

// Status returns how the sipward is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	if err := c.read(ctx, "/api/status", &s); err != nil {
		return Status{}, err
	}
	return s, nil
}

// Unblock lets a source, the zero Addr every one, try again at once, where user is
// not "" as that user alone. It returns how many were blocked.
func (c *Client) Unblock(ctx context.Context, source netip.Addr, user string) (int, error) {
	q := unblockQuestion{Source: "all", User: user}
	if source.IsValid() {
		q.Source = source.String()
	}
	var a unblockAnswer
	err := c.post(ctx, unblockPath, q, &a)
	return a.Freed, err
}

// read asks for a path and decodes the answer.
func (c *Client) read(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	resp, err := c.get(ctx, path, "application/json")
	if err != nil {
		return err
	}
	return c.decode(resp, into)
}

// decode reads a JSON answer and closes it.
func (c *Client) decode(resp *http.Response, into any) error {
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("the answer of %s broke off: %w", c.base, err)
	}
	if len(body) > maxAnswer {
		return fmt.Errorf("the answer of %s is too long: more than %d octets", c.base, maxAnswer)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return c.notSipward(err)
	}
	return nil
}

// Watch calls f, from this goroutine, for each event until ctx is done, and
// returns ctx's error then. The calls that live at the start come first, each
// as an event of type EventSnapshot. Any other end is an error too: Watch does
// not reconnect, since whoever watches must know that something was missed.
func (c *Client) Watch(ctx context.Context, f func(b2bua.Event)) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := c.get(inner, "/api/events", "text/event-stream")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	silent := fmt.Errorf("%s was silent for %v: it hangs, or the connection is dead", c.base, silenceLimit)
	timer := time.AfterFunc(silenceLimit, func() { cancel(silent) })
	defer timer.Stop()
	events := newEventReader(readerFunc(func(p []byte) (int, error) {
		n, err := resp.Body.Read(p)
		timer.Reset(silenceLimit)
		return n, err
	}), maxEvent)
	for {
		m, err := events.next()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(context.Cause(inner), silent):
			return silent
		case errors.Is(err, errEventTooLong):
			return fmt.Errorf("%s: %w", c.base, err)
		case err != nil:
			return fmt.Errorf("the event stream of %s broke off: %w", c.base, err)
		}
		timer.Stop() // f may take its time
		if err := c.deliver(m, f); err != nil {
			return err
		}
		timer.Reset(silenceLimit)
	}
}

// deliver calls f for one event of the stream. Events whose names this version
// does not know are left out.
func (c *Client) deliver(m message, f func(b2bua.Event)) error {
	switch m.name {
	case EventSnapshot:
		var s snapshot
		if err := json.Unmarshal([]byte(m.data), &s); err != nil {
			return c.notSipward(err)
		}
		for _, v := range s.Calls {
			f(b2bua.Event{Type: EventSnapshot, Time: s.Time, Call: v})
		}
	case "call-started", "call-changed", "call-ended":
		var e b2bua.Event
		if err := json.Unmarshal([]byte(m.data), &e); err != nil {
			return c.notSipward(err)
		}
		e.Type = m.name
		f(e)
	case eventClosed:
		var p problem
		if err := json.Unmarshal([]byte(m.data), &p); err != nil {
			return c.notSipward(err)
		}
		return fmt.Errorf("%s ended the event stream: %s", c.base, printable(p.Error))
	}
	return nil
}

// get asks for a path. A nil error means status 200 and the wanted media type;
// the caller closes the body.
func (c *Client) get(ctx context.Context, path, mediaType string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return nil, err
	}
	return c.do(req, mediaType)
}

// do sends a request, with the token. What holds for get holds for it.
func (c *Client) do(req *http.Request, mediaType string) (*http.Response, error) {
	req.Header.Set("Accept", mediaType)
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.connectError(req.Context(), err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, c.statusError(resp)
	}
	if got, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(got), mediaType) {
		resp.Body.Close()
		return nil, c.notSipward(errors.New("its answer has another media type"))
	}
	return resp, nil
}

func (c *Client) connectError(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return fmt.Errorf("no sipward answers at %s: is `sipward run` running? (%w: %w)", c.base, ErrUnreachable, op.Err)
	}
	var in *url.Error // its text repeats the whole URL
	if errors.As(err, &in) {
		err = in.Err
	}
	return fmt.Errorf("no answer from %s: %w", c.base, err)
}

func (c *Client) statusError(resp *http.Response) error {
	if resp.StatusCode == http.StatusUnauthorized {
		if c.token == "" {
			return fmt.Errorf("sipward at %s wants its token: name its token file", c.base)
		}
		return fmt.Errorf("sipward at %s does not take this token", c.base)
	}
	var p problem
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil || json.Unmarshal(body, &p) != nil || p.Error == "" {
		return c.notSipward(fmt.Errorf("status %d", resp.StatusCode))
	}
	return fmt.Errorf("sipward at %s refused: %s (status %d)", c.base, printable(p.Error), resp.StatusCode)
}

func (c *Client) notSipward(why error) error {
	return fmt.Errorf("what answers at %s does not speak as sipward's console does: %w", c.base, why)
}

// printable makes a peer's text safe for a terminal and short.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 200 {
		return string(r[:200]) + "…"
	}
	return s
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
