package media

import (
	"encoding/binary"
	"time"
)

// Event is a named event that an end's peer has sent, such as a key of a phone
// (RFC 4733 §2.3). Each is handed out twice: when it begins and when it ends.
type Event struct {
	// Code is 0 to 9 for the digits, 10 for *, 11 for #, 12 to 15 for A to D,
	// 16 for flash.
	Code uint8
	// Ended is false when the event begins.
	Ended bool
	// Duration so far, in units of the RTP timestamp.
	Duration uint32
}

// EventOptions say what becomes of events.
type EventOptions struct {
	// PayloadType is that of telephone-event in the SDP.
	PayloadType uint8
	// Queue takes events. What finds it full is lost, and counted in
	// Stats.EventsLost: media waits for nobody.
	Queue chan<- Event
	// Withhold keeps the events from the other end.
	Withhold bool
}

// Events hands out the events that come from an end, from now on; a nil Queue
// ends that.
func (s *Session) Events(from End, o EventOptions) {
	s.do(func(time.Duration) {
		if o.Queue == nil {
			if s.taps != nil {
				s.taps.ways[from.other()].events = nil
			}
			return
		}
		s.tap(from.other()).events = &eventTap{EventOptions: o, lost: &s.ends[from].stats.EventsLost}
	})
}

// eventTap follows the events of one end. An event is many packets with the
// timestamp of its begin; the last is sent three times (RFC 4733 §2.5.1.4).
type eventTap struct {
	EventOptions
	lost *uint64

	running  bool // an event has begun and not ended
	known    bool // stamp and the rest are those of an event
	ssrc     uint32
	code     uint8
	stamp    uint32 // RTP timestamp of the newest segment
	duration uint16 // of that segment
	before   uint32 // duration of the segments before
}

// lateEvent is how far back, in units of the timestamp, a packet still belongs
// to an event before; further back the phone counts anew.
const lateEvent = 1 << 17

// take looks at an RTP packet and says whether it is an event to withhold.
func (t *eventTap) take(pkt []byte) bool {
	if pkt[1]&^rtpMarker != t.PayloadType {
		return false
	}
	payload := rtpPayload(pkt)
	if len(payload) < 4 {
		return t.Withhold
	}
	ssrc, stamp := binary.BigEndian.Uint32(pkt[8:]), binary.BigEndian.Uint32(pkt[4:])
	code, ended, duration := payload[0], payload[1]&0x80 != 0, binary.BigEndian.Uint16(payload[2:])
	step := int32(stamp - t.stamp)
	switch {
	case t.known && ssrc == t.ssrc && step < 0 && step > -lateEvent:
		return t.Withhold // late
	case t.known && ssrc == t.ssrc && step == 0:
		t.duration = max(t.duration, duration)
	case t.running && ssrc == t.ssrc && code == t.code && pkt[1]&rtpMarker == 0 && stamp == t.stamp+uint32(t.duration):
		// A long event goes on in another segment (RFC 4733 §2.5.1.3).
		t.before += uint32(t.duration)
		t.stamp, t.duration = stamp, duration
	default:
		t.close() // its end was lost
		*t = eventTap{EventOptions: t.EventOptions, lost: t.lost, running: true, known: true,
			ssrc: ssrc, code: code, stamp: stamp, duration: duration}
		t.say(false)
	}
	if ended {
		t.close()
	}
	return t.Withhold
}

// close ends the running event.
func (t *eventTap) close() {
	if t.running {
		t.running = false
		t.say(true)
	}
}

func (t *eventTap) say(ended bool) {
	select {
	case t.Queue <- Event{Code: t.code, Ended: ended, Duration: t.before + uint32(t.duration)}:
	default:
		*t.lost++
	}
}

// rtpPayload is what an RTP packet carries behind its header and before its
// padding, nil where the padding is malformed. The header fits: classify says.
func rtpPayload(pkt []byte) []byte {
	n := rtpHeaderLen + 4*int(pkt[0]&0x0f)
	if pkt[0]&0x10 != 0 {
		n += 4 + 4*int(binary.BigEndian.Uint16(pkt[n+2:]))
	}
	payload := pkt[n:]
	if pkt[0]&0x20 != 0 {
		if len(payload) == 0 {
			return nil
		}
		padding := int(payload[len(payload)-1])
		if padding == 0 || padding > len(payload) {
			return nil
		}
		payload = payload[:len(payload)-padding]
	}
	return payload
}
