package sip

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Timers of RFC 3261 section 17.1.1.1 and appendix A.
const (
	T1 = 500 * time.Millisecond // the estimate of a round trip
	T2 = 4 * time.Second        // the longest interval between retransmissions
	T4 = 5 * time.Second        // how long a message may stay in the network
)

// packetBuffer is what a UDP socket may hold unread, in octets: a burst of
// several hundred INVITEs.
const packetBuffer = 2 << 20

// maxQueued bounds the messages that wait for one dialog; what comes beyond is
// lost as it would be on the way.
const maxQueued = 1024

// Handler gets the requests that belong to no dialog. It runs on the reader
// of the listener, or on the queue of a dialog that has ended where the
// Call-ID is used again, and must not block.
type Handler func(*Incoming)

// Options of a stack.
type Options struct {
	Handler   Handler
	UserAgent string       // "sipward/1.0"; goes into requests and responses
	Log       *slog.Logger // nil: slog.Default
}

// Stack joins listeners, dialogs and the handler.
type Stack struct {
	handler   Handler
	userAgent string
	log       *slog.Logger
	tagKey    [32]byte
	malformed atomic.Uint64

	mu        sync.RWMutex
	dialogs   map[string]*Dialog      // by Call-ID
	clients   map[string]*clientTx    // outside dialogs, by branch
	servers   map[serverKey]*ServerTx // outside dialogs
	listeners []*Listener
	closed    bool
	done      chan struct{} // closed with the stack
	wg        sync.WaitGroup
}

// NewStack returns a stack without listeners.
func NewStack(o Options) *Stack {
	s := &Stack{handler: o.Handler, userAgent: o.UserAgent, log: o.Log, dialogs: map[string]*Dialog{},
		clients: map[string]*clientTx{}, servers: map[serverKey]*ServerTx{}, done: make(chan struct{})}
	if s.log == nil {
		s.log = slog.Default()
	}
	rand.Read(s.tagKey[:])
	return s
}

// Listen serves a socket. Errors are those of an option that is wrong.
func (s *Stack) Listen(o ListenerOptions) (*Listener, error) {
	l := &Listener{Name: o.Name, stack: s}
	at, err := l.bind(o)
	if err != nil {
		return nil, fmt.Errorf("sip: listener %s: %w", o.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, net.ErrClosed
	}
	l.bound.Store(at)
	s.listeners = append(s.listeners, l)
	s.serve(l, at)
	return l, nil
}

// Close closes every listener and stops every transaction's timers; what
// waits on a connection that stands leaves before, within a second. Dialogs get no further
// events. It returns when all readers have ended.
func (s *Stack) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.done)
	}
	listeners := s.listeners
	clients, servers := slices.Collect(maps.Values(s.clients)), slices.Collect(maps.Values(s.servers))
	dialogs := make([]*Dialog, 0, len(s.dialogs))
	for _, d := range s.dialogs {
		dialogs = append(dialogs, d)
	}
	s.mu.Unlock()
	var closing sync.WaitGroup
	for _, l := range listeners {
		closing.Go(l.bound.Load().close)
	}
	closing.Wait()
	s.wg.Wait()
	for _, d := range dialogs {
		d.queue.Post(d.discard)
	}
	for _, t := range clients {
		t.queue.Post(t.terminate)
	}
	for _, t := range servers {
		t.queue.Post(t.terminate)
	}
}

// Malformed counts the messages that could not be read.
func (s *Stack) Malformed() uint64 { return s.malformed.Load() }

// Dialogs counts the Call-IDs in use, those included that only wait for late
// retransmissions.
func (s *Stack) Dialogs() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.dialogs)
}

func (s *Stack) closing() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.closed
}

// receive is where every message enters, in the order of its listener.
func (s *Stack) receive(flow Flow, m *Message, err error) {
	guard(s.log, func() {
		if m == nil {
			s.malformed.Add(1)
			s.log.Debug("dropped what is not SIP", "listener", flow.listener.Name, "from", flow.remote)
			return
		}
		if err == nil {
			err = validate(m)
		}
		if !m.IsRequest() {
			switch {
			case (err == nil || err == errVias) && s.answerOutside(m):
			case err == nil:
				s.dispatch(flow, m)
			default:
				s.malformed.Add(1)
			}
			return
		}
		stampVia(m, flow.remote)
		if err != nil {
			s.malformed.Add(1)
			s.refuseMalformed(flow, m, err)
			return
		}
		if !s.repeatedOutside(flow, m) {
			s.dispatch(flow, m)
		}
	})
}

func (s *Stack) dispatch(flow Flow, m *Message) {
	d := s.dialog(m.CallID())
	if d != nil {
		if d.queue.depth() < maxQueued {
			d.queue.Post(func() { d.receive(flow, m) })
		}
		return
	}
	if m.IsRequest() {
		s.hand(&Incoming{Message: m, Flow: flow, stack: s})
	}
}

// hand gives a request to the handler, and answers 500 for one that panics
// before it made a dialog of it.
func (s *Stack) hand(in *Incoming) {
	if s.handler == nil {
		return
	}
	fine := false
	defer func() {
		if !fine && s.dialog(in.CallID()) == nil {
			in.Reply(500, "")
		}
	}()
	s.handler(in)
	fine = true
}

func (s *Stack) dialog(callID string) *Dialog {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.dialogs[callID]
}

// refuseMalformed answers 400 where the request has enough to be answered and
// is no ACK, for which there is no answer.
func (s *Stack) refuseMalformed(flow Flow, m *Message, err error) {
	vias := m.Values("Via")
	if m.Method == "ACK" || len(vias) == 0 || m.CallID() == "" || m.Get("CSeq") == "" || m.Get("From") == "" || m.Get("To") == "" {
		return
	}
	if _, perr := ParseVia(vias[0]); perr != nil {
		return
	}
	s.hand(&Incoming{Message: m, Flow: flow, stack: s, malformed: err})
}

// register claims a Call-ID; false where it is taken.
func (s *Stack) register(d *Dialog) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.dialogs[d.callID]; taken || s.closed {
		return false
	}
	s.dialogs[d.callID] = d
	return true
}

func (s *Stack) unregister(d *Dialog) {
	s.mu.Lock()
	if s.dialogs[d.callID] == d {
		delete(s.dialogs, d.callID)
	}
	s.mu.Unlock()
}

// Incoming is a request that belongs to no dialog.
type Incoming struct {
	*Message
	Flow Flow

	stack     *Stack
	malformed error
}

// Kept returns what is worth keeping of a request that was answered: without body and
// the fields of these names, in one piece of memory.
func (in *Incoming) Kept(without []string) *Incoming {
	m := &Message{Method: in.Method, URI: in.URI}
	size := 0
	keep := func(f Field) bool {
		return !slices.ContainsFunc(without, func(name string) bool { return strings.EqualFold(name, f.Name) })
	}
	count := 0
	for _, f := range in.Fields {
		if keep(f) {
			count, size = count+1, size+len(f.Value)
		}
	}
	var text strings.Builder
	text.Grow(size)
	m.Fields = make([]Field, 0, count)
	for _, f := range in.Fields {
		if keep(f) {
			begin := text.Len()
			text.WriteString(f.Value)
			m.Add(f.Name, text.String()[begin:])
		}
	}
	return &Incoming{Message: m, Flow: in.Flow, stack: in.stack}
}

// Malformed returns why the request is to be answered 400, or nil.
func (in *Incoming) Malformed() error { return in.malformed }

// Reply answers without keeping state (RFC 3261 section 8.2.7): a repeated
// request gets the same answer. An ACK is never answered.
func (in *Incoming) Reply(status int, reason string, fields ...Field) {
	if in.Method == "ACK" {
		return
	}
	res := NewResponse(in.Message, status, reason, in.stack.statelessTag(in.Message))
	res.Fields = append(res.Fields, fields...)
	in.stack.stampServer(res)
	via, err := ParseVia(in.Values("Via")[0])
	if err != nil {
		return
	}
	in.Flow.respondTo(via).send(res.Bytes(), nil)
}

// statelessTag is the same for each repetition of a request and cannot be
// guessed.
func (s *Stack) statelessTag(m *Message) string {
	h := hmac.New(sha256.New, s.tagKey[:])
	h.Write([]byte(m.CallID()))
	h.Write([]byte{0})
	h.Write([]byte(m.Get("Via")))
	return tagText(h.Sum(nil))
}

func (s *Stack) stampServer(m *Message) {
	if s.userAgent != "" && !m.Has("Server") {
		m.Add("Server", s.userAgent)
	}
}

var tagEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func tagText(b []byte) string { return tagEncoding.EncodeToString(b[:10]) }

func newBranch() string { return "z9hG4bK" + newToken() }

// newToken returns 80 unguessable bits as text, for tags, branches and
// Call-IDs (RFC 3261 section 19.3).
func newToken() string {
	var b [10]byte
	rand.Read(b[:])
	return tagText(b[:])
}
