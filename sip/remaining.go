package sip

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Remaining says of each Call-ID in use whose end it is, in which state, and which
// transactions with which timers keep it: of one that never comes back, the cause.
// It waits for the queues of the dialogs, so it must not be called on one of them.
func (s *Stack) Remaining() []string {
	s.mu.RLock()
	dialogs := slices.Collect(maps.Values(s.dialogs))
	s.mu.RUnlock()
	out := make([]string, len(dialogs))
	for i, d := range dialogs {
		done := make(chan struct{})
		d.queue.Post(func() {
			defer close(done)
			out[i] = d.describe()
		})
		<-done
	}
	slices.Sort(out)
	return out
}

// describe says what keeps the dialog.
func (d *Dialog) describe() string {
	var b strings.Builder
	is := func(yes bool, what string) {
		if yes {
			b.WriteString(", " + what)
		}
	}
	fmt.Fprintf(&b, "Call-ID %s", d.callID)
	is(d.caller, "caller of "+d.peer.text)
	is(!d.caller, "callee of "+d.peer.text)
	is(d.confirmed, "confirmed")
	is(d.ended, "ended")
	is(d.cancelled, "cancelled")
	is(d.byeDue != nil, "BYE waits for the ACK")
	for _, t := range d.clients {
		fmt.Fprintf(&b, "; client %s %s: %s", t.req.Get("CSeq"), t.state, timers(t.resend, t.timeout, t.linger))
	}
	for _, t := range d.servers {
		fmt.Fprintf(&b, "; server %s %s: %s", t.Request.Get("CSeq"), t.state, timers(t.resend, t.timeout, t.linger))
	}
	return b.String()
}

// timers names those that run.
func timers(resend, timeout, linger *timer) string {
	var run []string
	for _, t := range []struct {
		name string
		*timer
	}{{"resend", resend}, {"timeout", timeout}, {"linger", linger}} {
		if t.timer != nil && !t.dead {
			run = append(run, t.name)
		}
	}
	if run == nil {
		return "no timer"
	}
	return strings.Join(run, ", ")
}

// String names the state as RFC 3261 section 17 and RFC 6026 do.
func (s txState) String() string {
	switch s {
	case txCalling:
		return "Calling"
	case txProceeding:
		return "Proceeding"
	case txAccepted:
		return "Accepted"
	case txCompleted:
		return "Completed"
	case txConfirmed:
		return "Confirmed"
	}
	return "Terminated"
}
