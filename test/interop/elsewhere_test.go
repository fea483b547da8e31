//go:build interop && !linux

package interop

import (
	"fmt"
	"os"
	"testing"
)

// TestMain fails: a run without any test would look like one that passed.
func TestMain(*testing.M) {
	fmt.Fprintln(os.Stderr, "interop: these tests need Linux, whose loopback interface has all of 127.0.0.0/8")
	os.Exit(1)
}
