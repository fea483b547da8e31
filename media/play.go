package media

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"time"
)

// rtpMarker is the marker bit of the second octet: with audio the first packet
// after silence has it (RFC 3551 §4.1).
const rtpMarker = 0x80

// maxFrame is the longest frame that a packet holds, in octets.
const maxFrame = maxPacket - rtpHeaderLen

// The shortest and longest time from frame to frame.
const (
	minFrameTime = 5 * time.Millisecond
	maxFrameTime = 200 * time.Millisecond
)

// ErrPlayback says that a Playback cannot be played as it is.
var ErrPlayback = errors.New("media: playback needs Next, a payload type up to 127, and a frame of 5 to 200 ms")

// Playback is sound made here, a prompt or a tone, as frames of a codec.
type Playback struct {
	// PayloadType is the RTP payload type, as the end's SDP names the codec.
	PayloadType uint8
	// Every is the time from frame to frame, and Step the same in units of the
	// RTP timestamp: 20 ms and 160 for G.711.
	Every time.Duration
	Step  uint32
	// Rate, where it is not 0, makes the playback a part of the stream that the end
	// hears, as the events of RFC 4733 are (§2.1): the timestamp is where that
	// stream would be now, in units per second, and towards a protected end the
	// SSRC is that stream's. It is known from the packets since the session has
	// taps; before the first the playback has its own.
	Rate uint32
	// Next gives one encoded frame after the other, nil at the end. Calls do
	// not overlap; the frame may be changed at the next one. A frame too long
	// for a packet is left out.
	Next func() []byte
	// Done is called once, on a goroutine of its own, when the playback is
	// over: at its end, when another takes its place, at StopPlaying, or when
	// the session closes. It may be nil, and may call the session.
	Done func()
}

// player sends a playback frame by frame.
type player struct {
	Playback
	session *Session
	to      End
	timer   *time.Timer // guarded by the worker's lock
	due     time.Time   // when the next frame leaves
	header  [rtpHeaderLen]byte
	number  uint16
	stamp   uint32
	joined  bool // the header's SSRC and number are the heard stream's
}

// Play lets an end hear a playback instead of the other end, whose RTP is not
// sent on until the playback is over. It takes the place of one before it. It
// has an SSRC of its own; towards a protected end it is numbered like
// everything else. Errors: ErrPlayback, ErrClosed.
func (s *Session) Play(to End, p Playback) error {
	if p.Next == nil || p.PayloadType > 127 || p.Every < minFrameTime || p.Every > maxFrameTime {
		return ErrPlayback
	}
	n := &player{Playback: p, session: s, to: to, due: time.Now(), number: uint16(rand.Uint32()), stamp: rand.Uint32()}
	n.header[0], n.header[1] = 2<<6, p.PayloadType|rtpMarker
	binary.BigEndian.PutUint32(n.header[8:], rand.Uint32())
	err := ErrClosed
	s.do(func(now time.Duration) {
		err = nil
		w := s.tap(to)
		if w.player != nil {
			w.player.end()
		}
		if p.Rate > 0 && w.heard.known {
			n.join(&w.heard, now)
		}
		w.player = n
		n.timer = time.AfterFunc(0, n.frame)
	})
	return err
}

// join puts a playback into the stream that its end hears. Towards a plain end,
// whose stream keeps its own numbers, that is its time alone.
func (p *player) join(h *heard, now time.Duration) {
	p.stamp = h.stamp + uint32(uint64(max(now-h.at, 0))*uint64(p.Rate)/uint64(time.Second))
	if p.session.ends[p.to].mode == Protected {
		p.joined, p.number = true, h.number
		binary.BigEndian.PutUint32(p.header[8:], h.ssrc)
	}
}

// StopPlaying ends a playback to an end, where there is one.
func (s *Session) StopPlaying(to End) {
	s.do(func(time.Duration) {
		if s.taps != nil && s.taps.ways[to].player != nil {
			s.taps.ways[to].player.finish()
		}
	})
}

// frame sends the next frame and sets the time of the one after it. It runs on
// the timer's goroutine, which is the only one that calls Next.
func (p *player) frame() {
	payload := p.Next()
	p.session.do(func(now time.Duration) {
		if p.session.taps.ways[p.to].player != p {
			return // stopped meanwhile
		}
		if payload == nil {
			p.finish()
			return
		}
		p.send(payload, now)
		// A machine that slept does not catch up with a burst of sound.
		p.due = p.due.Add(p.Every)
		late := time.Since(p.due)
		if late > maxFrameTime {
			p.due = p.due.Add(late)
		}
		p.timer.Reset(time.Until(p.due))
	})
}

func (p *player) send(payload []byte, now time.Duration) {
	binary.BigEndian.PutUint16(p.header[2:], p.number)
	binary.BigEndian.PutUint32(p.header[4:], p.stamp)
	p.stamp += p.Step
	if len(payload) > maxFrame {
		return
	}
	pkt := append(p.session.worker.net.buffer(), p.header[:]...)
	pkt = append(pkt, payload...)
	if p.joined {
		p.session.ends[p.to].numbering.pause() // it is between the stream's own numbers
	} else {
		p.number++
	}
	p.header[1] &^= rtpMarker
	p.session.forward(p.to, pkt, kindRTP, now)
}

// finish ends the playback and lets the other end be heard again.
func (p *player) finish() {
	w := &p.session.taps.ways[p.to]
	w.player, w.resumed = nil, true
	if p.joined {
		p.session.ends[p.to].numbering.pause()
	} else {
		p.session.ends[p.to].numbering.leave(binary.BigEndian.Uint32(p.header[8:]))
	}
	p.end()
}

// end stops the timer and says that the playback is over.
func (p *player) end() {
	p.timer.Stop()
	if p.Done != nil {
		go p.Done()
	}
}
