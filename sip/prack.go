package sip

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Reliable provisional responses (RFC 3262): the callee's side of a dialog.

// option100rel is the option tag of reliable provisional responses.
const option100rel = "100rel"

// maxProvisionals bounds the reliable responses that wait for their turn: only
// one may be unacknowledged at a time (RFC 3262 section 3).
const maxProvisionals = 8

// provisionals are the reliable responses to the INVITE of the caller.
type provisionals struct {
	rseq    uint32       // of the last one, 0: none was sent
	pending *provisional // waits for its PRACK
	waiting []*provisional
	answer  func() // the 2xx, which must wait for the PRACK (RFC 3262 section 3)
}

// provisional is one of them.
type provisional struct {
	rseq    uint32
	res     *Message
	wire    []byte
	done    func(*ServerTx)
	resend  *timer
	timeout *timer
}

// Takes100rel says whether the caller's INVITE allows reliable provisional
// responses.
func (d *Dialog) Takes100rel() bool { return d.initial != nil && allows100rel(d.initial.Request) }

// Wants100rel says whether the caller's INVITE requires that each provisional
// response is reliable.
func (d *Dialog) Wants100rel() bool {
	return d.initial != nil && d.initial.Request.HasToken("Require", option100rel)
}

func allows100rel(invite *Message) bool {
	return invite.HasToken("Supported", option100rel) || invite.HasToken("Require", option100rel)
}

// ProvisionReliably answers the INVITE of the caller with a 101 to 199 that is
// repeated until its PRACK comes; done gets that PRACK and must answer it. Where
// none comes within 64*T1, done gets nil and should refuse the INVITE with a
// 5xx (RFC 3262 section 3). Behind a final response done is not called any more.
//
// One response at a time is unacknowledged: the next ones wait, and so does
// [Dialog.Answer] where one of them has a body. False where it is too late for a
// provisional response or too many wait: then it is not sent. The caller must be
// one that [Dialog.Takes100rel].
func (d *Dialog) ProvisionReliably(status int, reason, contentType string, body []byte, done func(prack *ServerTx), fields ...Field) bool {
	if d.initial == nil || d.initial.Final() {
		return false
	}
	s := &d.provisionals
	if s.answer != nil || len(s.waiting) >= maxProvisionals {
		return false
	}
	p := &provisional{res: d.answer(d.initial, status, reason, contentType, body, append([]Field{{"Require", option100rel}}, fields...)), done: done}
	if s.pending == nil {
		d.sendReliably(p)
	} else {
		s.waiting = append(s.waiting, p)
	}
	return true
}

func (d *Dialog) sendReliably(p *provisional) {
	s := &d.provisionals
	if s.rseq == 0 {
		s.rseq = rand.Uint32N(1 << 30) // RFC 3262 section 3: below 2^31, with room above
	}
	s.rseq++
	p.rseq = s.rseq
	p.res.Add("RSeq", strconv.FormatUint(uint64(p.rseq), 10))
	s.pending = p
	d.initial.Respond(p.res)
	p.wire = d.initial.last
	d.repeatProvisional(p, T1)
	p.timeout = d.after(64*T1, func() {
		if s.pending != p || d.initial.Final() {
			return
		}
		d.dropProvisionals()
		p.done(nil)
	})
}

// repeatProvisional sends it again after T1, 2*T1 and so on: over TCP as well,
// since a proxy further on may use UDP.
func (d *Dialog) repeatProvisional(p *provisional, wait time.Duration) {
	p.resend = d.after(wait, func() {
		if d.provisionals.pending == p && !d.initial.Final() {
			d.initial.reply.send(p.wire, nil)
			d.repeatProvisional(p, 2*wait)
		}
	})
}

// acknowledged returns the response that a PRACK acknowledges and ends its
// repetition; nil where none waits for it.
func (d *Dialog) acknowledged(prack *Message) *provisional {
	if d.initial == nil {
		return nil
	}
	p := d.provisionals.pending
	if p == nil || prack.Get("RAck") == "" {
		return nil
	}
	rseq, seq, method, ok := parseRAck(prack.Get("RAck"))
	if !ok || rseq != p.rseq || seq != d.initial.seq || method != "INVITE" {
		return nil
	}
	p.resend.stop()
	p.timeout.stop()
	d.provisionals.pending = nil
	return p
}

// takePrack hands the PRACK to whoever sent the response, and then sends what
// has waited for it.
func (d *Dialog) takePrack(p *provisional, t *ServerTx) {
	s := &d.provisionals
	if d.initial.Final() {
		t.Reply(200, "")
		return
	}
	defer func() {
		switch {
		case d.initial.Final(), s.pending != nil:
		case len(s.waiting) > 0:
			next := s.waiting[0]
			s.waiting = s.waiting[1:]
			d.sendReliably(next)
		case s.answer != nil:
			answer := s.answer
			s.answer = nil
			answer()
		}
	}()
	p.done(t)
}

// waitsForPrack keeps a 2xx back while a description is not acknowledged.
func (d *Dialog) waitsForPrack(answer func()) bool {
	s := &d.provisionals
	described := func(p *provisional) bool { return len(p.res.Body) > 0 }
	if s.pending == nil || !described(s.pending) && !slices.ContainsFunc(s.waiting, described) {
		return false
	}
	s.answer = answer
	return true
}

// dropProvisionals ends what waits for a PRACK or behind one. The last response
// stays known for a PRACK that crosses the final response.
func (d *Dialog) dropProvisionals() {
	if d.beginning == nil {
		return
	}
	s := &d.provisionals
	if p := s.pending; p != nil {
		p.resend.stop()
		p.timeout.stop()
	}
	s.waiting, s.answer = nil, nil
}

// parseRAck reads the field RAck (RFC 3262 section 7.2): the RSeq, and number
// and method of the CSeq of a reliable response.
func parseRAck(v string) (rseq, seq uint32, method string, ok bool) {
	fields := strings.Fields(v)
	if len(fields) != 3 {
		return 0, 0, "", false
	}
	r, err1 := strconv.ParseUint(fields[0], 10, 32)
	s, err2 := strconv.ParseUint(fields[1], 10, 32)
	return uint32(r), uint32(s), fields[2], err1 == nil && err2 == nil
}
