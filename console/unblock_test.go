package console

import (
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// unblocker notes what it was asked for.
type unblocker struct {
	source netip.Addr
	user   string
	asked  int
}

func (u *unblocker) unblock(source netip.Addr, user string) int {
	u.source, u.user = source, user
	u.asked++
	return 2
}

func post(body string) func(*http.Request) {
	return func(r *http.Request) {
		withToken(r)
		r.Method, r.Body, r.ContentLength = "POST", io.NopCloser(strings.NewReader(body)), int64(len(body))
		r.Header.Set("Content-Type", "application/json")
	}
}

func TestUnblock(t *testing.T) {
	t.Parallel()
	var u unblocker
	_, base := serve(t, Options{Source: newFakeSource(), Unblock: u.unblock, Token: testToken})
	c := client(t, base, testToken)
	if n, err := c.Unblock(t.Context(), netip.MustParseAddr("192.0.2.9"), "carol"); n != 2 || err != nil || u.source.String() != "192.0.2.9" || u.user != "carol" {
		t.Errorf("%d, %v, %+v", n, err, u)
	}
	if n, err := c.Unblock(t.Context(), netip.Addr{}, ""); n != 2 || err != nil || u.source.IsValid() || u.user != "" {
		t.Errorf("all: %d, %v, %+v", n, err, u)
	}
	for body, want := range map[string]int{
		`{"source":"2001:db8::1"}`:         200,
		`{"source":"all"}`:                 200,
		`{"source":""}`:                    400,
		`{}`:                               400,
		``:                                 400,
		`{"source":"all"}{"source":"all"}`: 400,
		`{"source":"all","users":"x"}`:     400,
		`{"source":"192.0.2.0/24"}`:        400,
		`{"source":"` + strings.Repeat("1", maxQuestion) + `"}`: 400,
	} {
		before := u.asked
		resp, got := ask(t, base+unblockPath, post(body))
		if resp.StatusCode != want || (u.asked > before) != (want == 200) {
			t.Errorf("%.50s: status %s, %s", body, resp.Status, got)
		}
	}
}

// A page of another origin can make a browser send a POST, but not with this
// media type: the browser asks first whether it may, and is told no.
func TestUnblockIsGuarded(t *testing.T) {
	t.Parallel()
	var u unblocker
	_, base := serve(t, Options{Source: newFakeSource(), Unblock: u.unblock, Token: testToken})
	right := post(`{"source":"all"}`)
	for name, c := range map[string]struct {
		edit func(*http.Request)
		want int
	}{
		"without the token":       {func(r *http.Request) { r.Header.Del("Authorization") }, 401},
		"from another origin":     {func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }, 403},
		"from another site":       {func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403},
		"under another name":      {func(r *http.Request) { r.Host = "evil.example" }, 421},
		"as a form":               {func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }, 415},
		"as text":                 {func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 415},
		"without a media type":    {func(r *http.Request) { r.Header.Del("Content-Type") }, 415},
		"with two media types":    {func(r *http.Request) { r.Header.Add("Content-Type", "text/plain") }, 415},
		"by GET":                  {func(r *http.Request) { r.Method, r.Body, r.ContentLength = "GET", nil, 0 }, 405},
		"by HEAD":                 {func(r *http.Request) { r.Method, r.Body, r.ContentLength = "HEAD", nil, 0 }, 405},
		"by OPTIONS, a preflight": {func(r *http.Request) { r.Method, r.Body, r.ContentLength = "OPTIONS", nil, 0 }, 405},
		"by PUT":                  {func(r *http.Request) { r.Method = "PUT" }, 405},
		"at another path":         {func(r *http.Request) { r.URL.Path = "/api/calls" }, 405},
	} {
		resp, body := ask(t, base+unblockPath, func(r *http.Request) { right(r); c.edit(r) })
		if resp.StatusCode != c.want || u.asked != 0 {
			t.Errorf("%s: status %s, want %d: %s", name, resp.Status, c.want, body)
		}
		if resp.StatusCode == 405 && name != "at another path" && resp.Header.Get("Allow") != "POST" {
			t.Errorf("%s: Allow %q", name, resp.Header.Get("Allow"))
		}
	}
	_, base = serve(t, Options{Source: newFakeSource()})
	if resp, _ := ask(t, base+unblockPath, right); resp.StatusCode != 404 {
		t.Errorf("where nobody is freed: %s", resp.Status)
	}
}
