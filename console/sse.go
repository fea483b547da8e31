package console

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxEvent bounds one event of a stream: the snapshot of some ten thousand
// calls.
const maxEvent = 16 << 20

var errEventTooLong = errors.New("an event of the stream is too long")

// message is one event as it stands in a stream.
type message struct {
	name string // "message" where the stream names none
	id   string // the last one given in the stream
	data string
}

// eventReader reads a stream of server-sent events as the HTML standard
// interprets it ("9.2.6 Interpreting an event stream"), without reconnection.
type eventReader struct {
	r      *bufio.Reader
	limit  int // octets of a line, and of an event's data
	line   []byte
	begun  bool // the first line, which may begin with a byte order mark, was read
	skipLF bool // the last line ended in CR: an LF that follows belongs to it
	id     string
}

func newEventReader(r io.Reader, limit int) *eventReader {
	return &eventReader{r: bufio.NewReader(r), limit: limit}
}

// next returns the next event that has data. At the stream's end the error is
// io.EOF, and an event that the end interrupts is lost, as the standard has it.
func (e *eventReader) next() (message, error) {
	var name string
	var data strings.Builder
	has := false
	for {
		line, err := e.readLine()
		if err != nil {
			return message{}, err
		}
		if line == "" {
			if !has {
				name = ""
				continue
			}
			if name == "" {
				name = "message"
			}
			return message{name, e.id, strings.TrimSuffix(data.String(), "\n")}, nil
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field { // "" is a comment
		case "event":
			name = value
		case "data":
			if data.Len()+len(value) >= e.limit {
				return message{}, fmt.Errorf("%w: more than %d octets", errEventTooLong, e.limit)
			}
			data.WriteString(value)
			data.WriteByte('\n')
			has = true
		case "id":
			if !strings.Contains(value, "\x00") {
				e.id = value
			}
		}
	}
}

// readLine returns a line without its end: LF, CR or CR LF. A CR ends it at
// once, since what follows it may be long in coming.
func (e *eventReader) readLine() (string, error) {
	e.line = e.line[:0]
	for {
		b, err := e.r.ReadByte()
		if err != nil {
			return "", err
		}
		if e.skipLF {
			e.skipLF = false
			if b == '\n' {
				continue
			}
		}
		if b == '\n' || b == '\r' {
			e.skipLF = b == '\r'
			line := string(e.line)
			if !e.begun {
				e.begun = true
				line = strings.TrimPrefix(line, "\ufeff")
			}
			return line, nil
		}
		if len(e.line) >= e.limit {
			return "", fmt.Errorf("%w: a line of more than %d octets", errEventTooLong, e.limit)
		}
		e.line = append(e.line, b)
	}
}
