package audio

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestSpokenDigitsAreHeard(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{"012 345": "012345", "678 900": "678900", "7": "7", "": "", " a-1": "1"} {
		if got := HeardDigits(Spoken(code)); got != want {
			t.Errorf("%q: heard %q", code, got)
		}
	}
	spoken := Spoken("0123456789")
	for name, heard := range map[string][]int16{
		"mu-law":       overLine(spoken),
		"A-law":        DecodeALaw(EncodeALaw(spoken)),
		"quieter":      louder(spoken, 0.3),
		"in a silence": slices.Concat(silence(4000), spoken, silence(9000)),
		"with a hiss":  mixed(spoken, whiteNoise(len(spoken), 60)),
	} {
		if got := HeardDigits(heard); got != "0123456789" {
			t.Errorf("%s: heard %q", name, got)
		}
	}
	if got := HeardDigits(slices.Concat(Spoken("360 518"), pause(1), Spoken("360 518"))); got != "360518360518" {
		t.Errorf("said twice: %q", got)
	}
}

// Another voice, or a digit that is cut, is not taken for one.
func TestHeardDigitsIsNoGuess(t *testing.T) {
	t.Parallel()
	for name, pcm := range map[string][]int16{"Alice": Alice(), "Bob": Bob(), "a tone": tone(0.5, 440)} {
		for _, c := range HeardDigits(pcm) {
			if c != '?' {
				t.Errorf("%s: %q", name, HeardDigits(pcm))
				break
			}
		}
	}
	seven := recordedDigit('7')
	if got := HeardDigits(seven[:len(seven)/5]); got != "?" {
		t.Errorf("a piece of a digit: %q", got)
	}
	if got := HeardDigits(silence(Rate)); got != "" {
		t.Errorf("silence: %q", got)
	}
}

// It is slow enough to compare, and the two halves of a code stand apart.
func TestSpokenIsSlow(t *testing.T) {
	t.Parallel()
	code := []byte("000 000")
	for i := range code {
		if code[i] != ' ' {
			code[i] = '0' + byte(rand.IntN(10))
		}
	}
	spoken := Spoken(string(code))
	if took := time.Duration(len(spoken)) * time.Second / Rate; took < 4*time.Second || took > 8*time.Second {
		t.Errorf("%s takes %v", code, took)
	}
	if apart := len(spoken) - len(Spoken(string(code[:3]))) - len(Spoken(string(code[4:]))); apart != int(pauseGroup*Rate) {
		t.Errorf("%d samples between the halves", apart)
	}
}
