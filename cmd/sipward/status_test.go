package main

import (
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/console"
)

func TestDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0 s", 59 * time.Second: "59 s", time.Minute: "1 min", 61 * time.Second: "1 min 1 s", time.Hour + 5*time.Second: "1 h",
		90 * time.Minute: "1 h 30 min", 50 * time.Hour: "2 d 2 h", 48*time.Hour + time.Minute: "2 d",
	} {
		if got := duration(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

// What others chose cannot steer the terminal, and what is 0 is left out.
func TestWriteStatus(t *testing.T) {
	t.Parallel()
	phones := 2
	var b strings.Builder
	err := writeStatus(&b, console.Status{
		Version: "v1\x1b[2J", Uptime: 3600, Phones: &phones,
		Listeners: []console.ListenerStatus{{Name: "a", Side: "inside", Network: "udp", Address: "192.0.2.1:5062", Advertise: "192.0.2.1:5062"}},
		Trunks: []b2bua.TrunkStatus{
			{Peer: "one", State: "registered", Server: "udp 192.0.2.7:5060", Until: time.Now().Add(time.Minute)},
			{Peer: "two\x1b", State: "refused", Reason: "403\x1b", Retry: time.Now().Add(time.Hour)}, {Peer: "three", State: "fixed"}, {Peer: "four", State: "new"}},
		Calls:   map[string]int{"srtp": 2, "none": 1, "failed": 0},
		Blocked: []b2bua.Blocked{{Source: "192.0.2.9", User: "car\x1bol", Why: "wrong passwords", Until: time.Now().Add(time.Minute), Count: 7}, {User: "dave", Why: "wrong passwords", Count: 200}},
	})
	got := b.String()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"sipward v1?[2J, up for 1 h\n", "inside 192.0.2.1:5062 udp\n", "2 registered, not kept over a restart\n", "3: 2 encrypted, 1 not encrypted\n", "registered until ", " at udp 192.0.2.7:5060\n", "two?", "refused by the provider: 403?, tries again at ", "known to the provider by address\n", "four ", "192.0.2.9   as car?ol until ", ": wrong passwords (7)\n", "everywhere  as dave until "} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}
