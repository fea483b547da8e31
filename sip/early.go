package sip

import (
	"slices"
	"strconv"
	"strings"
)

// Early dialogs (RFC 3261 section 12.1) and reliable provisional responses
// (RFC 3262) on the caller's side: each fork of the INVITE has its own.

// early is the dialog that a reliable response of one fork has begun.
type early struct {
	peer
	rseq      uint32 // of the last reliable response that was taken
	pracked   bool   // that one was acknowledged
	remoteSeq uint32
}

// rseqOf returns the RSeq of a response, 0 where it is no reliable one.
func rseqOf(res *Message) uint32 {
	n, err := strconv.ParseUint(strings.TrimSpace(res.Get("RSeq")), 10, 32)
	if err != nil || !res.HasToken("Require", option100rel) || res.Status <= 100 || res.Status >= 200 || res.To().Tag() == "" {
		return 0
	}
	return uint32(n)
}

// Reliable says whether a provisional response is a reliable one, for which
// [Dialog.Prack] must follow. One that was not asked for is none.
func (d *Dialog) Reliable(res *Message) bool {
	return d.invite != nil && allows100rel(d.invite.req) && rseqOf(res) != 0
}

func (d *Dialog) earlyOf(tag string) *early {
	if d.beginning == nil {
		return nil
	}
	for _, e := range d.earlies {
		if e.tag == tag {
			return e
		}
	}
	return nil
}

// inOrder says whether the user hears of a provisional response: not of a
// repetition, which the PRACK on its way answers, nor of a reliable one whose
// turn has not come (RFC 3262 section 4); that will be repeated.
func (d *Dialog) inOrder(res *Message) bool {
	if !d.Reliable(res) {
		return true
	}
	rseq := rseqOf(res)
	e := d.earlyOf(res.To().Tag())
	switch {
	case e == nil && len(d.earlies) >= maxForks:
		return false
	case e == nil:
		e = &early{peer: peerOf(res, d.peer)}
		d.earlies = append(d.earlies, e)
	case rseq != e.rseq+1 || !e.pracked:
		return false
	}
	e.rseq, e.pracked = rseq, false
	return true
}

// Prack acknowledges the last reliable provisional response of a fork (RFC 3262
// section 4). handle gets what [Dialog.Do] tells its own; a second call for the
// same response does nothing.
func (d *Dialog) Prack(res *Message, contentType string, body []byte, handle func(*Message, error), fields ...Field) {
	e := d.earlyOf(res.To().Tag())
	if e == nil || e.pracked || d.ended || e.rseq != rseqOf(res) {
		return
	}
	e.pracked = true
	seq, _, _ := d.invite.req.CSeq()
	rack := Field{"RAck", strconv.FormatUint(uint64(e.rseq), 10) + " " + cseq(seq, "INVITE")}
	var send func(proved bool, fields []Field)
	send = func(proved bool, fields []Field) {
		d.localSeq++
		flow := d.hop(&e.peer)
		req, branch := d.request("PRACK", d.localSeq, &e.peer, flow)
		req.Fields = append(append(req.Fields, rack), fields...)
		req.SetBody(contentType, body)
		d.newClientTx(req, branch, flow, func(res *Message, err error) {
			if !proved && !d.ended {
				if f, ok := d.proof(req, res); ok {
					send(true, append(slices.Clone(fields), f))
					return
				}
			}
			handle(res, err)
		})
	}
	send(false, fields)
}

// sender returns whom a request within the dialog comes from, and the number of
// its last one; nil where the dialog does not know it. Before the answer that is
// a fork, which may send what does not end or begin anything.
func (d *Dialog) sender(m *Message) (*peer, *uint32) {
	tag := m.From().Tag()
	if !d.caller || d.confirmed {
		if tag != d.peer.tag {
			return nil, nil
		}
		return &d.peer, &d.remoteSeq
	}
	if e := d.earlyOf(tag); e != nil && m.Method != "BYE" && m.Method != "INVITE" {
		return &e.peer, &e.remoteSeq
	}
	return nil, nil
}
