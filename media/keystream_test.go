package media

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/sipward/sipward/media/srtp"
)

// Whatever a phone does with its numbers, and however often keys turn over, no
// keystream is used twice: the payloads are the same, so two packets under the
// same key, SSRC and index would be the same octets. The far end, which counts
// rollovers by itself, hears each packet.
func TestNoKeystreamComesTwice(t *testing.T) {
	t.Parallel()
	for _, suite := range srtp.Suites() {
		t.Run(suite.Name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(7, uint64(suite.KeyLen)))
			r := newRig(t)
			r.session.SetMode(A, Plain)
			far := r.protect(suite, ProtectOptions{})
			used := map[[16]byte]bool{}
			var last uint16
			wraps, wrapsOfKey, mostOfKey, sent, rekeyings := 0, 0, 0, 0, 0
			look := func() {
				t.Helper()
				for _, e := range r.drain() {
					payload := e.pkt[12:28]
					if e.rtcp {
						payload = e.pkt[8:24]
						far.must(far.recv.UnprotectRTCP(nil, e.pkt))
					} else {
						far.open(e.pkt)
						if seqOf(e.pkt) < last && last-seqOf(e.pkt) > 1<<15 {
							wraps++
							wrapsOfKey++
						}
						last = seqOf(e.pkt)
						sent++
					}
					if key := [16]byte(payload); used[key] {
						t.Fatalf("packet %d has a keystream that was used before", sent)
					} else {
						used[key] = true
					}
				}
				mostOfKey = max(mostOfKey, wrapsOfKey)
			}
			ssrc, seq := uint32(1), uint16(100)
			for round := range 1500 {
				for range 3 {
					seq += uint16(1 + random.IntN(2900))
					r.now += 20e6
					r.phone(voice(ssrc, seq))
					look()
				}
				if round%5 == 0 {
					r.phoneRTCP(senderReport(ssrc))
					look()
				}
				switch random.IntN(60) {
				case 0: // the phone starts again
					ssrc, seq = random.Uint32(), uint16(random.Uint32())
				case 1: // or only its numbers
					seq = uint16(random.Uint32())
				case 2: // another stream beside it
					r.phone(voiceType(96, random.Uint32(), uint16(random.Uint32())))
					for _, e := range r.drain() {
						far.open(e.pkt)
						used[[16]byte(e.pkt[12:28])] = true
					}
				case 3: // on hold for a while
					r.session.SetRemote(B, Remote{})
					r.phone(voice(ssrc, seq+1))
					r.none("on hold")
					r.session.SetRemote(B, Remote{RTP: farRTP, RTCP: farRTCP})
				case 4: // it sends again what it has sent
					r.phone(voice(ssrc, seq))
					r.none("a copy")
				case 5: // new keys
					r.far(far.seal(voice(9, uint16(round)))) // confirms those before
					r.drain()
					far = r.protect(suite, ProtectOptions{})
					rekeyings++
					wrapsOfKey = 0
				}
			}
			if wraps < 50 || mostOfKey < 2 || rekeyings < 10 || sent < 4000 {
				t.Errorf("%d packets, %d wraps, %d at most under one key, %d rekeyings: too few to prove anything", sent, wraps, mostOfKey, rekeyings)
			}
		})
	}
}

// New keys begin with rollover counter 0 in the middle of a stream's numbers, just
// before they wrap, and the packets up to there are lost.
func TestRekeyingAtTheWrap(t *testing.T) {
	t.Parallel()
	for lost := range 8 {
		r := newRig(t)
		r.session.SetMode(A, Plain)
		far := r.protect(gcm256, ProtectOptions{})
		seq := uint16(0)
		own := func() uint16 {
			seq++
			r.phone(voice(1, seq))
			pkt := r.one().pkt
			far.open(pkt)
			return seqOf(pkt)
		}
		for at := own(); at != 65532; at = own() {
			if step := 65532 - at; step > 1 {
				seq += min(step-1, 2000)
			}
		}
		r.far(far.seal(voice(9, 1)))
		r.drain()
		far = r.protect(gcm256, ProtectOptions{})
		for i := range 12 {
			seq++
			r.phone(voice(1, seq))
			pkt := r.one().pkt
			if i < lost {
				continue
			}
			if clear := far.open(pkt); binary.BigEndian.Uint16(clear[2:]) != uint16(65533+i) {
				t.Fatalf("%d lost: number %d", lost, seqOf(clear))
			}
		}
	}
}
