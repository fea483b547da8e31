package console

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

var streams = []struct {
	name, stream string
	want         []message
}{
	{"empty", "", nil},
	{"one", "id: 1\nevent: snapshot\ndata: {}\n\n", []message{{"snapshot", "1", "{}"}}},
	{"no name", "data: x\n\n", []message{{"message", "", "x"}}},
	{"name does not last", "event: a\ndata: x\n\ndata: y\n\n", []message{{"a", "", "x"}, {"message", "", "y"}}},
	{"name without data", "event: a\n\ndata: y\n\n", []message{{"message", "", "y"}}},
	{"id lasts", "id: 1\ndata: x\n\ndata: y\n\nid\ndata: z\n\n", []message{{"message", "1", "x"}, {"message", "1", "y"}, {"message", "", "z"}}},
	{"id without data", "id: 5\n\ndata: y\n\n", []message{{"message", "5", "y"}}},
	{"id with NUL", "id: 1\nid: a\x00b\ndata: x\n\n", []message{{"message", "1", "x"}}},
	{"two data lines", "data: x\ndata: y\n\n", []message{{"message", "", "x\ny"}}},
	{"empty data", "data\n\ndata:\ndata:\n\n", []message{{"message", "", ""}, {"message", "", "\n"}}},
	{"one space goes", "data:x\n\ndata:  x \n\n", []message{{"message", "", "x"}, {"message", "", " x "}}},
	{"colon in value", "data: a:b\n\n", []message{{"message", "", "a:b"}}},
	{"comments", ": alive\n\n:\ndata: x\n: between\n\n", []message{{"message", "", "x"}}},
	{"unknown fields", "retry: 2000\nDATA: no\n data: no\ndata: x\n\n", []message{{"message", "", "x"}}},
	{"CR LF", "event: a\r\ndata: x\r\n\r\ndata: y\r\n\r\n", []message{{"a", "", "x"}, {"message", "", "y"}}},
	{"CR", "event: a\rdata: x\r\rdata: y\r\r", []message{{"a", "", "x"}, {"message", "", "y"}}},
	{"mixed ends", "data: x\r\n\rdata: y\n\r\n", []message{{"message", "", "x"}, {"message", "", "y"}}},
	{"byte order mark", "\ufeffdata: x\n\n\ufeffdata: y\n\n", []message{{"message", "", "x"}}},
	{"interrupted", "data: x\n\ndata: y\n", []message{{"message", "", "x"}}},
	{"interrupted line", "data: x\n\ndata: y", []message{{"message", "", "x"}}},
}

func readAll(e *eventReader) (all []message, err error) {
	for {
		m, err := e.next()
		if err != nil {
			return all, err
		}
		all = append(all, m)
	}
}

func TestEventReader(t *testing.T) {
	t.Parallel()
	for _, c := range streams {
		got, err := readAll(newEventReader(strings.NewReader(c.stream), 1000))
		if err != io.EOF || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q, %v, want %q", c.name, got, err, c.want)
		}
	}
}

// An event ends with its empty line: the reader does not wait for what follows.
func TestEventReaderDoesNotWait(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"data: x\n\n", "data: x\r\r", "data: x\r\n\r"} {
		r, w := io.Pipe()
		go io.WriteString(w, text)
		m, err := newEventReader(r, 1000).next()
		if err != nil || m.data != "x" {
			t.Errorf("%q: %+v, %v", text, m, err)
		}
		w.Close()
	}
}

func TestEventReaderIsBounded(t *testing.T) {
	t.Parallel()
	for name, unit := range map[string]string{"line": "x", "data lines": "data: xxxxxxxxx\n", "empty data lines": "data\n", "comment": ":x"} {
		read := 0
		endless := readerFunc(func(p []byte) (int, error) {
			n := copy(p, strings.Repeat(unit, len(p)/len(unit)))
			read += n
			return n, nil
		})
		_, err := newEventReader(endless, 10000).next()
		if !errors.Is(err, errEventTooLong) {
			t.Errorf("%s: %v", name, err)
		}
		if read > 100_000 {
			t.Errorf("%s: %d octets were read", name, read)
		}
	}
}

// interpret is the oracle: the standard's words, one after the other, on a
// whole stream in memory.
func interpret(stream string) (all []message) {
	stream = strings.TrimPrefix(stream, "\ufeff")
	stream = strings.ReplaceAll(stream, "\r\n", "\n")
	stream = strings.ReplaceAll(stream, "\r", "\n")
	lines := strings.Split(stream, "\n")
	var data, event, id string
	for _, line := range lines[:len(lines)-1] {
		if line == "" {
			if data != "" {
				if event == "" {
					event = "message"
				}
				all = append(all, message{event, id, data[:len(data)-1]})
			}
			data, event = "", ""
			continue
		}
		field, value := line, ""
		if i := strings.IndexByte(line, ':'); i >= 0 {
			field, value = line[:i], line[i+1:]
			if value != "" && value[0] == ' ' {
				value = value[1:]
			}
		}
		switch {
		case field == "event":
			event = value
		case field == "data":
			data += value + "\n"
		case field == "id" && strings.IndexByte(value, 0) < 0:
			id = value
		}
	}
	return all
}

func FuzzEventReader(f *testing.F) {
	for _, c := range streams {
		f.Add(c.stream)
	}
	f.Fuzz(func(t *testing.T, stream string) {
		want := interpret(stream)
		for name, r := range map[string]io.Reader{
			"whole":  strings.NewReader(stream),
			"octets": iotest.OneByteReader(strings.NewReader(stream)),
		} {
			got, err := readAll(newEventReader(r, len(stream)+1))
			if err != io.EOF || !reflect.DeepEqual(got, want) {
				t.Fatalf("%s: %q, %v, want %q", name, got, err, want)
			}
		}
		// With a limit it finds the same events as far as it comes, none of
		// them longer than the limit.
		got, _ := readAll(newEventReader(strings.NewReader(stream), 8))
		if len(got) > len(want) {
			t.Fatalf("with a limit: %q, want no more than %q", got, want)
		}
		for i, m := range got {
			if m != want[i] || len(m.data) > 8 {
				t.Fatalf("with a limit: %q, want the beginning of %q", got, want)
			}
		}
	})
}
