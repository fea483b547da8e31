package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

const phoneAllows = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO"

// Refused is the error of a call that the other side did not take.
type Refused struct {
	Status int
	Reason string
}

// Error gives status and reason phrase.
func (r *Refused) Error() string { return fmt.Sprintf("refused: %d %s", r.Status, r.Reason) }

// ErrNoAudio says that the other side's description has no plain PCMU audio.
var ErrNoAudio = errors.New("demo: no audio that this phone knows")

// Call is one call of a phone. Its channels are closed when what they name has
// happened; Err says more once it has ended. Methods may be called from any
// goroutine.
type Call struct {
	phone  *Phone
	caller bool
	queue  sip.Queue
	dialog *sip.Dialog // set before the first event
	line   *line

	ringing, up, ended *signal

	// On the queue.
	offer       *sdp.Session // the caller's, nil where its INVITE had none
	direction   string       // the phone's own wish: sendrecv, or sendonly while it holds
	heldByOther bool
	version     int // of the next description

	mu  sync.Mutex
	err error
}

// signal is a channel that is closed once.
type signal struct {
	once sync.Once
	c    chan struct{}
}

func newSignal() *signal      { return &signal{c: make(chan struct{})} }
func (s *signal) fire()       { s.once.Do(func() { close(s.c) }) }
func (s *signal) fired() bool { return isClosed(s.c) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Ringing is closed when a 180 was sent or came.
func (c *Call) Ringing() <-chan struct{} { return c.ringing.c }

// Up is closed when the call stands: the caller has acknowledged the answer,
// the callee has got that.
func (c *Call) Up() <-chan struct{} { return c.up.c }

// Played is closed when the phone has said all it has to say.
func (c *Call) Played() <-chan struct{} { return c.line.played }

// Ended is closed when the call is over.
func (c *Call) Ended() <-chan struct{} { return c.ended.c }

// Err says why the call has ended: nil after a BYE of either side, a *Refused,
// sip.ErrCancelled, sip.ErrTimeout and the like. It means something once Ended
// is closed.
func (c *Call) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Heard is what came, as sound: equal to what the other phone played, after
// G.711, when no packet was lost. The last packet is filled up with silence.
func (c *Call) Heard() []int16 { return c.line.heard.samples() }

// HeardPayloads gives the RTP payloads that came, in the order of their
// sequence numbers.
func (c *Call) HeardPayloads() [][]byte { return c.line.heard.list() }

// PacketsHeard counts the distinct RTP packets that came.
func (c *Call) PacketsHeard() int { return c.line.heard.count() }

// WaitHeard returns when n distinct RTP packets came, or with ctx's error.
func (c *Call) WaitHeard(ctx context.Context, n int) error { return c.line.heard.wait(ctx, n) }

// SentPayloads gives the RTP payloads that the phone sent, in clear and in
// order.
func (c *Call) SentPayloads() [][]byte {
	c.line.mu.Lock()
	defer c.line.mu.Unlock()
	return append([][]byte(nil), c.line.sent...)
}

// PacketsSent counts the RTP packets that the phone sent.
func (c *Call) PacketsSent() int {
	c.line.mu.Lock()
	defer c.line.mu.Unlock()
	return len(c.line.sent)
}

// Reports counts the RTCP packets that the phone sent and got.
func (c *Call) Reports() (sent, heard int) {
	c.line.mu.Lock()
	defer c.line.mu.Unlock()
	return c.line.reportSent, c.line.reports
}

// Noise counts the datagrams that came and were neither PCMU nor RTCP: what a
// plain phone can make nothing of.
func (c *Call) Noise() int {
	c.line.mu.Lock()
	defer c.line.mu.Unlock()
	return c.line.foreign
}

// Answer takes a call that rings.
func (c *Call) Answer() { c.queue.Post(c.answer) }

// Refuse declines a call that rings.
func (c *Call) Refuse(status int, reason string) {
	c.queue.Post(func() {
		if c.caller || c.over() || c.dialog.Confirmed() {
			return
		}
		c.dialog.Refuse(status, reason)
		c.finish(&Refused{status, reason})
	})
}

// Hangup ends the call: with BYE, with CANCEL where the other side has not
// answered, with 603 where this phone has not.
func (c *Call) Hangup() {
	c.queue.Post(func() {
		switch {
		case c.over() || c.dialog == nil:
		case c.dialog.Confirmed():
			c.line.mute()
			c.dialog.Bye(func() { c.finish(nil) })
		case c.caller:
			c.dialog.Cancel()
		default:
			c.dialog.Refuse(603, "")
			c.finish(&Refused{603, "Decline"})
		}
	})
}

// Hold puts the call on hold with a re-INVITE: the phone sends nothing and
// asks for nothing. The channel gives the outcome, nil where the other side
// has agreed.
func (c *Call) Hold() <-chan error { return c.reinvite("sendonly") }

// Resume takes the call off hold.
func (c *Call) Resume() <-chan error { return c.reinvite("sendrecv") }

func (c *Call) reinvite(direction string) <-chan error {
	done := make(chan error, 1)
	c.queue.Post(func() {
		if c.over() || c.dialog == nil || !c.dialog.Confirmed() {
			done <- errors.New("demo: no call that stands")
			return
		}
		c.dialog.Do("INVITE", sdpType, c.describe(direction, nil), func(res *sip.Message, err error) {
			c.phone.note(res)
			switch {
			case err != nil:
				done <- err
			case res.Status < 200:
			case res.Status >= 300:
				done <- &Refused{res.Status, res.Reason}
			default:
				c.dialog.Ack(res, "", nil)
				c.direction = direction
				done <- c.hearBody(res)
			}
		})
	})
	return done
}

func (c *Call) over() bool { return c.ended.fired() }

// finish ends the call, once.
func (c *Call) finish(err error) {
	c.mu.Lock()
	if !c.ended.fired() {
		c.err = err
	}
	c.mu.Unlock()
	c.phone.release(c)
	c.ended.fire()
	go c.line.close() // what is on its way within the phone may end meanwhile
}

// hearBody reads the description in a message.
func (c *Call) hearBody(m *sip.Message) error {
	s, err := sdp.Parse(m.Body)
	if err != nil {
		return err
	}
	if m.ContentType() != sdpType || !c.hear(s) {
		return ErrNoAudio
	}
	return nil
}

// dial sends the INVITE.
func (c *Call) dial(to sip.URI) {
	p := c.phone
	from := sip.Address{URI: sip.URI{Scheme: "sip", User: p.o.Name, Host: trimBrackets(p.o.Domain)}}
	var body []byte
	if !p.o.LateOffer {
		body = c.describe(c.direction, nil)
	}
	d, err := p.stack.Dial(sip.Dial{Flow: p.listener.Flow(p.o.Proxy), URI: to, From: from, To: sip.Address{URI: to}, ContactUser: p.o.Name,
		Fields: []sip.Field{{Name: "Allow", Value: phoneAllows}}, ContentType: sdpType, Body: body, Queue: &c.queue, User: c})
	if err != nil {
		c.finish(err)
		return
	}
	c.dialog = d
}

func trimBrackets(host string) string {
	if len(host) > 2 && host[0] == '[' {
		return host[1 : len(host)-1]
	}
	return host
}

// ring takes an INVITE in.
func (c *Call) ring(in *sip.Incoming) {
	if c.over() {
		return
	}
	if len(in.Body) > 0 {
		offer, err := sdp.Parse(in.Body)
		if err != nil || !c.hear(offer) {
			c.dialog.Refuse(488, "")
			c.finish(ErrNoAudio)
			return
		}
		c.offer = offer
	}
	c.dialog.Provision(180, "", "", nil)
	c.ringing.fire()
	select {
	case c.phone.calls <- c:
	default: // nobody asks; the call goes on
	}
	switch o := c.phone.o; {
	case o.Manual:
	case o.AnswerAfter > 0:
		time.AfterFunc(o.AnswerAfter, c.Answer)
	default:
		c.answer()
	}
}

func (c *Call) answer() {
	if c.caller || c.over() || c.dialog.Confirmed() {
		return
	}
	direction := c.direction
	if c.offer != nil {
		direction = answering(c.offer.Media()[audioLine(c.offer.Media())].Direction, c.direction)
	}
	c.dialog.Answer(sdpType, c.describe(direction, c.offer), sip.Field{Name: "Allow", Value: phoneAllows})
	if c.offer != nil && !c.phone.o.TalkAfterAck {
		c.line.start()
	}
}

// OnProvisional implements sip.User.
func (c *Call) OnProvisional(res *sip.Message) {
	c.phone.note(res)
	if res.Status == 180 {
		c.ringing.fire()
	}
}

// OnAnswer implements sip.User.
func (c *Call) OnAnswer(res *sip.Message) {
	c.phone.note(res)
	err := c.hearBody(res)
	if err == nil && c.phone.o.LateOffer {
		offer, _ := sdp.Parse(res.Body) // hearBody has read it
		c.dialog.Ack(res, sdpType, c.describe(c.direction, offer))
	} else {
		c.dialog.Ack(res, "", nil)
	}
	if err != nil {
		c.dialog.Bye(nil)
		c.finish(err)
		return
	}
	c.up.fire()
	c.line.start()
}

// OnAnswerRepeated implements sip.User.
func (c *Call) OnAnswerRepeated(res *sip.Message) { c.phone.note(res) }

// OnRefused implements sip.User.
func (c *Call) OnRefused(res *sip.Message, err error) {
	c.phone.note(res)
	if res != nil {
		err = &Refused{res.Status, res.Reason}
	}
	c.finish(err)
}

// OnRequest implements sip.User.
func (c *Call) OnRequest(tx *sip.ServerTx) {
	req := tx.Request
	c.phone.note(req)
	switch req.Method {
	case "BYE":
		tx.Reply(200, "")
		c.dialog.Closed()
		c.finish(nil)
	case "INVITE", "UPDATE":
		c.changed(tx)
	case "INFO", "OPTIONS":
		tx.Reply(200, "")
	default:
		tx.Reply(405, "", sip.Field{Name: "Allow", Value: phoneAllows})
	}
}

// changed answers a re-INVITE or UPDATE.
func (c *Call) changed(tx *sip.ServerTx) {
	req := tx.Request
	if len(req.Body) == 0 {
		if req.Method == "UPDATE" {
			c.dialog.AnswerTo(tx, "", nil)
		} else {
			c.dialog.AnswerTo(tx, sdpType, c.describe(c.direction, nil))
		}
		return
	}
	offer, err := sdp.Parse(req.Body)
	if err != nil || req.ContentType() != sdpType || !c.hear(offer) {
		tx.Reply(488, "")
		return
	}
	lines := offer.Media()
	direction := answering(lines[audioLine(lines)].Direction, c.direction)
	c.dialog.AnswerTo(tx, sdpType, c.describe(direction, offer))
}

// OnAck implements sip.User.
func (c *Call) OnAck(ack *sip.Message, _ *sip.ServerTx) {
	c.phone.note(ack)
	if len(ack.Body) > 0 {
		if err := c.hearBody(ack); err != nil {
			c.dialog.Bye(nil)
			c.finish(err)
			return
		}
	}
	c.up.fire()
	c.line.start()
}

// OnCancel implements sip.User.
func (c *Call) OnCancel() { c.finish(sip.ErrCancelled) }

// OnAckTimeout implements sip.User.
func (c *Call) OnAckTimeout() {
	c.dialog.Bye(nil)
	c.finish(sip.ErrTimeout)
}
