package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/policy"
)

// nomad is a follower whose machine is where the test says.
type nomad struct {
	*follower
	outside *configs.Listener
	at      netip.Addr
	away    error
	name    netip.Addr // what the name in advertise leads to
	asked   int        // how often
	moves   []string
	log     bytes.Buffer
}

func newNomad(t *testing.T) *nomad {
	t.Helper()
	n := &nomad{at: netip.MustParseAddr("127.0.0.2")}
	cfg := onLoopback(t, configs.WorkstationConfig(), netip.MustParseAddrPort("127.0.0.1:5070"))
	d := start(t, cfg)
	d.log = slog.New(slog.NewTextHandler(&n.log, nil))
	for i := range cfg.Listeners {
		if cfg.Listeners[i].Side == policy.Outside {
			n.outside = &cfg.Listeners[i]
		}
	}
	n.outside.Address.Auto = true
	n.follower = &follower{d: d,
		where: func(a configs.Address, before netip.Addr) (netip.AddrPort, error) {
			return netip.AddrPortFrom(n.at, a.Port), n.away
		},
		names:   n,
		present: func(netip.Addr) bool { return false },
		moved:   func(from, to socket) { n.moves = append(n.moves, to.network+" "+to.shown().String()) },
	}
	return n
}

func (n *nomad) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	n.asked++
	if !n.name.IsValid() {
		return nil, errors.New("no such name")
	}
	return []netip.Addr{n.name}, nil
}

func (n *nomad) look(t *testing.T, want bool) {
	t.Helper()
	if got := n.follower.look(t.Context(), false); got != want {
		t.Errorf("all is well: %v, want %v; log:\n%s", got, want, n.log.String())
	}
}

// Not in parallel, see script_test.go.
func TestListenersFollowTheMachine(t *testing.T) {
	n := newNomad(t)
	before := at(t, n.d, policy.Outside, "udp")
	n.look(t, true)
	if len(n.moves) != 0 {
		t.Errorf("moved without a reason: %v", n.moves)
	}
	n.at = netip.MustParseAddr("127.0.0.3")
	n.look(t, true)
	want := netip.AddrPortFrom(n.at, before.Port())
	if len(n.moves) != 2 || n.moves[0] != "udp "+want.String() || n.moves[1] != "tcp "+want.String() {
		t.Fatalf("moved %v", n.moves)
	}
	options(t, "udp", want, "200 OK")
	options(t, "tcp", want, "200 OK")
	for _, network := range []string{"udp", "tcp"} {
		s, err := open(network, before)
		if err != nil {
			t.Errorf("the old socket is still there: %v", err)
			continue
		}
		s.close()
	}
	var b bytes.Buffer
	status := n.d.status()
	status.Uptime = 1
	if err := writeStatus(&b, status); err != nil || strings.Count(b.String(), want.String()) != 2 || strings.Count(b.String(), ", since ") != 2 {
		t.Errorf("%v:\n%s", err, b.String())
	}
	if inside := at(t, n.d, policy.Inside, "udp"); inside.Addr() != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("the inside moved to %v", inside)
	}
}

// Who comes back soon finds the place free, although the socket there was read on.
func TestListenersComeBack(t *testing.T) {
	n := newNomad(t)
	n.present = func(netip.Addr) bool { return true }
	before := at(t, n.d, policy.Outside, "udp")
	n.at = netip.MustParseAddr("127.0.0.3")
	n.look(t, true)
	options(t, "udp", netip.AddrPortFrom(n.at, before.Port()), "200 OK")
	n.at = before.Addr()
	n.look(t, true)
	if now := at(t, n.d, policy.Outside, "udp"); now != before {
		t.Fatalf("at %v, want %v", now, before)
	}
	options(t, "udp", before, "200 OK")
	options(t, "tcp", before, "200 OK")
}

func TestNoNetworkIsSaidOnce(t *testing.T) {
	n := newNomad(t)
	before := at(t, n.d, policy.Outside, "udp")
	n.away = errors.New("this machine has no default route")
	for range 5 {
		n.look(t, false)
	}
	if got := strings.Count(n.log.String(), "no default route"); got != 1 {
		t.Errorf("said %d times:\n%s", got, n.log.String())
	}
	options(t, "udp", before, "200 OK")
	// An address that cannot be had yet is tried again.
	n.away, n.at = nil, netip.MustParseAddr("192.0.2.77")
	n.look(t, false)
	n.at = netip.MustParseAddr("127.0.0.3")
	n.look(t, true)
	n.away = errors.New("this machine has no default route")
	n.look(t, false)
	if got := strings.Count(n.log.String(), "no default route"); got != 2 {
		t.Errorf("the second time it is said again: %d\n%s", got, n.log.String())
	}
}

func TestNameInAdvertiseIsFollowed(t *testing.T) {
	n := newNomad(t)
	n.outside.Address.Auto = false
	n.outside.Advertise = configs.Advertise{Name: "home.example", Port: 5090}
	n.name = netip.MustParseAddr("203.0.113.1")
	n.look(t, true)
	if len(n.moves) != 2 || n.moves[0] != "udp 203.0.113.1:5090" {
		t.Fatalf("moved %v", n.moves)
	}
	n.name = netip.MustParseAddr("203.0.113.2")
	n.look(t, true)
	if len(n.moves) != 2 || n.asked != 1 {
		t.Errorf("asked %d times for one name at once, moved %v", n.asked, n.moves)
	}
	n.named = nil // five minutes later
	n.look(t, true)
	if len(n.moves) != 4 || n.moves[2] != "udp 203.0.113.2:5090" {
		t.Errorf("moved %v", n.moves)
	}
	n.named, n.name = nil, netip.Addr{}
	n.look(t, true)
	n.named = nil
	n.look(t, true)
	if len(n.moves) != 4 || strings.Count(n.log.String(), "no such name") != 1 {
		t.Errorf("moved %v; log:\n%s", n.moves, n.log.String())
	}
	options(t, "udp", at(t, n.d, policy.Outside, "udp"), "200 OK")
}

func TestPersonIsToldOfMoves(t *testing.T) {
	n := newNomad(t)
	var b bytes.Buffer
	told := &notices{out: &b, log: slog.New(slog.DiscardHandler), person: true}
	n.follower.moved = func(from, to socket) { told.moved(n.d, from, to) }
	n.at = netip.MustParseAddr("127.0.0.3")
	n.look(t, true)
	if got := b.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "changed from 127.0.0.2:") || !strings.Contains(got, "sip:NAME@127.0.0.3:") {
		t.Errorf("said %q", got)
	}
}

// What the system says of its addresses can be listened to and ends.
func TestWatchEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := watchAddresses(ctx); err != nil {
		t.Fatal(err)
	}
	n := &follower{d: &daemon{cfg: &configs.Config{}}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.run(ctx)
	}()
	cancel()
	<-done
	if !hasAddress(netip.MustParseAddr("127.0.0.1")) || hasAddress(netip.MustParseAddr("203.0.113.250")) {
		t.Error("this machine's addresses are not known")
	}
}
