package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// A process that starts another one shares its sockets with it for a moment,
// even those that it closes meanwhile. Tests which look at ports that they have
// closed themselves, or at who has one, therefore do not run in parallel with
// those which start sipward; and what takes ports away is a program of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sipward": main, "squatter": squatter})
}

// squatter takes a port of loopback for a transport until it is ended.
func squatter() {
	s, err := open(os.Args[1], netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer s.close()
	fmt.Println("taken", s.addr.Port())
	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt)
	<-end
}

// TestScript runs the scripts of testdata/script. Beside the commands of
// testscript they have:
//
//	daemon ARGS...      runs sipward in the background until it is ready; its
//	                    addresses are then in $INSIDE, $OUTSIDE and $API
//	signal NAME STATUS  sends it TERM or INT, and waits for that exit status;
//	                    what it printed is then in daemon.out and daemon.log
//	follow LINE ARGS... runs sipward in the background until it prints LINE
//	followed NAME STATUS  like signal, for what follow runs; NAME none sends nothing;
//	                    what it printed is then in follow.out and follow.log
//	template FILE       puts the values of variables into a file
//	occupy udp|tcp      has squatter take a port of loopback: $PORT, held by $HOLDER
//	phone               starts a phone that takes a call: $PHONE
//	call                calls bob through the daemon, and waits until he has answered
//	guess COUNT USER    sends the daemon wrong passwords for a user of office.example
func TestScript(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"daemon":   scriptDaemon,
			"signal":   scriptSignal,
			"follow":   scriptFollow,
			"followed": scriptFollowed,
			"template": scriptTemplate,
			"occupy":   scriptOccupy,
			"phone":    scriptPhone,
			"call":     scriptCall,
			"guess":    scriptGuess,
		},
		Setup: func(env *testscript.Env) error {
			env.Values[scriptState{}] = &scriptState{}
			return nil
		},
	})
}

// scriptState is what the commands of one script share.
type scriptState struct {
	process  *process // of daemon
	follower *process // of follow
	phone    *phone
}

func stateOf(ts *testscript.TestScript) *scriptState {
	return ts.Value(scriptState{}).(*scriptState)
}

func plainCommand(ts *testscript.TestScript, neg bool, args []string, count int, use string) {
	if neg || len(args) != count {
		ts.Fatalf("usage: %s", use)
	}
}

func scriptDaemon(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: daemon ARGS...")
	}
	p := scriptStart(ts, announced, args)
	stateOf(ts).process = p
	ts.Setenv("INSIDE", p.inside)
	ts.Setenv("OUTSIDE", p.outside)
	ts.Setenv("API", p.api)
}

func scriptStart(ts *testscript.TestScript, until string, args []string) *process {
	p, err := startProcess(ts.Getenv("WORK"), append(os.Environ(), "HOME="+ts.Getenv("HOME")), until, args...)
	ts.Check(err)
	ts.Defer(p.kill)
	return p
}

func scriptFollow(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: follow LINE ARGS...")
	}
	stateOf(ts).follower = scriptStart(ts, args[0], args[1:])
}

func scriptFollowed(ts *testscript.TestScript, neg bool, args []string) {
	plainCommand(ts, neg, args, 2, "followed NAME STATUS")
	scriptEnd(ts, stateOf(ts).follower, args[0], "follow", args[1])
}

// scriptEnd sends a signal to a process, waits for its end and writes down what
// it printed.
func scriptEnd(ts *testscript.TestScript, p *process, signal, name, status string) {
	s, ok := map[string]os.Signal{"TERM": syscall.SIGTERM, "INT": os.Interrupt, "none": nil}[signal]
	if !ok || p == nil {
		ts.Fatalf("no such signal, or nothing that runs")
	}
	if s != nil {
		ts.Check(p.cmd.Process.Signal(s))
	}
	ts.Check(p.wait())
	ts.Check(os.WriteFile(ts.MkAbs(name+".out"), []byte(p.stdout), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(name+".log"), p.stderr.Bytes(), 0o600))
	if got := strconv.Itoa(p.status); got != status {
		ts.Fatalf("exit status %s, want %s; standard error:\n%s", got, status, p.stderr.String())
	}
}

func scriptTemplate(ts *testscript.TestScript, neg bool, args []string) {
	plainCommand(ts, neg, args, 1, "template FILE")
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

func scriptSignal(ts *testscript.TestScript, neg bool, args []string) {
	plainCommand(ts, neg, args, 2, "signal NAME STATUS")
	scriptEnd(ts, stateOf(ts).process, args[0], "daemon", args[1])
}

func scriptOccupy(ts *testscript.TestScript, neg bool, args []string) {
	plainCommand(ts, neg, args, 1, "occupy udp|tcp")
	p, err := newProcess("squatter", args[0])
	ts.Check(err)
	ts.Check(p.start("taken"))
	ts.Defer(p.kill)
	ts.Setenv("PORT", p.port)
	holder := someProgram
	if runtime.GOOS == "linux" {
		holder = fmt.Sprintf("squatter (pid %d)", p.cmd.Process.Pid)
	}
	ts.Setenv("HOLDER", holder)
}

func scriptPhone(ts *testscript.TestScript, neg bool, args []string) {
	plainCommand(ts, neg, args, 0, "phone")
	p, err := openPhone(false)
	ts.Check(err)
	ts.Defer(p.stack.Close)
	stateOf(ts).phone = p
	ts.Setenv("PHONE", p.Addr().String())
}

func scriptCall(ts *testscript.TestScript, neg bool, args []string) {
	plainCommand(ts, neg, args, 0, "call")
	state := stateOf(ts)
	if state.process == nil || state.phone == nil {
		ts.Fatalf("call needs a daemon and a phone")
	}
	alice, err := openPhone(false)
	ts.Check(err)
	ts.Defer(alice.stack.Close)
	ts.Check(alice.call(netip.MustParseAddrPort(state.process.inside), "sip:bob@b.example"))
	ts.Check(state.phone.stands())
}
