package relay

import (
	"errors"
	"strings"

	"github.com/sipward/sipward/sip"
)

// Way is one destination.
type Way struct {
	Flow     sip.Flow
	URI      sip.URI
	From, To sip.Address // without tags
	Routes   []string    // Route fields of the first request, which Flow leads to
}

// Onward says where a request goes and what of it.
type Onward struct {
	Ways []Way // at least one
	// All sends the request to all ways at once, and the first 2xx answers it;
	// otherwise the next is tried where one cannot be reached or answers 503.
	All      bool
	Forwards int // Max-Forwards
	// Passwords lets credentials and the questions for them pass: they are
	// between the sender and the far end.
	Passwords bool
	// Answer answers a challenge of the far end in the sender's place, once; ok
	// is false where it cannot. nil: nobody does.
	Answer func(challenge, request *sip.Message) (answer sip.Field, ok bool)
	// Out is what the destination must not see, Back what the sender must not.
	Out, Back *Veil
}

// Request is a request on its way. Exactly one of Reply and Send must be called,
// once; from any goroutine.
type Request struct {
	r      *Relay
	in     *sip.Incoming
	tx     *sip.ServerTx
	queue  *sip.Queue
	o      Onward
	left   int          // ways that were tried and have not answered
	next   int          // the way that is tried next
	best   *sip.Message // the refusal that tells most
	err    error        // why the last way cannot be taken
	over   bool
	proved bool // a challenge has been answered
	sub    *subscription
}

// Take begins to carry a request outside dialogs; nil where there is nothing to
// do: it repeats one that is under way, or was answered 503 because too many
// are.
func (r *Relay) Take(in *sip.Incoming) *Request {
	queue := &sip.Queue{Log: r.log}
	tx := in.Serve(queue)
	if tx == nil {
		return nil
	}
	r.mu.Lock()
	ok := r.requests.take(sourceOf(in.Flow))
	r.mu.Unlock()
	if !ok {
		queue.Post(func() { tx.Reply(503, "", sip.Field{Name: "Retry-After", Value: "10"}) })
		return nil
	}
	return &Request{r: r, in: in, tx: tx, queue: queue}
}

// Reply answers a request that is not carried.
func (q *Request) Reply(status int, reason string, fields ...sip.Field) {
	q.queue.Post(func() { q.reply(status, reason, fields...) })
}

// reply answers with what is said here and not by the far end.
func (q *Request) reply(status int, reason string, fields ...sip.Field) {
	if q.over {
		return
	}
	q.end()
	q.tx.Reply(status, reason, fields...)
}

// end marks the request answered.
func (q *Request) end() {
	q.over = true
	q.r.mu.Lock()
	q.r.requests.give(sourceOf(q.in.Flow))
	q.r.mu.Unlock()
}

// Send carries the request on.
func (q *Request) Send(o Onward) {
	q.o = o
	q.queue.Post(func() {
		if q.in.Method == "SUBSCRIBE" {
			if q.sub = q.r.subscribe(q); q.sub == nil {
				q.reply(503, "", sip.Field{Name: "Retry-After", Value: "60"})
				return
			}
		}
		q.try()
	})
}

// try sends the request to the next way, or to all of them.
func (q *Request) try() {
	for q.next < len(q.o.Ways) && (q.left == 0 || q.o.All) {
		e := newEnd(q.o.Ways[q.next])
		q.next++
		if q.sub != nil && !q.sub.toward(e) {
			break
		}
		if q.err = q.send(e); q.err != nil {
			if errors.Is(q.err, errVeiled) {
				q.refuse(415, "", sip.Field{Name: "Accept-Encoding", Value: "identity"})
				return
			}
			q.r.log.Info("request not carried", "method", q.in.Method, "to", e.flow.Remote(), "error", q.err)
			continue
		}
		q.left++
	}
	if q.left == 0 {
		q.settle()
	}
}

var errVeiled = errors.New("relay: an encoded body cannot be looked into")

// send sends the request from one end.
func (q *Request) send(e *end, extra ...sip.Field) error {
	m, err := q.r.onward(e, q.in.Message, &q.o)
	if err != nil {
		return err
	}
	m.Fields = append(m.Fields, extra...)
	return q.r.stack.Request(sip.RequestOptions{Flow: e.way(), Message: m, Queue: q.queue,
		Handle: func(res *sip.Message, err error) { q.answered(e, m, res, err) }})
}

// onward makes the request that goes on from one that came.
func (r *Relay) onward(e *end, in *sip.Message, o *Onward) (*sip.Message, error) {
	body, ok := o.Out.body(in, in.Method)
	if !ok {
		return nil, errVeiled
	}
	m := e.request(in.Method, o.Forwards, r.agent)
	asIs := credentials
	if !o.Passwords {
		asIs = nil
	}
	copyFields(m, in, onward, asIs, o.Out)
	copyExtensions(m, in)
	if in.Method == "SUBSCRIBE" {
		capExpires(m)
	}
	m.Body = body
	return m, nil
}

// answered takes what came back for the request that an end has sent.
func (q *Request) answered(e *end, m, res *sip.Message, err error) {
	switch {
	case q.over, err == nil && res.Status < 200:
		return
	case err == nil && res.Status < 300:
		q.left--
		q.accept(e, res)
		return
	case err == nil && (res.Status == 401 || res.Status == 407) && q.o.Answer != nil && !q.proved:
		q.proved = true
		if value, ok := q.o.Answer(res, m); ok && q.send(e, value) == nil {
			return
		}
	}
	q.left--
	if err == nil && (q.best == nil || worth(res) > worth(q.best)) {
		q.best = res
	}
	q.err = err
	// RFC 3263 section 4.3. Behind a time-out the sender has given up as well.
	if reached := err == nil && res.Status != 503 || errors.Is(err, sip.ErrTimeout); reached && !q.o.All {
		q.next = len(q.o.Ways)
	}
	q.try()
}

// accept passes a 2xx back.
func (q *Request) accept(e *end, res *sip.Message) {
	tag := token()
	var fields []sip.Field
	if q.sub != nil {
		if !q.sub.begin(e, res) {
			q.refuse(502, "Bad Gateway (no dialog)")
			return
		}
		tag = q.sub.subscriber.tag
		fields = []sip.Field{{Name: "Contact", Value: "<" + q.sub.subscriber.contact.String() + ">"}}
	}
	q.end()
	q.tx.Respond(answer(q.tx, res, tag, &q.o, fields...))
}

// settle answers with the refusal that tells most.
func (q *Request) settle() {
	switch {
	case q.best != nil:
		if q.over {
			return
		}
		q.drop()
		q.end()
		q.tx.Respond(answer(q.tx, q.best, token(), &q.o))
	case errors.Is(q.err, sip.ErrTimeout):
		q.refuse(504, "", warning("the other side does not answer"))
	default:
		q.refuse(502, "Bad Gateway", warning("the other side cannot be reached"))
	}
}

func (q *Request) refuse(status int, reason string, fields ...sip.Field) {
	q.drop()
	q.reply(status, reason, fields...)
}

// drop ends a subscription that was not granted.
func (q *Request) drop() {
	if q.sub != nil {
		q.sub.end()
	}
}

func warning(text string) sip.Field {
	return sip.Field{Name: "Warning", Value: `399 sipward "` + text + `"`}
}

// answer makes the response to a request from that of the far end.
func answer(tx *sip.ServerTx, res *sip.Message, tag string, o *Onward, fields ...sip.Field) *sip.Message {
	status, reason := res.Status, o.Back.text(res.Reason)
	asks := status == 401 || status == 407
	switch {
	case status >= 300 && status < 400: // not followed, and a Contact would tell where the far end is
		status, reason = 480, ""
	case status == 503: // it is about one hop: RFC 3261 section 16.7
		status, reason = 500, ""
	case asks && !o.Passwords:
		status, reason = 403, "Forbidden (the other side asks for a password)"
	}
	out := sip.NewResponse(tx.Request, status, reason, tag)
	out.Fields = append(out.Fields, fields...)
	asIs := challenges
	if !o.Passwords {
		asIs = nil
	}
	copyFields(out, res, back, asIs, o.Back)
	copyExtensions(out, res)
	if tx.Request.Method == "SUBSCRIBE" {
		capExpires(out)
	}
	body, ok := o.Back.body(res, tx.Request.Method)
	if !ok {
		body = nil
	}
	if out.Body = body; len(body) == 0 {
		for _, name := range []string{"Content-Type", "Content-Disposition", "Content-Encoding", "Content-Language"} {
			out.Remove(name)
		}
	}
	return out
}

// worth orders refusals: what tells the sender most wins.
func worth(res *sip.Message) int {
	switch {
	case res.Status >= 600:
		return 3
	case res.Status == 408 || res.Status == 480 || res.Status >= 500 || res.Status < 400:
		return 1
	}
	return 2
}

// packageOf is the event package of a request, without its parameters.
func packageOf(m *sip.Message) string {
	name, _, _ := strings.Cut(m.Get("Event"), ";")
	return strings.ToLower(strings.TrimSpace(name))
}
