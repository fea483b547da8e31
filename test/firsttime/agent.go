package firsttime

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/sipward/sipward/b2bua"
)

// patience bounds every wait; nothing takes it when all is well.
const patience = 20 * time.Second

// Agent is a sipward that runs, and what it has told.
type Agent struct {
	Told Told

	bin, home string
	cmd       *exec.Cmd
	stderr    strings.Builder
	done      chan struct{}

	mu     sync.Mutex
	stdout strings.Builder
	more   chan struct{} // closed at the next line
}

// otherwise is how sipward says what to do where its ports are taken.
var otherwise = regexp.MustCompile(`take other ports: sipward (run [-a-z]+)`)

// Run runs the program as somebody whose home folder is empty, until ctx is done.
// Where it says that its ports are taken, it is run as it then says.
func Run(ctx context.Context, bin, home string) (*Agent, error) {
	a, err := start(ctx, bin, home, "run")
	if err == nil {
		return a, nil
	}
	if m := otherwise.FindStringSubmatch(err.Error()); m != nil {
		return start(ctx, bin, home, strings.Fields(m[1])...)
	}
	return nil, err
}

func start(ctx context.Context, bin, home string, args ...string) (*Agent, error) {
	a := &Agent{bin: bin, home: home, done: make(chan struct{}), more: make(chan struct{})}
	a.cmd = a.command(ctx, args...)
	a.cmd.Stderr = &a.stderr
	out, err := a.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := a.cmd.Start(); err != nil {
		return nil, err
	}
	go a.read(out)
	// The last line of all that it tells at first.
	if err := a.Says("Other settings:"); err != nil {
		_ = a.cmd.Process.Kill()
		<-a.done
		return nil, fmt.Errorf("%w: %s", err, a.stderr.String())
	}
	a.Told, err = Read(a.printed())
	if err != nil {
		_ = a.cmd.Process.Kill()
		<-a.done
	}
	return a, err
}

// command is the program with the environment of a newcomer.
func (a *Agent) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, a.bin, args...)
	cmd.Dir = a.home
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); !strings.HasPrefix(name, "XDG_") && name != "HOME" && name != "STATE_DIRECTORY" {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "HOME="+a.home)
	return cmd
}

func (a *Agent) read(out io.Reader) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		a.mu.Lock()
		a.stdout.WriteString(lines.Text() + "\n")
		close(a.more)
		a.more = make(chan struct{})
		a.mu.Unlock()
	}
	_ = a.cmd.Wait()
	close(a.done)
}

func (a *Agent) printed() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stdout.String()
}

// Says waits until the program has printed a text.
func (a *Agent) Says(text string) error {
	limit := time.After(patience)
	for {
		a.mu.Lock()
		said, more := strings.Contains(a.stdout.String(), text), a.more
		a.mu.Unlock()
		if said {
			return nil
		}
		select {
		case <-more:
		case <-a.done:
			return errors.New("sipward has ended")
		case <-limit:
			return fmt.Errorf("sipward does not say %q; it says\n%s", text, a.printed())
		}
	}
}

// Protected asks, as the program has told, until its only call is protected.
func (a *Agent) Protected(ctx context.Context) (b2bua.View, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	last := ""
	for {
		cmd := a.command(ctx, append(append([]string{}, a.Told.Calls...), "--json")...)
		b, err := cmd.Output()
		var calls []b2bua.View
		if err == nil {
			last, err = string(b), json.Unmarshal(b, &calls)
		}
		if err == nil && len(calls) == 1 && calls[0].Protection == "srtp" && calls[0].SASCode != "" {
			return calls[0], nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return b2bua.View{}, fmt.Errorf("no protected call (%v): %s", err, last)
		}
	}
}

// Stop ends the program as Ctrl-C does.
func (a *Agent) Stop() error {
	if err := a.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	select {
	case <-a.done:
	case <-time.After(patience):
		return errors.New("sipward does not end")
	}
	if code := a.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("exit status %d: %s", code, a.stderr.String())
	}
	return nil
}
