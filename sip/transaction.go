package sip

import (
	"errors"
	"time"
)

var (
	// ErrTimeout: no final response came within 64*T1.
	ErrTimeout = errors.New("sip: no answer (timer B/F)")
	// ErrTransport: the request could not be sent, or its connection has ended
	// before the answer. What the user gets wraps the reason too, so compare with
	// errors.Is.
	ErrTransport = errors.New("sip: the request could not be sent")
	// ErrCancelled: the INVITE was cancelled by this side.
	ErrCancelled = errors.New("sip: cancelled")
)

type txState int

const (
	txCalling    txState = iota // client INVITE; for others RFC 3261 says Trying
	txProceeding                // 1xx seen or sent
	txAccepted                  // RFC 6026: 2xx seen or sent
	txCompleted                 // final response seen or sent
	txConfirmed                 // server INVITE: ACK of a non-2xx came
	txTerminated
)

// place is where a transaction lives: its stack, and the queue of its dialog or
// of who relays it.
type place struct {
	stack *Stack
	queue *Queue
}

// timer posts f to the queue after d; a stopped timer runs nothing, also when
// its function was posted already.
type timer struct {
	t    *time.Timer
	dead bool
}

func (p place) after(wait time.Duration, f func()) *timer {
	tm := &timer{}
	tm.t = time.AfterFunc(wait, func() {
		p.queue.Post(func() {
			if !tm.dead {
				tm.dead = true
				f()
			}
		})
	})
	return tm
}

func (t *timer) stop() {
	if t != nil {
		t.dead = true
		t.t.Stop()
	}
}

// clientTx is a client transaction (RFC 3261 section 17.1, RFC 6026). It
// lives on the queue of its place.
type clientTx struct {
	place
	drop    func(*clientTx) // it has ended
	req     *Message
	wire    []byte
	flow    Flow
	wait    *awaited // over TCP and TLS, until the answer
	anew    int      // how often it was sent anew, its connection having ended
	arrived bool     // perhaps: it has left
	branch  string
	state   txState
	handle  func(*Message, error) // each 1xx, each 2xx of an INVITE, one final response or error
	ack     []byte                // of a non-2xx
	acks    []sentAck             // of 2xx, one per fork
	resend  *timer                // A or E
	timeout *timer                // B or F
	linger  *timer                // D, K or M
}

func (d *Dialog) newClientTx(req *Message, branch string, flow Flow, handle func(*Message, error)) *clientTx {
	t := &clientTx{place: d.place, drop: d.dropClient, req: req, wire: req.Bytes(), flow: flow, branch: branch, handle: handle}
	d.clients = append(d.clients, t)
	t.start()
	return t
}

func (t *clientTx) start() {
	if tcp, ok := t.flow.large(t.wire); ok {
		t.startLarge(tcp)
	} else {
		t.startSmall()
	}
	t.timeout = t.after(64*T1, func() {
		if t.pending() {
			t.fail(ErrTimeout)
		}
	})
}

func (t *clientTx) startSmall() {
	t.send()
	if !t.flow.reliable() {
		t.armResend(T1)
	}
}

// stub returns what is asked for of an INVITE that was accepted: its number, and
// whether it takes reliable provisional responses. The transaction stays for half a
// minute more.
func (m *Message) stub() *Message {
	s := &Message{Method: m.Method}
	for _, f := range m.Fields {
		switch f.Name {
		case "CSeq", "Supported", "Require":
			s.Add(f.Name, f.Value)
		}
	}
	return s
}

func (t *clientTx) invite() bool { return t.req.Method == "INVITE" }

func (t *clientTx) send() {
	t.wait = t.flow.ask(t.wire, func(why *cut) { t.queue.Post(func() { t.severed(why) }) })
}

// pending says whether there is no final response yet.
func (t *clientTx) pending() bool { return t.state == txCalling || t.state == txProceeding }

// severed: the request could not leave, or its connection has ended before the
// answer. Then the connection may have been stale, and the request has not been
// read; or the far end answers over another one, as RFC 3261 section 18.2.2 lets
// it. Both are met by sending the request anew, as is done over UDP: its branch
// says that it is the same. Where that cannot be the user is told at once. Alone a
// phone that rings and that nobody can connect to is given time to come back.
func (t *clientTx) severed(why *cut) {
	if !t.pending() || t.stack.closing() {
		return
	}
	t.stack.log.Debug("request not sent", "method", t.req.Method, "to", t.flow.remote, "error", why)
	t.arrived = t.arrived || why.left
	flow, way := t.flow.anew()
	switch {
	case why.stale && way && t.anew < maxAnew:
		t.anew++
		t.flow = flow
		t.send()
	case why.stale && !way && t.invite() && t.state == txProceeding:
		t.timeout.stop()
		t.timeout = t.after(64*T1, func() {
			if t.state == txProceeding {
				t.fail(why)
			}
		})
	default:
		t.fail(why)
	}
}

func (t *clientTx) armResend(wait time.Duration) {
	t.resend = t.after(wait, func() {
		if t.state != txCalling && (t.invite() || t.state != txProceeding) {
			return
		}
		t.send()
		next := 2 * wait
		if !t.invite() && (next > T2 || t.state == txProceeding) {
			next = T2
		}
		t.armResend(next)
	})
}

// fail gives the request up. An INVITE that may have arrived is waited for a
// little more: a 2xx that comes late must be acknowledged and released, or the
// callee sits in a call without a caller.
func (t *clientTx) fail(err error) {
	if t.invite() && (t.arrived || !errors.Is(err, ErrTransport)) {
		t.decide(txCompleted)
		t.linger = t.after(64*T1, t.terminate)
	} else {
		t.terminate()
	}
	t.handle(nil, err)
}

// ackTo returns the ACK that was sent to the fork with that To tag, or nil.
func (t *clientTx) ackTo(tag string) *sentAck {
	for i := range t.acks {
		if t.acks[i].tag == tag {
			return &t.acks[i]
		}
	}
	return nil
}

// receive handles a response that matched by branch and method.
func (t *clientTx) receive(res *Message) {
	switch {
	case res.Status < 200:
		if t.pending() {
			// Only the first one stops the timers: the limit that a CANCEL sets
			// stays.
			if t.invite() && t.state == txCalling {
				t.stopTimers()
			}
			t.state = txProceeding
			t.handle(res, nil)
		}
	case res.Status < 300 && t.invite():
		switch t.state {
		case txCalling, txProceeding:
			t.decide(txAccepted)
			t.wire, t.req = nil, t.req.stub()      // it is not sent again
			t.linger = t.after(64*T1, t.terminate) // timer M
			t.handle(res, nil)
		case txAccepted, txCompleted: // another fork's, also behind a refusal
			t.handle(res, nil)
		}
	default:
		switch t.state {
		case txCalling, txProceeding:
			t.decide(txCompleted)
			wait := 64 * T1 // timer D
			if !t.invite() {
				wait = T4 // timer K
			}
			if t.flow.reliable() && !t.invite() {
				wait = 0
			}
			if t.invite() {
				t.ack = t.ackFor(res)
				t.flow.send(t.ack, nil)
			}
			if wait == 0 {
				// Behind the handler, which may ask again in a dialog that has
				// nothing else under way.
				defer t.terminate()
			} else {
				t.linger = t.after(wait, t.terminate)
			}
			t.handle(res, nil)
		case txCompleted:
			if t.invite() {
				if t.ack == nil { // the first refusal, behind a timeout
					t.ack = t.ackFor(res)
				}
				t.flow.send(t.ack, nil)
			}
		}
	}
}

// ackFor builds the ACK of a non-2xx response (RFC 3261 section 17.1.1.3). It
// must not repeat Require (section 8.2.2.3).
func (t *clientTx) ackFor(res *Message) []byte {
	ack := &Message{Method: "ACK", URI: t.req.URI}
	for _, f := range t.req.Fields {
		switch f.Name {
		case "Via", "From", "Call-ID", "Route", "Max-Forwards":
			ack.Fields = append(ack.Fields, f)
		}
	}
	ack.Add("To", res.Get("To"))
	seq, _, _ := t.req.CSeq()
	ack.Add("CSeq", cseq(seq, "ACK"))
	return ack.Bytes()
}

// decide: it is known what becomes of the request.
func (t *clientTx) decide(state txState) {
	t.state = state
	t.stopTimers()
	t.wait.forget()
	t.wait = nil
}

func (t *clientTx) stopTimers() {
	t.resend.stop()
	t.timeout.stop()
	t.resend, t.timeout = nil, nil
}

func (t *clientTx) terminate() {
	if t.state == txTerminated {
		return
	}
	t.decide(txTerminated)
	t.linger.stop()
	// Whoever still knows the transaction keeps nothing that could be sent.
	t.wire, t.ack, t.acks = nil, nil, nil
	t.resend, t.timeout, t.linger = nil, nil, nil
	t.drop(t)
}

// ServerTx is a server transaction (RFC 3261 section 17.2, RFC 6026). For an
// INVITE it also repeats the 2xx until the ACK comes, which the RFC leaves to
// the user agent (section 13.3.1.4). Its methods run on the queue of its
// dialog, or on the one that [Incoming.Serve] was given.
type ServerTx struct {
	Request *Message
	Flow    Flow

	place
	drop    func(*ServerTx) // it has ended
	missing func()          // no ACK came for the 2xx
	tag     string          // of this side
	reply   Flow
	branch  string
	seq     uint32
	state   txState
	last    []byte // the response that answers a repetition
	acked   bool   // the 2xx was acknowledged
	resend  *timer // G, or the 2xx
	timeout *timer // H, or the missing ACK
	linger  *timer // I, J or L
}

func (d *Dialog) newServerTx(flow Flow, req *Message) *ServerTx {
	t := d.place.newServerTx(flow, req, d.local.tag)
	t.drop = d.dropServer
	t.missing = func() {
		switch {
		case t == d.initial && d.sendDueBye():
		case !d.ended:
			d.user.OnAckTimeout()
		}
	}
	d.servers = append(d.servers, t)
	return t
}

func (p place) newServerTx(flow Flow, req *Message, tag string) *ServerTx {
	via, _ := ParseVia(req.Values("Via")[0])
	seq, _, _ := req.CSeq()
	return &ServerTx{Request: req, Flow: flow, place: p, tag: tag, reply: flow.respondTo(via), branch: via.Branch(), seq: seq}
}

func (t *ServerTx) invite() bool { return t.Request.Method == "INVITE" }

// Final says whether a final response was sent.
func (t *ServerTx) Final() bool { return t.state >= txAccepted }

// Respond sends a response. After a final one it does nothing.
func (t *ServerTx) Respond(res *Message) {
	if t.Final() {
		return
	}
	t.stack.stampServer(res)
	t.last = res.Bytes()
	t.send()
	if res.Status >= 200 {
		t.linger.stop() // the limit of what is never answered
	}
	switch {
	case res.Status < 200:
		t.state = txProceeding
	case res.Status < 300 && t.invite():
		t.state = txAccepted
		t.repeat(T1)
		t.timeout = t.after(64*T1, t.ackMissing)
		t.linger = t.after(64*T1+T4, t.terminate) // timer L, behind the last repetition
	case t.invite():
		t.state = txCompleted
		if !t.reply.reliable() {
			t.repeat(T1)
		}
		t.timeout = t.after(64*T1, t.terminate) // timer H
	default:
		t.state = txCompleted
		if t.reply.reliable() {
			t.terminate()
		} else {
			t.linger = t.after(64*T1, t.terminate) // timer J
		}
	}
}

// Reply is Respond with a response of that status.
func (t *ServerTx) Reply(status int, reason string, fields ...Field) {
	res := NewResponse(t.Request, status, reason, t.tag)
	res.Fields = append(res.Fields, fields...)
	t.Respond(res)
}

func (t *ServerTx) send() {
	if t.last != nil {
		t.reply.send(t.last, nil)
	}
}

// repeat sends the final response of an INVITE again, T1 doubling to T2.
func (t *ServerTx) repeat(wait time.Duration) {
	t.resend = t.after(wait, func() {
		if (t.state == txAccepted && !t.acked) || t.state == txCompleted {
			t.send()
			t.repeat(min(2*wait, T2))
		}
	})
}

// again handles a repetition of the request.
func (t *ServerTx) again() {
	if t.state == txAccepted {
		return // RFC 6026 section 7.1: absorbed; the 2xx has its own clock
	}
	if t.state != txConfirmed {
		t.send()
	}
}

// ackNon2xx handles the ACK of a refusal, which has the INVITE's branch.
func (t *ServerTx) ackNon2xx() {
	if t.state != txCompleted {
		return
	}
	t.state = txConfirmed
	t.resend.stop()
	t.timeout.stop()
	if t.reply.reliable() {
		t.terminate()
		return
	}
	t.linger = t.after(T4, t.terminate) // timer I
}

// ack2xx notes the ACK of a 2xx; true the first time.
func (t *ServerTx) ack2xx() bool {
	if t.state != txAccepted || t.acked {
		return false
	}
	t.settle()
	return true
}

func (t *ServerTx) ackMissing() {
	if t.state == txAccepted && !t.acked {
		t.settle() // nothing is waited for any more: a BYE may go
		t.missing()
	}
}

// settle ends the waiting for the ACK of a 2xx.
func (t *ServerTx) settle() {
	t.acked = true
	t.resend.stop()
	t.timeout.stop()
	t.last, t.resend, t.timeout = nil, nil, nil // RFC 6026 section 7.1: a repetition is absorbed
}

func (t *ServerTx) terminate() {
	if t.state == txTerminated {
		return
	}
	t.state = txTerminated
	t.resend.stop()
	t.timeout.stop()
	t.linger.stop()
	t.last, t.resend, t.timeout, t.linger = nil, nil, nil, nil
	t.drop(t)
}
