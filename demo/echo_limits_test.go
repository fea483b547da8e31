package demo

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/sipward/sipward/demo/audio"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/sip"
)

func TestEchoIsBusy(t *testing.T) {
	withEcho(t, EchoOptions{MaxCalls: 2}, func(t *testing.T, n Network, e *Echo) {
		var phones []*Phone
		var calls []*Call
		for i := range 3 {
			p := caller(t, n, e, func(o *PhoneOptions) { o.Addr = netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}) })
			defer p.Close()
			phones = append(phones, p)
		}
		for _, p := range phones[:2] {
			calls = append(calls, dialed(t, p))
		}
		refused, err := phones[2].Call("sip:echo@192.0.2.99")
		if err != nil {
			t.Fatal(err)
		}
		await(t, refused.Ended())
		if !sameError(refused.Err(), &Refused{486, "Busy Here"}) || e.Calls() != 2 {
			t.Errorf("%v, %d calls", refused.Err(), e.Calls())
		}
		calls[0].Hangup()
		await(t, calls[0].Ended())
		last := dialed(t, phones[2])
		for _, c := range []*Call{calls[1], last} { // nobody hears anybody else
			await(t, c.Played())
			if err := c.WaitHeard(t.Context(), c.PacketsSent()); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(c.Heard(), overLine(audio.Alice())) {
				t.Error("what came back is not what was said")
			}
		}
		e.Close()
		for _, c := range []*Call{calls[1], last} {
			await(t, c.Ended())
		}
		for _, p := range phones {
			p.Close()
		}
	})
}

// Calls that come and go fast leave Call-IDs behind, of which there are not
// more than the echo allows, and they do not stay.
func TestEchoBoundsFastCallers(t *testing.T) {
	withEcho(t, EchoOptions{MaxCalls: 1}, func(t *testing.T, n Network, e *Echo) {
		alice := caller(t, n, e, nil)
		defer alice.Close()
		for range lingering {
			call := dialed(t, alice)
			call.Hangup()
			await(t, call.Ended())
		}
		call, err := alice.Call("sip:echo@192.0.2.99")
		if err != nil {
			t.Fatal(err)
		}
		await(t, call.Ended())
		if !sameError(call.Err(), &Refused{503, "Service Unavailable"}) {
			t.Error(call.Err())
		}
		time.Sleep(time.Minute)
		if n := e.stack.Dialogs(); n != 0 {
			t.Errorf("%d Call-IDs are left", n)
		}
		dialed(t, alice)
		e.Close()
		alice.Close()
	})
}

// A caller who gives up while the answer is on its way leaves nothing behind.
func TestEchoIsCancelled(t *testing.T) {
	withEcho(t, EchoOptions{}, func(t *testing.T, n Network, e *Echo) {
		alice := caller(t, n, e, nil)
		defer alice.Close()
		call, err := alice.Call("sip:echo@192.0.2.99")
		if err != nil {
			t.Fatal(err)
		}
		call.Hangup()
		await(t, call.Ended())
		time.Sleep(time.Second)
		if e.Calls() != 0 {
			t.Errorf("%d calls", e.Calls())
		}
		alice.Close()
	})
}

// A caller whose ACK never comes hears the echo until nobody waits for the ACK
// any more.
func TestEchoWaitsForTheACK(t *testing.T) {
	withEcho(t, EchoOptions{}, func(t *testing.T, n Network, e *Echo) {
		n.(*counted).Network.(*memnet.Network).SetRule(memnet.DropFirst(1000, func(_, _ netip.AddrPort, b []byte) bool { return bytes.HasPrefix(b, []byte("ACK ")) }))
		alice := caller(t, n, e, func(o *PhoneOptions) { o.Repeat = true })
		defer alice.Close()
		call := dialed(t, alice)
		begun := time.Now()
		<-call.Ended()
		if got := time.Since(begun); got != 64*sip.T1 || call.Err() != nil {
			t.Errorf("ended after %v with %v", got, call.Err())
		}
		if call.PacketsHeard() < 1000 || e.Calls() != 0 {
			t.Errorf("%d packets came back, %d calls are left", call.PacketsHeard(), e.Calls())
		}
		alice.Close()
	})
}

// A caller who is gone without a word does not keep its place.
func TestEchoForgetsTheGone(t *testing.T) {
	withEcho(t, EchoOptions{}, func(t *testing.T, n Network, e *Echo) {
		alice := caller(t, n, e, nil)
		dialed(t, alice)
		alice.Close()
		time.Sleep(echoSilence + 2*oneWay)
		if e.Calls() != 0 {
			t.Errorf("%d calls", e.Calls())
		}
		time.Sleep(2 * time.Minute)
		if n := e.stack.Dialogs(); n != 0 {
			t.Errorf("%d Call-IDs are left", n)
		}
	})
}
