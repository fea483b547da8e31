//go:build !linux

package main

// verbs are those that this system has: measuring needs Linux.
func verbs() map[string]verb { return portableVerbs() }
