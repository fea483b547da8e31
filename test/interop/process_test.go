//go:build interop && linux

package interop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything that is awaited may take, unless it says
// otherwise. Nothing here takes a second on an idle machine.
const patience = 20 * time.Second

// process is a program that a test started. It does not outlive the test, and
// what it printed is shown if the test fails.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	end  syscall.Signal // ends it
	out  output
	done chan struct{} // closed when it ended
	err  error         // of Wait, once done is closed
}

// start starts a program whose standard output and error go into one place.
func start(t *testing.T, name, dir, program string, args ...string) *process {
	t.Helper()
	return startEnding(t, syscall.SIGKILL, name, dir, program, args...)
}

// startIn starts a program in a namespace.
func startIn(s *space, t *testing.T, name, dir, program string, args ...string) *process {
	t.Helper()
	words := s.command(program, args...)
	return start(t, name, dir, words[0], words[1:]...)
}

// startEnding starts a program that has to be ended by a signal other than
// SIGKILL, because it has children to end itself.
func startEnding(t *testing.T, end syscall.Signal, name, dir, program string, args ...string) *process {
	t.Helper()
	p := prepare(t, end, name, dir, program, args...)
	p.run()
	return p
}

// startTold starts a program that is told what to do on its standard input.
func startTold(t *testing.T, name, dir string, input *io.WriteCloser, program string, args ...string) *process {
	t.Helper()
	p := prepare(t, syscall.SIGKILL, name, dir, program, args...)
	var err error
	if *input, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	p.run()
	return p
}

func prepare(t *testing.T, end syscall.Signal, name, dir, program string, args ...string) *process {
	p := &process{t: t, name: name, cmd: exec.Command(program, args...), end: end, done: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), "LC_ALL=C", "HOME="+dir)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	// Also where the test process is killed, and no cleanup runs.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: end}
	return p
}

func (p *process) run() {
	t := p.t
	t.Helper()
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", p.name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("---- %s (%s) said:\n%s", p.name, p.cmd.Path, p.out.String())
		}
	})
}

func (p *process) String() string { return p.name }

// kill ends the process, if it still runs, and waits for that.
func (p *process) kill() {
	select {
	case <-p.done:
	default:
		_ = p.cmd.Process.Signal(p.end)
		select {
		case <-p.done:
		case <-time.After(patience):
			_ = p.cmd.Process.Kill()
			<-p.done
		}
	}
}

// signal asks the process to end.
func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("%s: %v", p.name, err)
	}
}

// wait waits until the process has ended by itself, with exit status 0.
func (p *process) wait(limit time.Duration) {
	p.t.Helper()
	select {
	case <-p.done:
		if p.err != nil {
			p.t.Errorf("%s ended with: %v", p.name, p.err)
		}
	case <-time.After(limit):
		p.t.Errorf("%s still runs after %v", p.name, limit)
		p.kill()
	}
}

// says waits until the process has printed text.
func (p *process) says(text string) {
	p.t.Helper()
	p.shows(strconv.Quote(text), func(out string) bool { return strings.Contains(out, text) })
}

// shows waits until f finds what it looks for in all that the process has printed.
func (p *process) shows(what string, f func(out string) bool) {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		more := p.out.changed() // asked for before looking, so that nothing is missed
		if f(p.out.String()) {
			return
		}
		select {
		case <-more:
		case <-p.done:
			if !f(p.out.String()) {
				p.t.Fatalf("%s ended (%v) without showing %s", p.name, p.err, what)
			}
			return
		case <-deadline:
			p.t.Fatalf("%s did not show %s in %v", p.name, what, patience)
		}
	}
}

// output keeps what a process prints and wakes up who waits for it.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.more != nil {
		close(o.more)
		o.more = nil
	}
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// changed is closed at the next output.
func (o *output) changed() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.more == nil {
		o.more = make(chan struct{})
	}
	return o.more
}

// until asks again and again, for what cannot be awaited, until f finds it so. f
// returns what is still missing.
func until(t *testing.T, what string, every time.Duration, f func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in %v: %v", what, patience, err)
		}
		time.Sleep(every)
	}
}

// ran runs a program to its end and returns what it printed.
func ran(program string, args ...string) ([]byte, error) {
	return ranWithin(patience, program, args...)
}

// ranWithin is ran for a program that may take longer.
func ranWithin(limit time.Duration, program string, args ...string) ([]byte, error) {
	cmd := exec.Command(program, args...)
	var errText bytes.Buffer
	cmd.Stderr = &errText
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	timer := time.AfterFunc(limit, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(errText.String()))
	}
	return out, nil
}
