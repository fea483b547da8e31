package main

import (
	"bufio"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/console"
	"github.com/sipward/sipward/policy"
)

// softphone is a UDP socket that registers and looks at what comes.
type softphone struct {
	t     *testing.T
	conn  *net.UDPConn
	proxy netip.AddrPort
	seq   int
}

func newSoftphone(t *testing.T, proxy netip.AddrPort) *softphone {
	t.Helper()
	conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, net.UDPAddrFromAddrPort(proxy))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &softphone{t: t, conn: conn, proxy: proxy}
}

// register asks for an interval in seconds and returns the status line.
func (s *softphone) register(user string, expires int) string {
	s.t.Helper()
	s.seq++
	here := s.conn.LocalAddr()
	fmt.Fprintf(s.conn, "REGISTER sip:%v SIP/2.0\r\nVia: SIP/2.0/UDP %v;branch=z9hG4bK%d;rport\r\nMax-Forwards: 70\r\nFrom: <sip:%s@%v>;tag=1\r\nTo: <sip:%[4]s@%[5]v>\r\n"+
		"Call-ID: %[4]s-%[2]v\r\nCSeq: %[3]d REGISTER\r\nContact: <sip:%[4]s@%[2]v>;expires=%[6]d\r\nContent-Length: 0\r\n\r\n", s.proxy, here, s.seq, user, s.proxy, expires)
	s.conn.SetReadDeadline(time.Now().Add(patience))
	line, err := bufio.NewReader(s.conn).ReadString('\n')
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// heard records what assemble tells of phones.
type heard struct {
	mu    sync.Mutex
	lines []string
	news  chan struct{}
}

func (h *heard) registered(user, contact string, bound bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, fmt.Sprintf("%s %s %v", user, contact, bound))
	h.news <- struct{}{}
}

// A softphone registers without a password at the built-in configuration, rings,
// and is still known after a restart. Not in parallel, see script_test.go.
func TestSoftphoneRegisters(t *testing.T) {
	state := filepath.Join(t.TempDir(), "new", "state.db")
	cfg := onLoopback(t, configs.WorkstationConfig(), netip.MustParseAddrPort("127.0.0.1:5070"))
	cfg.StaticRoutes, cfg.State = nil, state
	h := &heard{news: make(chan struct{}, 16)}
	d, err := assemble(cfg, slog.New(slog.DiscardHandler), h.registered)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	phone := newSoftphone(t, at(t, d, policy.Inside, "udp"))
	if got := phone.register("me", 300); got != "SIP/2.0 200 OK" {
		t.Fatal(got)
	}
	<-h.news
	if want := fmt.Sprintf("me sip:me@%v true", phone.conn.LocalAddr()); h.lines[0] != want {
		t.Errorf("heard %q, want %q", h.lines[0], want)
	}
	client, err := console.NewClient(d.APIURL(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	s, err := client.Status(t.Context())
	if err != nil || s.Phones == nil || *s.Phones != 1 || s.StateFile != state || len(s.Listeners) != 4 {
		t.Errorf("status %+v, %v", s, err)
	}
	// One state file has one sipward.
	if other, err := assemble(onLoopbackWith(t, state), slog.New(slog.DiscardHandler), nil); err == nil {
		other.Close()
		t.Error("a second sipward opened the same state file")
	} else if !strings.Contains(err.Error(), "this sipward uses it already") || !strings.Contains(err.Error(), "change state in ") {
		t.Error(err)
	}

	// The phone keeps its place over a restart, and takes it back.
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Listeners[0].Address.Port = phone.proxy.Port() // where the phone looks for it
	if d, err = assemble(cfg, slog.New(slog.DiscardHandler), h.registered); err != nil {
		t.Fatal(err)
	}
	if got := d.phones.registrar.Len(); got != 1 {
		t.Errorf("%d bindings after the restart", got)
	}
	if got := phone.register("me", 0); got != "SIP/2.0 200 OK" {
		t.Error(got)
	}
	<-h.news
	if !strings.HasSuffix(h.lines[1], " false") || d.phones.registrar.Len() != 0 {
		t.Errorf("heard %q, %d bindings", h.lines[1], d.phones.registrar.Len())
	}
}

func onLoopbackWith(t *testing.T, state string) *configs.Config {
	cfg := onLoopback(t, configs.WorkstationConfig(), netip.MustParseAddrPort("127.0.0.1:5070"))
	cfg.State, cfg.File = state, "f.yaml"
	return cfg
}

// With a users file phones are asked for their password.
func TestPhonesNeedPasswords(t *testing.T) {
	t.Parallel()
	users := filepath.Join(t.TempDir(), "users.txt")
	if err := os.WriteFile(users, []byte("bob:secret of bob\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := onLoopback(t, configs.OfficeConfig(), netip.MustParseAddrPort("127.0.0.1:5070"))
	cfg.Registrar = configs.Registrar{On: true, Domains: []string{"office.example"}, Users: users, MaxExpires: time.Hour}
	d := start(t, cfg)
	if got := newSoftphone(t, at(t, d, policy.Inside, "udp")).register("bob", 300); got != "SIP/2.0 401 Unauthorized" {
		t.Error(got)
	}
	if d.state != nil || d.stateFile != "" {
		t.Error("state: off keeps something")
	}
	for user, want := range map[string]bool{"bob": true, "Bob": false, "eve": false, "": false} {
		if got := d.phones.known(user); got != want {
			t.Errorf("%q known: %v", user, got)
		}
	}
	if err := os.WriteFile(users, []byte("bob secret of bob\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Listeners[0].Address.Port, cfg.Listeners[1].Address.Port = 0, 0
	if other, err := assemble(cfg, slog.New(slog.DiscardHandler), nil); err == nil {
		other.Close()
		t.Error("started with a broken users file")
	} else if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error tells what the file holds: %v", err)
	}
}

// What is heard of phones is told once, and safe for a terminal.
func TestNotices(t *testing.T) {
	t.Parallel()
	var out, log strings.Builder
	person := &notices{out: &out, log: slog.New(slog.NewTextHandler(&log, nil)), person: true}
	for range 3 {
		person.registered("me", "sip:me@127.0.0.1:5070", true)
	}
	person.registered("me", "sip:me@127.0.0.1:5071\x1b[2J", true)
	person.registered("me", "sip:me@127.0.0.1:5070", false)
	person.registered("me", "sip:me@127.0.0.1:5070", false)
	person.registered("me", "*", false)
	person.registered("me", "sip:me@127.0.0.1:5071\x1b[2J", true)
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.TrimSpace(line[len("15:04:05 "):]))
	}
	want := []string{
		"phone registered: me at sip:me@127.0.0.1:5070",
		"phone registered: me at sip:me@127.0.0.1:5071?[2J",
		"phone has signed off: me at sip:me@127.0.0.1:5070",
		"phone has signed off: me at all its places",
		"phone registered: me at sip:me@127.0.0.1:5071?[2J",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") || log.Len() > 0 {
		t.Errorf("got %q, log %q", got, log.String())
	}
	for i := range 3 * maxKnown {
		person.registered("me", fmt.Sprintf("sip:me@127.0.0.1:%d", i), true)
	}
	if len(person.known) > maxKnown {
		t.Errorf("%d phones are remembered", len(person.known))
	}

	out.Reset()
	office := &notices{out: &out, log: slog.New(slog.NewTextHandler(&log, nil))}
	office.registered("bob", "sip:bob@192.0.2.7", true)
	if !strings.Contains(log.String(), `msg="phone registered" user=bob contact=sip:bob@192.0.2.7`) || out.Len() > 0 {
		t.Errorf("out %q, log %q", out.String(), log.String())
	}
}
