//go:build interop && linux

package interop

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// tableFile has the table of what works with which program between two lines.
const tableFile = "../../docs/interop.md"

const (
	tableBegins = "<!-- make interop writes from here -->\n"
	tableEnds   = "<!-- to here -->\n"
)

var writeTable = flag.Bool("write", false, "write the table of docs/interop.md from this run, instead of comparing them")

// features are the rows of the table, in its order.
var features = []string{
	"registers with sipward",
	"registers elsewhere, through sipward",
	"behind one account of sipward's (trunk)",
	"is called and calls by name",
	"calls by number",
	"rings beside other phones of the user",
	"SIP over UDP",
	"SIP over TCP",
	"calls without an offer (INVITE without SDP)",
	"is called without an offer",
	"hold and resume",
	"changes the codec within a call",
	"follows a change of the codec within a call",
	"adds video to a call",
	"removes video from a call",
	"gives up a call that rings (CANCEL), and refuses one",
	"keys turn over every few seconds, and no packet is lost",
	"is asked whether it is still there (RFC 4028): in a re-INVITE",
	"is asked whether it is still there (RFC 4028): in an UPDATE",
	"transfers a call to an address (REFER)",
	"transfers a call to its other call (REFER with Replaces)",
	"stays in a call that is transferred, or is its target",
	"digits within a call (RFC 4733), both ways",
	"hears early media, encrypted before the answer",
	"answers with early media (183), encrypted before the answer",
	"reliable provisional responses (PRACK)",
	"protected call, in clear on its own leg",
	"relays the protected media",
	"calls through a router with NAT",
	"as a peer without sipward: call in clear, and shown so",
	"as a peer without sipward: refused where keys are a must",
	"echo and sas test addresses",
	"a wrong password is refused",
}

// programs are the columns, each with the command that tells its version.
var programs = []struct{ name, command string }{
	{"baresip", "baresip -h"},
	{"linphone", "linphonec --version"},
	{"SIPp", "sipp -v"},
	{"Kamailio", "kamailio -v"},
	{"rtpengine", "rtpengine --version"},
}

// results are what the tests of this run have shown.
var results struct {
	sync.Mutex
	shown map[[2]string]bool
}

// shows declares what a test shows when it passes: a feature, with each of these
// programs.
func shows(t *testing.T, feature string, with ...string) {
	t.Helper()
	if !slices.Contains(features, feature) {
		t.Fatalf("%q is no row of the table", feature)
	}
	for _, name := range with {
		if !slices.ContainsFunc(programs, func(p struct{ name, command string }) bool { return p.name == name }) {
			t.Fatalf("%q is no column of the table", name)
		}
	}
	t.Cleanup(func() {
		if t.Failed() || t.Skipped() {
			return
		}
		results.Lock()
		defer results.Unlock()
		if results.shown == nil {
			results.shown = map[[2]string]bool{}
		}
		for _, name := range with {
			results.shown[[2]string{feature, name}] = true
		}
	})
}

var versionNumber = regexp.MustCompile(`\d+\.\d+(\.\d+)*`)

// version is the number that a program calls itself, without that of its package.
func version(command string) (string, error) {
	words := strings.Fields(command)
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput() // some fail as they tell
	number := versionNumber.Find(out)
	if number == nil {
		return "", fmt.Errorf("%s tells no version: %v, %q", command, err, out)
	}
	return string(number), nil
}

// table is what this run has shown, as a table in Markdown.
func table() (string, error) {
	results.Lock()
	defer results.Unlock()
	var b strings.Builder
	b.WriteString("| |")
	for _, p := range programs {
		v, err := version(p.command)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, " %s %s |", p.name, v)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(programs)) + "\n")
	for _, f := range features {
		row := ""
		for _, p := range programs {
			if results.shown[[2]string{f, p.name}] {
				row += " yes |"
			} else {
				row += " |"
			}
		}
		if !strings.Contains(row, "yes") {
			return "", fmt.Errorf("no test shows %q", f)
		}
		fmt.Fprintf(&b, "| %s |%s\n", f, row)
	}
	return b.String(), nil
}

// judgeTable writes the table of docs/interop.md, or says that it is another one.
func judgeTable() error {
	now, err := table()
	if err != nil {
		return err
	}
	file, err := os.ReadFile(tableFile)
	if err != nil {
		return err
	}
	head, rest, begins := bytes.Cut(file, []byte(tableBegins))
	was, tail, ends := bytes.Cut(rest, []byte(tableEnds))
	switch {
	case !begins || !ends:
		return fmt.Errorf("%s has no place for the table: it needs the lines %q and %q", tableFile, tableBegins, tableEnds)
	case string(was) == now:
		return nil
	case *writeTable:
		return os.WriteFile(tableFile, slices.Concat(head, []byte(tableBegins+now+tableEnds), tail), 0o644)
	}
	return fmt.Errorf("docs/interop.md does not have what this run has shown; make interop writes it:\n%s", now)
}

// whole says whether this run was of all tests.
func whole() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return false
		}
	}
	return !testing.Short()
}
