package audio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// chunk is one chunk of a WAVE file, padded.
func chunk(id string, body []byte) []byte {
	b := binary.LittleEndian.AppendUint32([]byte(id), uint32(len(body)))
	b = append(b, body...)
	if len(body)%2 == 1 {
		b = append(b, 0)
	}
	return b
}

// format is the body of a format chunk.
func format(coding, channels uint16, rate uint32, bits uint16, more ...byte) []byte {
	le := binary.LittleEndian
	b := le.AppendUint16(nil, coding)
	b = le.AppendUint16(b, channels)
	b = le.AppendUint32(b, rate)
	b = le.AppendUint32(b, rate*uint32(channels)*uint32(bits)/8)
	b = le.AppendUint16(b, channels*bits/8)
	b = le.AppendUint16(b, bits)
	return append(b, more...)
}

func wave(chunks ...[]byte) []byte {
	return slices.Concat([]byte("RIFF\x00\x00\x00\x00WAVE"), slices.Concat(chunks...))
}

// withSize changes the size that a chunk claims to have.
func withSize(c []byte, size uint32) []byte {
	c = slices.Clone(c)
	binary.LittleEndian.PutUint32(c[4:], size)
	return c
}

var (
	plainFormat = chunk("fmt ", format(1, 1, 8000, 16))
	threePCM    = chunk("data", []byte{1, 0, 0xff, 0xff, 0, 0x80}) // 1, -1, -32768
)

func TestReadWAV(t *testing.T) {
	t.Parallel()
	extensible := slices.Concat([]byte{22, 0, 16, 0, 4, 0, 0, 0}, pcmSubFormat)
	tests := []struct {
		name string
		file []byte
		want []int16
	}{
		{"plain", wave(plainFormat, threePCM), []int16{1, -1, -32768}},
		{"odd chunk before", wave(chunk("LIST", []byte("odd")), plainFormat, threePCM), []int16{1, -1, -32768}},
		{"chunk between and after", wave(plainFormat, chunk("fact", make([]byte, 4)), threePCM, []byte("garbage")), []int16{1, -1, -32768}},
		{"format with extension", wave(chunk("fmt ", format(1, 1, 8000, 16, 0, 0)), threePCM), []int16{1, -1, -32768}},
		{"extensible", wave(chunk("fmt ", format(0xfffe, 1, 8000, 16, extensible...)), threePCM), []int16{1, -1, -32768}},
		{"written to a pipe", wave(plainFormat, withSize(threePCM, 0xffffffff)), []int16{1, -1, -32768}},
		{"written to a pipe by sox", wave(plainFormat, withSize(threePCM, 0x7ffff000)), []int16{1, -1, -32768}},
		{"half a sample left over", wave(plainFormat, chunk("data", []byte{1, 0, 9})), []int16{1}},
		{"empty", wave(plainFormat, chunk("data", nil)), []int16{}},
	}
	for _, tt := range tests {
		got, err := ReadWAV(iotest.OneByteReader(bytes.NewReader(tt.file)))
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, %v, want %v", tt.name, got, err, tt.want)
		}
	}
}

func TestReadWAVErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		file []byte
		want string // part of the message
		is   error
	}{
		{"nothing", nil, "no RIFF header", io.ErrUnexpectedEOF},
		{"another file", []byte("OggS\x00\x00\x00\x00\x00\x00\x00\x00"), `begins with "OggS"`, nil},
		{"no data", wave(plainFormat), "no data chunk", io.ErrUnexpectedEOF},
		{"data first", wave(threePCM, plainFormat), "before the format", nil},
		{"short format", wave(chunk("fmt ", make([]byte, 14)), threePCM), "format chunk of 14 octets", nil},
		{"cut format", wave(plainFormat[:20]), "in the format chunk", io.ErrUnexpectedEOF},
		{"endless format", wave(withSize(plainFormat, 0xffffffff)), "format chunk of 4294967295 octets", nil},
		{"cut chunk", wave(withSize(chunk("LIST", []byte("ab")), 100)), `in the chunk "LIST"`, io.ErrUnexpectedEOF},
		{"missing padding", wave(chunk("LIST", []byte("abc"))[:11]), `after the chunk "LIST"`, io.ErrUnexpectedEOF},
		{"A-law", wave(chunk("fmt ", format(6, 1, 8000, 8)), threePCM), "the coding is A-law", nil},
		{"mu-law", wave(chunk("fmt ", format(7, 1, 8000, 8)), threePCM), "the coding is mu-law", nil},
		{"float", wave(chunk("fmt ", format(3, 1, 8000, 32)), threePCM), "number 0x0003", nil},
		{"extensible of another kind", wave(chunk("fmt ", format(0xfffe, 1, 8000, 16, make([]byte, 24)...)), threePCM), "number 0xfffe", nil},
		{"stereo", wave(chunk("fmt ", format(1, 2, 8000, 16)), threePCM), "2 channels", nil},
		{"CD", wave(chunk("fmt ", format(1, 1, 44100, 16)), threePCM), "44100 samples a second", nil},
		{"8 bits", wave(chunk("fmt ", format(1, 1, 8000, 8)), threePCM), "8 bits a sample", nil},
		{"cut data", wave(plainFormat, withSize(threePCM, 100)), "after 6 of 100 octets", io.ErrUnexpectedEOF},
		{"long data", wave(plainFormat, withSize(threePCM, 9600001)), "at most ten minutes", nil},
		{"long stream", wave(plainFormat, withSize(chunk("data", make([]byte, 9600001)), 0xffffffff)), "more than ten minutes", nil},
	}
	for _, tt := range tests {
		pcm, err := ReadWAV(bytes.NewReader(tt.file))
		if err == nil || !strings.Contains(err.Error(), tt.want) || pcm != nil {
			t.Errorf("%s: %d samples, %v, want an error with %q", tt.name, len(pcm), err, tt.want)
		}
		if tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%s: %v is not %v", tt.name, err, tt.is)
		}
	}

	broken := errors.New("broken disk")
	for _, file := range [][]byte{nil, wave(), wave(plainFormat, threePCM[:10])} {
		if _, err := ReadWAV(io.MultiReader(bytes.NewReader(file), iotest.ErrReader(broken))); !errors.Is(err, broken) {
			t.Errorf("after %d octets: %v, want %v", len(file), err, broken)
		}
	}
}

// A source without end must not be read for ever.
func TestReadWAVIsBounded(t *testing.T) {
	t.Parallel()
	endless := io.MultiReader(bytes.NewReader(wave()), zeros{})
	counted := &counter{r: endless}
	if _, err := ReadWAV(counted); err == nil {
		t.Error("an endless file was read")
	}
	if counted.n > maxFile {
		t.Errorf("%d octets read, at most %d wanted", counted.n, maxFile)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

type counter struct {
	r io.Reader
	n int
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += n
	return n, err
}

func TestWriteWAV(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := WriteWAV(&b, []int16{1, -1, math.MinInt16}); err != nil {
		t.Fatal(err)
	}
	want := withSize(wave(plainFormat, threePCM), uint32(b.Len()-8))
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("wrote\n% x, want\n% x", b.Bytes(), want)
	}
	broken := errors.New("broken disk")
	if err := WriteWAV(errWriter{broken}, nil); !errors.Is(err, broken) {
		t.Errorf("WriteWAV: %v", err)
	}
}

type errWriter struct{ err error }

func (w errWriter) Write([]byte) (int, error) { return 0, w.err }

// What is read can be written and read again, and is never more than the file
// held.
func FuzzReadWAV(f *testing.F) {
	f.Add(wave(plainFormat, threePCM))
	f.Add(wave(chunk("LIST", []byte("odd")), plainFormat, withSize(threePCM, 0xffffffff)))
	f.Add(wave(threePCM))
	f.Add(aliceWAV[:200])
	f.Fuzz(func(t *testing.T, file []byte) {
		pcm, err := ReadWAV(bytes.NewReader(file))
		if err != nil {
			if pcm != nil {
				t.Errorf("%d samples beside %v", len(pcm), err)
			}
			return
		}
		if 2*len(pcm) > len(file) {
			t.Errorf("%d samples out of %d octets", len(pcm), len(file))
		}
		var b bytes.Buffer
		if err := WriteWAV(&b, pcm); err != nil {
			t.Fatal(err)
		}
		again, err := ReadWAV(&b)
		if err != nil || !slices.Equal(again, pcm) {
			t.Errorf("wrote %d samples, read %d, %v", len(pcm), len(again), err)
		}
	})
}
