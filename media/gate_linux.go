package media

import (
	"errors"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// gate lets a goroutine wait for an epoll set, or for a time, in the Go
// scheduler's own poller. A thread that blocked in a system call instead would
// have the scheduler's watchdog take its processor and give it back at every
// packet, which costs more than the packet; and the scheduler's timers count
// in milliseconds.
//
// The poller watches an epoll set of the gate's own, in which stand a timer
// and, only while packets are to wake the worker, the sockets' set. While they
// are not, their arrival costs nobody a wake-up.
type gate struct {
	sockets int // epoll set of the sockets
	timer   int // timerfd
	file    *os.File
	conn    syscall.RawConn
	watched bool // sockets stands in the gate's set

	// State of one wait, here so that waiting allocates nothing.
	events []unix.EpollEvent
	count  int
	errno  unix.Errno
	length time.Duration
	set    bool
	look   func(uintptr) bool
	tick   func(uintptr) bool
}

// newGate watches this epoll set, which stays the caller's.
func newGate(sockets int) (*gate, error) {
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("epoll_create1", err), unix.Close(timer))
	}
	if err = unix.SetNonblock(set, true); err == nil { // or os.File would not use the poller
		err = unix.EpollCtl(set, unix.EPOLL_CTL_ADD, timer, &unix.EpollEvent{Events: unix.EPOLLIN})
	}
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("epoll_ctl", err), unix.Close(timer), unix.Close(set))
	}
	g := &gate{sockets: sockets, timer: timer, file: os.NewFile(uintptr(set), "media")}
	if g.conn, err = g.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, g.close())
	}
	g.look, g.tick = g.lookAgain, g.tickOnce
	return g, nil
}

// wait fills events with ready sockets, and returns with one at least unless
// there is an error.
func (g *gate) wait(events []unix.EpollEvent) (int, error) {
	if err := g.watch(true); err != nil {
		return 0, err
	}
	g.events = events
	if err := g.conn.Read(g.look); err != nil {
		return 0, err
	}
	return g.count, fault(g.errno)
}

func (g *gate) lookAgain(uintptr) bool {
	g.count, g.errno = pollNow(g.sockets, g.events)
	return g.count > 0 || g.errno != 0
}

// pause waits for this time, whatever arrives, and then gives what is ready.
func (g *gate) pause(d time.Duration, events []unix.EpollEvent) (int, error) {
	if err := g.watch(false); err != nil {
		return 0, err
	}
	g.length, g.set = d, false
	if err := g.conn.Read(g.tick); err != nil {
		return 0, err
	}
	if n, errno := pollNow(g.sockets, events); n > 0 || errno != 0 {
		return n, fault(errno)
	}
	return g.wait(events)
}

// tickOnce sets the timer at the first call and is content with the second.
func (g *gate) tickOnce(uintptr) bool {
	if g.set {
		return true
	}
	g.set = true
	when := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(g.length))}
	unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(g.timer), 0, uintptr(unsafe.Pointer(&when)), 0, 0, 0)
	return false
}

// watch puts the sockets' set into the gate's or takes it out.
func (g *gate) watch(on bool) error {
	if g.watched == on {
		return nil
	}
	g.watched = on
	op := unix.EPOLL_CTL_DEL
	if on {
		op = unix.EPOLL_CTL_ADD
	}
	var err error
	if closed := g.conn.Control(func(set uintptr) {
		err = unix.EpollCtl(int(set), op, g.sockets, &unix.EpollEvent{Events: unix.EPOLLIN})
	}); closed != nil {
		return closed
	}
	return os.NewSyscallError("epoll_ctl", err)
}

func (g *gate) close() error {
	return errors.Join(g.file.Close(), unix.Close(g.timer))
}

// pollNow gives ready sockets without waiting.
func pollNow(set int, events []unix.EpollEvent) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(set),
		uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if errno == unix.EINTR {
		return 0, 0
	}
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// fault is the error of pollNow, nil for 0.
func fault(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return os.NewSyscallError("epoll_pwait", errno)
}
