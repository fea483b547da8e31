package store

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

const childVariable = "SIPWARD_STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childVariable); path != "" {
		writeUntilKilled(path)
	}
	os.Exit(m.Run())
}

func itoa(n int) string { return strconv.Itoa(n) }

// writeUntilKilled commits numbered records from several goroutines and prints
// each when its Update has returned. With each record a counter goes up in the
// same Update.
func writeUntilKilled(path string) {
	s, err := OpenFile(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("%d-%d-%d", os.Getpid(), w, i)
				err := s.Update(func(tx Tx) error {
					old, _ := tx.Get("counter", "total")
					total, _ := strconv.Atoi(string(old))
					return errors.Join(
						tx.Put("numbers", key, []byte(strings.Repeat(key, 1+i%50))),
						tx.Put("counter", "total", strconv.AppendInt(nil, int64(total)+1, 10)))
				})
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				if _, err := os.Stdout.WriteString(key + "\n"); err != nil { // one write(2)
					os.Exit(0) // the parent is gone
				}
			}
		})
	}
	wg.Wait()
}

// startChild runs writeUntilKilled in another process, to be killed by the test.
func startChild(t *testing.T, path string) (*exec.Cmd, io.Reader) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childVariable+"="+path)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { child.Process.Kill(); child.Wait() })
	return child, out
}

// Whatever a process printed as committed is there behind its kill -9, in a
// file that opens, is sound, and holds no half Update. That the disk keeps it
// when the power goes is up to fsync, which this test cannot see.
func TestKilled(t *testing.T) {
	t.Parallel()
	rounds := 50
	if testing.Short() {
		rounds = 5
	}
	path := filepath.Join(t.TempDir(), "state")
	printed := map[string]bool{}
	for round := range rounds {
		child, out := startChild(t, path)
		lines := bufio.NewReader(out)
		// A moment behind some commits, so many on a machine of any speed, or
		// behind none: the file may not be open yet.
		commits, within := 1+rand.IntN(30), 3*time.Millisecond
		if round%5 == 0 {
			commits, within = 0, 30*time.Millisecond
		}
		n := 0
		for ; ; n++ {
			if n == commits {
				time.AfterFunc(rand.N(within), func() { child.Process.Kill() })
			}
			line, err := lines.ReadString('\n')
			if err != nil {
				break
			}
			printed[strings.TrimSuffix(line, "\n")] = true
		}
		child.Wait()
		if n < commits {
			t.Fatalf("the process ended by itself behind %d of %d commits", n, commits)
		}
		checkKilled(t, path, printed)
	}
	t.Logf("%d commits printed in %d rounds", len(printed), rounds)
}

func checkKilled(t *testing.T, path string, printed map[string]bool) {
	t.Helper()
	f := openTest(t, path, fileOptions{})
	defer f.Close()
	if err := f.db.View(func(tx *bbolt.Tx) error {
		var errs []error
		for err := range tx.Check() {
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}); err != nil {
		t.Fatalf("the file is not sound: %v", err)
	}
	if err := f.View(func(tx Tx) error {
		missing := len(printed)
		records := 0
		err := tx.Each("numbers", func(key string, value []byte) error {
			records++
			if printed[key] {
				missing--
			}
			if !strings.HasPrefix(string(value), key) {
				return fmt.Errorf("record %s holds %.40q", key, value)
			}
			return nil
		})
		total, _ := tx.Get("counter", "total")
		if records > 0 && string(total) != itoa(records) {
			err = errors.Join(err, fmt.Errorf("%d records, counted %s", records, total))
		}
		if missing > 0 {
			err = errors.Join(err, fmt.Errorf("%d of %d committed records are missing", missing, len(printed)))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
