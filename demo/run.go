package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/sipward/sipward/demo/audio"
	"github.com/sipward/sipward/demo/capture"
)

const (
	runLimit = 20 * time.Second // of Run as a whole; it takes about seven
	runGrace = 2 * time.Second  // for packets on their way after the last word
)

// Options of a demo call. The zero value is a call over UDP.
type Options struct {
	Transport string // of SIP, for phones and sipwards: "udp" or "tcp"; "": "udp"
	Mitm      bool   // a man in the middle stands on the wire
	PCAP      string // where to write a capture of the wire; "": nowhere
	// Dir is where sound files go; it is made where it does not exist. "": a new
	// folder sipward-demo-* in the current one, or where that cannot be
	// written, in the system's folder for temporary files. Result.Files says
	// which.
	Dir      string
	Progress func(string) // hears, in a sentence, what happens; nil: nobody
	Log      *slog.Logger // of both sipwards; nil: none
}

// Run has alice call bob through two sipwards with a wire between them, all in
// this process, on addresses of 127.0.0.0/8 (127.0.0.1 alone where the system
// has no other) and on free ports. Both phones talk at the same time, for as
// long as their recordings last, in real time. The policy between the sipwards
// is require.
//
// An error means that there was no call to judge; a call that went otherwise
// than it should is a Result that is not OK.
func Run(ctx context.Context, o Options) (*Result, error) {
	return run(ctx, o, loopbacks())
}

func run(ctx context.Context, o Options, at places) (_ *Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	begun := time.Now()
	if o.Transport == "" {
		o.Transport = "udp"
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	files, err := newOutput(o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, files.close()) }()

	tap := &wiretap{received: capture.NewRecorder(capture.Limits{}), pcap: files.pcap}
	s, err := newStage(plan{transport: o.Transport, mitm: o.Mitm, places: at, tap: tap.see, log: o.Log})
	if err != nil {
		return nil, err
	}
	defer s.close()
	if o.Mitm {
		o.Progress("a man in the middle stands on the wire")
	} else {
		o.Progress("a wiretap listens on the wire")
	}
	t, err := s.call(ctx, true, runGrace, o.Progress)
	if err != nil {
		return nil, err
	}
	s.close() // nothing is written to the capture any more
	r := result(o, s, t, tap)
	if err := files.write(r, s, t, tap); err != nil {
		return nil, err
	}
	r.Seconds = time.Since(begun).Seconds()
	r.judge()
	return r, nil
}

// wiretap is what listens on the wire.
type wiretap struct {
	received *capture.Recorder // RTP of both directions, each packet once
	pcap     *capture.Writer   // the link of the caller's sipward; nil: not asked for
	err      error             // of pcap; sightings come one at a time
}

func (t *wiretap) see(s Sighting) {
	if s.Kind == RTP && !s.Sent {
		t.received.UDP(s.Time, s.From, s.To, s.Data)
	}
	if t.pcap == nil || s.Link != LinkA || t.err != nil {
		return
	}
	if s.Stream {
		t.err = t.pcap.TCP(s.Time, s.From, s.To, s.Data)
	} else {
		t.err = t.pcap.UDP(s.Time, s.From, s.To, s.Data)
	}
}

// sound is the tapped RTP of both directions, each payload played as if it were
// PCMU, one direction over the other.
func (t *wiretap) sound() []int16 {
	var mixed []int16
	for _, f := range t.received.Flows() {
		at := 0
		for _, p := range f.Payloads() {
			for _, v := range audio.DecodeMuLaw(p) {
				if at == len(mixed) {
					mixed = append(mixed, 0)
				}
				mixed[at] = clip(int(mixed[at]) + int(v))
				at++
			}
		}
	}
	return mixed
}

func clip(v int) int16 { return int16(max(-32768, min(32767, v))) }

// output is the folder and the files of a run.
type output struct {
	dir  string
	made bool   // dir was not there before
	path string // of the capture, "" for none
	pcap *capture.Writer
	file *os.File
}

func newOutput(o Options) (*output, error) {
	out := &output{dir: o.Dir}
	var err error
	if o.Dir != "" {
		_, there := os.Stat(o.Dir)
		out.made = there != nil
		err = os.MkdirAll(o.Dir, 0o755)
	} else {
		out.made = true
		if out.dir, err = os.MkdirTemp(".", "sipward-demo-"); err != nil {
			out.dir, err = os.MkdirTemp("", "sipward-demo-")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("demo: folder for the sound: %w", err)
	}
	if out.dir, err = filepath.Abs(out.dir); err != nil {
		return nil, fmt.Errorf("demo: folder for the sound: %w", err)
	}
	if o.PCAP == "" {
		return out, nil
	}
	if out.path, err = filepath.Abs(o.PCAP); err != nil {
		return nil, fmt.Errorf("demo: capture: %w", err)
	}
	if out.file, err = os.Create(o.PCAP); err != nil {
		return nil, errors.Join(fmt.Errorf("demo: capture: %w", err), out.close())
	}
	if out.pcap, err = capture.NewWriter(out.file); err != nil {
		return nil, errors.Join(err, out.close())
	}
	return out, nil
}

// write puts every sound into its file.
func (out *output) write(r *Result, s *stage, t talk, tap *wiretap) error {
	if tap.err != nil {
		return fmt.Errorf("demo: capture: %w", tap.err)
	}
	r.Files = Files{Dir: out.dir, PCAP: out.path}
	sounds := []struct {
		path *string
		name string
		pcm  []int16
	}{
		{&r.Files.Alice, "alice/heard.wav", t.a.Heard()},
		{&r.Files.Bob, "bob/heard.wav", t.b.Heard()},
		{&r.Files.Wiretap, "wiretap.wav", tap.sound()},
	}
	if s.mitm != nil {
		a, b := s.mitm.Overheard(LinkA), s.mitm.Overheard(LinkB)
		for i, v := range b {
			if i < len(a) {
				a[i] = clip(int(a[i]) + int(v))
			} else {
				a = append(a, v)
			}
		}
		sounds = append(sounds, struct {
			path *string
			name string
			pcm  []int16
		}{&r.Files.Mitm, "mitm.wav", a})
	}
	for _, f := range sounds {
		*f.path = filepath.Join(out.dir, filepath.FromSlash(f.name))
		if err := writeWAV(*f.path, f.pcm); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
	}
	return nil
}

func writeWAV(path string, pcm []int16) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return audio.WriteWAV(io.Writer(f), pcm)
}

// close ends the capture. A new folder that nothing was written into goes.
func (out *output) close() error {
	var err error
	if out.pcap != nil {
		err = out.pcap.Close()
	}
	if out.file != nil {
		err = errors.Join(err, out.file.Close())
	}
	if out.made {
		_ = os.Remove(out.dir) // fails, as it should, where it holds something
	}
	return err
}
