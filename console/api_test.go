package console

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/sipward/sipward/b2bua"
)

func contextWithLocal(ctx context.Context, addr string) context.Context {
	return context.WithValue(ctx, http.LocalAddrContextKey, net.Addr(textAddr(addr)))
}

type textAddr string

func (a textAddr) Network() string { return "tcp" }
func (a textAddr) String() string  { return string(a) }

func TestCalls(t *testing.T) {
	t.Parallel()
	_, base := serve(t, Options{Source: newFakeSource(view("c", 2), view("b", 1), view("a", 2))})
	_, body := ask(t, base+"/api/calls", nil)
	var got []b2bua.View
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if want := []b2bua.View{view("b", 1), view("a", 2), view("c", 2)}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestCallsNeverNull(t *testing.T) {
	t.Parallel()
	_, base := serve(t, Options{Source: newFakeSource()})
	if _, body := ask(t, base+"/api/calls", nil); body != "[]\n" {
		t.Errorf("no calls: %q", body)
	}
	_, base = serve(t, Options{Source: newFakeSource(b2bua.View{ID: "a"})})
	for _, path := range []string{"/api/calls", "/api/calls/a"} {
		if _, body := ask(t, base+path, nil); !strings.Contains(body, `"legs":[]`) || strings.Contains(body, "null") {
			t.Errorf("%s of a call without legs: %s", path, body)
		}
	}
}

func TestCall(t *testing.T) {
	t.Parallel()
	_, base := serve(t, Options{Source: newFakeSource(view("a", 0), view("b/c d", 1))})
	for path, want := range map[string]string{"a": "a", "b%2Fc%20d": "b/c d", "nobody": "", "": "", "b/c": "", "A": ""} {
		resp, body := ask(t, base+"/api/calls/"+path, nil)
		var got struct {
			ID    string `json:"id"`
			Error string `json:"error"`
		}
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Errorf("%q: %v in %q", path, err, body)
		}
		if want == "" && (resp.StatusCode != 404 || got.Error == "") || want != "" && (resp.StatusCode != 200 || got.ID != want) {
			t.Errorf("%q: %s %s", path, resp.Status, body)
		}
		if got := resp.Header.Get("Content-Type"); got != "application/json" {
			t.Errorf("%q: Content-Type %q", path, got)
		}
	}
}
