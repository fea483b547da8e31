package main

import (
	"errors"
	"strings"
	"syscall"
	"unicode"
)

// inUse says whether a socket could not be opened because another one has its
// address.
func inUse(err error) bool {
	const wsaeaddrinuse = syscall.Errno(10048) // Windows has no other name for it in package syscall
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, wsaeaddrinuse)
}

// someProgram is the holder of a port where the system tells no more.
const someProgram = "another program"

// clean makes text that others chose safe for a terminal: what cannot be
// printed becomes a question mark.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
