package configs

import (
	"strconv"
	"time"
)

// Rekey says when the keys of a call are replaced while it goes on. 0 stands for
// off.
type Rekey struct {
	Every       time.Duration // after that time
	Packets     uint64        // after so many packets of both directions
	MinInterval time.Duration // between two times that a peer may ask for new keys
}

// Calls says how it is found that somebody has left a call without a word. 0 stands
// for off.
type Calls struct {
	Session         time.Duration // without a sign of life in the signalling (RFC 4028)
	AskAfterSilence time.Duration // who should speak and does not is asked
	EndAfterSilence time.Duration // and although it answers, the call ends
}

var (
	// defaultRekey is far below what any suite allows, 2^48 packets and 2^31 reports,
	// and lets no key serve longer than a day.
	defaultRekey = Rekey{Every: 24 * time.Hour, MinInterval: 2 * time.Second}
	// defaultCallTimers end no call whose far ends still answer.
	defaultCallTimers = Calls{Session: 30 * time.Minute, AskAfterSilence: time.Minute}
)

func (d *document) rekey(v value) Rekey {
	f := d.section(v, "every", "packets", "min_interval")
	r := defaultRekey
	d.span(f, "every", &r.Every, 3*time.Second, 7*24*time.Hour, true)
	d.span(f, "min_interval", &r.MinInterval, time.Second, time.Hour, false)
	if v, ok := f["packets"]; ok {
		if s, ok := d.text(v); ok && s != "off" {
			n, err := strconv.ParseUint(s, 10, 64)
			if err != nil || n < 100 || n > 1<<31 {
				d.fail(v.path, "%s is not a number of packets from 100 to 2147483648, or off", show(s))
				return r
			}
			r.Packets = n
		}
	}
	return r
}

func (d *document) calls(v value) Calls {
	f := d.section(v, "session", "ask_after_silence", "end_after_silence")
	c := defaultCallTimers
	d.span(f, "session", &c.Session, 90*time.Second, 24*time.Hour, true)
	d.span(f, "ask_after_silence", &c.AskAfterSilence, 10*time.Second, 24*time.Hour, true)
	d.span(f, "end_after_silence", &c.EndAfterSilence, 30*time.Second, 24*time.Hour, true)
	return c
}

// span reads a time in whole seconds, or off where that is allowed.
func (d *document) span(f map[string]value, key string, to *time.Duration, least, most time.Duration, off bool) {
	v, ok := f[key]
	if !ok {
		return
	}
	s, ok := d.text(v)
	if !ok {
		return
	}
	if off && s == "off" {
		*to = 0
		return
	}
	t, err := time.ParseDuration(s)
	or := ""
	if off {
		or = ", or off"
	}
	switch {
	case err != nil || t%time.Second != 0:
		d.fail(v.path, "%s is not a time in whole seconds; write one such as 1h, 30m or 90s%s", show(s), or)
	case t < least || t > most:
		d.fail(v.path, "%s is not from %s to %s%s", s, least, most, or)
	default:
		*to = t
	}
}
