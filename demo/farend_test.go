package demo

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/audio"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
)

// alone is one person with one phone, a sipward and its far end.
type alone struct {
	n     *counted
	ward  *ward
	far   *FarEnd
	alice *Phone
}

func withFarEnd(t *testing.T, f func(t *testing.T, a *alone)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory := memnet.New(memnet.Options{Seed: 5, Delay: oneWay})
		defer memory.Close()
		a := &alone{n: &counted{Network: memory}}
		addr := netip.MustParseAddr
		var err error
		a.far, err = NewFarEnd(FarEndOptions{Network: a.n, Outside: addr("127.0.0.1"), Inside: addr("127.0.0.1"),
			Accept: func(from netip.Addr) bool { return from == addr("192.0.2.1") }})
		if err != nil {
			t.Fatal(err)
		}
		defer a.far.Close()
		var routes []route.Route
		for _, ta := range TestAddresses() {
			routes = append(routes, route.Route{Match: route.MustPattern(ta.User), To: a.far.URI(ta.User), Side: route.Outside, Peer: "far"})
		}
		p := plan{network: a.n, mode: policy.Require, log: slog.New(slog.DiscardHandler)}
		if a.ward, err = newWard(p, "home", addr("10.1.0.1"), addr("192.0.2.1"), addr("127.0.0.1"), "far", routes...); err != nil {
			t.Fatal(err)
		}
		defer a.ward.close()
		a.alice, err = NewPhone(PhoneOptions{Name: "alice", Domain: "a.example", Addr: addr("10.1.0.2"), Network: a.n, Proxy: a.ward.inside, Play: audio.Alice()})
		if err != nil {
			t.Fatal(err)
		}
		defer a.alice.Close()
		f(t, a)
		a.alice.Close()
		a.ward.close()
		a.far.Close()
		if open := a.n.open.Load(); open != 0 {
			t.Errorf("%d sockets are left", open)
		}
	})
}

// One person hears himself over a call that is protected.
func TestFarEndEchoes(t *testing.T) {
	withFarEnd(t, func(t *testing.T, a *alone) {
		call, err := a.alice.Call("sip:echo@a.example")
		if err != nil {
			t.Fatal(err)
		}
		v, err := a.ward.encrypted(t.Context())
		if err != nil || v.Trust != "encrypted" || v.Direction != "outbound" {
			t.Fatalf("%+v, %v", v, err)
		}
		await(t, call.Played())
		if err := call.WaitHeard(t.Context(), call.PacketsSent()); err != nil {
			t.Fatal(err)
		}
		if score, _ := audio.Correlate(call.Heard(), audio.Alice()); score < 0.99 {
			t.Errorf("what came back is %.3f like what was said", score)
		}
		call.Hangup()
		await(t, call.Ended())
		time.Sleep(time.Second) // the BYE goes on
		if a.far.Calls() != 0 {
			t.Errorf("%d calls", a.far.Calls())
		}
	})
}

// The code that is read out is the far end's own, and the one that the caller's
// sipward shows.
func TestFarEndReadsItsCode(t *testing.T) {
	withFarEnd(t, func(t *testing.T, a *alone) {
		call, err := a.alice.Call("sip:sas@a.example")
		if err != nil {
			t.Fatal(err)
		}
		v, err := a.ward.encrypted(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		code := v.SASCode[:3] + v.SASCode[4:]
		await(t, call.Ended())
		if got := audio.HeardDigits(call.Heard()); call.Err() != nil || got != code+code {
			t.Errorf("heard %s, shown %s; %v", got, v.SASCode, call.Err())
		}
	})
}

// It is there for its own sipward, and has a bound.
func TestFarEndIsForOneSipward(t *testing.T) {
	withFarEnd(t, func(t *testing.T, a *alone) {
		to := a.far.proxyAddr(t)
		stranger, err := NewPhone(PhoneOptions{Name: "eve", Addr: netip.MustParseAddr("192.0.2.66"), Network: a.n, Proxy: to})
		if err != nil {
			t.Fatal(err)
		}
		defer stranger.Close()
		call, err := stranger.Call(a.far.URI(echoUser))
		if err != nil {
			t.Fatal(err)
		}
		await(t, call.Ended())
		var refused *Refused
		if !errors.As(call.Err(), &refused) || refused.Status != 403 {
			t.Errorf("a stranger: %v", call.Err())
		}

		var phones []*Phone
		for range farEndCalls + 1 {
			p, err := NewPhone(PhoneOptions{Name: "p", Addr: netip.MustParseAddr("10.1.0.3"), Network: a.n, Proxy: a.ward.inside})
			if err != nil {
				t.Fatal(err)
			}
			phones = append(phones, p)
			defer p.Close()
			c, err := p.Call("sip:echo@a.example")
			if err != nil {
				t.Fatal(err)
			}
			if len(phones) <= farEndCalls {
				await(t, c.Up())
				continue
			}
			await(t, c.Ended())
			if !errors.As(c.Err(), &refused) || refused.Status != 486 {
				t.Errorf("one too many: %v", c.Err())
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_ = a.ward.proxy.Shutdown(ctx)
		stranger.Close()
		for _, p := range phones {
			p.Close()
		}
	})
}

func (f *FarEnd) proxyAddr(t *testing.T) netip.AddrPort {
	t.Helper()
	u, err := route.ParseURI(f.URI(echoUser))
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(netip.MustParseAddr(u.Host), uint16(u.Port))
}
