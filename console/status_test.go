package console

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/b2bua"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	plain, unheardOf := view("b", 1), view("c", 2)
	plain.Protection, unheardOf.Protection = "none", "by magic"
	phones := 3
	began := time.Now().Add(-time.Hour).Round(time.Second)
	given := Status{
		Version: "v1", Started: began, Phones: &phones, StateFile: "/var/lib/sipward/state.db",
		Listeners: []ListenerStatus{{Name: "office", Side: "inside", Network: "udp", Address: "192.0.2.1:5062", Advertise: "203.0.113.5:5062"}},
		Blocked:   []b2bua.Blocked{{Source: "192.0.2.9", User: "carol", Why: "wrong passwords", Until: began.Add(2 * time.Hour), Count: 5}},
		Trunks:    []b2bua.TrunkStatus{{Peer: "provider", State: "refused", Reason: "403", Retry: time.Unix(4000000000, 0).UTC()}},
		Calls:     map[string]int{"srtp": 99}, // the server knows better
	}
	_, base := serve(t, Options{Source: newFakeSource(view("a", 0), plain, unheardOf), Status: func() Status { return given }, Token: testToken})
	got, err := client(t, base, testToken).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Uptime < 3599 || got.Uptime > 3700 {
		t.Errorf("up for %d s", got.Uptime)
	}
	want := given
	want.Uptime = got.Uptime
	want.Calls = map[string]int{"none": 1, "negotiating": 0, "srtp": 1, "failed": 0, "passed-through": 0, "other": 1}
	if !got.Started.Equal(want.Started) || !got.Blocked[0].Until.Equal(want.Blocked[0].Until) {
		t.Errorf("times %v, %v", got.Started, got.Blocked[0].Until)
	}
	got.Started, got.Blocked[0].Until = want.Started, want.Blocked[0].Until
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// What is empty has a form that programs need not treat apart, but for phones.
func TestStatusEmpty(t *testing.T) {
	t.Parallel()
	_, base := serve(t, Options{Source: newFakeSource(), Status: func() Status { return Status{} }})
	resp, body := ask(t, base+"/api/status", nil)
	var got map[string]any
	if err := json.Unmarshal([]byte(body), &got); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s %s: %v", resp.Status, body, err)
	}
	for key, value := range got {
		if (value == nil) != (key == "phones") {
			t.Errorf("%s is %v", key, value)
		}
	}
	if got["uptime"] != 0.0 {
		t.Errorf("up for %v s since never", got["uptime"])
	}
}

func TestNoStatus(t *testing.T) {
	t.Parallel()
	_, base := serve(t, Options{Source: newFakeSource()})
	if resp, body := ask(t, base+"/api/status", nil); resp.StatusCode != 404 || !strings.Contains(body, "shows no status") {
		t.Errorf("%s %s", resp.Status, body)
	}
	if _, err := client(t, base, "").Status(t.Context()); err == nil || !strings.Contains(err.Error(), "shows no status") {
		t.Errorf("got %v", err)
	}
	// Like all but /healthz it needs the token where there is one.
	_, base = serve(t, Options{Source: newFakeSource(), Status: func() Status { return Status{} }, Token: testToken})
	if resp, _ := ask(t, base+"/api/status", nil); resp.StatusCode != 401 {
		t.Errorf("without a token: %s", resp.Status)
	}
}
