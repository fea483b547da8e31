package media

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/pion/rtp"
)

// keyPress is a packet of telephone-event, payload type 101.
func keyPress(code byte, seq uint16, stamp uint32, duration uint16, ended bool) []byte {
	pkt := voiceType(101, 1, seq)[:16]
	binary.BigEndian.PutUint32(pkt[4:], stamp)
	pkt[12], pkt[13] = code, 10
	if ended {
		pkt[13] |= 0x80
	}
	binary.BigEndian.PutUint16(pkt[14:], duration)
	return pkt
}

func marked(pkt []byte) []byte { pkt[1] |= rtpMarker; return pkt }

// events gives what is in a queue.
func events(q chan Event) (all []Event) {
	for len(q) > 0 {
		all = append(all, <-q)
	}
	return all
}

func TestEvents(t *testing.T) {
	t.Parallel()
	begin := func(code uint8, duration uint32) Event { return Event{Code: code, Duration: duration} }
	end := func(code uint8, duration uint32) Event { return Event{Code: code, Ended: true, Duration: duration} }
	tests := map[string]struct {
		packets [][]byte
		want    []Event
	}{
		"a key": {[][]byte{
			marked(keyPress(5, 1, 1000, 160, false)), keyPress(5, 2, 1000, 320, false),
			keyPress(5, 3, 1000, 480, true), keyPress(5, 4, 1000, 480, true), keyPress(5, 5, 1000, 480, true),
		}, []Event{begin(5, 160), end(5, 480)}},
		"only its end arrives": {[][]byte{keyPress(5, 5, 1000, 480, true)}, []Event{begin(5, 480), end(5, 480)}},
		"its end is lost": {[][]byte{keyPress(5, 1, 1000, 160, false), marked(keyPress(5, 9, 5000, 160, false)), keyPress(5, 10, 5000, 320, true)},
			[]Event{begin(5, 160), end(5, 160), begin(5, 160), end(5, 320)}},
		"two keys, and packets of the first late": {[][]byte{
			keyPress(1, 1, 1000, 160, false), keyPress(1, 3, 1000, 480, true), keyPress(11, 6, 3000, 160, false),
			keyPress(1, 4, 1000, 480, true), keyPress(1, 5, 1000, 480, true), keyPress(11, 7, 3000, 320, true),
		}, []Event{begin(1, 160), end(1, 480), begin(11, 160), end(11, 320)}},
		"packets swapped": {[][]byte{keyPress(1, 2, 1000, 320, false), keyPress(1, 1, 1000, 160, false), keyPress(1, 3, 1000, 480, true)},
			[]Event{begin(1, 320), end(1, 480)}},
		"segments of a long one": {[][]byte{
			marked(keyPress(2, 1, 1000, 160, false)), keyPress(2, 2, 1000, 0xffff, false),
			keyPress(2, 3, 1000+0xffff, 160, false), keyPress(2, 4, 1000+0xffff, 320, true),
		}, []Event{begin(2, 160), end(2, 0xffff+320)}},
		"the same key at once again": {[][]byte{
			keyPress(2, 1, 1000, 160, true), marked(keyPress(2, 2, 1160, 160, false)), keyPress(2, 3, 1160, 320, true),
		}, []Event{begin(2, 160), end(2, 160), begin(2, 160), end(2, 320)}},
		"across the wrap of the timestamp": {[][]byte{keyPress(3, 1, 1<<32-100, 160, true), keyPress(4, 2, 100, 160, true)},
			[]Event{begin(3, 160), end(3, 160), begin(4, 160), end(4, 160)}},
		"a phone that counts anew": {[][]byte{keyPress(3, 1, 1<<31, 160, true), keyPress(4, 2, 100, 160, true)},
			[]Event{begin(3, 160), end(3, 160), begin(4, 160), end(4, 160)}},
		"not events": {[][]byte{voice(1, 1), voiceType(101, 1, 1)[:15], voiceType(102, 1, 2)}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.session.SetMode(A, Plain)
			r.session.SetMode(B, Plain)
			queue := make(chan Event, 16)
			r.session.Events(A, EventOptions{PayloadType: 101, Queue: queue})
			for _, pkt := range test.packets {
				r.far(bytes.Clone(pkt)) // the other end's are none of it
				r.one()
				r.phone(pkt)
				if got := r.one(); !bytes.Equal(got.pkt, pkt) {
					t.Errorf("left as %x", got.pkt)
				}
			}
			if got := events(queue); !slices.Equal(got, test.want) {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}

func TestEventsWithheldAndLost(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.session.SetMode(A, Plain)
	keys := r.protect(gcm256, ProtectOptions{})
	queue := make(chan Event, 1)
	r.session.Events(A, EventOptions{PayloadType: 101, Queue: queue, Withhold: true})
	r.phone(voice(1, 1))
	first := seqOf(keys.open(r.one().pkt))
	r.phone(keyPress(5, 2, 1000, 160, false))
	r.phone(keyPress(5, 3, 1000, 320, true)) // the queue is full
	r.none("withheld")
	if n := r.stats(A).EventsLost; n != 1 {
		t.Errorf("EventsLost %d, want 1", n)
	}
	r.phone(voice(1, 4))
	if got := seqOf(keys.open(r.one().pkt)); got != first+1 {
		t.Errorf("number %d after %d", got, first)
	}
	r.session.Mute(B, true)
	<-queue
	r.phone(keyPress(6, 5, 2000, 160, false))
	if got := events(queue); len(got) != 1 || got[0].Code != 6 {
		t.Errorf("while muted: %+v", got)
	}
	r.session.Mute(B, false)
	r.session.Events(A, EventOptions{})
	r.phone(keyPress(7, 6, 3000, 160, false))
	keys.open(r.one().pkt)
	if got := events(queue); len(got) != 0 {
		t.Errorf("after the end: %+v", got)
	}
}

// Where a payload stands is what another implementation says too.
func FuzzPayload(f *testing.F) {
	f.Add(voice(1, 1))
	f.Add(append([]byte{0xb2, 0}, bytes.Repeat([]byte{0, 1}, 30)...))
	f.Add(append([]byte{0xa0, 0}, bytes.Repeat([]byte{4}, 30)...))
	f.Add(keyPress(1, 2, 3, 4, true))
	f.Fuzz(func(t *testing.T, pkt []byte) {
		if classify(pkt, false) != kindRTP {
			return
		}
		got := rtpPayload(pkt)
		var want rtp.Packet
		if err := want.Unmarshal(pkt); err != nil {
			return // it reads the header extension's inside too, or the padding
		}
		if !bytes.Equal(got, want.Payload) {
			t.Errorf("payload %x, want %x", got, want.Payload)
		}
		tap := eventTap{EventOptions: EventOptions{PayloadType: pkt[1] & 0x7f, Queue: make(chan Event, 4)}, lost: new(uint64)}
		tap.take(pkt)
		tap.take(pkt)
		if len(got) < 4 != (len(tap.Queue) == 0) || *tap.lost != 0 {
			t.Errorf("%d events of payload %x", len(tap.Queue), got)
		}
	})
}
