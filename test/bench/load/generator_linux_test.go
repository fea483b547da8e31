package load

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/sipward/sipward/test/bench/plan"
	"github.com/sipward/sipward/test/bench/serve"
)

// newPlan has calls sessions at addresses of its own.
func newPlan(t *testing.T, calls int, suite string) *plan.Plan {
	t.Helper()
	network := [2]byte{128 + byte(rand.IntN(64)), byte(rand.IntN(256))}
	at := func(host byte, port int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, network[0], network[1], host}), uint16(port))
	}
	p := &plan.Plan{PlainLocal: at(2, 15000), SecureLocal: at(3, 15000)}
	for i := range calls {
		s := plan.Session{Plain: at(1, 12000+4*i), Secure: at(1, 12002+4*i), Suite: suite}
		if suite != plan.None {
			for _, key := range []*string{&s.ToProxy, &s.FromProxy} {
				var err error
				if *key, err = plan.NewKey(suite); err != nil {
					t.Fatal(err)
				}
			}
		}
		p.Sessions = append(p.Sessions, s)
	}
	return p
}

func noCPU() (time.Duration, error) { return 0, nil }

func newGenerator(t *testing.T, p *plan.Plan) *Generator {
	t.Helper()
	g, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

// sipward's engine delivers every packet, of one run after the other.
func TestEngineDeliversAll(t *testing.T) {
	t.Parallel()
	for suite := range profiles {
		t.Run(suite, func(t *testing.T) { t.Parallel(); deliversAll(t, suite) })
	}
	t.Run(plan.None, func(t *testing.T) { t.Parallel(); deliversAll(t, plan.None) })
}

func deliversAll(t *testing.T, suite string) {
	const calls = 5
	p := newPlan(t, calls, suite)
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	done := make(chan error)
	go func() { done <- serve.Run(ctx, p, false, in, slog.New(slog.DiscardHandler)) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	g := newGenerator(t, p)
	for _, n := range []int{calls, 3} {
		r, err := g.Run(n, 40*time.Millisecond, 200*time.Millisecond, noCPU)
		if err != nil {
			t.Fatal(err)
		}
		if want := n * 10 * int(directions); r.Sent != want || r.Lost != 0 || r.Wrong() != "" || r.Foreign != 0 || r.Calls != n {
			t.Errorf("%+v, wrong: %q, want %d packets", r, r.Wrong(), want)
		}
		if l := r.Latency; l.P50 <= 0 || l.P50 > l.P99 || l.P99 > l.Max {
			t.Errorf("latency %+v", l)
		}
	}
}

// A relay that does something else is found out.
func TestJudgeSeesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		relay func(count int, pkt []byte) [][]byte
		sees  func(r *Result) bool
	}{
		{"nothing wrong", func(_ int, pkt []byte) [][]byte { return [][]byte{pkt} },
			func(r *Result) bool { return r.Wrong() == "" && r.Lost == 0 }},
		{"another SSRC and number", func(_ int, pkt []byte) [][]byte { pkt[2], pkt[9] = pkt[2]+1, pkt[9]^1; return [][]byte{pkt} },
			func(r *Result) bool { return r.Wrong() == "" && r.Lost == 0 }},
		{"a bit of the payload", func(n int, pkt []byte) [][]byte { pkt[100] ^= byte(n & 1); return [][]byte{pkt} },
			func(r *Result) bool { return r.Invalid > 0 }},
		{"another call", func(_ int, pkt []byte) [][]byte { pkt[15] ^= 2; return [][]byte{pkt} },
			func(r *Result) bool { return r.Invalid > 0 }},
		{"an octet more", func(_ int, pkt []byte) [][]byte { return [][]byte{append(pkt, 0)} },
			func(r *Result) bool { return r.Invalid > 0 }},
		{"twice", func(_ int, pkt []byte) [][]byte { return [][]byte{pkt, pkt} },
			func(r *Result) bool { return r.Duplicate > 0 }},
		{"one in four lost", func(n int, pkt []byte) [][]byte {
			if n%4 == 0 {
				return nil
			}
			return [][]byte{pkt}
		}, func(r *Result) bool { return r.Loss() > 0.2 && r.Loss() < 0.35 && r.Wrong() == "" }},
		{"silence", func(int, []byte) [][]byte { return nil },
			func(r *Result) bool { return r.Delivered == 0 && r.Loss() == 1 }},
		{"reports", func(_ int, pkt []byte) [][]byte { return [][]byte{pkt, {0x80, 200, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0}} },
			func(r *Result) bool { return r.Foreign > 0 && r.Wrong() == "" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := newPlan(t, 1, plan.None)
			startRelay(t, p, test.relay)
			r, err := newGenerator(t, p).Run(1, 0, 200*time.Millisecond, noCPU)
			if err != nil {
				t.Fatal(err)
			}
			if !test.sees(r) || r.Sent != 20 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// startRelay relays the first session of a plan in clear, through what is given.
func startRelay(t *testing.T, p *plan.Plan, through func(count int, pkt []byte) [][]byte) {
	t.Helper()
	s := p.Sessions[0]
	var conns [2]*net.UDPConn
	for i, at := range []netip.AddrPort{s.Plain, s.Secure} {
		c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		conns[i] = c
	}
	for i, to := range []netip.AddrPort{p.SecureLocal, p.PlainLocal} {
		go func() {
			buf := make([]byte, 2000)
			for count := 0; ; count++ {
				n, err := conns[i].Read(buf)
				if err != nil {
					return
				}
				for _, pkt := range through(count, buf[:n]) {
					conns[1-i].WriteToUDPAddrPort(pkt, to)
				}
			}
		}()
	}
}

func TestRunRefusesNonsense(t *testing.T) {
	t.Parallel()
	g := newGenerator(t, newPlan(t, 2, plan.None))
	for _, test := range []struct {
		calls  int
		window time.Duration
	}{{0, time.Second}, {3, time.Second}, {1, time.Millisecond}} {
		if _, err := g.Run(test.calls, 0, test.window, noCPU); err == nil {
			t.Errorf("%+v: no error", test)
		}
	}
}
