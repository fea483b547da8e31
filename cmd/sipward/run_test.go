package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestSignalEndsCalls(t *testing.T) {
	t.Parallel()
	for _, s := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			alice, bob := newPhone(t, false), newPhone(t, false)
			p := startTest(t, twoPhones(bob.Addr()))
			callThrough(t, p, alice, bob)
			begin := time.Now()
			p.cmd.Process.Signal(s)
			for name, phone := range map[string]*phone{"caller": alice, "callee": bob} {
				at, err := phone.ended()
				if took := at.Sub(begin); err != nil || took > shutdownTime {
					t.Errorf("the %s's BYE came after %v: %v", name, took, err)
				}
			}
			if err := p.wait(); err != nil {
				t.Fatal(err)
			}
			if p.status != statusOK {
				t.Errorf("exit status %d, log:\n%s", p.status, p.stderr.String())
			}
			if !strings.Contains(p.stderr.String(), "msg=stopped\n") {
				t.Errorf("the log does not say that all went well:\n%s", p.stderr.String())
			}
		})
	}
}

// A far end that is gone does not hold the program up for longer than it has
// promised.
func TestSignalWithDeafPhone(t *testing.T) {
	t.Parallel()
	alice, bob := newPhone(t, false), newPhone(t, true)
	p := startTest(t, twoPhones(bob.Addr()))
	callThrough(t, p, alice, bob)
	p.cmd.Process.Signal(syscall.SIGTERM)
	if _, err := alice.ended(); err != nil {
		t.Error(err)
	}
	if err := p.wait(); err != nil {
		t.Fatal(err)
	}
	if p.status != statusOK {
		t.Errorf("exit status %d, log:\n%s", p.status, p.stderr.String())
	}
	if !strings.Contains(p.stderr.String(), "not every far end has answered the BYE") {
		t.Errorf("the log does not say what was left:\n%s", p.stderr.String())
	}
}

func TestSecondSignalStopsAtOnce(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		second os.Signal
		status int
	}{{os.Interrupt, 130}, {syscall.SIGTERM, 143}} {
		t.Run(tc.second.String(), func(t *testing.T) {
			t.Parallel()
			// Neither phone answers its BYE, so the first signal alone takes
			// the whole time and ends with status 0.
			alice, bob := newPhone(t, true), newPhone(t, true)
			p := startTest(t, twoPhones(bob.Addr()))
			callThrough(t, p, alice, bob)
			p.cmd.Process.Signal(syscall.SIGTERM)
			if _, err := bob.ended(); err != nil {
				t.Error(err)
			}
			p.cmd.Process.Signal(tc.second)
			if err := p.wait(); err != nil {
				t.Fatal(err)
			}
			if p.status != tc.status {
				t.Errorf("exit status %d, want %d; log:\n%s", p.status, tc.status, p.stderr.String())
			}
		})
	}
}

// Who reads the log may go away; the calls stay, and end in order.
func TestLogReaderGone(t *testing.T) {
	t.Parallel()
	alice, bob := newPhone(t, false), newPhone(t, false)
	p, err := newProcess("sipward", "run", "--config", configured(t, twoPhones(bob.Addr())))
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = w
	err = p.start(announced)
	w.Close()
	r.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	callThrough(t, p, alice, bob)
	p.cmd.Process.Signal(syscall.SIGTERM) // which is logged
	if _, err := bob.ended(); err != nil {
		t.Error(err)
	}
	if err := p.wait(); err != nil || p.status != statusOK {
		t.Errorf("exit status %d, %v", p.status, err)
	}
}
