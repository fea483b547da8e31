package demo

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sipward/sipward/demo/audio"
	"github.com/sipward/sipward/demo/memnet"
	"github.com/sipward/sipward/sip"
)

// inBubble runs f with two phones that call each other directly, on a network
// in memory. That the bubble ends shows that Close leaves no goroutine behind.
func inBubble(t *testing.T, change func(alice, bob *PhoneOptions), f func(t *testing.T, n *memnet.Network, alice, bob *Phone)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New(memnet.Options{Seed: 1, Delay: 5 * time.Millisecond})
		defer n.Close()
		a := PhoneOptions{Name: "alice", Addr: netip.MustParseAddr("192.0.2.1"), Network: n, Play: audio.Alice()}
		b := PhoneOptions{Name: "bob", Addr: netip.MustParseAddr("192.0.2.2"), Network: n, Play: audio.Bob()}
		if change != nil {
			change(&a, &b)
		}
		bob, err := NewPhone(b)
		if err != nil {
			t.Fatal(err)
		}
		defer bob.Close()
		a.Proxy = bob.Addr()
		alice, err := NewPhone(a)
		if err != nil {
			t.Fatal(err)
		}
		defer alice.Close()
		f(t, n, alice, bob)
	})
}

// call has alice call bob and waits until it rings there.
func call(t *testing.T, alice, bob *Phone) (a, b *Call) {
	t.Helper()
	a, err := alice.Call("sip:bob@b.example")
	if err != nil {
		t.Fatal(err)
	}
	b = await(t, bob.Calls())
	return a, b
}

func await[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(30 * time.Second):
		t.Fatal("waited 30 s for nothing")
		panic("not reached")
	}
}

// overLine is a recording as it comes out of a perfect line: G.711, whole
// packets.
func overLine(pcm []int16) []int16 {
	var out []int16
	for _, f := range frames(pcm) {
		out = append(out, audio.DecodeMuLaw(f)...)
	}
	return out
}

func TestPhonesTalk(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(alice, bob *PhoneOptions)
	}{
		{"as usual", nil},
		{"callee talks after the ACK", func(_, b *PhoneOptions) { b.TalkAfterAck = true }},
		{"offer in the answer", func(a, _ *PhoneOptions) { a.LateOffer = true }},
		{"rings for a while", func(_, b *PhoneOptions) { b.AnswerAfter = 3 * time.Second }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, c.change, func(t *testing.T, _ *memnet.Network, alice, bob *Phone) {
				a, b := call(t, alice, bob)
				await(t, a.Ringing())
				await(t, a.Up())
				await(t, b.Up())
				await(t, a.Played())
				await(t, b.Played())
				if err := b.WaitHeard(t.Context(), a.PacketsSent()); err != nil {
					t.Fatal(err)
				}
				if err := a.WaitHeard(t.Context(), b.PacketsSent()); err != nil {
					t.Fatal(err)
				}
				a.Hangup()
				await(t, a.Ended())
				await(t, b.Ended())
				if a.Err() != nil || b.Err() != nil {
					t.Errorf("ended with %v and %v", a.Err(), b.Err())
				}
				if !slices.Equal(b.Heard(), overLine(audio.Alice())) || !slices.Equal(a.Heard(), overLine(audio.Bob())) {
					t.Error("what was heard is not what was played")
				}
				if n := len(frames(audio.Alice())); a.PacketsSent() != n || b.PacketsHeard() != n {
					t.Errorf("sent %d, heard %d packets, want %d", a.PacketsSent(), b.PacketsHeard(), n)
				}
				sent, heard := a.Reports()
				if sent < 3 || heard < 3 || a.Noise()+b.Noise() != 0 {
					t.Errorf("RTCP sent %d, heard %d, noise %d", sent, heard, a.Noise()+b.Noise())
				}
			})
		})
	}
}

func TestPhoneHolds(t *testing.T) {
	inBubble(t, func(a, b *PhoneOptions) { a.Repeat, b.Repeat = true, true }, func(t *testing.T, _ *memnet.Network, alice, bob *Phone) {
		a, b := call(t, alice, bob)
		await(t, b.Up())
		if err := b.WaitHeard(t.Context(), 50); err != nil {
			t.Fatal(err)
		}
		if err := await(t, a.Hold()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond) // what is on its way arrives
		before := [2]int{a.PacketsHeard(), b.PacketsHeard()}
		time.Sleep(10 * time.Second)
		if now := [2]int{a.PacketsHeard(), b.PacketsHeard()}; now != before {
			t.Errorf("packets on hold: %v, then %v", before, now)
		}
		if err := await(t, a.Resume()); err != nil {
			t.Fatal(err)
		}
		for _, c := range []*Call{a, b} {
			if err := c.WaitHeard(t.Context(), 300); err != nil {
				t.Fatal(err)
			}
		}
		b.Hangup()
		await(t, a.Ended())
		await(t, b.Ended())
		// The hold leaves no hole: numbers go on.
		want := overLine(audio.Alice())
		if got := b.Heard(); !slices.Equal(got[:len(want)], want) {
			t.Error("what was heard around the hold is not what was played")
		}
	})
}

func TestPhoneEnds(t *testing.T) {
	manual := func(_, b *PhoneOptions) { b.Manual = true }
	for _, c := range []struct {
		name   string
		change func(alice, bob *PhoneOptions)
		do     func(a, b *Call)
		a, b   error
	}{
		{"caller gives up", manual, func(a, _ *Call) { a.Hangup() }, sip.ErrCancelled, sip.ErrCancelled},
		{"callee declines", manual, func(_, b *Call) { b.Hangup() }, &Refused{603, "Decline"}, &Refused{603, "Decline"}},
		{"callee refuses", manual, func(_, b *Call) { b.Refuse(480, "Not Now") }, &Refused{480, "Not Now"}, &Refused{480, "Not Now"}},
		{"callee answers and hangs up", manual, func(_, b *Call) { b.Answer(); b.Hangup() }, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, c.change, func(t *testing.T, _ *memnet.Network, alice, bob *Phone) {
				a, b := call(t, alice, bob)
				await(t, a.Ringing())
				c.do(a, b)
				await(t, a.Ended())
				await(t, b.Ended())
				if !sameError(a.Err(), c.a) || !sameError(b.Err(), c.b) {
					t.Errorf("ended with %v and %v, want %v and %v", a.Err(), b.Err(), c.a, c.b)
				}
				// The line is free again.
				a, b = call(t, alice, bob)
				b.Answer()
				await(t, a.Up())
			})
		})
	}
}

func sameError(got, want error) bool {
	var r *Refused
	if errors.As(want, &r) {
		var g *Refused
		return errors.As(got, &g) && *g == *r
	}
	return errors.Is(got, want)
}

// A phone that sees what it does not know refuses it as phones do, and has one
// line only.
func TestPhoneRefuses(t *testing.T) {
	inBubble(t, func(_, b *PhoneOptions) { b.Manual = true }, func(t *testing.T, n *memnet.Network, alice, bob *Phone) {
		call(t, alice, bob)
		carol, err := NewPhone(PhoneOptions{Name: "carol", Addr: netip.MustParseAddr("192.0.2.3"), Network: n, Proxy: bob.Addr()})
		if err != nil {
			t.Fatal(err)
		}
		defer carol.Close()
		c, err := carol.Call("sip:bob@b.example")
		if err != nil {
			t.Fatal(err)
		}
		await(t, c.Ended())
		if !sameError(c.Err(), &Refused{486, "Busy Here"}) {
			t.Error(c.Err())
		}
		if _, err := alice.Call("sip:carol@b.example"); err == nil {
			t.Error("alice made a second call on one line")
		}
	})
}

// Lost, doubled and reordered packets are put in their place.
func TestPhoneReorders(t *testing.T) {
	t.Parallel()
	r := newRecording()
	pcm := audio.Alice()
	payloads := frames(pcm)
	first := uint16(65530) // the number wraps within the call
	order := make([]int, len(payloads))
	for i := range order {
		order[i] = i ^ 1 // neighbours exchanged
	}
	for _, i := range order {
		if i >= len(payloads) || i == 100 {
			continue
		}
		r.add(7, first+uint16(i), payloads[i])
		r.add(7, first+uint16(i), payloads[i])
	}
	want := overLine(pcm)[:len(payloads)/2*2*frameSamples]
	clear(want[100*frameSamples : 101*frameSamples])
	if got := r.samples(); !slices.Equal(got[:len(want)], want) {
		t.Error("not in the order in which they were sent")
	}
	if r.count() != len(r.list()) {
		t.Errorf("%d packets counted, %d kept", r.count(), len(r.list()))
	}
}

func TestPhoneCloseWakesWaiters(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, _ *memnet.Network, alice, bob *Phone) {
		a, b := call(t, alice, bob)
		await(t, b.Up())
		alice.Close()
		await(t, a.Ended())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.WaitHeard(ctx, 1<<20); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if _, err := alice.Call("sip:bob@b.example"); err == nil {
			t.Error("a closed phone calls")
		}
	})
}
