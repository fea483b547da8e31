package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	current    = "calls.jsonl"
	maxLine    = 64 << 10 // octets, far above any call's
	maxWaiting = 4096     // calls that wait for the disk
)

// genesis stands where there is no line before.
var genesis = strings.Repeat("0", 2*sha256.Size)

// Options of a Writer. Only Dir is needed.
type Options struct {
	Dir     string // made where it is missing, for this user alone
	MaxSize int64  // octets after which a file is full; 0: 10 MiB
	Keep    int    // full files that are kept, the newest; 0: all
	Log     *slog.Logger
}

// Writer appends to the record. Its methods may be called from any goroutine.
type Writer struct {
	o    Options
	file *os.File
	size int64
	seq  uint64 // of the next line
	prev string

	mu      sync.Mutex
	waiting []Call
	missing uint64        // calls that found no room since the last line
	flush   []chan error  // who waits until everything is on the disk
	wake    chan struct{} // capacity 1
	closed  bool
	done    chan struct{}
	head    string
}

// Open continues the record in a folder, or begins one. An error names the file
// that cannot be continued, such as one whose last line is not of this form.
func Open(o Options) (*Writer, error) {
	if o.MaxSize == 0 {
		o.MaxSize = 10 << 20
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	w := &Writer{o: o, seq: 1, prev: genesis, wake: make(chan struct{}, 1), done: make(chan struct{})}
	if err := w.resume(); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	w.head = w.prev
	go w.run()
	return w, nil
}

// resume finds the last line that was written, and opens the file behind it.
func (w *Writer) resume() error {
	files, err := files(w.o.Dir)
	if err != nil {
		return err
	}
	for i := len(files) - 1; i >= 0; i-- {
		last, end, err := lastLine(files[i])
		if err != nil {
			return err
		}
		if filepath.Base(files[i]) == current {
			if err := os.Truncate(files[i], end); err != nil {
				return err
			}
		}
		if last == nil {
			continue // nothing but a line that was cut off
		}
		var l line
		if err := json.Unmarshal(last, &l); err != nil || l.Seq == 0 {
			return fmt.Errorf("%s: the last line is no record; move the file away to begin a new one", files[i])
		}
		w.seq, w.prev = l.Seq+1, hash(last)
		break
	}
	return w.open()
}

func (w *Writer) open() (err error) {
	w.file, err = os.OpenFile(filepath.Join(w.o.Dir, current), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := w.file.Stat()
	if err != nil {
		return err
	}
	w.size = info.Size()
	return syncDir(w.o.Dir)
}

// lastLine returns the last whole line of a file, and where it ends.
func lastLine(name string) (last []byte, end int64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, 0, err
	}
	from := max(0, size-2*maxLine)
	b := make([]byte, size-from)
	if _, err := f.ReadAt(b, from); err != nil {
		return nil, 0, err
	}
	cut := bytes.LastIndexByte(b, '\n')
	if cut < 0 {
		if from > 0 {
			return nil, 0, fmt.Errorf("%s: the last line is longer than %d octets", name, maxLine)
		}
		return nil, 0, nil
	}
	return b[bytes.LastIndexByte(b[:cut], '\n')+1 : cut], from + int64(cut) + 1, nil
}

// Add hands over a call that has ended. It does not wait for the disk; where
// that is so far behind that no room is left, the next line says how many calls
// are missing.
func (w *Writer) Add(c Call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return
	case len(w.waiting) == maxWaiting:
		w.missing++
		return
	}
	w.waiting = append(w.waiting, c)
	w.nudge()
}

// nudge must be called under the lock.
func (w *Writer) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Flush waits until every call that was added is on the disk.
func (w *Writer) Flush() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return errors.New("record: closed")
	}
	done := make(chan error, 1)
	w.flush = append(w.flush, done)
	w.nudge()
	w.mu.Unlock()
	return <-done
}

// Head returns the hash of the last line on the disk, 64 zeros before the first.
func (w *Writer) Head() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.head
}

// Close writes what waits, and ends the Writer.
func (w *Writer) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil
	}
	w.closed = true
	done := make(chan error, 1)
	w.flush = append(w.flush, done)
	w.nudge()
	w.mu.Unlock()
	err := <-done
	<-w.done
	return errors.Join(err, w.file.Close())
}

// run writes what was added, all that waits in one go and with one fsync.
func (w *Writer) run() {
	defer close(w.done)
	for range w.wake {
		w.mu.Lock()
		calls, missing, flush, closed := w.waiting, w.missing, w.flush, w.closed
		w.waiting, w.missing, w.flush = nil, 0, nil
		w.mu.Unlock()
		err := w.write(calls, missing)
		if err != nil {
			w.o.Log.Error("calls could not be recorded", "calls", len(calls), "error", err)
		}
		w.mu.Lock()
		if err != nil {
			w.missing += uint64(len(calls)) + missing
		}
		w.head = w.prev
		w.mu.Unlock()
		for _, done := range flush {
			done <- err
		}
		if closed {
			return
		}
	}
}

func (w *Writer) write(calls []Call, missing uint64) error {
	if len(calls) == 0 && missing == 0 {
		return nil
	}
	if w.size >= w.o.MaxSize {
		if err := w.rotate(); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	seq, prev := w.seq, w.prev
	add := func(l line) error {
		l.Seq, l.Prev, l.Time = seq, prev, time.Now().UTC()
		text, err := json.Marshal(l)
		if err != nil {
			return err
		}
		if len(text) > maxLine {
			return fmt.Errorf("a call of %d octets", len(text))
		}
		b.Write(text)
		b.WriteByte('\n')
		seq, prev = seq+1, hash(text)
		return nil
	}
	if missing > 0 {
		if err := add(line{Missing: missing}); err != nil {
			return err
		}
	}
	for i := range calls {
		if err := add(line{Call: &calls[i]}); err != nil {
			return err
		}
	}
	_, err := w.file.Write(b.Bytes())
	if err == nil {
		err = w.file.Sync()
	}
	if err != nil {
		// What is on the disk now is not known: take it away, so that the chain
		// goes on from the last line that was promised.
		return errors.Join(err, w.file.Truncate(w.size))
	}
	w.size += int64(b.Len())
	w.seq, w.prev = seq, prev
	return nil
}

// rotate gives the full file its last name, and drops the oldest.
func (w *Writer) rotate() error {
	path := filepath.Join(w.o.Dir, current)
	first, err := firstSeq(path)
	if err != nil {
		return err
	}
	if err := w.file.Close(); err != nil {
		return err
	}
	if err := os.Rename(path, filepath.Join(w.o.Dir, fmt.Sprintf("calls-%012d.jsonl", first))); err != nil {
		return err
	}
	if err := w.open(); err != nil {
		return err
	}
	all, err := files(w.o.Dir)
	if err != nil || w.o.Keep == 0 {
		return err
	}
	for len(all)-1 > w.o.Keep {
		if err := os.Remove(all[0]); err != nil {
			return err
		}
		all = all[1:]
	}
	return nil
}

func hash(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// syncDir makes names of files last (a new one, or one that was renamed).
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	// Not every system can; the file itself was synced.
	_ = d.Sync()
	return nil
}
