package media

import (
	"bytes"
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"
)

// Events that are made here belong to the stream beside them (RFC 4733 section
// 2.1): its time, and under keys its source and its numbers too.
func TestPlaybackJoinsTheStream(t *testing.T) {
	t.Parallel()
	for name, protected := range map[string]bool{"protected": true, "plain": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := newInMemory(t)
				defer m.close()
				m.session.SetMode(A, Plain)
				m.session.SetMode(B, Plain)
				open := func(pkt []byte) []byte { return pkt }
				if protected {
					ours, theirs := newKeys(gcm256)
					if err := m.session.Protect(B, ours, ProtectOptions{}); err != nil {
						t.Fatal(err)
					}
					open = newFarKeys(t, theirs).open
				}
				m.session.Events(B, EventOptions{PayloadType: 101, Queue: make(chan Event, 1)}) // the session has taps
				say := func(number uint16) []byte {
					pkt := voice(1, number)
					m.phone.WriteTo(pkt, m.toPhone)
					return pkt
				}
				for number := range uint16(3) {
					say(700 + number)
					time.Sleep(20 * time.Millisecond)
				}
				var heard [][]byte
				take := func() {
					for _, pkt := range got(m.far) {
						heard = append(heard, open(pkt))
					}
				}
				take()
				time.Sleep(40 * time.Millisecond)
				frames := 0
				err := m.session.Play(B, Playback{PayloadType: 101, Every: 20 * time.Millisecond, Rate: 8000, Next: func() []byte {
					if frames++; frames > 4 {
						return nil
					}
					return []byte{5, 10, 0, byte(frames)}
				}})
				if err != nil {
					t.Fatal(err)
				}
				for number := range uint16(5) {
					say(705 + number) // not heard while the event lasts
					time.Sleep(20 * time.Millisecond)
				}
				take()
				say(710)
				say(711)
				take()
				var events int
				for i, pkt := range heard {
					same := ssrcOf(pkt) == ssrcOf(heard[0])
					if event := pkt[1]&0x7f == 101; event {
						events++
						if stamp := binary.BigEndian.Uint32(pkt[4:]); stamp != 702*160+480 {
							t.Errorf("an event at %d, want %d", stamp, 702*160+480)
						}
						if same != protected || pkt[1]&rtpMarker != 0 != (events == 1) || !bytes.Equal(pkt[12:], []byte{5, 10, 0, byte(events)}) {
							t.Errorf("event %x", pkt)
						}
					} else if !same {
						t.Errorf("speech of another source: %x", pkt[:12])
					}
					if protected && seqOf(pkt) != seqOf(heard[0])+uint16(i) {
						t.Errorf("number %d at place %d behind %d", seqOf(pkt), i, seqOf(heard[0]))
					}
				}
				if events != 4 || len(heard) < 9 {
					t.Errorf("%d events, %d packets", events, len(heard))
				}
			})
		})
	}
}
