package demo

import (
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/audio"
	"github.com/sipward/sipward/demo/capture"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
)

const oneWay = 5 * time.Millisecond // of the network that the echo's tests use

// withEcho runs f with an echo on a network in memory. What is left open when
// the echo is closed and f's own phones are, is an error, and so are
// goroutines, without which the bubble ends.
func withEcho(t *testing.T, o EchoOptions, f func(t *testing.T, n Network, e *Echo)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory := memnet.New(memnet.Options{Seed: 3, Delay: oneWay})
		defer memory.Close()
		n := &counted{Network: memory}
		if o.Network = n; !o.Addr.IsValid() {
			o.Addr = netip.MustParseAddr("192.0.2.99")
		}
		e, err := NewEcho(o)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		f(t, n, e)
		e.Close()
		if open := n.open.Load(); open != 0 || e.Calls() != 0 {
			t.Errorf("%d sockets and %d calls are left", open, e.Calls())
		}
	})
}

// caller is a phone that calls the echo directly.
func caller(t *testing.T, n Network, e *Echo, change func(*PhoneOptions)) *Phone {
	t.Helper()
	o := PhoneOptions{Name: "alice", Addr: netip.MustParseAddr("192.0.2.1"), Network: n, Proxy: e.Addr(), Play: audio.Alice()}
	if change != nil {
		change(&o)
	}
	p, err := NewPhone(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// dialed is a call to the echo that stands.
func dialed(t *testing.T, p *Phone) *Call {
	t.Helper()
	c, err := p.Call("sip:whoever@echo.example")
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.Up():
	case <-c.Ended():
		t.Fatalf("the call has ended: %v", c.Err())
	case <-time.After(30 * time.Second):
		t.Fatal("no answer")
	}
	return c
}

func TestEchoReturnsSpeech(t *testing.T) {
	for _, c := range []struct {
		name   string
		o      EchoOptions
		change func(*PhoneOptions)
		delay  time.Duration
	}{
		{"as usual", EchoOptions{}, nil, 300 * time.Millisecond},
		{"offer in the answer", EchoOptions{}, func(o *PhoneOptions) { o.LateOffer = true }, 300 * time.Millisecond},
		{"a longer delay", EchoOptions{Delay: 2 * time.Second}, nil, 2 * time.Second},
		{"IPv6", EchoOptions{Addr: netip.MustParseAddr("2001:db8::99")}, func(o *PhoneOptions) { o.Addr = netip.MustParseAddr("2001:db8::1") }, 300 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			withEcho(t, c.o, func(t *testing.T, n Network, e *Echo) {
				alice := caller(t, n, e, c.change)
				defer alice.Close()
				call := dialed(t, alice)
				if !call.ringing.fired() {
					t.Error("it did not ring")
				}
				begun := time.Now()
				if err := call.WaitHeard(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				if got, want := time.Since(begun), frameTime+2*oneWay+c.delay; got != want {
					t.Errorf("the first packet came back after %v, want %v", got, want)
				}
				await(t, call.Played())
				if err := call.WaitHeard(t.Context(), call.PacketsSent()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(reportEvery)
				if !slices.Equal(call.Heard(), overLine(audio.Alice())) {
					t.Error("what came back is not what was said")
				}
				if n := len(frames(audio.Alice())); call.PacketsSent() != n || call.PacketsHeard() != n {
					t.Errorf("sent %d, heard %d packets, want %d", call.PacketsSent(), call.PacketsHeard(), n)
				}
				if _, heard := call.Reports(); heard < 3 || call.Noise() != 0 {
					t.Errorf("%d reports, noise %d", heard, call.Noise())
				}
				if own := call.line.ssrc; call.line.otherSSRC == own {
					t.Errorf("the echo uses the caller's SSRC %d", own)
				}
				if e.Calls() != 1 {
					t.Errorf("%d calls", e.Calls())
				}
				call.Hangup()
				await(t, call.Ended())
				if call.Err() != nil || e.Calls() != 0 {
					t.Errorf("ended with %v, %d calls left", call.Err(), e.Calls())
				}
				alice.Close()
			})
		})
	}
}

// The same on the machine's own sockets, for a second.
func TestEchoOnLoopback(t *testing.T) {
	t.Parallel()
	e, err := NewEcho(EchoOptions{Addr: netip.MustParseAddr("127.0.0.1"), Delay: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if want := "sip:echo@" + e.Addr().String(); e.URI() != want || e.Addr().Port() == 0 {
		t.Errorf("%s, want %s", e.URI(), want)
	}
	said := audio.Alice()[:audio.Rate]
	alice := caller(t, System, e, func(o *PhoneOptions) { o.Addr, o.Play = e.Addr().Addr(), said })
	defer alice.Close()
	call := dialed(t, alice)
	await(t, call.Played())
	if err := call.WaitHeard(t.Context(), call.PacketsSent()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(call.Heard(), overLine(said)) {
		t.Error("what came back is not what was said")
	}
	call.Hangup()
	await(t, call.Ended())
}

func TestEchoHolds(t *testing.T) {
	withEcho(t, EchoOptions{}, func(t *testing.T, n Network, e *Echo) {
		alice := caller(t, n, e, func(o *PhoneOptions) { o.Repeat = true })
		defer alice.Close()
		call := dialed(t, alice)
		if err := call.WaitHeard(t.Context(), 50); err != nil {
			t.Fatal(err)
		}
		if err := await(t, call.Hold()); err != nil {
			t.Fatal(err)
		}
		before := call.PacketsHeard()
		missing := call.PacketsSent() - before
		time.Sleep(time.Minute) // longer than the echo bears silence
		if now := call.PacketsHeard(); now != before {
			t.Errorf("%d packets came back on hold", now-before)
		}
		// What was on its way back when the hold began is lost: the delay's
		// worth and what the phone said until its hold was answered.
		if most := int(echoDelay/frameTime) + 2; missing < most-2 || missing > most {
			t.Errorf("%d packets were dropped, want about %d", missing, most)
		}
		if err := await(t, call.Resume()); err != nil {
			t.Fatal(err)
		}
		if err := call.WaitHeard(t.Context(), before+400); err != nil {
			t.Fatal(err)
		}
		call.Hangup()
		await(t, call.Ended())
		// The words after the hold stand where they belong, behind the gap.
		said := frames(audio.Alice())
		got := call.Heard()
		for i := range len(got) / frameSamples {
			want := audio.DecodeMuLaw(said[i%len(said)])
			if i >= before && i < before+missing {
				want = make([]int16, frameSamples)
			}
			if !slices.Equal(got[i*frameSamples:(i+1)*frameSamples], want) {
				t.Fatalf("packet %d is not what was said; the hold began at %d", i, before)
			}
		}
		alice.Close()
	})
}

func TestEchoEndsCalls(t *testing.T) {
	speech := time.Duration(len(frames(audio.Alice()))) * frameTime
	for _, c := range []struct {
		name   string
		o      EchoOptions
		change func(*PhoneOptions)
		do     func(t *testing.T, e *Echo, call *Call)
		after  time.Duration // on the phone's clock: both the answer and the BYE took the same way to it
	}{
		{"usual duration", EchoOptions{}, func(o *PhoneOptions) { o.Repeat = true }, nil, 5 * time.Minute},
		{"duration", EchoOptions{MaxDuration: 10 * time.Second}, func(o *PhoneOptions) { o.Repeat = true }, nil, 10 * time.Second},
		{"duration on hold", EchoOptions{MaxDuration: 50 * time.Second}, nil, func(t *testing.T, _ *Echo, call *Call) {
			if err := await(t, call.Hold()); err != nil {
				t.Error(err)
			}
		}, 50 * time.Second},
		{"says nothing", EchoOptions{}, func(o *PhoneOptions) { o.Play = nil }, nil, 20 * time.Second},
		{"falls silent", EchoOptions{}, nil, nil, 2*oneWay + speech + 20*time.Second},
		{"silent after a hold", EchoOptions{}, func(o *PhoneOptions) { o.Play = nil }, func(t *testing.T, _ *Echo, call *Call) {
			if err := await(t, call.Hold()); err != nil {
				t.Error(err)
			}
			time.Sleep(30*time.Second - 2*oneWay)
			if err := await(t, call.Resume()); err != nil {
				t.Error(err)
			}
		}, 2*oneWay + 50*time.Second},
		{"closed", EchoOptions{}, nil, func(_ *testing.T, e *Echo, _ *Call) {
			time.Sleep(time.Second)
			e.Close()
		}, oneWay + time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			withEcho(t, c.o, func(t *testing.T, n Network, e *Echo) {
				alice := caller(t, n, e, c.change)
				defer alice.Close()
				call := dialed(t, alice)
				begun := time.Now()
				if c.do != nil {
					c.do(t, e, call)
				}
				<-call.Ended()
				if got := time.Since(begun); got != c.after {
					t.Errorf("ended after %v, want %v", got, c.after)
				}
				if call.Err() != nil {
					t.Error(call.Err())
				}
				if e.Calls() != 0 {
					t.Errorf("%d calls", e.Calls())
				}
				alice.Close()
			})
		})
	}
}

func TestEchoOptions(t *testing.T) {
	t.Parallel()
	home := netip.MustParseAddr("127.0.0.1")
	for name, o := range map[string]EchoOptions{
		"no address":        {},
		"any address":       {Addr: netip.IPv4Unspecified()},
		"somebody's":        {Addr: netip.MustParseAddr("192.0.2.1")},
		"negative delay":    {Addr: home, Delay: -1},
		"endless delay":     {Addr: home, Delay: time.Minute},
		"negative calls":    {Addr: home, MaxCalls: -1},
		"negative duration": {Addr: home, MaxDuration: -1},
	} {
		if e, err := NewEcho(o); err == nil {
			e.Close()
			t.Errorf("%s: no error", name)
		}
	}
}

// One person with one phone hears himself through the whole protected path:
//
//	alice -- a == wire == b -- echo
func TestEchoThroughTwoSipwards(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory := memnet.New(memnet.Options{Seed: 7, Delay: 3 * time.Millisecond})
		defer memory.Close()
		n := &counted{Network: memory}
		seen := capture.NewRecorder(capture.Limits{})
		p := plan{network: n, places: inMemory(), mode: policy.Require, log: slog.New(slog.DiscardHandler)}
		e, err := NewEcho(EchoOptions{Network: n, Addr: p.places.bob})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		s := &stage{}
		defer s.close()
		s.wire, err = NewWire(WireOptions{Network: n, LocalA: p.places.wireA, LocalB: p.places.wireB, Tap: func(s Sighting) {
			if s.Kind == RTP && !s.Sent {
				seen.UDP(s.Time, s.From, s.To, s.Data)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		s.a, err = newWard(p, "sipward-a", p.places.aInside, p.places.aOutside, p.places.wireA, "b",
			route.Route{Match: route.MustPattern("*@b.example"), From: route.Inside, To: "sip:" + s.wire.Addr(LinkA).String(), Side: route.Outside, Peer: "b"})
		if err != nil {
			t.Fatal(err)
		}
		s.b, err = newWard(p, "sipward-b", p.places.bInside, p.places.bOutside, p.places.wireB, "a",
			route.Route{Match: route.MustPattern("echo@*"), From: route.Outside, To: e.URI(), Side: route.Inside})
		if err != nil {
			t.Fatal(err)
		}
		s.wire.SetPeers(s.a.outside, s.b.outside)
		s.alice, err = NewPhone(PhoneOptions{Name: "alice", Addr: p.places.alice, Network: n, Proxy: s.a.inside, Play: audio.Alice()})
		if err != nil {
			t.Fatal(err)
		}
		call, err := s.alice.Call("sip:echo@b.example")
		if err != nil {
			t.Fatal(err)
		}
		var views []b2bua.View
		for _, w := range []*ward{s.a, s.b} {
			v, err := w.encrypted(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			views = append(views, v)
		}
		for _, v := range views {
			if v.Protection != "srtp" || v.Trust != "encrypted" || v.SASCode == "" || v.SASCode != views[0].SASCode {
				t.Errorf("%+v", v)
			}
		}
		await(t, call.Played())
		if err := call.WaitHeard(t.Context(), call.PacketsSent()); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(call.Heard(), overLine(audio.Alice())) {
			t.Error("what came back is not what was said")
		}
		time.Sleep(reportEvery)
		if _, heard := call.Reports(); heard == 0 || call.Noise() != 0 {
			t.Errorf("%d reports, noise %d", heard, call.Noise())
		}
		// The wire carried both ways, and could read neither.
		var said capture.PlainSet
		for _, p := range call.SentPayloads() {
			said.Add(p)
		}
		packets, plain := 0, 0
		for _, p := range seen.Packets() {
			packets++
			if said.In(p.Payload) {
				plain++
			}
		}
		if want := 2 * call.PacketsSent(); packets != want || plain != 0 {
			t.Errorf("tapped %d packets of %d, %d of them readable", packets, want, plain)
		}
		call.Hangup()
		await(t, call.Ended())
		time.Sleep(time.Second) // the BYE goes on to the echo
		if e.Calls() != 0 {
			t.Errorf("%d calls", e.Calls())
		}
		s.close()
		e.Close()
		if open := n.open.Load(); open != 0 {
			t.Errorf("%d sockets are left", open)
		}
	})
}
