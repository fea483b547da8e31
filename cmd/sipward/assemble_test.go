package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/console"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
)

// onLoopback moves a ready-made configuration to free ports of loopback, and
// leads every call from outside to one phone.
func onLoopback(t *testing.T, cfg *configs.Config, phone netip.AddrPort) *configs.Config {
	t.Helper()
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		l.Address = configs.Address{IP: netip.MustParseAddr("127.0.0.2")}
		if l.Side == policy.Inside {
			l.Address.IP = netip.MustParseAddr("127.0.0.1")
			l.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		}
	}
	to := fmt.Sprintf("sip:*@%v", phone)
	cfg.StaticRoutes = []route.Route{{Match: route.MustPattern("*"), From: route.Outside, To: to, Side: route.Inside}}
	cfg.API.Listen = netip.MustParseAddrPort("127.0.0.1:0")
	cfg.State = configs.StateOff
	return cfg
}

func start(t *testing.T, cfg *configs.Config) *daemon {
	t.Helper()
	d, err := assemble(cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// at returns the address of a side's socket.
func at(t *testing.T, d *daemon, side policy.Side, network string) netip.AddrPort {
	t.Helper()
	for _, s := range d.sockets {
		if d.cfg.Listeners[s.listener].Side == side && s.network == network {
			return s.addr
		}
	}
	t.Fatalf("no %s socket on the %s", network, side)
	return netip.AddrPort{}
}

// Not in parallel, see script_test.go.
func TestAssembleReadyMade(t *testing.T) {
	for name, cfg := range map[string]*configs.Config{"workstation": configs.WorkstationConfig(), "office": configs.OfficeConfig()} {
		t.Run(name, func(t *testing.T) {
			d := start(t, onLoopback(t, cfg, netip.MustParseAddrPort("127.0.0.1:5070")))
			if len(d.sockets) != 4 {
				t.Fatalf("%d sockets", len(d.sockets))
			}
			for _, side := range []policy.Side{policy.Inside, policy.Outside} {
				udp, tcp := at(t, d, side, "udp"), at(t, d, side, "tcp")
				if udp != tcp || udp.Port() == 0 {
					t.Errorf("%s: udp at %v, tcp at %v", side, udp, tcp)
				}
				options(t, "udp", udp, "200 OK")
				options(t, "tcp", tcp, "200 OK")
			}
			client, err := console.NewClient(d.APIURL(), "")
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if calls, err := client.Calls(t.Context()); err != nil || len(calls) != 0 {
				t.Errorf("calls %v, %v", calls, err)
			}

			client.Close()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := d.Shutdown(ctx); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Calls(t.Context()); !errors.Is(err, console.ErrUnreachable) {
				t.Errorf("the API after the end: %v", err)
			}
			// Every port can be had again.
			for _, s := range d.sockets {
				again, err := open(s.network, s.addr)
				if err != nil {
					t.Error(err)
					continue
				}
				again.close()
			}
		})
	}
}

// The networks of the file decide who may use a listener.
func TestWhoMayUseListeners(t *testing.T) {
	t.Parallel()
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	elsewhere := netip.MustParsePrefix("198.51.100.0/24")
	for name, tc := range map[string]struct{ inside, peer netip.Prefix }{
		"friends":   {loopback, loopback},
		"strangers": {elsewhere, elsewhere},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := onLoopback(t, configs.OfficeConfig(), netip.MustParseAddrPort("127.0.0.1:5070"))
			for i := range cfg.Listeners {
				if l := &cfg.Listeners[i]; l.Side == policy.Inside {
					l.Networks = []netip.Prefix{tc.inside}
				} else {
					l.Accept = configs.AcceptPeers
				}
			}
			cfg.Peers = []configs.Peer{{Name: "partner", Networks: []netip.Prefix{tc.peer}}}
			d := start(t, cfg)
			want := "200 OK"
			if name == "strangers" {
				want = "403 Forbidden"
			}
			options(t, "udp", at(t, d, policy.Inside, "udp"), want)
			options(t, "tcp", at(t, d, policy.Outside, "tcp"), want)
		})
	}
}

// options asks what a listener can do, and expects that answer.
func options(t *testing.T, network string, addr netip.AddrPort, want string) {
	t.Helper()
	c, err := net.Dial(network, addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(c, "OPTIONS sip:%v SIP/2.0\r\nVia: SIP/2.0/%s %v;branch=z9hG4bKone;rport\r\nMax-Forwards: 70\r\nFrom: <sip:a@a.example>;tag=1\r\n"+
		"To: <sip:%v>\r\nCall-ID: %s-%v\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n", addr, strings.ToUpper(network), c.LocalAddr(), addr, network, addr)
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil || line != "SIP/2.0 "+want+"\r\n" {
		t.Errorf("%s %v answers %q, %v; want %s", network, addr, line, err, want)
	}
}

// Two daemons as the ready-made files make them secure a call between their
// phones, and both show the same words.
func TestAssembledDaemonsSecureCall(t *testing.T) {
	t.Parallel()
	for network, group := range map[string]string{"udp": "x25519", "tcp": "x25519mlkem768"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			alice, bob := newPhone(t, false), newPhone(t, false)
			home := start(t, onLoopback(t, configs.WorkstationConfig(), alice.Addr()))
			elsewhere := onLoopback(t, configs.OfficeConfig(), bob.Addr())
			elsewhere.Listeners[1].Address.IP = netip.MustParseAddr("127.0.0.3") // at its own address a sipward calls nobody else
			office := start(t, elsewhere)
			events, cancel := home.proxy.Subscribe(64)
			defer cancel()
			officeEvents, cancel := office.proxy.Subscribe(64)
			defer cancel()

			uri := fmt.Sprintf("sip:bob@%v;transport=%s", at(t, office, policy.Outside, network), network)
			if err := alice.call(at(t, home, policy.Inside, "udp"), uri); err != nil {
				t.Fatal(err)
			}
			if err := bob.stands(); err != nil {
				t.Fatal(err)
			}
			a, b := secured(t, events), secured(t, officeEvents)
			if a.SASWords != b.SASWords || a.SASCode != b.SASCode {
				t.Errorf("the caller sees %q %q, the callee %q %q", a.SASWords, a.SASCode, b.SASWords, b.SASCode)
			}
			for _, v := range []b2bua.View{a, b} {
				if v.Group != group || v.Suite != "AEAD_AES_256_GCM" {
					t.Errorf("group %s, suite %s", v.Group, v.Suite)
				}
			}
			if got := consoleCounters(office.proxy.Counters()); got.CallsTotal != 1 || got.CallsActive != 1 {
				t.Errorf("counters %+v", got)
			}

			ctx, stop := context.WithTimeout(t.Context(), shutdownTime)
			defer stop()
			if err := home.Shutdown(ctx); err != nil {
				t.Error(err)
			}
			for _, p := range []*phone{alice, bob} {
				if _, err := p.ended(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// secured waits until a call is encrypted and its words are known.
func secured(t *testing.T, events <-chan b2bua.Event) b2bua.View {
	t.Helper()
	limit := time.After(patience)
	for {
		select {
		case e, ok := <-events:
			switch {
			case !ok || e.Type == "call-ended":
				t.Fatalf("the call ended: %+v", e.Call)
			case e.Call.Protection == "srtp" && e.Call.SASCode != "":
				return e.Call
			}
		case <-limit:
			t.Fatal("the call does not become encrypted")
		}
	}
}

// What cannot start leaves nothing open. Not in parallel, see script_test.go.
func TestAssembleFailsWhole(t *testing.T) {
	taken, err := open("tcp", netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.close()
	for name, change := range map[string]func(*configs.Config){
		"tcp taken": func(c *configs.Config) {
			c.Listeners[1].Address = configs.Address{IP: taken.addr.Addr(), Port: taken.addr.Port()}
		},
		"api taken": func(c *configs.Config) { c.API.Listen = taken.addr },
		"suite":     func(c *configs.Config) { c.Crypto.Suites = []string{"NULL"} },
		"token":     func(c *configs.Config) { c.API.TokenFile = t.TempDir() + "/none" },
		"media":     func(c *configs.Config) { c.Media = configs.Media{PortMin: 3, PortMax: 3} },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := onLoopback(t, configs.WorkstationConfig(), netip.MustParseAddrPort("127.0.0.1:5070"))
			first, err := open("udp", netip.MustParseAddrPort("127.0.0.1:0"))
			if err != nil {
				t.Fatal(err)
			}
			first.close() // its port is free for the first listener
			cfg.Listeners[0].Address.Port = first.addr.Port()
			cfg.Listeners[0].Transports = []string{"udp"}
			change(cfg)
			if d, err := assemble(cfg, slog.New(slog.DiscardHandler), nil); err == nil {
				d.Close()
				t.Fatal("no error")
			}
			again, err := open("udp", first.addr)
			if err != nil {
				t.Fatalf("a socket was left open: %v", err)
			}
			again.close()
		})
	}
}

// Two addresses of the file can turn out to be one only here. Not in parallel,
// see script_test.go.
func TestSameAddressTwice(t *testing.T) {
	auto, err := configs.ResolveAddress(configs.Address{Auto: true, Port: 5060})
	if err != nil {
		t.Skip("this machine has no default route")
	}
	free, err := open("udp", netip.AddrPortFrom(auto.Addr(), 0))
	if err != nil {
		t.Fatal(err)
	}
	free.close()
	cfg := configs.WorkstationConfig()
	cfg.File = "f.yaml"
	cfg.Listeners[0].Address = configs.Address{IP: auto.Addr(), Port: free.addr.Port()}
	cfg.Listeners[1].Address = configs.Address{Auto: true, Port: free.addr.Port()}
	_, err = openListeners(cfg)
	if err == nil || !strings.Contains(err.Error(), "listener softphone is there already; change listeners[1].address in f.yaml") {
		t.Errorf("got %v", err)
	}
}

func TestAPIURL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"127.0.0.1:5080":     "http://127.0.0.1:5080",
		"0.0.0.0:5080":       "http://127.0.0.1:5080",
		"[::]:5080":          "http://[::1]:5080",
		"[2001:db8::1]:5080": "http://[2001:db8::1]:5080",
	} {
		if got := apiURL(netip.MustParseAddrPort(in)); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}

func TestNewLog(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	newLog(configs.Log{Level: "warn", Format: "text"}, &b).Info("not this")
	newLog(configs.Log{Level: "debug", Format: "json"}, &b).Debug("this")
	if got := b.String(); strings.Contains(got, "not this") || !strings.Contains(got, `"level":"DEBUG","msg":"this"`) {
		t.Errorf("got %q", got)
	}
	newLog(configs.Log{Level: "error"}, io.Discard).Error("nothing")
}

// What the configuration says about limits and peers holds for calls.
func TestLimitsHold(t *testing.T) {
	t.Parallel()
	callee := newPhone(t, false)
	cfg := onLoopback(t, configs.OfficeConfig(), callee.Addr())
	cfg.Limits.CallsPerSource = 1
	outside := at(t, start(t, cfg), policy.Outside, "udp")
	first, second := newPhone(t, false), newPhone(t, false)
	if err := first.call(outside, "sip:bob@b.example"); err != nil {
		t.Fatal(err)
	}
	if err := second.call(outside, "sip:bob@b.example"); err == nil || !strings.HasPrefix(err.Error(), "refused: 403 ") {
		t.Errorf("the second call of one address: %v", err)
	}
}
