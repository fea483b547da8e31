package audio

import (
	"embed"
	"strings"
)

//go:generate ./digits/make.sh

//go:embed digits/*.ulaw
var digitFiles embed.FS

// Pauses of Spoken, and what tells one digit from the next where it is heard:
// within a digit no pause is as long.
const (
	pauseBetween = 0.35 // seconds
	pauseGroup   = 0.9
	pauseTells   = 0.2

	loudness   = 250 // of a sample that is no silence: below it lies what lines hiss
	likeADigit = 0.8 // correlation with the recording
)

// Spoken is a code of digits as a person reads it out, slowly. A space is a
// pause; anything else is left out.
func Spoken(code string) []int16 {
	var pcm []int16
	for i, c := range code {
		switch digit := recordedDigit(c); {
		case c == ' ':
			pcm = append(pcm, pause(pauseGroup-pauseBetween)...)
		case digit == nil:
		default:
			if i > 0 && len(pcm) > 0 {
				pcm = append(pcm, pause(pauseBetween)...)
			}
			pcm = append(pcm, digit...)
		}
	}
	return pcm
}

// HeardDigits is what Spoken says in a recording, without the pauses; a "?"
// stands for a sound that is none of the digits. What was said before and after
// counts too, so a code that is said twice is heard twice.
func HeardDigits(pcm []int16) string {
	var heard strings.Builder
	for _, word := range words(pcm) {
		best, found := likeADigit, '?'
		for c := '0'; c <= '9'; c++ {
			digit := recordedDigit(c)
			if len(word) < len(digit)/4 || len(word) > len(digit)*3/2 {
				continue
			}
			if score, _ := Correlate(word, digit); score > best {
				best, found = score, c
			}
		}
		heard.WriteRune(found)
	}
	return heard.String()
}

// recordedDigit is nil for what is no digit.
func recordedDigit(c rune) []int16 {
	octets, err := digitFiles.ReadFile("digits/" + string(c) + ".ulaw")
	if err != nil {
		return nil
	}
	return DecodeMuLaw(octets)
}

func pause(seconds float64) []int16 { return make([]int16, int(seconds*Rate)) }

// words cuts a recording at its pauses.
func words(pcm []int16) [][]int16 {
	var out [][]int16
	begin, last := -1, -1 // of the word, and its last sample so far that is not silent
	for i, s := range pcm {
		if s > -loudness && s < loudness {
			continue
		}
		if begin >= 0 && i-last > int(pauseTells*Rate) {
			out = append(out, pcm[begin:last+1])
			begin = -1
		}
		if begin < 0 {
			begin = i
		}
		last = i
	}
	if begin >= 0 {
		out = append(out, pcm[begin:last+1])
	}
	return out
}
