package demo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/sipward/sipward/sip"
)

const (
	maxHead     = 32 << 10 // octets of start line and header fields
	streamWrite = 5 * time.Second
)

// streamFace is a face over TCP. It uses the newest connection with its
// sipward, whoever opened it, and opens one where there is none.
type streamFace struct {
	face     *face
	listener net.Listener

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	newest net.Conn
	closed bool
}

func (s *streamFace) accept() {
	defer s.face.w.wg.Done()
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				s.face.w.o.Log.Warn("wire: accept", "error", err)
			}
			return
		}
		s.serve(conn)
	}
}

// serve reads a connection on a goroutine of its own; false where the face is
// closed.
func (s *streamFace) serve(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.Close()
		return false
	}
	s.conns[conn], s.newest = struct{}{}, conn
	s.face.w.wg.Add(1)
	go s.read(conn)
	return true
}

func (s *streamFace) read(conn net.Conn) {
	defer s.face.w.wg.Done()
	defer s.drop(conn)
	r := bufio.NewReader(conn)
	for {
		raw, err := readMessage(r)
		if err != nil {
			return
		}
		s.face.w.message(s.face, localOf(conn.RemoteAddr()), raw, true)
	}
}

func (s *streamFace) drop(conn net.Conn) {
	conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
	if s.newest != conn {
		return
	}
	s.newest = nil
	for other := range s.conns {
		s.newest = other
	}
}

// send writes a message to the sipward. The wire's lock holds off everybody
// else meanwhile.
func (s *streamFace) send(b []byte, m *sip.Message) {
	w := s.face.w
	s.mu.Lock()
	conn := s.newest
	s.mu.Unlock()
	if conn == nil {
		ctx, cancel := context.WithTimeout(context.Background(), streamWrite)
		defer cancel()
		var err error
		if conn, err = w.o.Network.(StreamNetwork).Dial(ctx, s.face.local.Addr(), s.face.peer); err != nil {
			w.o.Log.Warn("wire: cannot connect", "error", err)
			return
		}
		if !s.serve(conn) {
			return
		}
	}
	w.see(Sighting{Link: s.face.link, Sent: true, Kind: SIP, From: localOf(conn.LocalAddr()), To: localOf(conn.RemoteAddr()), Stream: true, Data: b, Message: m})
	conn.SetWriteDeadline(time.Now().Add(streamWrite))
	if _, err := conn.Write(b); err != nil {
		w.o.Log.Debug("wire: not sent", "error", err)
		s.drop(conn)
	}
}

func (s *streamFace) close() {
	s.listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for conn := range s.conns {
		conn.Close()
	}
}

// readMessage takes one message out of a stream (RFC 3261 section 18.3).
func readMessage(r *bufio.Reader) ([]byte, error) {
	var b []byte
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		if len(b) == 0 && len(bytes.TrimRight(line, "\r\n")) == 0 {
			continue // a keep-alive between messages
		}
		if b = append(b, line...); len(b) > maxHead {
			return nil, fmt.Errorf("demo: header of more than %d octets", maxHead)
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			break
		}
		if name, value := field(string(bytes.TrimRight(line, "\r\n"))); name == "content-length" || name == "l" {
			if length, err = strconv.Atoi(value); err != nil || length < 0 || length > sip.MaxMessage {
				return nil, fmt.Errorf("demo: Content-Length %q", value)
			}
		}
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	return append(b, body...), nil
}
