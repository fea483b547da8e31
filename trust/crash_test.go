package trust

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sipward/sipward/sas/attest"
)

// crashChild names the state file to a process that is to be killed.
const crashChild = "SIPWARD_TRUST_CRASH"

func TestMain(m *testing.M) {
	if path := os.Getenv(crashChild); path != "" {
		confirmForever(path)
	}
	os.Exit(m.Run())
}

// confirmForever confirms one peer after another, and says each when it is done.
func confirmForever(path string) {
	t := &testing.B{}
	m, _ := onDisk(t, path)
	for i := len(m.List()); ; i++ {
		who := fmt.Sprintf("sip:user%d@b.example", i)
		f := Facts{Identity: who, Dialled: true, Exchange: Confirmed, SAS: Equal, Signatures: []attest.Result{{State: attest.Right,
			Value: attest.Value{Type: attest.TypeEd25519, Key: fmt.Sprint("key", i), Identity: who, Signature: "x"}}}}
		_, changes := m.Judge(f, time.Now())
		if err := m.Learn(changes); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(who)
	}
}

// A process that is killed at any moment has lost no peer that it said was
// confirmed. 200 times, on one file that grows.
func TestKilledAtAnyMoment(t *testing.T) {
	if testing.Short() {
		t.Skip("starts 200 processes")
	}
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	var confirmed []string
	for range 200 {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), crashChild+"="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range rand.IntN(4) { // some are killed before they have opened the file
			if !lines.Scan() {
				t.Fatal("the process ended by itself")
			}
			confirmed = append(confirmed, lines.Text())
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // said before the kill
			confirmed = append(confirmed, lines.Text())
		}
		_ = cmd.Wait() // killed
	}
	m, s := onDisk(t, path)
	defer s.Close()
	for _, who := range confirmed {
		if e, err := m.Get(who); err != nil || len(e.Pins) != 1 || len(e.Pins[0].Confirmations) != 1 {
			t.Fatalf("%s was confirmed: %+v, %v", who, e, err)
		}
	}
	t.Logf("%d confirmed, none lost", len(confirmed))
}
