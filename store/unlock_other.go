//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package store

import "os"

// unlock is for systems where closing the file is enough or is all there is.
func unlock(f *os.File) {}
