package console

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestHost(t *testing.T) {
	t.Parallel()
	_, base := serve(t, Options{Source: newFakeSource(), Listen: "sip.example.com:5080", Hosts: []string{"Proxy.example.com", "192.0.2.7"}, Token: testToken})
	for host, want := range map[string]int{
		"localhost":                   200,
		"LocalHost:5080":              200,
		"127.0.0.1":                   200,
		"127.9.8.7:1":                 200,
		"[::1]":                       200,
		"[::1]:5080":                  200,
		"[::ffff:127.0.0.1]:5080":     200,
		"sip.example.com:5080":        200,
		"SIP.example.com":             200,
		"proxy.example.com":           200,
		"192.0.2.7:99":                200,
		"evil.example":                421,
		"evil.example:5080":           421,
		"localhost.evil.example":      421,
		"127.0.0.1.evil.example":      421,
		"a.localhost":                 421,
		"0.0.0.0:5080":                421,
		"[::]:5080":                   421,
		"192.0.2.8":                   421,
		"evil.example@127.0.0.1":      421,
		"127.0.0.1:5080@evil.example": 421,
		"2130706433":                  421,
		"0x7f.1":                      421,
		"127.1":                       421,
	} {
		for _, path := range []string{"/api/calls", "/healthz", "/metrics", "/nothing"} {
			resp, body := ask(t, base+path, func(r *http.Request) { withToken(r); r.Host = host })
			want := want
			if path == "/nothing" && want == 200 {
				want = 404
			}
			if resp.StatusCode != want {
				t.Errorf("Host %s, %s: status %s, want %d: %s", host, path, resp.Status, want, body)
			}
			if strings.Contains(body, "evil") {
				t.Errorf("Host %s, %s: the answer repeats it: %s", host, path, body)
			}
		}
	}
}

// Where the server listens on every address, the address that a connection
// reached is a name of the server.
func TestHostIsLocalAddress(t *testing.T) {
	t.Parallel()
	_, base := serve(t, Options{Source: newFakeSource(), Listen: "0.0.0.0:5080", Token: testToken})
	resp, _ := ask(t, base+"/healthz", nil)
	if resp.StatusCode != 200 {
		t.Errorf("status %s", resp.Status)
	}
	s, err := New(Options{Source: newFakeSource()})
	if err != nil {
		t.Fatal(err)
	}
	for local, want := range map[string]bool{"192.0.2.1:5080": true, "[::ffff:192.0.2.1]:5080": true, "192.0.2.2:5080": false, "[fe80::1%eth0]:5080": false} {
		req, _ := http.NewRequest("GET", "http://192.0.2.1/", nil)
		req = req.WithContext(contextWithLocal(req.Context(), local))
		if got := s.ownHost(req); got != want {
			t.Errorf("Host 192.0.2.1 on a connection to %s: %v", local, got)
		}
	}
	req, _ := http.NewRequest("GET", "http://192.0.2.1/", nil)
	if s.ownHost(req) {
		t.Error("an address is taken without a connection")
	}
}

func TestOrigin(t *testing.T) {
	t.Parallel()
	_, base := serve(t, Options{Source: newFakeSource()})
	own := strings.TrimPrefix(base, "http://")
	for _, c := range []struct {
		field, value string
		want         int
	}{
		{"Origin", base, 200},
		{"Origin", "https://" + own, 200}, // behind a proxy with TLS
		{"Origin", "http://evil.example", 403},
		{"Origin", "http://localhost", 403}, // another server of this machine
		{"Origin", "http://127.0.0.1:1", 403},
		{"Origin", "null", 403},
		{"Origin", "", 403},
		{"Origin", "file://", 403},
		{"Origin", "http://" + own + ".evil.example", 403},
		{"Origin", "http://" + own + "@evil.example", 403},
		{"Sec-Fetch-Site", "same-origin", 200},
		{"Sec-Fetch-Site", "none", 200},
		{"Sec-Fetch-Site", "same-site", 403},
		{"Sec-Fetch-Site", "cross-site", 403},
	} {
		resp, _ := ask(t, base+"/api/calls", func(r *http.Request) { r.Header[c.field] = []string{c.value} })
		if resp.StatusCode != c.want {
			t.Errorf("%s %q: status %s, want %d", c.field, c.value, resp.Status, c.want)
		}
		if got := resp.Header.Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("%s %q: the answer allows origin %q", c.field, c.value, got)
		}
	}
	resp, _ := ask(t, base+"/api/calls", func(r *http.Request) { r.Header["Origin"] = []string{base, "http://evil.example"} })
	if resp.StatusCode != 403 {
		t.Errorf("two Origins: status %s", resp.Status)
	}
	// Default ports are the same origin written out or not.
	resp, _ = ask(t, base+"/api/calls", func(r *http.Request) { r.Host = "localhost"; r.Header.Set("Origin", "http://localhost:80") })
	if resp.StatusCode != 200 {
		t.Errorf("default port: status %s", resp.Status)
	}
}

func TestMethod(t *testing.T) {
	t.Parallel()
	_, base := serve(t, Options{Source: newFakeSource(), Token: testToken})
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"} {
		for _, path := range []string{"/api/calls", "/api/events", "/healthz", "/metrics", "/nothing"} {
			resp, _ := ask(t, base+path, func(r *http.Request) { withToken(r); r.Method = method })
			if resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: status %s, Allow %q", method, path, resp.Status, resp.Header.Get("Allow"))
			}
		}
	}
	for _, path := range []string{"/api/calls", "/api/events", "/healthz", "/metrics"} {
		resp, body := ask(t, base+path, func(r *http.Request) { withToken(r); r.Method = "HEAD" })
		if resp.StatusCode != 200 || body != "" {
			t.Errorf("HEAD %s: status %s, body %q", path, resp.Status, body)
		}
	}
}

func TestBody(t *testing.T) {
	t.Parallel()
	_, base := serve(t, Options{Source: newFakeSource()})
	for _, length := range []int64{3, -1} {
		resp, _ := ask(t, base+"/api/calls", func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("abc")), length
		})
		if resp.StatusCode != 400 {
			t.Errorf("body of length %d: status %s", length, resp.Status)
		}
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	_, base := serve(t, Options{Source: newFakeSource(view("a", 0)), Token: testToken})
	paths := []string{"/api/calls", "/api/calls/a", "/api/events", "/metrics", "/nothing", "/healthz/", "//healthz", "/x/../healthz"}
	for _, c := range []struct {
		name   string
		fields []string
		ok     bool
	}{
		{"none", nil, false},
		{"right", []string{"Bearer " + testToken}, true},
		{"right, lower case", []string{"bearer  " + testToken}, true},
		{"wrong", []string{"Bearer " + strings.ToUpper(testToken)}, false},
		{"prefix", []string{"Bearer " + testToken[:len(testToken)-1]}, false},
		{"longer", []string{"Bearer " + testToken + "x"}, false},
		{"empty", []string{"Bearer "}, false},
		{"scheme alone", []string{"Bearer"}, false},
		{"no scheme", []string{testToken}, false},
		{"basic", []string{"Basic " + testToken}, false},
		{"twice", []string{"Bearer " + testToken, "Bearer " + testToken}, false},
	} {
		for _, path := range paths {
			resp, body := ask(t, base+path, func(r *http.Request) {
				if r.URL.Path == "/api/events" {
					r.Method = "HEAD"
				}
				if c.fields != nil {
					r.Header["Authorization"] = c.fields
				}
			})
			if got := resp.StatusCode != 401; got != c.ok {
				t.Errorf("%s, %s: status %s", c.name, path, resp.Status)
			}
			if !c.ok && (!strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Bearer") || strings.Contains(body, testToken)) {
				t.Errorf("%s, %s: header %v, body %s", c.name, path, resp.Header, body)
			}
		}
		if resp, body := ask(t, base+"/healthz", nil); resp.StatusCode != 200 || body != "{\"status\":\"ok\"}\n" {
			t.Errorf("/healthz: %s %q", resp.Status, body)
		}
	}
	// In the query it would stand in logs and histories: not taken.
	if resp, _ := ask(t, base+"/api/calls?access_token="+testToken, nil); resp.StatusCode != 401 {
		t.Errorf("token in the query: status %s", resp.Status)
	}
}

// Every answer carries the headers, and every refusal is a JSON object.
func TestHeaders(t *testing.T) {
	t.Parallel()
	_, base := serve(t, Options{Source: newFakeSource(), Token: testToken})
	for name, edit := range map[string]func(*http.Request){
		"200": withToken,
		"401": nil,
		"403": func(r *http.Request) { r.Header.Set("Origin", "null") },
		"404": func(r *http.Request) { withToken(r); r.URL.Path = "/nothing" },
		"405": func(r *http.Request) { r.Method = "POST" },
		"421": func(r *http.Request) { r.Host = "evil.example" },
	} {
		resp, body := ask(t, base+"/api/calls", edit)
		if !strings.HasPrefix(resp.Status, name) {
			t.Errorf("%s: status %s", name, resp.Status)
		}
		for field, want := range map[string]string{
			"Cache-Control":           "no-store",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
			"Content-Type":            "application/json",
			"X-Content-Type-Options":  "nosniff",
			"Server":                  "",
		} {
			if got := resp.Header.Get(field); got != want {
				t.Errorf("%s: %s is %q, want %q", name, field, got, want)
			}
		}
		var p problem
		if err := json.Unmarshal([]byte(body), &p); name != "200" && (err != nil || p.Error == "") {
			t.Errorf("%s: body %q", name, body)
		}
	}
}
