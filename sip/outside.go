package sip

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// maxOutside bounds the transactions outside dialogs, in each direction.
const maxOutside = 10000

// ErrBusy: too many requests outside dialogs wait for their answers.
var ErrBusy = errors.New("sip: too many requests are under way")

// RequestOptions hold a request that belongs to no dialog of this stack.
type RequestOptions struct {
	Flow Flow // where it is sent
	// Message is the request as it shall arrive, but for one Via field of this
	// stack that is added on top. It is not changed.
	Message *Message
	Queue   *Queue // where Handle runs
	// Handle gets provisional responses and one final response, without our Via,
	// or an error: ErrTimeout or ErrTransport.
	Handle func(*Message, error)
}

// Request sends a request in a client transaction of its own (RFC 3261 section
// 17.1.2). Whoever relays a request, or registers, thus keeps its Call-ID,
// From, To and CSeq. It may be called from any goroutine. An error says that
// the request was not sent and Handle will not be called: the method is
// INVITE, ACK or CANCEL, a field is missing, ErrBusy, or net.ErrClosed. Behind
// the stack's Close Handle is not called either.
func (s *Stack) Request(o RequestOptions) error {
	switch o.Message.Method {
	case "", "INVITE", "ACK", "CANCEL":
		return errors.New("sip: not a request for a transaction outside dialogs: " + o.Message.Method)
	}
	branch := newBranch()
	req := *o.Message
	req.Fields = slices.Insert(slices.Clone(req.Fields), 0, Field{"Via", o.Flow.listener.via(branch)})
	if err := validate(&req); err != nil {
		return err
	}
	t := &clientTx{place: place{s, o.Queue}, drop: s.dropClient, req: &req, wire: req.Bytes(), flow: o.Flow, branch: branch,
		handle: func(res *Message, err error) {
			if res != nil {
				res = withoutVia(res)
			}
			o.Handle(res, err)
		}}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	if len(s.clients) >= maxOutside {
		return ErrBusy
	}
	s.clients[branch] = t
	o.Queue.Post(func() {
		if t.state == txCalling {
			t.start()
		}
	})
	return nil
}

// withoutVia returns the message without its topmost Via value.
func withoutVia(m *Message) *Message {
	c := m.Clone()
	for i, f := range c.Fields {
		if !strings.EqualFold(f.Name, "Via") {
			continue
		}
		if rest := splitList(f.Value); len(rest) > 1 {
			c.Fields[i].Value = strings.Join(rest[1:], ", ")
		} else {
			c.Fields = slices.Delete(c.Fields, i, i+1)
		}
		break
	}
	return c
}

func (s *Stack) dropClient(t *clientTx) {
	s.mu.Lock()
	delete(s.clients, t.branch)
	s.mu.Unlock()
}

// answerOutside hands a response to the request outside dialogs that it
// answers; false where there is none.
func (s *Stack) answerOutside(m *Message) bool {
	s.mu.RLock()
	none := len(s.clients) == 0
	s.mu.RUnlock()
	if none {
		return false
	}
	via, _ := ParseVia(m.Values("Via")[0])
	_, method, _ := m.CSeq()
	s.mu.RLock()
	t := s.clients[via.Branch()]
	s.mu.RUnlock()
	if t == nil || t.req.Method != method {
		return false
	}
	if t.queue.depth() < maxQueued {
		t.queue.Post(func() {
			t.flow.learn(via)
			t.receive(m)
		})
	}
	return true
}

// serverKey is what a repetition has in common with its request (RFC 3261
// section 17.2.3). More than the branch, which some phones draw from few and
// strangers choose as they like.
type serverKey struct {
	branch, sentBy, method, callID, cseq string
	source                               netip.Addr
}

func keyOf(flow Flow, m *Message) serverKey {
	via, _ := ParseVia(m.Values("Via")[0])
	return serverKey{via.Branch(), strings.ToLower(via.Host) + ":" + strconv.Itoa(via.Port), m.Method, m.CallID(), m.Get("CSeq"), flow.remote.Addr()}
}

// Serve makes a server transaction of a request outside dialogs (RFC 3261
// section 17.2.2), so that it can be answered later: repetitions are absorbed,
// or get the answer once there is one. The transaction's methods must be called
// on the queue. It ends by itself where no final response was given within
// 64*T1, when the client has given up as well.
//
// Serve returns nil where there is nothing to do: a repetition was faster, too
// many requests wait (that is answered 503), the request is malformed (400), or
// it is an INVITE, ACK or CANCEL, which are not for it.
func (in *Incoming) Serve(queue *Queue) *ServerTx {
	switch {
	case in.Method == "INVITE", in.Method == "ACK", in.Method == "CANCEL":
		return nil
	case in.malformed != nil:
		in.Reply(400, "")
		return nil
	}
	s := in.stack
	key := keyOf(in.Flow, in.Message)
	t := place{s, queue}.newServerTx(in.Flow, in.Message, s.statelessTag(in.Message))
	t.drop = func(*ServerTx) {
		s.mu.Lock()
		delete(s.servers, key)
		s.mu.Unlock()
	}
	s.mu.Lock()
	_, taken := s.servers[key]
	full := len(s.servers) >= maxOutside
	if !taken && !full && !s.closed {
		s.servers[key] = t
		s.mu.Unlock()
		queue.Post(func() {
			if !t.Final() {
				t.linger = t.after(64*T1, t.terminate)
			}
		})
		return t
	}
	s.mu.Unlock()
	if full && !taken {
		in.Reply(503, "", Field{"Retry-After", "32"})
	}
	return nil
}

// repeatedOutside leads the repetition of a request outside dialogs to its
// transaction; false where there is none.
func (s *Stack) repeatedOutside(flow Flow, m *Message) bool {
	s.mu.RLock()
	none := len(s.servers) == 0
	s.mu.RUnlock()
	if none {
		return false
	}
	key := keyOf(flow, m)
	s.mu.RLock()
	t := s.servers[key]
	s.mu.RUnlock()
	if t == nil {
		return false
	}
	if t.queue.depth() < maxQueued {
		t.queue.Post(t.again)
	}
	return true
}
