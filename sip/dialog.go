package sip

import (
	"errors"
	"slices"
	"strconv"
)

// ErrPending: an INVITE of this dialog is still under way (RFC 3261 section
// 14.1).
var ErrPending = errors.New("sip: another INVITE of this dialog is pending")

// User is told what happens in a dialog. Its methods run on the dialog's
// queue.
type User interface {
	// OnProvisional: a 101 to 199 to the initial INVITE came; Prack must follow
	// where it is Reliable.
	OnProvisional(res *Message)
	// OnAnswer: the first 2xx to the initial INVITE came; Ack must follow.
	OnAnswer(res *Message)
	// OnAnswerRepeated: the 2xx that was acknowledged came again; its ACK has
	// been repeated.
	OnAnswerRepeated(res *Message)
	// OnRefused: the initial INVITE has failed for good. res is nil where no
	// response says so; err is then ErrTimeout, ErrTransport or ErrCancelled.
	OnRefused(res *Message, err error)
	// OnRequest: a request within the dialog came, and must be answered. A PRACK
	// goes to whoever sent the response that it acknowledges.
	OnRequest(tx *ServerTx)
	// OnAck: the ACK of a 2xx to an INVITE came, once.
	OnAck(ack *Message, tx *ServerTx)
	// OnCancel: the caller gave up; the INVITE has been answered 487.
	OnCancel()
	// OnAckTimeout: no ACK came for a 2xx within 64*T1.
	OnAckTimeout()
}

// maxServers bounds the server transactions of a dialog: each stays 64*T1.
const maxServers = 64

// Dialog is one leg's dialog (RFC 3261 section 12) with its transactions. It
// begins with an INVITE sent by [Stack.Dial] or taken by [Incoming.Accept],
// and keeps its Call-ID until the last late repetition was answered.
type Dialog struct {
	place
	user        User
	callID      string
	name        string    // TLS: whom the peer must prove to be wherever it is dialled
	local       party     // this side
	home        *Listener // where the far end reaches this side
	contactUser string

	localSeq  uint32
	remoteSeq uint32
	peer      peer
	caller    bool // this side sent the initial INVITE
	confirmed bool // a 2xx was sent or taken
	ended     bool // BYE sent or seen, refused or cancelled

	cancelled bool
	cancelDue bool // CANCEL waits for the first provisional response
	replaced  bool // the Call-ID belongs to a newer INVITE

	initial    *ServerTx // callee: the INVITE; nil once the call stands and nothing of it is repeated
	invite     *clientTx // caller: the same
	*beginning           // likewise
	byeDue     func()    // callee: a BYE that waits for the ACK
	clients    []*clientTx
	servers    []*ServerTx
	prove      Prover
}

// beginning is what a dialog keeps for its initial INVITE alone. A call may stand for
// hours, and nobody asks for it any more.
type beginning struct {
	ackFields    []Field      // caller: of each ACK of the INVITE
	earlies      []*early     // caller, until the answer
	provisionals provisionals // callee
}

// Prover answers the question for a password (401 or 407) that a request of a
// dialog met with: with the field that the request carries when it is sent
// again, or with false where there is no answer.
type Prover func(request, question *Message) (Field, bool)

// SetProver lets p answer questions for a password to requests of [Dialog.Do]
// and [Dialog.Bye], each of which is sent once more at most. The initial INVITE
// is its user's to send again, as a new one. It must be called on the queue.
func (d *Dialog) SetProver(p Prover) { d.prove = p }

// proof returns the answer to a response that asks for a password.
func (d *Dialog) proof(req, res *Message) (Field, bool) {
	if d.prove == nil || res == nil || res.Status != 401 && res.Status != 407 {
		return Field{}, false
	}
	return d.prove(req, res)
}

type sentAck struct {
	tag  string
	wire []byte
	flow Flow
}

// Dial holds what an INVITE needs.
type Dial struct {
	Flow        Flow     // where it is sent
	URI         URI      // the Request-URI
	Routes      []string // Route fields of the INVITE, which Flow leads to; the dialog's own follow from its 2xx
	From, To    Address  // without tags
	ContactUser string
	MaxForwards int
	Fields      []Field
	AckFields   []Field // of the ACK of any 2xx (RFC 3261 section 8.2.2.3)
	ContentType string
	Body        []byte
	Queue       *Queue
	User        User
}

// Dial sends an INVITE with a new Call-ID. It must be called on the queue.
func (s *Stack) Dial(o Dial) (*Dialog, error) {
	d := &Dialog{place: place{s, o.Queue}, user: o.User, name: o.Flow.name, callID: newToken() + newToken(), caller: true,
		localSeq: 1, beginning: &beginning{ackFields: o.AckFields}, home: o.Flow.listener, contactUser: o.ContactUser}
	d.local = partyOf(o.From.WithTag(newToken()))
	d.peer = peer{party: partyOf(o.To.WithTag("")), target: o.URI, routes: o.Routes, flow: o.Flow}
	if !s.register(d) {
		return nil, ErrTransport
	}
	req, branch := d.request("INVITE", 1, &d.peer, o.Flow)
	if o.MaxForwards > 0 {
		req.Set("Max-Forwards", strconv.Itoa(o.MaxForwards))
	}
	req.Add("Contact", "<"+d.contact().String()+">")
	req.addAll(o.Fields)
	req.SetBody(o.ContentType, o.Body)
	d.invite = d.newClientTx(req, branch, o.Flow, d.onInitial)
	return d, nil
}

// Accept makes a dialog of an INVITE, answers it 100 and leads what follows
// with this Call-ID to the queue. It returns nil where another request with
// the Call-ID was faster; that one's retransmission needs no answer.
func (in *Incoming) Accept(queue *Queue, user User, contactUser string) *Dialog {
	from, to := in.From(), in.To()
	d := &Dialog{place: place{in.stack, queue}, user: user, name: in.Flow.ProvedName(from.URI.Host), callID: in.CallID(), beginning: &beginning{},
		home: in.Flow.listener, contactUser: contactUser}
	d.local = partyOf(to.WithTag(newToken()))
	d.remoteSeq, _, _ = in.CSeq()
	d.peer = peer{party: partyOf(from), target: contactOf(in.Message, from.URI), routes: in.Values("Record-Route"), flow: in.Flow, translated: translated(in.Message, in.Flow)}
	if !in.stack.register(d) {
		return nil
	}
	queue.Post(func() {
		d.initial = d.newServerTx(in.Flow, in.Message)
		d.initial.Reply(100, "")
	})
	return d
}

// contact is where the far end reaches this side now.
func (d *Dialog) contact() URI {
	return Flow{listener: d.home, remote: d.peer.flow.remote}.ContactURI(d.contactUser)
}

func contactOf(m *Message, fallback URI) URI {
	for _, c := range m.Values("Contact") {
		if a, err := ParseAddress(c); err == nil && a.URI.Host != "" {
			return a.URI
		}
	}
	return fallback
}

// CallID returns the dialog's Call-ID.
func (d *Dialog) CallID() string { return d.callID }

// Flow returns where the far end was last heard from.
func (d *Dialog) Flow() Flow { return d.peer.flow }

// Ended says whether the dialog is over.
func (d *Dialog) Ended() bool { return d.ended }

// Confirmed says whether a 2xx was sent or taken.
func (d *Dialog) Confirmed() bool { return d.confirmed }

func cseq(n uint32, method string) string { return strconv.FormatUint(uint64(n), 10) + " " + method }

// request builds a request to p that leaves on flow, with a new branch.
func (d *Dialog) request(method string, seq uint32, p *peer, flow Flow) (*Message, string) {
	branch := newBranch()
	l := flow.listener
	req := &Message{Method: method, URI: p.target, Fields: make([]Field, 0, 16)}
	req.Add("Via", l.via(branch))
	for _, r := range p.routes {
		req.Add("Route", r)
	}
	req.Add("Max-Forwards", "70")
	req.Add("From", d.local.text)
	req.Add("To", p.text)
	req.Add("Call-ID", d.callID)
	req.Add("CSeq", cseq(seq, method))
	if ua := d.stack.userAgent; ua != "" {
		req.Add("User-Agent", ua)
	}
	return req, branch
}

// hop returns where a request within the dialog goes: to the first route or
// the remote target where that is an address, else to where the peer was last
// heard from, as for a target behind a NAT. A connection that still stands is
// kept. Over TLS the peer must prove the name under which it was called, or that it
// has proved as it called, whatever address it has now.
func (d *Dialog) hop(p *peer) Flow {
	if p.translated && len(p.routes) == 0 {
		return p.flow
	}
	return p.flow.Toward(p.target, p.routes, d.name)
}

func (d *Dialog) receive(flow Flow, m *Message) {
	if d.replaced {
		d.stack.dispatch(flow, m)
		return
	}
	if !m.IsRequest() {
		d.receiveResponse(flow, m)
		return
	}
	via, _ := ParseVia(m.Values("Via")[0])
	switch m.Method {
	case "ACK":
		d.receiveAck(flow, m, via.Branch())
	case "CANCEL":
		d.receiveCancel(flow, m, via.Branch())
	default:
		d.receiveRequest(flow, m, via.Branch())
	}
}

func (d *Dialog) receiveResponse(flow Flow, m *Message) {
	via, _ := ParseVia(m.Values("Via")[0])
	_, method, _ := m.CSeq()
	for _, t := range d.clients {
		if t.branch == via.Branch() && t.req.Method == method {
			t.flow.learn(via)
			d.stay(flow)
			t.receive(m)
			if d.ended {
				d.bound() // a first 1xx has lifted timer B
			}
			return
		}
	}
}

// stay keeps the TLS connection over which the peer answers: its Contact often
// names an address, and no certificate does.
func (d *Dialog) stay(flow Flow) {
	was := &d.peer.flow
	if flow.secure() && flow.listener == was.listener && flow.remote == was.remote && flow.name == was.name &&
		(was.conn == nil || was.conn.isClosed()) {
		was.conn = flow.conn
	}
}

func (d *Dialog) receiveAck(flow Flow, m *Message, branch string) {
	seq, _, _ := m.CSeq()
	for _, t := range d.servers {
		if !t.invite() || t.seq != seq {
			continue
		}
		if t.state == txCompleted && t.branch == branch {
			t.ackNon2xx()
			return
		}
		if t.state == txAccepted && m.To().Tag() == d.local.tag && m.From().Tag() == d.peer.tag {
			if t.ack2xx() {
				d.peer.flow = flow
				if t == d.initial && d.sendDueBye() {
					return
				}
				if !d.ended {
					d.user.OnAck(m, t)
				}
				if t == d.initial {
					t.Request = t.Request.stub()
				}
			}
			return
		}
	}
}

func (d *Dialog) receiveCancel(flow Flow, m *Message, branch string) {
	in := &Incoming{Message: m, Flow: flow, stack: d.stack}
	for _, t := range d.servers {
		if t.invite() && t.branch == branch {
			via, _ := ParseVia(m.Values("Via")[0])
			res := NewResponse(m, 200, "", d.local.tag)
			d.stack.stampServer(res)
			flow.respondTo(via).send(res.Bytes(), nil)
			if !t.Final() {
				t.Reply(487, "")
				if t == d.initial {
					d.end()
					d.user.OnCancel()
				}
			}
			return
		}
	}
	in.Reply(481, "")
}

func (d *Dialog) receiveRequest(flow Flow, m *Message, branch string) {
	for _, t := range d.servers {
		if t.branch == branch && t.Request.Method == m.Method {
			via, _ := ParseVia(m.Values("Via")[0])
			t.follow(flow, via)
			t.again()
			d.reconnect(m, flow)
			return
		}
	}
	in := &Incoming{Message: m, Flow: flow, stack: d.stack}
	from, last := d.sender(m)
	switch to := m.To().Tag(); {
	case to == "":
		d.receiveOutside(in)
		return
	case to != d.local.tag, from == nil:
		in.Reply(481, "")
		return
	case d.ended && d.confirmed && m.Method == "BYE":
		in.Reply(200, "") // two BYEs cross
		d.sendDueBye()
		return
	case d.ended && m.Method == "PRACK" && d.acknowledged(m) != nil:
		in.Reply(200, "") // it crosses the final response
		return
	case d.ended:
		in.Reply(481, "")
		return
	case len(d.servers) >= maxServers && (m.Method != "BYE" || len(d.servers) > maxServers):
		// One more is a BYE: nobody is kept in a call by what was asked before.
		in.Reply(503, "", Field{"Retry-After", "32"})
		return
	}
	seq, _, _ := m.CSeq()
	if *last != 0 && seq <= *last {
		in.Reply(500, "CSeq out of order")
		return
	}
	if m.Method == "INVITE" {
		if d.invited() {
			in.Reply(500, "", Field{"Retry-After", "3"})
			return
		}
		if d.inviting() {
			in.Reply(491, "")
			return
		}
	}
	var acknowledged *provisional
	if m.Method == "PRACK" {
		if acknowledged = d.acknowledged(m); acknowledged == nil {
			in.Reply(481, "")
			return
		}
	}
	*last = seq
	if m.Method == "INVITE" || m.Method == "UPDATE" {
		from.target, from.translated = contactOf(m, from.target), translated(m, flow)
	}
	from.flow = flow
	t := d.newServerTx(flow, m)
	if m.Method == "INVITE" {
		t.Reply(100, "")
	}
	fine := false
	defer func() { // a user that panics must not leave the far end waiting
		if !fine && !t.Final() {
			t.Reply(500, "")
		}
	}()
	if acknowledged != nil {
		d.takePrack(acknowledged, t)
	} else {
		d.user.OnRequest(t)
	}
	fine = true
}

// receiveOutside takes a request that has the Call-ID but names no dialog.
func (d *Dialog) receiveOutside(in *Incoming) {
	seq, _, _ := in.CSeq()
	switch {
	case in.Method != "INVITE":
		d.stack.hand(in)
	case !d.caller && !d.confirmed && d.ended && (seq != d.initial.seq || in.From().Tag() != d.peer.tag):
		// We refused the INVITE and the caller tries again with what the refusal
		// asked for, under the same Call-ID (RFC 3261 section 8.1.3.5).
		d.discard()
		d.replaced = true
		d.stack.dispatch(in.Flow, in.Message)
	default:
		in.Reply(482, "") // the same call reached us by two ways: RFC 3261 section 8.2.2.2
	}
}

// invited says whether an INVITE of the far end waits for its final response
// or for the ACK of its 2xx.
func (d *Dialog) invited() bool {
	return slices.ContainsFunc(d.servers, func(t *ServerTx) bool {
		return t.invite() && (!t.Final() || (t.state == txAccepted && !t.acked))
	})
}

// inviting says whether an INVITE of this side has no final response yet.
func (d *Dialog) inviting() bool {
	return slices.ContainsFunc(d.clients, func(t *clientTx) bool {
		return t.invite() && (t.state == txCalling || t.state == txProceeding)
	})
}

// end marks the dialog over; it stays registered for late repetitions.
func (d *Dialog) end() {
	d.ended = true
	d.dropProvisionals()
	d.bound()
	d.retire()
}

// bound gives what is still under way in a dialog that is over an end, so that
// the Call-ID comes back also where the far end or the user never answers.
func (d *Dialog) bound() {
	for _, t := range slices.Clone(d.servers) {
		switch {
		case t.Final():
		case t.invite():
			t.Reply(487, "") // RFC 3261 section 15.1.2
		case t.linger == nil:
			t.linger = d.after(64*T1, t.terminate)
		}
	}
	for _, t := range d.clients {
		if t.invite() && t.state == txProceeding && (t.timeout == nil || t.timeout.dead) {
			t.timeout = d.after(64*T1, func() {
				if t.state == txProceeding {
					t.fail(ErrTimeout)
				}
			})
		}
	}
}

// retire gives the Call-ID back once nothing more is expected for it.
func (d *Dialog) retire() {
	if d.ended && len(d.clients) == 0 && len(d.servers) == 0 {
		d.stack.unregister(d)
	}
}

func (d *Dialog) dropClient(t *clientTx) {
	d.clients = slices.DeleteFunc(d.clients, func(x *clientTx) bool { return x == t })
	if t == d.invite && d.confirmed {
		d.invite, d.beginning = nil, nil
	}
	d.retire()
}

func (d *Dialog) dropServer(t *ServerTx) {
	d.servers = slices.DeleteFunc(d.servers, func(x *ServerTx) bool { return x == t })
	if t == d.initial && d.confirmed {
		d.initial, d.beginning = nil, nil
	}
	d.retire()
}

// discard stops every timer; the stack is closing.
func (d *Dialog) discard() {
	d.ended = true
	d.dropProvisionals()
	for _, t := range slices.Clone(d.clients) {
		t.terminate()
	}
	for _, t := range slices.Clone(d.servers) {
		t.terminate()
	}
	d.retire()
}
