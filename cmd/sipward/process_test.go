package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// process is a program in a process of its own.
type process struct {
	cmd                  *exec.Cmd
	inside, outside, api string        // as sipward run announces them
	port                 string        // as squatter does
	stdout               string        // all of it once exited is closed
	stderr               bytes.Buffer  // likewise
	status               int           // likewise
	exited               chan struct{} // closed when it has ended
}

// announced is in a line that sipward run prints behind its addresses.
const announced = "outbound proxy"

// startProcess runs the program and waits until it has printed a line that holds
// until. env may be nil.
func startProcess(dir string, env []string, until string, args ...string) (*process, error) {
	p, err := newProcess("sipward", args...)
	if err != nil {
		return nil, err
	}
	p.cmd.Dir, p.cmd.Env = dir, env
	return p, p.start(until)
}

// newProcess prepares one of the programs of TestMain: this test binary under
// another name.
func newProcess(program string, args ...string) (*process, error) {
	path, err := exec.LookPath(program)
	p := &process{cmd: exec.Command(path, args...), exited: make(chan struct{})}
	p.cmd.Stderr = &p.stderr
	return p, err
}

func (p *process) start(until string) error {
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	ready := make(chan bool, 1)
	go p.read(out, until, ready)
	select {
	case ok := <-ready:
		if ok {
			return nil
		}
		<-p.exited
		return errors.New("the program has ended: " + p.stderr.String())
	case <-time.After(patience):
		p.cmd.Process.Kill()
		<-p.exited
		return errors.New("the program is not ready: " + p.stderr.String())
	}
}

// read takes what sipward run announces apart, and waits for the end.
func (p *process) read(out io.Reader, until string, ready chan<- bool) {
	var all strings.Builder
	announce := sync.OnceFunc(func() { ready <- true })
	for lines := bufio.NewScanner(out); lines.Scan(); {
		all.WriteString(lines.Text() + "\n")
		switch f := strings.Fields(lines.Text()); {
		case len(f) < 2:
		case f[0] == "inside" && p.inside == "":
			p.inside = f[1]
		case f[0] == "outside" && p.outside == "":
			p.outside = f[1]
		case f[0] == "API":
			p.api = f[1]
		case f[0] == "taken":
			p.port = f[1]
		}
		if strings.Contains(lines.Text(), until) {
			announce()
		}
	}
	p.cmd.Wait()
	p.stdout, p.status = all.String(), p.cmd.ProcessState.ExitCode()
	select {
	case ready <- false:
	default:
	}
	close(p.exited)
}

func (p *process) wait() error {
	select {
	case <-p.exited:
		return nil
	case <-time.After(patience):
		return errors.New("the program does not end")
	}
}

// kill is for the end of a test, whatever has happened.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.exited
}

// twoPhones is a configuration with a phone under the name of bob; every port
// is a free one.
func twoPhones(bob netip.AddrPort) string {
	return `listeners:
  - {name: phones, side: inside, address: "127.0.0.1:0"}
  - {name: internet, side: outside, address: "127.0.0.2:0"}
routes:
  - {match: bob, from: inside, to: "sip:bob@` + bob.String() + `", side: inside}
api: {listen: "127.0.0.1:0"}
state: off
`
}

// configured writes a configuration for one test.
func configured(t *testing.T, config string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "sipward.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// startTest runs the program for a Go test.
func startTest(t *testing.T, config string) *process {
	t.Helper()
	p, err := startProcess("", nil, announced, "run", "--config", configured(t, config))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

// callThrough makes a call from one phone to the other that stands.
func callThrough(t *testing.T, p *process, alice, bob *phone) {
	t.Helper()
	if err := alice.call(netip.MustParseAddrPort(p.inside), "sip:bob@b.example"); err != nil {
		t.Fatal(err)
	}
	if err := bob.stands(); err != nil {
		t.Fatal(err)
	}
}
