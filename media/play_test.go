package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// tone gives n frames of 160 octets, all the same octet per frame.
func tone(n int) func() []byte {
	i := 0
	return func() []byte {
		if i++; i > n {
			return nil
		}
		return bytes.Repeat([]byte{byte(i)}, 160)
	}
}

func g711(next func() []byte, done func()) Playback {
	return Playback{PayloadType: 8, Every: 20 * time.Millisecond, Step: 160, Next: next, Done: done}
}

func TestPlayReplacesWhatAnEndHears(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newInMemory(t)
		defer m.close()
		m.session.SetMode(A, Plain)
		ours, theirs := newKeys(gcm256)
		if err := m.session.Protect(B, ours, ProtectOptions{}); err != nil {
			t.Fatal(err)
		}
		far := newFarKeys(t, theirs)
		done := 0
		if err := m.session.Play(A, g711(tone(10), func() { done++; m.session.Stats() })); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var ssrc, stamp uint32
		var number uint16
		for i := range 10 {
			packets := got(m.phone)
			if len(packets) != 1 {
				t.Fatalf("%d packets after %v", len(packets), time.Since(start))
			}
			pkt := packets[0]
			if !bytes.Equal(pkt[12:], bytes.Repeat([]byte{byte(i + 1)}, 160)) || pkt[1]&0x7f != 8 {
				t.Fatalf("frame %d: %x", i, pkt)
			}
			if first := pkt[1]&rtpMarker != 0; first != (i == 0) {
				t.Errorf("marker of frame %d: %v", i, first)
			}
			if i == 0 {
				ssrc, number, stamp = ssrcOf(pkt), seqOf(pkt), binary.BigEndian.Uint32(pkt[4:])
			}
			if ssrcOf(pkt) != ssrc || seqOf(pkt) != number+uint16(i) || binary.BigEndian.Uint32(pkt[4:]) != stamp+160*uint32(i) {
				t.Errorf("frame %d has header %x", i, pkt[:12])
			}
			m.far.WriteTo(far.seal(voice(2, uint16(i))), m.toFar) // not heard
			m.phone.WriteTo(voice(1, uint16(i)), m.toPhone)       // heard by the far end
			time.Sleep(20 * time.Millisecond)
		}
		if n := len(got(m.phone)); n != 0 || done != 1 {
			t.Errorf("%d packets too many, Done called %d times", n, done)
		}
		if n := len(got(m.far)); n != 10 {
			t.Errorf("the far end heard %d packets of 10", n)
		}
		m.far.WriteTo(far.seal(voice(2, 10)), m.toFar)
		m.far.WriteTo(far.seal(voice(2, 11)), m.toFar)
		packets := got(m.phone)
		if len(packets) != 2 || !bytes.Equal(packets[0], marked(voice(2, 10))) || !bytes.Equal(packets[1], voice(2, 11)) {
			t.Fatalf("after the playback: %x", packets)
		}
		if n := m.session.Stats()[A].PacketsOut; n != 12 {
			t.Errorf("%d packets out, want 12", n)
		}
	})
}

// Towards a protected end a playback has own SSRC and numbers, which go on
// whoever speaks.
func TestPlayToProtectedEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newInMemory(t)
		defer m.close()
		m.session.SetMode(A, Plain)
		m.session.SetMode(B, Waiting)
		ended := make(chan int, 9)
		m.session.Play(B, g711(tone(1000), func() { ended <- 1 }))
		time.Sleep(90 * time.Millisecond)
		ours, theirs := newKeys(gcm256)
		if err := m.session.Protect(B, ours, ProtectOptions{}); err != nil {
			t.Fatal(err)
		}
		far := newFarKeys(t, theirs)
		m.session.Play(B, g711(tone(1000), func() { ended <- 2 }))
		time.Sleep(2*time.Second - time.Millisecond)
		m.session.StopPlaying(B)
		m.session.StopPlaying(B)
		m.session.StopPlaying(A)
		for seq := range uint16(5) {
			m.phone.WriteTo(voiceType(8, 1, seq), m.toPhone)
		}
		packets := got(m.far)
		if len(packets) != 5+100+5 { // at 0, 20, … 80 ms; at 0, 20, … 1980 ms
			t.Fatalf("%d packets", len(packets))
		}
		first := far.open(packets[0])
		for i, pkt := range packets[1:] {
			clear := far.open(pkt)
			if seqOf(clear) != seqOf(first)+uint16(i)+1 || ssrcOf(clear) != ssrcOf(first) {
				t.Fatalf("packet %d: %x after %x", i+1, clear[:12], first[:12])
			}
		}
		if len(ended) != 2 || <-ended != 1 || <-ended != 2 {
			t.Errorf("Done was called out of order")
		}
	})
}

// A short playback in the codec of the call: the phone that speaks before and
// after it stays one stream to the far end, without a packet lost.
func TestPlayLeavesTheStreamAsItWas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newInMemory(t)
		defer m.close()
		m.session.SetMode(A, Plain)
		ours, theirs := newKeys(gcm256)
		if err := m.session.Protect(B, ours, ProtectOptions{}); err != nil {
			t.Fatal(err)
		}
		far := newFarKeys(t, theirs)
		m.phone.WriteTo(voiceType(8, 1, 1), m.toPhone)
		synctest.Wait()
		m.session.Play(B, g711(tone(3), nil))
		time.Sleep(100 * time.Millisecond)
		m.phone.WriteTo(voiceType(8, 1, 6), m.toPhone)
		m.phone.WriteTo(voiceType(8, 1, 7), m.toPhone)
		packets := got(m.far)
		if len(packets) != 1+3+2 {
			t.Fatalf("%d packets", len(packets))
		}
		first := far.open(packets[0])
		for i, pkt := range packets[1:] {
			if clear := far.open(pkt); seqOf(clear) != seqOf(first)+uint16(i)+1 || ssrcOf(clear) != ssrcOf(first) {
				t.Errorf("packet %d: %x after %x", i+1, clear[:12], first[:12])
			}
		}
	})
}

func TestPlayEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newInMemory(t)
		defer m.close()
		m.session.SetMode(A, Plain)
		for _, p := range []Playback{
			{PayloadType: 128, Every: 20 * time.Millisecond, Next: tone(1)},
			{Every: 20 * time.Millisecond},
			{Every: time.Millisecond, Next: tone(1)},
			{Every: time.Second, Next: tone(1)},
		} {
			if err := m.session.Play(A, p); !errors.Is(err, ErrPlayback) {
				t.Errorf("%+v: %v", p, err)
			}
		}
		// Frames that do not fit are left out, and time goes on without them.
		frames := [][]byte{make([]byte, maxFrame), make([]byte, maxFrame+1), {1}}
		m.session.Play(A, g711(func() []byte {
			if len(frames) == 0 {
				return nil
			}
			f := frames[0]
			frames = frames[1:]
			return f
		}, nil))
		time.Sleep(100 * time.Millisecond)
		packets := got(m.phone)
		if len(packets) != 2 || seqOf(packets[1]) != seqOf(packets[0])+1 ||
			binary.BigEndian.Uint32(packets[1][4:]) != binary.BigEndian.Uint32(packets[0][4:])+320 {
			t.Errorf("%d packets", len(packets))
		}

		ended := make(chan struct{}, 9)
		m.session.Play(A, g711(tone(1000), func() { ended <- struct{}{} }))
		time.Sleep(30 * time.Millisecond)
		m.session.Close()
		synctest.Wait()
		if len(ended) != 1 {
			t.Error("Close does not end the playback")
		}
		got(m.phone)
		time.Sleep(time.Second)
		if n := len(got(m.phone)); n != 0 {
			t.Errorf("%d packets after Close", n)
		}
		if err := m.session.Play(A, g711(tone(1), nil)); err != ErrClosed {
			t.Errorf("after Close: %v", err)
		}
	})
}

// On a machine that stood still, frames do not come in a burst afterwards.
func TestPlayDoesNotCatchUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newInMemory(t)
		defer m.close()
		m.session.SetMode(A, Plain)
		slow := true
		next := tone(1000)
		m.session.Play(A, g711(func() []byte {
			if slow {
				time.Sleep(5 * time.Second)
				slow = false
			}
			return next()
		}, nil))
		time.Sleep(5*time.Second + time.Millisecond)
		if n := len(got(m.phone)); n > 2 {
			t.Errorf("%d frames at once", n)
		}
		time.Sleep(time.Second)
		if n := len(got(m.phone)); n < 49 || n > 51 {
			t.Errorf("%d frames in a second", n)
		}
	})
}
