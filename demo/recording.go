package demo

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/sipward/sipward/demo/audio"
)

const (
	frameSamples = 160 // of a packet: 20 ms at 8000 samples a second
	maxPackets   = 10 * 60 * 50
	maxGap       = 5 * 50 // packets of silence put in for lost ones, at a time
)

// recording is what came out of the earpiece: the payloads of every RTP source
// in the order of their sequence numbers, whatever the order of arrival.
// It keeps ten minutes and counts the rest.
type recording struct {
	mu      sync.Mutex
	sources []*source
	packets int           // distinct ones
	more    chan struct{} // closed and replaced with every packet
}

// source is one SSRC. A phone that starts anew takes a new one.
type source struct {
	ssrc     uint32
	highest  int64            // extended sequence number
	payloads map[int64][]byte // by extended sequence number
}

func newRecording() *recording { return &recording{more: make(chan struct{})} }

// add takes one packet in; a repeated one is not counted.
func (r *recording) add(ssrc uint32, seq uint16, payload []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var s *source
	for _, known := range r.sources {
		if known.ssrc == ssrc {
			s = known
		}
	}
	if s == nil {
		s = &source{ssrc: ssrc, highest: 1<<16 + int64(seq), payloads: map[int64][]byte{}}
		r.sources = append(r.sources, s)
	}
	ext := s.highest + int64(int16(seq-uint16(s.highest)))
	if _, known := s.payloads[ext]; known {
		return
	}
	s.highest = max(s.highest, ext)
	r.packets++
	if r.packets <= maxPackets {
		s.payloads[ext] = slices.Clone(payload)
	}
	close(r.more)
	r.more = make(chan struct{})
}

// count is how many distinct packets came.
func (r *recording) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.packets
}

// wait returns when n distinct packets came.
func (r *recording) wait(ctx context.Context, n int) error {
	for {
		r.mu.Lock()
		have, more := r.packets, r.more
		r.mu.Unlock()
		if have >= n {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// payloads gives what came, without holes.
func (r *recording) list() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out [][]byte
	for _, s := range r.sources {
		for _, ext := range slices.Sorted(maps.Keys(s.payloads)) {
			out = append(out, s.payloads[ext])
		}
	}
	return out
}

// samples is the recording as sound. A lost packet leaves 20 ms of silence, so
// that what follows is not early.
func (r *recording) samples() []int16 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []int16
	for _, s := range r.sources {
		next := int64(-1)
		for _, ext := range slices.Sorted(maps.Keys(s.payloads)) {
			if gap := ext - next; next >= 0 && gap > 0 {
				out = append(out, make([]int16, min(gap, maxGap)*frameSamples)...)
			}
			out = append(out, audio.DecodeMuLaw(s.payloads[ext])...)
			next = ext + 1
		}
	}
	return out
}
