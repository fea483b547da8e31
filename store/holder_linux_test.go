package store

import (
	"fmt"
	"strings"
	"testing"
)

const locksExample = `1: POSIX  ADVISORY  WRITE 900 fd:00:42 0 EOF
2: FLOCK  ADVISORY  READ  901 fd:00:42 0 EOF
3: FLOCK  ADVISORY  WRITE 902 fd:01:42 0 EOF
4: FLOCK  ADVISORY  WRITE 903 fd:00:421 0 EOF
5: FLOCK  ADVISORY  WRITE 904 fd:00:42 0 EOF
5: -> FLOCK  ADVISORY  WRITE 905 fd:00:42 0 EOF
6: FLOCK  ADVISORY  WRITE -1 08:03:7 0 EOF
7: OFDLCK ADVISORY  WRITE -1 08:03:7 0 EOF
`

func TestFindHolder(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		major, minor uint32
		inode        uint64
		want         int
	}{{0xfd, 0, 42, 904}, {0xfd, 1, 42, 902}, {0xfd, 0, 421, 903}, {8, 3, 7, 0}, {8, 3, 8, 0}} {
		if got := findHolder(strings.NewReader(locksExample), tt.major, tt.minor, tt.inode); got != tt.want {
			t.Errorf("%x:%x:%d: process %d, want %d", tt.major, tt.minor, tt.inode, got, tt.want)
		}
	}
}

// A process that is found stands in a line with the file.
func FuzzFindHolder(f *testing.F) {
	for line := range strings.Lines(locksExample) {
		f.Add(line)
	}
	f.Add(locksExample)
	f.Fuzz(func(t *testing.T, locks string) {
		pid := findHolder(strings.NewReader(locks), 0xfd, 0, 42)
		if pid == 0 {
			return
		}
		for line := range strings.Lines(locks) {
			if pid > 0 && strings.Contains(line, "FLOCK") && strings.Contains(line, fmt.Sprint(pid)) && strings.Contains(line, "fd:00:42") {
				return
			}
		}
		t.Errorf("process %d is in no such line", pid)
	})
}
