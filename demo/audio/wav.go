package audio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Rate is the sampling rate of all audio here, in samples a second.
const Rate = 8000

const (
	// maxSamples bounds what ReadWAV keeps: ten minutes.
	maxSamples = 10 * 60 * Rate
	// maxFile bounds what ReadWAV reads: ten minutes and 1 MiB of other chunks.
	maxFile = 2*maxSamples + 1<<20
	// openEnded is the least data size that means "until the end": programs that
	// write to a pipe do not know the size and leave one near 2^31 or 2^32.
	openEnded = 0x7fff0000

	formatPCM        = 0x0001
	formatALaw       = 0x0006
	formatMuLaw      = 0x0007
	formatExtensible = 0xfffe
)

// pcmSubFormat is KSDATAFORMAT_SUBTYPE_PCM as it stands in a file.
var pcmSubFormat = []byte{1, 0, 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71}

// ReadWAV reads the samples of a RIFF WAVE file of 8 kHz, one channel, 16-bit
// PCM. The sizes of the outer RIFF chunk are not believed, chunks other than
// "fmt " and "data" are skipped, and data that was written to a pipe, whose size
// nobody knew, reaches to the end of the file. Another format is an error that
// says which, as are a file that ends early and one longer than ten minutes.
func ReadWAV(r io.Reader) ([]int16, error) {
	pcm, err := readWAV(&io.LimitedReader{R: r, N: maxFile})
	if err != nil {
		return nil, fmt.Errorf("read WAV: %w", err)
	}
	return pcm, nil
}

func readWAV(r *io.LimitedReader) ([]int16, error) {
	var riff [12]byte
	if _, err := io.ReadFull(r, riff[:]); err != nil {
		return nil, fmt.Errorf("no RIFF header: %w", ended(err))
	}
	if string(riff[:4]) != "RIFF" || string(riff[8:]) != "WAVE" {
		return nil, fmt.Errorf("not a WAVE file: it begins with %q", riff[:4])
	}
	formatSeen := false
	for {
		var head [8]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return nil, fmt.Errorf("no data chunk: %w", ended(err))
		}
		id, size := string(head[:4]), binary.LittleEndian.Uint32(head[4:])
		switch id {
		case "data":
			if !formatSeen {
				return nil, errors.New("the data chunk comes before the format")
			}
			return readData(r, size)
		case "fmt ":
			const usual, longest = 16, 1024
			if size < usual || size > longest {
				return nil, fmt.Errorf("format chunk of %d octets", size)
			}
			format := make([]byte, size)
			if _, err := io.ReadFull(r, format); err != nil {
				return nil, fmt.Errorf("in the format chunk: %w", ended(err))
			}
			if err := checkFormat(format); err != nil {
				return nil, err
			}
			formatSeen = true
		default:
			if _, err := io.CopyN(io.Discard, r, int64(size)); err != nil {
				return nil, fmt.Errorf("in the chunk %q: %w", id, ended(err))
			}
		}
		if size%2 == 1 { // chunks begin at even places
			if _, err := io.CopyN(io.Discard, r, 1); err != nil {
				return nil, fmt.Errorf("after the chunk %q: %w", id, ended(err))
			}
		}
	}
}

func checkFormat(f []byte) error {
	le := binary.LittleEndian
	coding, channels, rate, bits := le.Uint16(f), le.Uint16(f[2:]), le.Uint32(f[4:]), le.Uint16(f[14:])
	if coding == formatExtensible && len(f) >= 40 && bytes.Equal(f[24:40], pcmSubFormat) {
		coding = formatPCM
	}
	switch {
	case coding == formatALaw:
		return errors.New("the coding is A-law, want 16-bit PCM")
	case coding == formatMuLaw:
		return errors.New("the coding is mu-law, want 16-bit PCM")
	case coding != formatPCM:
		return fmt.Errorf("the coding is number 0x%04x, want 16-bit PCM", coding)
	case channels != 1:
		return fmt.Errorf("%d channels, want 1", channels)
	case rate != Rate:
		return fmt.Errorf("%d samples a second, want %d", rate, Rate)
	case bits != 16:
		return fmt.Errorf("%d bits a sample, want 16", bits)
	}
	return nil
}

func readData(r *io.LimitedReader, size uint32) ([]int16, error) {
	unknown := size >= openEnded
	if !unknown && size > 2*maxSamples {
		return nil, fmt.Errorf("%d octets of audio, at most ten minutes (%d) are read", size, 2*maxSamples)
	}
	want := int64(2*maxSamples + 1) // one more than allowed, to see that there is more
	if !unknown {
		want = int64(size)
	}
	// ReadAll grows with what really comes, so that a size in a header alone
	// costs nothing.
	b, err := io.ReadAll(io.LimitReader(r, want))
	switch {
	case err != nil:
		return nil, fmt.Errorf("in the data chunk: %w", err)
	case unknown && len(b) > 2*maxSamples:
		return nil, errors.New("more than ten minutes of audio")
	case !unknown && len(b) < int(size):
		return nil, fmt.Errorf("the file ends after %d of %d octets of audio: %w", len(b), size, io.ErrUnexpectedEOF)
	}
	pcm := make([]int16, len(b)/2)
	for i := range pcm {
		pcm[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return pcm, nil
}

// ended is the error of a reader that came to its end too early.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// WriteWAV writes pcm as a WAVE file that ReadWAV and everybody else reads.
func WriteWAV(w io.Writer, pcm []int16) error {
	const header = 44
	if int64(len(pcm)) > (openEnded-header)/2 {
		return fmt.Errorf("write WAV: %d samples do not fit", len(pcm))
	}
	le := binary.LittleEndian
	b := make([]byte, 0, header+2*len(pcm))
	b = append(b, "RIFF"...)
	b = le.AppendUint32(b, uint32(header-8+2*len(pcm)))
	b = append(b, "WAVEfmt "...)
	b = le.AppendUint32(b, 16)
	b = le.AppendUint16(b, formatPCM)
	b = le.AppendUint16(b, 1)      // channel
	b = le.AppendUint32(b, Rate)   // samples a second
	b = le.AppendUint32(b, 2*Rate) // octets a second
	b = le.AppendUint16(b, 2)      // octets a sample
	b = le.AppendUint16(b, 16)     // bits a sample
	b = append(b, "data"...)
	b = le.AppendUint32(b, uint32(2*len(pcm)))
	for _, s := range pcm {
		b = le.AppendUint16(b, uint16(s))
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write WAV: %w", err)
	}
	return nil
}
