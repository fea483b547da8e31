//go:build interop && linux

package interop

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/sipward/sipward/demo/audio"
	"github.com/sipward/sipward/demo/capture"
)

// Where it matters who is heard, and from when on, everybody hums a tone of his own.
// Each fits into a piece a whole number of times, so that no two look alike in one.
const (
	pieceTime    = 20 * time.Millisecond
	pieceSamples = audio.Rate / 50
)

var tones = map[string]float64{"alice": 450, "amy": 650, "bob": 1000, "ben": 1450} // Hz

// hum is one second of somebody's tone, which can be repeated without a seam.
func hum(name string) []int16 {
	pcm := make([]int16, audio.Rate)
	for i := range pcm {
		pcm[i] = int16(10000 * math.Sin(2*math.Pi*tones[name]*float64(i)/audio.Rate))
	}
	return pcm
}

// hummer is whose tone a piece of sound is; "" for silence and for what is none.
func hummer(piece []int16) string {
	energy := 0.0
	for _, s := range piece {
		energy += float64(s) * float64(s)
	}
	if energy < 500*500*float64(len(piece)) { // a tone has 7 000 squared
		return ""
	}
	for name, hz := range tones {
		re, im := 0.0, 0.0
		for i, s := range piece {
			sin, cos := math.Sincos(2 * math.Pi * hz * float64(i) / audio.Rate)
			re, im = re+cos*float64(s), im+sin*float64(s)
		}
		// Of a pure tone this is all of its energy.
		if 2*(re*re+im*im)/float64(len(piece)) > 0.7*energy {
			return name
		}
	}
	return ""
}

// humming is a time in which one person is heard.
type humming struct {
	name   string
	pieces int // in which the tone is heard
	gap    int // the most pieces in a row in between in which it is not
}

// long is how long it takes in all.
func (h humming) time() time.Duration { return time.Duration(h.pieces) * pieceTime }

// hummings says who is heard in what was recorded, one after the other. Nothing
// shorter than a fifth of a second counts.
func hummings(heard []int16) (all []humming) {
	gap := 0
	for ; len(heard) >= pieceSamples; heard = heard[pieceSamples:] {
		name := hummer(heard[:pieceSamples])
		if name == "" {
			gap++
			continue
		}
		if n := len(all); n == 0 || all[n-1].name != name {
			all = append(all, humming{name: name, pieces: 1})
		} else {
			all[n-1].pieces++
			all[n-1].gap = max(all[n-1].gap, gap)
		}
		gap = 0
	}
	return slices.DeleteFunc(all, func(h humming) bool { return h.time() < 200*time.Millisecond })
}

// judgeHeard wants a recording to have exactly these people in it, one after the
// other, each for half a second at least.
func judgeHeard(t *testing.T, where string, heard []int16, want ...string) {
	t.Helper()
	all := hummings(heard)
	t.Logf("%s: %+v", where, all)
	var names []string
	for _, h := range all {
		if n := len(names); n == 0 || names[n-1] != h.name {
			names = append(names, h.name)
		}
		if h.time() < time.Second/2 {
			t.Errorf("%s: %s is heard for %v only", where, h.name, h.time())
		}
	}
	if !slices.Equal(names, want) {
		t.Errorf("%s: heard %v, want %v", where, names, want)
	}
}

// TestHummings shows that the tones can be told apart, through G.711 and from any
// sample on, and that a gap is found.
func TestHummings(t *testing.T) {
	t.Parallel()
	say := func(names ...string) (pcm []int16) {
		for _, name := range names {
			tone := make([]int16, audio.Rate)
			if name != "" {
				tone = audio.DecodeMuLaw(audio.EncodeMuLaw(hum(name)))
			}
			pcm = append(pcm, tone...)
		}
		return pcm[37:]
	}
	judgeHeard(t, "four people", say("alice", "", "alice", "ben", "amy", "", "bob"), "alice", "ben", "amy", "bob")
	if got := hummings(say("alice", "", "alice")); len(got) != 1 || got[0].gap < 48 || got[0].gap > 51 {
		t.Errorf("a second of silence is %+v", got)
	}
	both := say("alice")
	for i, s := range say("bob") {
		both[i] = both[i]/2 + s/2
	}
	if got := hummings(both); len(got) != 0 {
		t.Errorf("two at once are %+v", got)
	}
	if got := hummings(audio.Alice()); len(got) != 0 {
		t.Errorf("speech is %+v", got)
	}
}

// saying is what a phone was sent by a sipward for a while: somebody's tone in a codec.
type saying struct {
	name string
	pt   uint8 // 0: PCMU, 8: PCMA
}

// sayings are what the phone with RTP from a port on was sent, one after the other.
// What is no tone of anybody, and comfort at the seams, is left out: fewer than ten
// packets.
func sayings(plain []seen, port int) (all []saying) {
	var now saying
	packets := 0
	for _, p := range plain {
		if p.tcp || int(p.To.Port()) < port || int(p.To.Port()) >= port+rtpPorts {
			continue
		}
		for _, f := range capture.Flows([]capture.Packet{p.Packet}) { // of one packet
			rtp := f.Packets[0]
			var pcm []int16
			switch rtp.PayloadType {
			case 0:
				pcm = audio.DecodeMuLaw(rtp.Payload)
			case 8:
				pcm = audio.DecodeALaw(rtp.Payload)
			default:
				continue
			}
			if is := (saying{hummer(pcm), rtp.PayloadType}); is.name == "" {
				continue
			} else if is != now {
				now, packets = is, 0
			}
			if packets++; packets == 10 && (len(all) == 0 || all[len(all)-1] != now) {
				all = append(all, now)
			}
		}
	}
	return all
}

// judgeSaid wants a phone to have been sent exactly this.
func judgeSaid(t *testing.T, where string, plain []seen, port int, want ...saying) {
	t.Helper()
	if got := sayings(plain, port); !slices.Equal(got, want) {
		t.Errorf("%s was sent %v, want %v", where, got, want)
	}
}

// silence is the longest time for which the phone with RTP from a port on was sent nothing
// between two packets.
func silence(plain []seen, port int) (longest time.Duration) {
	var last time.Time
	for _, p := range plain {
		if p.tcp || int(p.To.Port()) < port || int(p.To.Port()) >= port+rtpPorts || len(capture.Flows([]capture.Packet{p.Packet})) == 0 {
			continue
		}
		if !last.IsZero() {
			longest = max(longest, p.Time.Sub(last))
		}
		last = p.Time
	}
	return longest
}

// missing is how many packets are missing by their numbers in the audio that the phone with
// RTP from a port on was sent.
func missing(plain []seen, port int) (n int) {
	for _, f := range capture.Flows(datagrams(plain)) {
		if int(f.To.Port()) < port || int(f.To.Port()) >= port+rtpPorts {
			continue
		}
		for i, p := range f.Packets[1:] {
			if step := int(int16(p.Sequence - f.Packets[i].Sequence)); step != 1 {
				n += max(step-1, 1)
			}
		}
	}
	return n
}
