package store

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// lockHolder returns the process that holds the lock on a file, 0 if the kernel
// does not say, as for a process outside of our container.
func lockHolder(path string) int {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return 0
	}
	defer locks.Close()
	return findHolder(io.LimitReader(locks, 1<<20), unix.Major(stat.Dev), unix.Minor(stat.Dev), stat.Ino)
}

// findHolder reads proc_locks(5). A lock that is held looks like
//
//	1: FLOCK  ADVISORY  WRITE 1170 fd:00:786574 0 EOF
//
// with the process, and the device (hexadecimal) and inode of the file; one
// that is waited for has -> behind the colon.
func findHolder(locks io.Reader, major, minor uint32, inode uint64) int {
	file := fmt.Sprintf("%02x:%02x:%d", major, minor, inode)
	lines := bufio.NewScanner(locks)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 6 || words[1] != "FLOCK" || words[3] != "WRITE" || words[5] != file {
			continue
		}
		if pid, err := strconv.Atoi(words[4]); err == nil && pid > 0 {
			return pid
		}
	}
	return 0
}
