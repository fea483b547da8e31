package b2bua

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sipward/sipward/sip"
)

// notice tells a transferor how its transfer goes: the implicit subscription of
// a REFER (RFC 3515 section 2.4.4), in the dialog of its call. One NOTIFY is
// under way at a time; what is overtaken meanwhile is not told.
type notice struct {
	leg    *Leg
	event  string
	silent bool // the REFER asked for no subscription (RFC 4488)

	busy  bool
	next  string // status line that waits
	final bool   // it is the last one
	done  func() // the last one has been answered
}

// notice begins the subscription of a REFER.
func (c *Call) notice(l *Leg, refer *sip.Message) *notice {
	n := &notice{leg: l, event: "refer", silent: strings.EqualFold(refer.Get("Refer-Sub"), "false")}
	if seq, _, ok := refer.CSeq(); ok && c.asked > 1 { // RFC 3515 section 2.4.6
		n.event += ";id=" + strconv.FormatUint(uint64(seq), 10)
	}
	return n
}

// accepted are the fields of the 202.
func (n *notice) accepted() []sip.Field {
	if n.silent {
		return []sip.Field{{Name: "Refer-Sub", Value: "false"}}
	}
	return nil
}

// tell sends what the target has answered so far.
func (n *notice) tell(status int, phrase string) { n.say(status, phrase, false) }

// last sends how it has ended, and ends the subscription.
func (n *notice) last(status int, phrase string) { n.say(status, phrase, true) }

func (n *notice) say(status int, phrase string, final bool) {
	if n.final {
		return
	}
	if phrase == "" {
		phrase = sip.ReasonPhrase(status)
	}
	n.next, n.final = fmt.Sprintf("SIP/2.0 %d %s\r\n", status, phrase), final
	n.send()
}

func (n *notice) send() {
	if n.silent || n.leg.dialog.Ended() {
		n.over()
		return
	}
	if n.busy || n.next == "" {
		return
	}
	state := "active;expires=180"
	final := n.final
	if final {
		state = "terminated;reason=noresource"
	}
	body := n.next
	n.busy, n.next = true, ""
	n.leg.dialog.Do("NOTIFY", "message/sipfrag;version=2.0", []byte(body), func(res *sip.Message, err error) {
		if err == nil && res.Status < 200 {
			return
		}
		n.busy = false
		switch {
		case final:
			n.over()
		case err == nil && res.Status >= 300: // RFC 6665 section 4.2.2: nobody listens
			n.silent = true
			fallthrough
		default:
			n.send()
		}
	}, sip.Field{Name: "Event", Value: n.event}, sip.Field{Name: "Subscription-State", Value: state})
}

// over calls done, once, behind the last notice.
func (n *notice) over() {
	if done := n.done; done != nil && n.final {
		n.done = nil
		done()
	}
}
