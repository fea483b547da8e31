package calls

import (
	"fmt"
	"strings"

	"github.com/sipward/sipward/sip"
)

// OnProvisional and the other methods make a seat a [sip.User].
func (p *seat) OnProvisional(res *sip.Message) {
	if p.dialog.Reliable(res) {
		p.learn(res)
		p.dialog.Prack(res, "", nil, func(*sip.Message, error) {})
	}
	if p.state == calling {
		p.state = alerting
		p.note("")
	}
}

func (p *seat) OnAnswer(res *sip.Message) {
	offered := p.learn(res)
	p.offered(offered) // or answered, which is the same as long as nobody holds
	if p.story.delayed {
		p.dialog.Ack(res, "application/sdp", p.reply(offered))
	} else {
		p.dialog.Ack(res, "", nil)
	}
	p.state = talking
	p.note("answered")
}

func (p *seat) OnAnswerRepeated(*sip.Message) {}

func (p *seat) OnRefused(res *sip.Message, err error) {
	if err != nil {
		p.end(err.Error())
	} else {
		p.end(fmt.Sprintf("refused %d %s", res.Status, res.Reason))
	}
}

func (p *seat) OnRequest(tx *sip.ServerTx) {
	switch method := tx.Request.Method; method {
	case "BYE":
		tx.Reply(200, "")
		p.dialog.Closed()
		p.end("bye " + tx.Request.Get("Reason"))
	case "INVITE", "UPDATE":
		if p.offers || p.answer {
			tx.Reply(491, "")
			return
		}
		offered := p.learn(tx.Request)
		if offered != "" {
			p.offered(offered)
		}
		p.answer = method == "INVITE"
		if offered == "" {
			p.dialog.AnswerTo(tx, "application/sdp", p.offer(p.holds))
		} else {
			p.dialog.AnswerTo(tx, "application/sdp", p.reply(offered))
		}
		p.note("")
	case "NOTIFY":
		tx.Reply(200, "")
		if line, _, _ := strings.Cut(string(tx.Request.Body), "\r\n"); strings.HasPrefix(tx.Request.Get("Subscription-State"), "terminated") {
			p.mu.Lock()
			p.told = line
			p.mu.Unlock()
			if p.story.leaves && strings.Contains(line, " 200 ") && p.state == talking {
				p.dialog.Bye(nil)
				p.end("transferred it")
			}
			p.note("")
		}
	default:
		tx.Reply(200, "")
	}
}

func (p *seat) OnAck(ack *sip.Message, _ *sip.ServerTx) {
	p.answer = false
	if direction := p.learn(ack); direction != "" {
		p.answered(direction, p.holds)
	}
	if p.state == alerting {
		p.state = talking
	}
	p.note("")
}

func (p *seat) OnCancel() { p.end("cancelled") }

func (p *seat) OnAckTimeout() {
	p.dialog.Bye(nil)
	p.end("no ACK came")
}
