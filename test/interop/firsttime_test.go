//go:build interop && linux

package interop

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/demo/audio"
	"github.com/sipward/sipward/test/firsttime"
)

// firstTimeLimit is how long it may take from nothing to a protected call.
const firstTimeLimit = 2 * time.Minute

// TestFirstTime is one person with a real softphone who has just heard of sipward:
// from a fresh clone, or from SIPWARD_BIN, to a protected call, with nothing but
// what the program prints.
func TestFirstTime(t *testing.T) {
	t.Parallel()
	shows(t, "echo and sas test addresses", "baresip")
	begun := time.Now()
	bin, how := sipwardBin, "SIPWARD_BIN"
	if os.Getenv("SIPWARD_BIN") == "" {
		var err error
		if bin, how, err = firsttime.Build(t.Context(), t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	agent, err := firsttime.Run(t.Context(), bin, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	told := agent.Told
	if !strings.HasPrefix(told.Password, "none") || !strings.Contains(told.Transport, "UDP") {
		t.Fatalf("%+v", told)
	}
	me := startPhone(t, phone{user: told.User, domain: told.Server, open: true, voice: audio.Alice(), outbound: told.Proxy, transport: "udp"})
	if err := agent.Says("phone registered: " + told.User); err != nil {
		t.Fatal(err)
	}
	me.awaitRegistered()

	me.tell("dial", told.Echo)
	me.await(established)
	if _, err := agent.Protected(t.Context()); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begun)
	t.Logf("from %s to a protected call: %v", how, took.Round(time.Millisecond))
	if took > firstTimeLimit {
		t.Errorf("that is more than %v", firstTimeLimit)
	}
	time.Sleep(3 * time.Second) // of speech
	me.tell("hangup", "")
	me.hears(closed)

	me.tell("dial", told.SAS)
	me.await(established)
	shown, err := agent.Protected(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	me.hears(closed) // once the code was read out twice
	me.quit()

	calls := me.recordings()
	if len(calls) != 2 {
		t.Fatalf("%d recordings, want 2", len(calls))
	}
	if score := alike(calls[0], audio.Alice()); score < sameVoice {
		t.Errorf("what the echo sent is %.3f like what was said, want %v", score, sameVoice)
	}
	code := strings.ReplaceAll(shown.SASCode, " ", "")
	if heard := audio.HeardDigits(calls[1]); heard != code+code {
		t.Errorf("heard %s, shown %s", heard, shown.SASCode)
	}
	if err := agent.Stop(); err != nil {
		t.Error(err)
	}
}
