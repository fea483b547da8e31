package record

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Report is what Verify found.
type Report struct {
	Files   int    `json:"files"`
	Lines   uint64 `json:"lines"`
	First   uint64 `json:"first"`   // seq of the first line; above 1, earlier files were removed
	Missing uint64 `json:"missing"` // calls of which the record says that it lost them
	Head    string `json:"head"`    // hash of the last line

	each func(hash string)
}

// Fault is a line that does not fit. Everything before it does.
type Fault struct {
	File string
	Line int // from 1
	Why  string
}

func (f *Fault) Error() string { return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Why) }

// Verify reads the record of a folder and checks each line against the one
// before it. The error is a *Fault where the record was changed; the report is
// then about the lines before it. A line that was cut off at the very end is no
// fault: the machine stopped while it was written.
//
// each, which may be nil, hears the hash of every line that fits.
func Verify(dir string, each func(hash string)) (Report, error) {
	r := Report{Head: genesis, each: each}
	names, err := files(dir)
	if err != nil {
		return r, fmt.Errorf("record: %w", err)
	}
	if len(names) == 0 {
		return r, fmt.Errorf("record: no record in %s", dir)
	}
	for i, name := range names {
		if err := r.read(name, i == len(names)-1); err != nil {
			return r, err
		}
		r.Files++
	}
	return r, nil
}

func (r *Report) read(name string, last bool) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, maxLine+1)
	for n := 1; ; n++ {
		text, err := in.ReadSlice('\n')
		fault := func(format string, args ...any) error { return &Fault{name, n, fmt.Sprintf(format, args...)} }
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return fault("longer than any record")
		case err != nil && len(text) == 0, err != nil && last:
			return nil
		case err != nil:
			return fault("cut off in the middle of the record")
		}
		if err := r.take(bytes.TrimSuffix(text, []byte("\n")), fault); err != nil {
			return err
		}
	}
}

func (r *Report) take(text []byte, fault func(string, ...any) error) error {
	var l line
	if err := json.Unmarshal(text, &l); err != nil || l.Seq == 0 {
		return fault("not a record")
	}
	switch {
	case r.Lines == 0 && l.Seq == 1 && l.Prev != genesis:
		return fault("the first line names one before it")
	case r.Lines == 0:
		r.First = l.Seq
	case l.Seq != r.First+r.Lines:
		return fault("line %d of the record stands where line %d belongs", l.Seq, r.First+r.Lines)
	case l.Prev != r.Head:
		return fault("does not fit the line before it: one of them was changed")
	}
	r.Lines++
	r.Missing += l.Missing
	r.Head = hash(text)
	if r.each != nil {
		r.each(r.Head)
	}
	return nil
}

// files lists the record's files, the oldest first.
func files(dir string) ([]string, error) {
	names, err := filepath.Glob(filepath.Join(dir, "calls-*.jsonl"))
	if err != nil {
		return nil, err
	}
	slices.SortFunc(names, func(a, b string) int {
		if d := len(a) - len(b); d != 0 { // more digits, later
			return d
		}
		return strings.Compare(a, b)
	})
	path := filepath.Join(dir, current)
	switch _, err := os.Stat(path); {
	case err == nil:
		names = append(names, path)
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	return names, nil
}

func firstSeq(name string) (uint64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	text, err := bufio.NewReaderSize(f, maxLine+1).ReadSlice('\n')
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return l.Seq, nil
}
