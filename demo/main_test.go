package demo

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain looks for goroutines of this module that outlived what was closed.
// Each socket has one, so this finds forgotten sockets too.
func TestMain(m *testing.M) {
	code := m.Run()
	left := ""
	for range 300 { // there is no event that says that a goroutine has ended
		if left = remaining(); left == "" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if left != "" {
		fmt.Printf("goroutines are left:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

func remaining() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var left []string
	for g := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.Contains(g, "sipward/sipward/") && !strings.Contains(g, "demo.TestMain") {
			left = append(left, g)
		}
	}
	return strings.Join(left, "\n\n")
}
