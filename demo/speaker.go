package demo

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// SpeakerOptions say what a speaker is like. Addr and Code are needed; of the
// others the zero value is the default.
type SpeakerOptions struct {
	Network Network    // nil: System
	Addr    netip.Addr // of its SIP and media sockets: one specific address, such as 127.0.0.1

	// Code gives the code of a call by the Call-ID that the speaker's side of it
	// has, "123 456"; not known while there is none. It is asked five times a
	// second, on a goroutine of the call's own, and returns soon.
	Code func(callID string) (code string, known bool)

	MaxCalls    int           // calls at once; 0: 16
	MaxDuration time.Duration // of a call; 0: 5 min

	Log *slog.Logger // nil: none
}

// Speaker is a test address that reads out the code of the short authentication
// string, as a person at the far end would: to everybody who calls, under any
// user name, as soon as the code is known, digit by digit and twice. Then it
// hangs up. So one person alone can compare what the two ends of a call show.
//
// It knows plain SIP over UDP and G.711 in plain RTP; it refuses an offer without
// (488). A call whose code is not known within ten seconds has none, because it is
// not encrypted, and ends with BYE. A caller beyond MaxCalls hears that it is busy
// (486).
type Speaker struct{ *machine }

// NewSpeaker opens the SIP socket on any free port; Close must follow.
func NewSpeaker(o SpeakerOptions) (*Speaker, error) {
	if o.Code == nil {
		return nil, errors.New("demo: a speaker needs somebody who knows the code")
	}
	m, err := newMachine(machineOptions{network: o.Network, addr: o.Addr, user: sasUser, maxCalls: o.MaxCalls, maxDuration: o.MaxDuration, log: o.Log, code: o.Code})
	if err != nil {
		return nil, err
	}
	return &Speaker{m}, nil
}

// errNoG711 is told to the caller as a reason phrase.
var errNoG711 = errors.New("The code is spoken in G.711 only: allow PCMU or PCMA in the phone")

// read reads the description of a caller as this machine answers it.
func (m *machine) read(body []byte) (mirror, ends, error) {
	offered, to, err := mirrorOf(body, m.addr)
	if err != nil || m.code == nil {
		return offered, to, err
	}
	return offered, to, offered.onlyG711()
}

// onlyG711 leaves no other format in the line that is taken.
func (m *mirror) onlyG711() error {
	line := &m.lines[m.mine]
	line.Formats = slices.DeleteFunc(slices.Clone(line.Formats), func(format string) bool { return format != "0" && format != "8" })
	if len(line.Formats) == 0 {
		return errNoG711
	}
	m.attributes = slices.DeleteFunc(m.attributes, func(a string) bool {
		format, _, _ := strings.Cut(a, " ")
		return format != "rtpmap:0" && format != "rtpmap:8"
	})
	m.attributes = append(m.attributes, "ptime:20")
	return nil
}

// newVoice is nil for a call that is not read to.
func (c *machineCall) newVoice() *voice {
	if c.machine.code == nil {
		return nil
	}
	callID := c.dialog.CallID()
	return &voice{
		code: func() (string, bool) { return c.machine.code(callID) },
		over: func(why string) { c.queue.Post(func() { c.hangup(why) }) },
	}
}
