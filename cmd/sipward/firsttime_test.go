package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/demo"
	"github.com/sipward/sipward/demo/audio"
	"github.com/sipward/sipward/test/firsttime"
)

// firstTimeLimit is how long it may take from nothing to a protected call, the
// build on a slow machine with many tests beside it included.
const firstTimeLimit = 2 * time.Minute

// From a fresh clone to a protected call, with nothing but what the program prints.
func TestFirstTime(t *testing.T) {
	t.Parallel()
	if _, err := configs.ResolveAddress(configs.Address{Auto: true, Port: 5060}); err != nil {
		t.Skip("this machine has no default route, which the built-in configuration needs:", err)
	}
	begun := time.Now()
	bin, how, err := firsttime.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	built := time.Since(begun)
	agent, err := firsttime.Run(t.Context(), bin, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	told := agent.Told
	if !strings.HasPrefix(told.Password, "none") || !strings.Contains(told.Transport, "UDP") {
		t.Fatalf("%+v", told)
	}
	proxy, err := netip.ParseAddrPort(told.Proxy)
	if err != nil {
		t.Fatal(err)
	}
	server, err := netip.ParseAddrPort(told.Server)
	if err != nil {
		t.Fatal(err)
	}
	phone, err := demo.NewPhone(demo.PhoneOptions{Name: told.User, Domain: server.Addr().String(), Addr: proxy.Addr(), Proxy: proxy, Play: audio.Bob(), Repeat: true})
	if err != nil {
		t.Fatal(err)
	}
	defer phone.Close()
	if got := newSoftphone(t, proxy).register(told.User, 300); got != "SIP/2.0 200 OK" {
		t.Fatal(got)
	}
	if err := agent.Says("phone registered: " + told.User); err != nil {
		t.Fatal(err)
	}

	call := dial(t, phone, told.Echo)
	v, err := agent.Protected(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(begun)
	t.Logf("%s, built in %v; %v to a protected call (%s, %s)", how, built.Round(time.Millisecond), took.Round(time.Millisecond), v.Group, v.Suite)
	if took > firstTimeLimit {
		t.Errorf("that is more than %v", firstTimeLimit)
	}
	hears(t, call, 100)
	if score, _ := audio.Correlate(call.Heard(), audio.Bob()); score < 0.9 {
		t.Errorf("what came back is %.3f like what was said", score)
	}
	call.Hangup()
	awaited(t, call, call.Ended())

	call = dial(t, phone, told.SAS)
	if v, err = agent.Protected(t.Context()); err != nil {
		t.Fatal(err)
	}
	hearsCode(t, call, v)
	if err := agent.Stop(); err != nil {
		t.Error(err)
	}
}
