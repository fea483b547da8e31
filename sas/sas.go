// Package sas renders short authentication strings: the four octets that both
// ends of an exchange hold and that two people compare by voice (protocol §4).
//
// Every end shows the same two renderings of the same octets:
//
//	words   three words of the PGP word list, from the first three octets:
//	        one guess in 2^24
//	code    all four octets as a number modulo 1 000 000, six digits:
//	        one guess in 10^6; it can be typed on a keypad
//
// The package knows nothing of how the octets came about; package keyexchange
// derives them.
package sas

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Words gives the three words of the first three octets: the first and third
// are two-syllable words of the even list, the second is a three-syllable word
// of the odd list, so that a word left out or two words exchanged are heard.
// People compare words without regard to case.
func Words(octets [4]byte) [3]string {
	return [3]string{even[octets[0]], odd[octets[1]], even[octets[2]]}
}

// WordsString gives the three words with a space between them.
func WordsString(octets [4]byte) string {
	words := Words(octets)
	return strings.Join(words[:], " ")
}

// Code gives the six digits of the octets, taken as a big-endian number modulo
// 1 000 000 with leading zeros, in two halves: "123 456".
func Code(octets [4]byte) string {
	n := binary.BigEndian.Uint32(octets[:]) % 1_000_000
	return fmt.Sprintf("%03d %03d", n/1000, n%1000)
}
