package relay

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sipward/sipward/sip"
)

const (
	longest  = 24 * time.Hour // what a subscription may last, refreshed or not
	usual    = time.Hour      // where nobody says how long
	grace    = 64 * sip.T1    // for what is on its way when a subscription is over
	maxAtOne = 16             // requests of one subscription that wait for their answers
)

// subscription joins the dialog with the subscriber to the one with the
// notifier (RFC 6665). Everything but timer belongs to its queue.
type subscription struct {
	r          *Relay
	queue      *sip.Queue
	source     netip.Prefix
	o          Onward
	event      string // package
	subscriber *end
	notifier   *end
	waiting    int  // requests that wait for their answers
	over       bool // no end leads here any more
	timer      *time.Timer
	expires    time.Time
}

// subscribe makes a subscription of a SUBSCRIBE; nil where there are too many.
func (r *Relay) subscribe(q *Request) *subscription {
	s := &subscription{r: r, queue: q.queue, source: sourceOf(q.in.Flow), o: q.o, event: packageOf(q.in.Message), subscriber: endOf(q.in)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || !r.subscriptions.take(s.source) {
		return nil
	}
	r.ends[endKey{s.subscriber.callID, s.subscriber.tag}] = joint{s, true}
	return s
}

// toward lets requests to an end lead here, as a NOTIFY may be faster than the
// answer to the SUBSCRIBE (RFC 6665 section 4.1.2.4). False: it is over.
func (s *subscription) toward(e *end) bool {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if s.over || s.r.closed {
		return false
	}
	if was := s.notifier; was != nil {
		delete(s.r.ends, endKey{was.callID, was.tag})
	}
	s.notifier = e
	s.r.ends[endKey{e.callID, e.tag}] = joint{s, false}
	return true
}

// begin takes the answer that grants the subscription.
func (s *subscription) begin(e *end, res *sip.Message) bool {
	if s.over {
		return true // a NOTIFY has ended it before: a fetch, answered at once
	}
	tag := res.To().Tag()
	if tag == "" {
		return false
	}
	if e.far == "" { // otherwise a NOTIFY was faster, and has made the dialog
		e.far = tag
		e.retarget(res)
		e.routes = nil // those of the SUBSCRIBE were for it alone
		rr := res.Values("Record-Route")
		for i := len(rr) - 1; i >= 0; i-- {
			e.routes = append(e.routes, rr[i])
		}
	}
	s.granted(res)
	return true
}

// granted sets the end by a 2xx to a SUBSCRIBE.
func (s *subscription) granted(res *sip.Message) {
	d, ok := delta(res.Get("Expires"))
	if !ok {
		d = usual
	}
	s.lasts(d)
}

// lasts sets when the subscription ends. What is on its way then still finds
// it, as does the NOTIFY that follows an unsubscription.
func (s *subscription) lasts(d time.Duration) {
	d = min(d+grace, longest)
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if s.over || s.r.closed {
		return
	}
	s.stopTimer()
	s.expires = time.Now().Add(d)
	s.timer = time.AfterFunc(d, func() {
		s.queue.Post(func() {
			if !s.over && !time.Now().Before(s.expires) {
				s.end()
			}
		})
	})
}

// stopTimer must be called under the lock.
func (s *subscription) stopTimer() {
	if s.timer != nil {
		s.timer.Stop()
	}
}

// end forgets the subscription.
func (s *subscription) end() {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if s.over {
		return
	}
	s.over = true
	s.stopTimer()
	for _, e := range []*end{s.subscriber, s.notifier} {
		if e != nil {
			delete(s.r.ends, endKey{e.callID, e.tag})
		}
	}
	s.r.subscriptions.give(s.source)
}

// Within takes a request within the dialog of a subscription; false where it
// belongs to none.
func (r *Relay) Within(in *sip.Incoming) bool {
	r.mu.Lock()
	j, ok := r.ends[endKey{in.CallID(), in.To().Tag()}]
	r.mu.Unlock()
	if !ok || in.Method == "INVITE" || in.Method == "CANCEL" {
		return false
	}
	if tx := in.Serve(j.s.queue); tx != nil {
		j.s.queue.Post(func() { j.s.take(tx, j.subscriber) })
	}
	return true
}

// take takes a request of the subscriber or of the notifier.
func (s *subscription) take(tx *sip.ServerTx, fromSubscriber bool) {
	req := tx.Request
	from, to, method := s.notifier, s.subscriber, "NOTIFY"
	if fromSubscriber {
		from, to, method = s.subscriber, s.notifier, "SUBSCRIBE"
	}
	seq, _, _ := req.CSeq()
	tag := req.From().Tag()
	early := from.far == "" && req.Method == "NOTIFY" && !fromSubscriber
	switch {
	case s.over, from.far != tag && !early, to.far == "":
		tx.Reply(481, "")
		return
	case req.Method != method:
		tx.Reply(405, "", sip.Field{Name: "Allow", Value: method})
		return
	case req.Get("Max-Forwards") == "0":
		tx.Reply(483, "")
		return
	case packageOf(req) != s.event:
		tx.Reply(489, "")
		return
	case len(Unsupported(req)) > 0:
		tx.Reply(420, "", sip.Field{Name: "Unsupported", Value: strings.Join(Unsupported(req), ", ")})
		return
	case from.heard != 0 && seq <= from.heard:
		tx.Reply(500, "CSeq out of order")
		return
	case s.waiting >= maxAtOne:
		tx.Reply(503, "", sip.Field{Name: "Retry-After", Value: "10"})
		return
	}
	if early {
		from.far, from.routes = tag, req.Values("Record-Route")
	}
	from.heard = seq
	from.flow = tx.Flow
	from.retarget(req)
	o := s.o
	if !fromSubscriber { // the other way round; passwords are the subscriber's alone
		o.Out, o.Back, o.Passwords, o.Answer = s.o.Back, s.o.Out, false, nil
	}
	o.Forwards = forwards(req)
	s.pass(tx, to, &o, o.Answer == nil)
}

// pass sends a request of one side on to the other and the answer back.
func (s *subscription) pass(tx *sip.ServerTx, to *end, o *Onward, proved bool, extra ...sip.Field) {
	m, err := s.r.onward(to, tx.Request, o)
	if err != nil {
		tx.Reply(415, "", sip.Field{Name: "Accept-Encoding", Value: "identity"})
		return
	}
	m.Fields = append(m.Fields, extra...)
	s.waiting++
	err = s.r.stack.Request(sip.RequestOptions{Flow: to.way(), Message: m, Queue: s.queue, Handle: func(res *sip.Message, err error) {
		if err == nil && res.Status < 200 {
			return
		}
		s.waiting--
		if err == nil && (res.Status == 401 || res.Status == 407) && !proved {
			if value, ok := o.Answer(res, m); ok {
				s.pass(tx, to, o, true, value)
				return
			}
		}
		s.passed(tx, to, o, res, err)
	}})
	if err != nil {
		s.waiting--
		tx.Reply(503, "", sip.Field{Name: "Retry-After", Value: "10"})
	}
}

// passed takes the answer to a request that was passed on.
func (s *subscription) passed(tx *sip.ServerTx, to *end, o *Onward, res *sip.Message, err error) {
	notify := tx.Request.Method == "NOTIFY"
	switch {
	case errors.Is(err, sip.ErrTimeout) && !notify:
		// The notifier may be back before the subscription is over (RFC 6665
		// section 4.1.2.2): its time ends it.
		tx.Reply(504, "", warning("the other side does not answer"))
	case err != nil:
		s.r.log.Info("subscription ends", "event", s.event, "method", tx.Request.Method, "error", err)
		tx.Reply(481, "")
		s.end()
	default:
		var fields []sip.Field
		if res.Status < 300 {
			to.retarget(res)
			if !notify {
				fields = []sip.Field{{Name: "Contact", Value: "<" + s.subscriber.contact.String() + ">"}}
			}
		}
		tx.Respond(answer(tx, res, "", o, fields...))
		s.judge(tx.Request, res)
	}
}

// judge ends or prolongs the subscription by a request and its answer.
func (s *subscription) judge(req, res *sip.Message) {
	state, params, _ := strings.Cut(req.Get("Subscription-State"), ";")
	switch {
	case gone(res.Status):
		s.end()
	case req.Method == "SUBSCRIBE":
		if res.Status < 300 {
			s.granted(res)
		}
	case strings.EqualFold(strings.TrimSpace(state), "terminated"):
		s.end()
	case res.Status < 300:
		e, _ := sip.Address{Params: ";" + params}.Param("expires")
		if d, ok := delta(e); ok {
			s.lasts(d)
		}
	}
}

// gone says whether an answer ends a subscription (RFC 5057 section 5.1, RFC
// 6665 section 4.1.2.2).
func gone(status int) bool {
	switch status {
	case 404, 405, 408, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604:
		return true
	}
	return false
}

// delta reads delta-seconds.
func delta(s string) (time.Duration, bool) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32)
	return time.Duration(n) * time.Second, err == nil
}

// capExpires asks for no more than a subscription may last.
func capExpires(m *sip.Message) {
	most := longest - grace
	if d, ok := delta(m.Get("Expires")); ok && d > most {
		m.Set("Expires", strconv.Itoa(int(most/time.Second)))
	}
}

// forwards is the Max-Forwards of what goes on within a dialog.
func forwards(m *sip.Message) int {
	if n, err := strconv.Atoi(m.Get("Max-Forwards")); err == nil && n > 0 && n <= 70 {
		return n - 1
	}
	return 69
}
