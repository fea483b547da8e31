package media

import (
	"slices"
	"testing"
	"time"
)

// A worker that has few packets relays each as it comes; one that has many
// lets them gather. The bound is long here, so that the two cannot be mistaken
// for each other on a machine that has other things to do.
func TestCoalescing(t *testing.T) {
	if testing.Short() {
		t.Skip("two seconds of traffic")
	}
	t.Parallel()
	const bound = 60 * time.Millisecond
	e := newTestEngine(t, Options{Workers: 1, Coalesce: bound})
	s := openSession(t, e)
	phone, far := newPeer(t, loopback), newPeer(t, loopback)
	s.SetRemote(A, phone.remote())
	s.SetRemote(B, far.remote())
	s.SetMode(A, Plain)
	s.SetMode(B, Plain)
	to, _ := s.Local(A)
	delays := func(packets int, every time.Duration) (median time.Duration) {
		var all []time.Duration
		done := make(chan struct{})
		sent := make(chan time.Time, packets)
		go func() {
			defer close(done)
			for range packets {
				far.read(far.rtp)
				all = append(all, time.Since(<-sent))
			}
		}()
		for seq := range uint16(packets) {
			sent <- time.Now()
			phone.send(phone.rtp, voice(1, seq), to)
			time.Sleep(every)
		}
		<-done
		slices.Sort(all)
		return all[len(all)/2]
	}
	if d := delays(20, 50*time.Millisecond); d > bound/6 {
		t.Errorf("a packet each 50 ms is held up by %v", d)
	}
	if d := delays(500, 2*time.Millisecond); d < bound/6 || d > 2*bound {
		t.Errorf("a packet each 2 ms is held up by %v, want about %v", d, bound/2)
	}
	if d := delays(20, 50*time.Millisecond); d > bound/6 {
		t.Errorf("quiet again, a packet is held up by %v", d)
	}
}

// Events of a socket that is gone find nobody, and not who has its place now.
func TestPlacesOfSockets(t *testing.T) {
	t.Parallel()
	var table sockets
	first, other, second := &epollSocket{fd: 1}, &epollSocket{fd: 2}, &epollSocket{fd: 3}
	index, turn := table.add(first)
	otherIndex, otherTurn := table.add(other)
	table.remove(first)
	if table.get(index, turn) != nil {
		t.Error("found after it was removed")
	}
	newIndex, newTurn := table.add(second)
	if newIndex != index {
		t.Errorf("place %d stays empty", index)
	}
	if table.get(index, turn) != nil {
		t.Error("an old event finds the new socket")
	}
	if table.get(newIndex, newTurn) != second || table.get(otherIndex, otherTurn) != other || table.get(noSocket, 0) != nil {
		t.Error("sockets are not where they were put")
	}
}
