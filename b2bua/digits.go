package b2bua

import (
	"encoding/binary"
	"strconv"
	"strings"
	"time"

	"github.com/sipward/sipward/media"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

// Digits of phones that send and take them in INFO, for far ends that have them
// beside the speech (RFC 4733): so they are protected as the speech is. The phone
// sees no telephone-event, the far end does, and digits are written anew each way.

// DTMF says how phones of an inside listener send and take digits.
type DTMF string

const (
	// DTMFPass: as they agree with the far end; nothing is written anew.
	DTMFPass DTMF = ""
	// DTMFInfo: in INFO with the type application/dtmf-relay or application/dtmf,
	// and in no other way.
	DTMFInfo DTMF = "info"
)

const (
	dtmfRelay = "application/dtmf-relay"
	dtmfPlain = "application/dtmf"

	shortestDigit = 40 * time.Millisecond // what receivers are sure to notice
	usualDigit    = 160 * time.Millisecond
	longestDigit  = 5 * time.Second
	digitGap      = 60 * time.Millisecond // between two of them
	maxDigits     = 16                    // that wait for their turn, of one leg
	maxInfos      = 8                     // that wait for their answers, likewise

	eventEvery  = 20 * time.Millisecond
	eventVolume = 10        // -dBm0, RFC 4733 section 2.3
	eventEnd    = 0x80      // the bit E
	eventTimes  = 3         // how often the end is said, section 2.5.1.4
	eventType   = 101       // the payload type that most phones take
	eventRate   = 8000      // units of time in a second, beside speech of telephones
	longestUnit = 1<<16 - 1 // what the field for the duration holds
)

// digit is a pressed key.
type digit struct {
	code   uint8 // as in RFC 4733 section 3.2
	lasted time.Duration
}

// digits are what a leg has to do with them.
type digits struct {
	waiting []digit // to be played to the other leg
	playing bool
	timer   *time.Timer // of the gap behind one
	tapped  *media.Session
	stop    chan struct{} // ends the goroutine that hears the tap
	asked   int           // INFOs to the phone without an answer yet
}

// byInfo says whether a leg's phone knows digits in INFO alone.
func (l *Leg) byInfo() bool {
	return l.real().side == policy.Inside && l.l != nil && l.l.DTMF == DTMFInfo
}

// rewriteEvents makes telephone-event on an m-line of a description that goes from
// one leg to another what the two can do: a phone by INFO does not see it, and
// what such a one describes has it. offered is the offer that an answer is to, nil
// for an offer.
func (c *Call) rewriteEvents(out *sdp.Session, i int, from, to *Leg, offered *sdp.Session) {
	if c.passage.begun && !c.b.readHere() || c.passage.taken || out.Media()[i].Kind != "audio" {
		return
	}
	switch {
	case to.byInfo():
		out.DropTelephoneEvents(i)
	case from.byInfo():
		out.DropTelephoneEvents(i)
		pt, rate := uint8(eventType), uint32(eventRate)
		if offered != nil {
			var ok bool
			if pt, rate, ok = offered.TelephoneEvent(i); !ok {
				return
			}
		} else {
			if to.described != nil {
				if theirs, r, ok := to.described.TelephoneEvent(i); ok {
					pt, rate = theirs, r
				}
			}
			var ok bool
			if pt, ok = out.FreePayloadType(i, pt); !ok {
				return
			}
		}
		out.AddTelephoneEvent(i, pt, rate)
	}
}

// events is the line on which a leg and this side have agreed on telephone-event:
// the payload type that the leg's far end wants to get, and the one that it sends.
func (c *Call) events(l *Leg) (line int, sent, got uint8, rate uint32, ok bool) {
	if l.described == nil || l.heard == nil {
		return 0, 0, 0, 0, false
	}
	for i, r := range c.relays {
		sent, rate, theirs := l.described.TelephoneEvent(i)
		if i >= len(l.heard.events) {
			break
		}
		if got := l.heard.events[i]; theirs && got >= 0 && r.session != nil {
			return i, sent, uint8(got), rate, true
		}
	}
	return 0, 0, 0, 0, false
}

// takesDigit turns an INFO with a digit into events for the other leg, where that
// has agreed on them and the phone has not. It returns false where the INFO goes on
// as it is.
func (c *Call) takesDigit(from *Leg, tx *sip.ServerTx) bool {
	req := tx.Request
	kind := strings.ToLower(req.ContentType())
	if req.Method != "INFO" || kind != dtmfRelay && kind != dtmfPlain || c.passage.taken {
		return false
	}
	if _, _, _, _, ok := c.events(from); ok {
		return false // it could send them beside its speech, and perhaps does
	}
	if _, _, _, _, ok := c.events(c.other(from)); !ok {
		return false
	}
	d, ok := readDigit(kind, req.Body)
	switch {
	case !ok:
		tx.Reply(400, "Bad Request (digit)")
	case len(from.digits.waiting) >= maxDigits:
		tx.Reply(503, "", sip.Field{Name: "Retry-After", Value: "2"}, warning("too many digits wait to be played"))
	default:
		tx.Reply(200, "")
		from.digits.waiting = append(from.digits.waiting, d)
		c.playDigit(from)
	}
	return true
}

// readDigit reads the body of an INFO: a key alone, or Signal and Duration in
// milliseconds.
func readDigit(kind string, body []byte) (d digit, ok bool) {
	if len(body) > 256 {
		return d, false
	}
	d.lasted = usualDigit
	if kind == dtmfPlain {
		d.code, ok = keyCode(strings.TrimSpace(string(body)))
		return d, ok
	}
	for _, l := range strings.Split(string(body), "\n") {
		name, value, _ := strings.Cut(l, "=")
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "signal":
			if ok {
				return d, false // one key at a time
			}
			if d.code, ok = keyCode(value); !ok {
				return d, false
			}
		case "duration":
			ms, err := strconv.ParseUint(value, 10, 31)
			if err != nil {
				return d, false
			}
			d.lasted = min(max(time.Duration(ms)*time.Millisecond, shortestDigit), longestDigit)
		}
	}
	return d, ok
}

const keyNames = "0123456789*#ABCD"

// keyCode is the event of a key: its own sign, or the number that some phones
// write for what is no digit.
func keyCode(s string) (code uint8, ok bool) {
	if len(s) == 1 {
		i := strings.IndexByte(keyNames, strings.ToUpper(s)[0])
		return uint8(max(i, 0)), i >= 0
	}
	n, err := strconv.ParseUint(s, 10, 8)
	return uint8(n), err == nil && len(s) == 2 && n >= 10 && n <= 16
}

// playDigit plays the next digit of a leg to the other one, when the one before
// it is over.
func (c *Call) playDigit(from *Leg) {
	q, to := &from.digits, c.other(from)
	if q.playing || len(q.waiting) == 0 || c.state != Established {
		return
	}
	line, pt, _, rate, ok := c.events(to)
	if !ok {
		q.waiting = nil // the far end has taken them back meanwhile
		return
	}
	d := q.waiting[0]
	q.waiting = q.waiting[1:]
	err := c.relays[line].session.Play(to.end, media.Playback{PayloadType: pt, Every: eventEvery, Rate: rate, Next: eventFrames(d, rate), Done: func() {
		c.queue.Post(func() {
			if c.state == Ended {
				return
			}
			q.timer = time.AfterFunc(digitGap, func() {
				c.queue.Post(func() { q.playing = false; c.playDigit(from) })
			})
		})
	}})
	if q.playing = err == nil; !q.playing {
		q.waiting = nil // the media is over
	}
}

// eventFrames are the payloads of an event's packets (RFC 4733 section 2.3).
func eventFrames(d digit, rate uint32) func() []byte {
	step := uint64(rate) * uint64(eventEvery) / uint64(time.Second)
	whole := min(uint64(rate)*uint64(d.lasted)/uint64(time.Second), longestUnit)
	lasted, ends := uint64(0), 0
	return func() []byte {
		if ends == eventTimes {
			return nil
		}
		payload := []byte{d.code, eventVolume, 0, 0}
		if lasted = min(lasted+step, whole); lasted == whole {
			payload[1] |= eventEnd
			ends++
		}
		binary.BigEndian.PutUint16(payload[2:], uint16(lasted))
		return payload
	}
}

// tapDigits has the media hand out the events that are to reach a phone by INFO,
// as the descriptions are now.
func (c *Call) tapDigits() {
	for _, phone := range []*Leg{c.a, c.b} {
		far := c.other(phone)
		line, _, got, rate, ok := c.events(far)
		if !phone.byInfo() || far.byInfo() || c.passage.taken || !ok {
			phone.digits.untap(far)
			continue
		}
		q := &phone.digits
		s := c.relays[line].session
		if q.tapped != s {
			q.untap(far)
		}
		if q.stop != nil {
			close(q.stop)
		}
		q.tapped, q.stop = s, make(chan struct{})
		pressed := make(chan media.Event, 16)
		s.Events(far.end, media.EventOptions{PayloadType: got, Queue: pressed, Withhold: true})
		go func(stop chan struct{}) {
			for {
				select {
				case <-stop:
					return
				case e := <-pressed:
					if e.Ended {
						c.queue.Post(func() { c.tellDigit(phone, e, rate) })
					}
				}
			}
		}(q.stop)
	}
}

// untap ends what tapDigits began.
func (q *digits) untap(far *Leg) {
	if q.tapped != nil {
		q.tapped.Events(far.end, media.EventOptions{})
		close(q.stop)
		q.tapped, q.stop = nil, nil
	}
}

// tellDigit sends a digit of the far end to a phone. What comes faster than the
// phone answers is left out.
func (c *Call) tellDigit(phone *Leg, e media.Event, rate uint32) {
	q := &phone.digits
	if c.state != Established || int(e.Code) > len(keyNames) || q.asked >= maxInfos {
		return
	}
	lasted := time.Duration(uint64(e.Duration) * uint64(time.Second) / uint64(rate))
	lasted = min(max(lasted, shortestDigit), longestDigit)
	signal := "16" // flash
	if int(e.Code) < len(keyNames) {
		signal = keyNames[e.Code : e.Code+1]
	}
	body := "Signal=" + signal + "\r\nDuration=" + strconv.FormatInt(lasted.Milliseconds(), 10) + "\r\n"
	q.asked++
	phone.dialog.Do("INFO", dtmfRelay, []byte(body), func(res *sip.Message, err error) {
		if err == nil && res.Status < 200 {
			return
		}
		q.asked--
		if c.state != Ended {
			c.lost(phone)
		}
	})
}

// dropDigits ends everything about digits, with the call.
func (l *Leg) dropDigits() {
	q := &l.digits
	q.waiting = nil
	if q.timer != nil {
		q.timer.Stop()
	}
	if q.stop != nil {
		close(q.stop)
		q.tapped, q.stop = nil, nil
	}
}
