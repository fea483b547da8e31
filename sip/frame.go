package sip

import (
	"bytes"
	"sync/atomic"
)

// framer cuts a stream into messages (RFC 3261 section 18.3). It holds at most
// one message and what one read brought behind it.
type framer struct {
	buf      []byte
	searched int   // the header fields do not end before it
	head     *head // of the message under way, once it is complete
	lineEnds int   // between two messages
	pinged   bool
	awaited  *atomic.Bool // a keep-alive of ours waits for its answer; nil: none does
}

func (f *framer) write(b []byte) { f.buf = append(f.buf, b...) }

// partial says whether a message has begun and not ended.
func (f *framer) partial() bool { return len(f.buf) > 0 }

// ping says, once, whether a keep-alive came (RFC 5626 section 4.4.1): two line
// ends between messages.
func (f *framer) ping() bool {
	was := f.pinged
	f.pinged = false
	return was
}

// next returns a message, or nothing where more octets are needed. Beside an
// error the message may be answered and the stream goes on; an error without
// message ends the stream, whose next message begins nobody knows where.
func (f *framer) next() (*Message, error) {
	if f.head == nil {
		f.skipLineEnds()
		end := bytes.Index(f.buf[f.searched:], []byte("\r\n\r\n"))
		if end < 0 {
			f.searched = max(len(f.buf)-3, 0)
			if len(f.buf) > MaxMessage {
				return nil, malformed("header fields longer than a message")
			}
			return nil, nil
		}
		h := parseHead(f.buf[:f.searched+end+4])
		if h.message == nil {
			return nil, h.err
		}
		// Content-Length must be there on a stream (RFC 3261 section 20.14).
		if h.length < 0 || h.size+h.length > MaxMessage {
			return nil, malformed("Content-Length")
		}
		f.head = &h
	}
	h := f.head
	size := h.size + h.length
	if len(f.buf) < size {
		return nil, nil
	}
	if h.length > 0 {
		h.message.Body = bytes.Clone(f.buf[h.size:size])
	}
	f.buf, f.head, f.searched = f.buf[size:], nil, 0
	return h.message, h.err
}

// pong takes a single line end that answers a keep-alive of ours.
func (f *framer) pong() bool { return f.awaited != nil && f.awaited.CompareAndSwap(true, false) }

func (f *framer) skipLineEnds() {
	if f.searched > 0 {
		return
	}
	n, ends := 0, 0
	for n < len(f.buf) && (f.buf[n] == '\r' || f.buf[n] == '\n') {
		if f.buf[n] == '\n' {
			ends++
		}
		n++
	}
	if ends%2 == 1 && f.pong() {
		ends--
	}
	if f.lineEnds += ends; f.lineEnds >= 2 {
		f.lineEnds, f.pinged = f.lineEnds%2, true
	}
	f.buf = f.buf[n:]
	if len(f.buf) > 0 {
		f.lineEnds = 0
	} else {
		f.buf = nil // a quiet connection holds nothing
	}
}
