package demo

import (
	"crypto/rand"
	"encoding/binary"
	"net"
	"sync"
	"time"

	"github.com/sipward/sipward/demo/audio"
)

const (
	payloadPCMA = 8

	codeAsked  = 10                                // frames from one question for the code to the next
	codeWithin = int(10 * time.Second / frameTime) // frames without an answer, after which there is none
	beforeCode = audio.Rate / 2                    // samples of silence, so that nothing is missed
	beforeMore = 3 * audio.Rate / 2                // and before it is said again
)

// voice is what a speaker says in one call.
type voice struct {
	code func() (code string, known bool)
	over func(why string) // hears when everything is said, or never will be

	mu        sync.Mutex
	payload   byte // PCMU or PCMA
	ssrc      uint32
	timestamp uint32
	packets   int
	octets    int
}

// use has it speak the first format of an answer from now on.
func (v *voice) use(format string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.payload = payloadPCMU; format == "8" {
		v.payload = payloadPCMA
	}
}

// frame makes the next packet of 20 ms.
func (v *voice) frame(pcm []int16, marker bool, seq uint16) []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	payload := audio.EncodeMuLaw(pcm)
	if v.payload == payloadPCMA {
		payload = audio.EncodeALaw(pcm)
	}
	v.packets++
	v.octets += len(payload)
	return packet(v.payload, marker, seq, v.timestamp, v.ssrc, payload)
}

// passed lets 20 ms go by, with a packet or without.
func (v *voice) passed() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.timestamp += frameSamples
}

// report is the RTCP of what it sends.
func (v *voice) report(about uint32, name string) []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	return report(v.ssrc, about, v.timestamp, v.packets, v.octets, true, name)
}

// speak sends 20 ms every 20 ms: silence until the code is known, which keeps the
// path open, and then the code. During a hold the clock runs and nothing else.
func (l *machineLine) speak() {
	v := l.voice
	var random [6]byte
	rand.Read(random[:])
	seq := binary.BigEndian.Uint16(random[4:])
	v.mu.Lock()
	v.ssrc, v.timestamp = l.mask, binary.BigEndian.Uint32(random[:])
	v.mu.Unlock()
	ticker := time.NewTicker(frameTime)
	defer ticker.Stop()
	fresh := true // the next packet begins a talkspurt (RFC 3551 section 4.1)
	var text []int16
	for waited := 0; ; {
		select {
		case <-ticker.C:
		case <-l.stop:
			return
		}
		v.passed()
		l.mu.Lock()
		open, to := l.open, l.to.rtp
		l.mu.Unlock()
		if !open {
			fresh = true
			continue
		}
		if text == nil {
			if waited++; waited%codeAsked == 0 {
				if code, known := v.code(); known {
					text = read(code)
				}
			}
			if waited == codeWithin {
				v.over("the call has no code: it is not encrypted")
				return
			}
		}
		pcm := make([]int16, frameSamples)
		text = text[copy(pcm, text):]
		seq++
		_, _ = l.socket.rtp.WriteTo(v.frame(pcm, fresh, seq), net.UDPAddrFromAddrPort(to)) // lost as on any network
		if fresh = false; text != nil && len(text) == 0 {
			v.over("the code was read out")
			return
		}
	}
}

// read is a code as it is said: twice.
func read(code string) []int16 {
	var text []int16
	for _, wait := range []int{beforeCode, beforeMore} {
		text = append(text, make([]int16, wait)...)
		text = append(text, audio.Spoken(code)...)
	}
	return append(text, make([]int16, beforeCode)...)
}
