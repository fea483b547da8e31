package record

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func open(t *testing.T, o Options) *Writer {
	t.Helper()
	w, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func add(t *testing.T, w *Writer, n int) {
	t.Helper()
	for i := range n {
		w.Add(Call{ID: fmt.Sprint(i), From: "sip:alice@a.example", To: "sip:bob@b.example", Trust: "encrypted", Legs: []Leg{{Side: "inside"}, {Side: "outside"}}})
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
}

func verify(t *testing.T, dir string, lines uint64) Report {
	t.Helper()
	var hashes []string
	r, err := Verify(dir, func(h string) { hashes = append(hashes, h) })
	if uint64(len(hashes)) != r.Lines || len(hashes) > 0 && hashes[len(hashes)-1] != r.Head {
		t.Fatalf("%d hashes of %d lines", len(hashes), r.Lines)
	}
	if err != nil || r.Lines != lines {
		t.Fatalf("%+v, %v; want %d lines", r, err, lines)
	}
	return r
}

func TestRecordGoesOnOverRestarts(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "records")
	for i := range 5 {
		w := open(t, Options{Dir: dir})
		add(t, w, 3)
		if head := w.Head(); verify(t, dir, uint64(3*(i+1))).Head != head {
			t.Fatal("Head is not the last line's hash")
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, current))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v: others may read it", info.Mode(), err)
	}
}

// The machine may stop at any octet of a line: the line that was not promised
// goes, all before it stay.
func TestCutAtEveryOctet(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := open(t, Options{Dir: dir})
	add(t, w, 3)
	w.Close()
	path := filepath.Join(dir, current)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	third := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for n := third; n < len(whole); n += 7 {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		verify(t, dir, 2)
		w := open(t, Options{Dir: dir})
		add(t, w, 1)
		w.Close()
		verify(t, dir, 3)
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := open(t, Options{Dir: dir, MaxSize: 1000})
	for range 20 {
		add(t, w, 2)
	}
	if r := verify(t, dir, 40); r.Files < 5 || r.First != 1 {
		t.Fatalf("%+v", r)
	}
	w.Close()
	w = open(t, Options{Dir: dir, MaxSize: 1000, Keep: 2})
	for range 10 {
		add(t, w, 2)
	}
	r, err := Verify(dir, nil)
	if err != nil || r.Files != 3 || r.First == 1 || r.First+r.Lines-1 != 60 {
		t.Fatalf("%+v, %v", r, err)
	}
}

// Whatever is done to the record, Verify names the place.
func TestTampering(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := open(t, Options{Dir: dir})
	add(t, w, 6)
	w.Close()
	path := filepath.Join(dir, current)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(string(whole), "\n"), "\n")
	lines[5] += "\n"
	join := func(order ...int) string {
		s := ""
		for _, i := range order {
			s += lines[i]
		}
		return s
	}
	for name, test := range map[string]struct {
		text string
		line int // 0: not noticed, as the package comment says
	}{
		"as it was":        {join(0, 1, 2, 3, 4, 5), 0},
		"one taken out":    {join(0, 1, 3, 4, 5), 3},
		"two swapped":      {join(0, 2, 1, 3, 4, 5), 2},
		"one twice":        {join(0, 1, 1, 2, 3, 4, 5), 3},
		"another word":     {strings.Replace(join(0, 1, 2, 3, 4, 5), "bob@b.example", "eve@b.example", 1), 2},
		"white space":      {strings.Replace(join(0, 1, 2, 3, 4, 5), `,"call"`, `, "call"`, 1), 2},
		"something else":   {join(0, 1) + "nonsense\n" + join(2, 3), 3},
		"a line with none": {"{}\n" + join(0), 1},
		"too long":         {join(0) + strings.Repeat("x", maxLine+2) + "\n", 2},
		"the last missing": {join(0, 1, 2, 3, 4), 0},
		"the first gone":   {join(1, 2, 3, 4, 5), 0},
	} {
		if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Verify(dir, nil)
		var f *Fault
		switch {
		case test.line == 0 && err != nil:
			t.Errorf("%s: %v", name, err)
		case test.line != 0 && (!errors.As(err, &f) || f.Line != test.line):
			t.Errorf("%s: %v, want a fault in line %d", name, err, test.line)
		case name != "as it was" && r.Head == hash([]byte(strings.TrimSuffix(lines[5], "\n"))) && r.First == 1:
			t.Errorf("%s: the head is the same", name)
		}
	}
}

func TestManyAtOnceAreAllThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := open(t, Options{Dir: dir, MaxSize: 20000})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				w.Add(Call{ID: "x"})
			}
		})
	}
	wg.Wait()
	w.Close()
	w.Add(Call{}) // after the end: nothing
	if err := w.Flush(); err == nil {
		t.Error("Flush of a closed record")
	}
	verify(t, dir, 800)
}

// A disk that is full: calls go on, and the record says what it lost.
func TestWhatCannotBeWrittenIsCounted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := open(t, Options{Dir: dir})
	add(t, w, 1)
	w.Add(Call{ID: strings.Repeat("x", maxLine)})
	if err := w.Flush(); err == nil {
		t.Fatal("a line that is too long was written")
	}
	add(t, w, 1)
	if r := verify(t, dir, 3); r.Missing != 1 {
		t.Errorf("%+v", r)
	}
}

func TestVerifyNothing(t *testing.T) {
	t.Parallel()
	if _, err := Verify(t.TempDir(), nil); err == nil {
		t.Error("an empty folder is a record")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, current), []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "move the file away") {
		t.Errorf("nonsense is continued: %v", err)
	}
}
