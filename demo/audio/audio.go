// Package audio holds the speech of the demo's phones and of the tests, and says
// whether what one phone heard is what the other one played.
//
// All audio is 8000 samples a second, one channel, linear 16-bit PCM in
// []int16; G.711 turns it into what a phone sends, 160 octets for 20 ms.
//
//	frame := audio.EncodeMuLaw(audio.Alice()[:160])
//	...
//	score, _ := audio.Correlate(heard, audio.Alice()) // 1: exactly that; below 0.3: somebody else
//
// All recordings were made for this project; README.md says how.
package audio

import (
	"bytes"
	_ "embed" // the recordings
	"slices"
	"sync"
)

var (
	//go:embed alice.wav
	aliceWAV []byte
	//go:embed bob.wav
	bobWAV []byte

	alice = sync.OnceValue(func() []int16 { return mustRead(aliceWAV) })
	bob   = sync.OnceValue(func() []int16 { return mustRead(bobWAV) })
)

// Alice is what the caller says, some five seconds. The slice belongs to whoever
// asked for it.
func Alice() []int16 { return slices.Clone(alice()) }

// Bob is what the called one says, some five seconds, in another voice.
func Bob() []int16 { return slices.Clone(bob()) }

// mustRead reads an embedded recording, which the tests have read before.
func mustRead(wav []byte) []int16 {
	pcm, err := ReadWAV(bytes.NewReader(wav))
	if err != nil {
		panic("audio: embedded recording: " + err.Error())
	}
	return pcm
}
