package relay

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a running relay.
type Process struct {
	cmd  *exec.Cmd
	done chan error
	said *tail
}

// Places are the CPUs of a comparison.
type Places struct{ Generator, Relay int }

// FindPlaces takes the first two CPUs that this process may use. With one they
// are the same, and shared says so.
func FindPlaces() (p Places, shared bool, err error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return p, false, os.NewSyscallError("sched_getaffinity", err)
	}
	var cpus []int
	for i := 0; i < len(set)*64 && len(cpus) < 2; i++ {
		if set.IsSet(i) {
			cpus = append(cpus, i)
		}
	}
	if len(cpus) < 2 {
		return Places{cpus[0], cpus[0]}, true, nil
	}
	return Places{cpus[0], cpus[1]}, false, nil
}

// Stay puts all of this process on one CPU.
func Stay(cpu int) error {
	runtime.GOMAXPROCS(1) // which the runtime had counted before
	return eachThread(func(thread int) error { return pin(thread, cpu) })
}

// Hurry lets this process, and those that it starts, run before others
// (SCHED_RR), so that a busy machine is not what is measured. The error says
// that the system does not allow it. Not SCHED_FIFO: a thread of Go's runtime
// that spins until another has done something would keep the CPU from it.
func Hurry() error {
	return eachThread(func(thread int) error {
		return unix.SchedSetAttr(thread, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}, 0)
	})
}

// eachThread is for all threads that are there; later ones take after the one
// which starts them.
func eachThread(f func(thread int) error) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := f(id); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

func pin(thread, cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	return os.NewSyscallError("sched_setaffinity", unix.SchedSetaffinity(thread, &set))
}

// Launch starts a program on a CPU. It is there before the program's first
// instruction, so that the program counts one CPU and starts one worker.
func Launch(cmd *exec.Cmd, cpu int) (*Process, error) {
	p := &Process{cmd: cmd, done: make(chan error, 1), said: &tail{}}
	cmd.Stderr = p.said
	// Should this process die, its relays do too.
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	started := make(chan error)
	go func() {
		// The thread is not unlocked: it ends with the goroutine, CPU and all, and
		// lives as long as the child, which would get Pdeathsig otherwise.
		runtime.LockOSThread()
		err := pin(0, cpu)
		if err == nil {
			err = cmd.Start()
		}
		started <- err
		if err == nil {
			p.done <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("relay: %s: %w", cmd.Path, err)
	}
	return p, nil
}

// CPU is user and system time of the process so far, all its threads.
func (p *Process) CPU() (time.Duration, error) {
	const wholeProcess = 2 // CPUCLOCK_SCHED of a process: see clock_getcpuclockid(3)
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^p.cmd.Process.Pid<<3|wholeProcess), &t); err != nil {
		return 0, fmt.Errorf("relay: CPU time of process %d: %w", p.cmd.Process.Pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// Work is the CPU time of the process so far, and how often its threads gave
// their CPU away, to be woken later.
func (p *Process) Work() (cpu time.Duration, waits int, err error) {
	if cpu, err = p.CPU(); err != nil {
		return 0, 0, err
	}
	threads := fmt.Sprintf("/proc/%d/task", p.cmd.Process.Pid)
	entries, err := os.ReadDir(threads)
	if err != nil {
		return 0, 0, err
	}
	for _, e := range entries {
		b, err := os.ReadFile(threads + "/" + e.Name() + "/status")
		if err != nil {
			continue // the thread has ended
		}
		_, rest, _ := strings.Cut(string(b), "\nvoluntary_ctxt_switches:")
		line, _, _ := strings.Cut(rest, "\n")
		n, _ := strconv.Atoi(strings.TrimSpace(line))
		waits += n
	}
	return cpu, waits, nil
}

// Said is the end of what the process wrote to its standard error.
func (p *Process) Said() string { return p.said.String() }

// Wait returns when the process has ended by itself.
func (p *Process) Wait() error {
	err := <-p.done
	if err != nil {
		err = fmt.Errorf("relay: %s: %w %s", p.cmd.Path, err, p.said)
	}
	return err
}

// Close ends the process.
func (p *Process) Close() error {
	p.cmd.Process.Signal(unix.SIGTERM)
	select {
	case err := <-p.done:
		var status *exec.ExitError
		if errors.As(err, &status) && !status.Exited() {
			return nil // of the signal
		}
		return err
	case <-time.After(5 * time.Second):
		p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("relay: %s did not end within 5 s of SIGTERM", p.cmd.Path)
	}
}

// tail keeps the end of what a program writes, for errors.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(b []byte) (int, error) {
	const keep = 2000
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	if len(t.text) > keep {
		t.text = t.text[len(t.text)-keep:]
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
