package demo

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

// machineCall is one call of a machine, as the one who is called.
type machineCall struct {
	machine *machine
	from    netip.AddrPort // for the log
	queue   sip.Queue
	dialog  *sip.Dialog

	// On the queue.
	line    *machineLine
	agreed  mirror // what the next description is about
	origin  uint32 // the session id of its descriptions (RFC 8866 section 5.2)
	version int    // of the last one
	said    string // the last one without its origin
	listens bool   // the line is open: RTP is due
	awaited bool   // the answer to its own offer comes with the ACK
	over    bool
	limit   *time.Timer
	silence *time.Timer
}

// ring takes the INVITE in and answers it at once.
func (c *machineCall) ring(in *sip.Incoming) {
	if c.over {
		return
	}
	offered, to := offerOfEcho(), ends{}
	if len(in.Body) > 0 {
		var err error
		if offered, to, err = c.machine.read(in.Body); err != nil {
			c.refuse(488, err)
			return
		}
	}
	var err error
	if c.line, err = c.machine.openLine(c.newVoice()); err != nil {
		c.refuse(503, err)
		return
	}
	var random [4]byte
	rand.Read(random[:])
	c.origin = binary.BigEndian.Uint32(random[:])
	c.dialog.Provision(180, "", "", nil)
	c.agreed = offered
	direction := "sendrecv"
	if len(in.Body) > 0 {
		direction = c.connect(offered.audio(), offered.clocks, to)
	} else {
		c.awaited = true
	}
	c.dialog.Answer(sdpType, c.describe(direction), sip.Field{Name: "Allow", Value: phoneAllows})
	c.limit = c.after(c.machine.maxDuration, func() { c.hangup("it lasted as long as a call may") })
	c.line.touch()
	if c.line.voice == nil {
		c.watch(echoSilence)
	}
}

// after runs f on the queue unless the call is over by then.
func (c *machineCall) after(wait time.Duration, f func()) *time.Timer {
	return time.AfterFunc(wait, func() {
		c.queue.Post(func() {
			if !c.over {
				f()
			}
		})
	})
}

// watch looks after that time whether RTP still comes, where it is due.
func (c *machineCall) watch(wait time.Duration) {
	c.silence = c.after(wait, func() {
		quiet := c.line.quiet()
		switch {
		case !c.listens:
			c.watch(echoSilence)
		case quiet >= echoSilence:
			c.hangup("no RTP comes")
		default:
			c.watch(echoSilence - quiet)
		}
	})
}

// connect takes in what the caller's m-line says and gives the direction that
// answers it.
func (c *machineCall) connect(m sdp.Media, clocks map[byte]uint32, to ends) string {
	direction := mirroredDirection(m)
	listens := direction == "sendrecv" || direction == "sendonly" && c.line.voice != nil
	if listens && !c.listens {
		c.line.touch() // a hold is over: the silence of it does not count
	}
	c.listens = listens
	c.line.connect(to, listens, clocks)
	if c.line.voice != nil {
		c.line.voice.use(m.Formats[0])
	}
	return direction
}

// describe writes the next session description. Its version tells it from the
// one before only where they differ (RFC 3264 section 8).
func (c *machineCall) describe(direction string) []byte {
	text := c.agreed.describe(c.machine.user, c.line.local, direction)
	if text != c.said {
		c.said = text
		c.version++
	}
	return originated(c.machine.user, text, c.line.local.Addr(), c.origin, c.version)
}

// refuse turns the initial INVITE down. What the caller can mend is said to it.
func (c *machineCall) refuse(status int, why error) {
	phrase := ""
	if errors.Is(why, errNoG711) {
		phrase = errNoG711.Error()
	}
	c.dialog.Refuse(status, phrase)
	c.finish(why.Error())
}

// hangup ends a call that stands.
func (c *machineCall) hangup(why string) {
	if c.over {
		return
	}
	c.dialog.Bye(nil)
	c.finish(why)
}

// finish closes everything that belongs to the call, once.
func (c *machineCall) finish(why string) {
	if c.over {
		return
	}
	c.over = true
	for _, t := range []*time.Timer{c.limit, c.silence} {
		if t != nil {
			t.Stop()
		}
	}
	if c.line != nil {
		c.line.close()
	}
	c.machine.release(c)
	c.machine.log.Debug("test address: the call is over", "user", c.machine.user, "from", c.from, "reason", why)
}

// OnRequest implements sip.User.
func (c *machineCall) OnRequest(tx *sip.ServerTx) {
	switch tx.Request.Method {
	case "BYE":
		tx.Reply(200, "")
		c.dialog.Closed()
		c.finish("the caller has hung up")
	case "INVITE", "UPDATE":
		c.changed(tx)
	case "INFO":
		tx.Reply(200, "")
	case "OPTIONS":
		tx.Reply(200, "", sip.Field{Name: "Allow", Value: phoneAllows}, sip.Field{Name: "Accept", Value: sdpType})
	default:
		tx.Reply(405, "", sip.Field{Name: "Allow", Value: phoneAllows})
	}
}

// changed answers a re-INVITE or UPDATE. One that is refused changes nothing.
func (c *machineCall) changed(tx *sip.ServerTx) {
	req := tx.Request
	switch {
	case c.line == nil: // it is not answered yet
		tx.Reply(500, "", sip.Field{Name: "Retry-After", Value: "1"})
		return
	case len(req.Body) == 0 && req.Method == "UPDATE":
		c.dialog.AnswerTo(tx, "", nil)
		return
	case len(req.Body) == 0:
		c.awaited = true
		c.dialog.AnswerTo(tx, sdpType, c.describe("sendrecv"))
		return
	case c.awaited: // an offer meets an offer (RFC 3311 section 5.2)
		tx.Reply(491, "")
		return
	case req.ContentType() != sdpType:
		tx.Reply(415, "", sip.Field{Name: "Accept", Value: sdpType})
		return
	}
	offered, to, err := c.machine.read(req.Body)
	if err != nil {
		tx.Reply(488, "")
		return
	}
	c.agreed = offered
	c.dialog.AnswerTo(tx, sdpType, c.describe(c.connect(offered.audio(), offered.clocks, to)))
}

// OnAck implements sip.User.
func (c *machineCall) OnAck(ack *sip.Message, _ *sip.ServerTx) {
	if !c.awaited {
		return
	}
	c.awaited = false
	answer, to, err := c.machine.read(ack.Body)
	if err != nil || ack.ContentType() != sdpType || answer.mine != c.agreed.mine {
		c.hangup("the ACK has no answer to the offer")
		return
	}
	c.connect(answer.audio(), answer.clocks, to)
}

// OnCancel implements sip.User.
func (c *machineCall) OnCancel() { c.finish("the caller gave up") }

// OnAckTimeout implements sip.User.
func (c *machineCall) OnAckTimeout() { c.hangup("no ACK came") }

// OnProvisional implements sip.User; it is for callers.
func (c *machineCall) OnProvisional(*sip.Message) {}

// OnAnswer implements sip.User; it is for callers.
func (c *machineCall) OnAnswer(*sip.Message) {}

// OnAnswerRepeated implements sip.User; it is for callers.
func (c *machineCall) OnAnswerRepeated(*sip.Message) {}

// OnRefused implements sip.User; it is for callers.
func (c *machineCall) OnRefused(*sip.Message, error) {}
