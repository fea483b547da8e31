package demo

import (
	"log/slog"
	"net/netip"
	"sync/atomic"

	"github.com/sipward/sipward/b2bua"
)

const (
	echoUser = "echo"
	sasUser  = "sas"
)

// TestAddress is an address that one person with one phone can call.
type TestAddress struct {
	User string // before the @
	Does string // as a sentence goes on: "plays back what it hears"
	Hear string // to the caller: "you hear yourself"

	NeedsExchange bool // it says something about the key exchange
}

// TestAddresses is the catalogue.
func TestAddresses() []TestAddress {
	return []TestAddress{
		{User: echoUser, Does: "plays back what it hears, a little later", Hear: "you hear yourself, a little later"},
		{User: sasUser, Does: "reads out the code of the call, six digits", Hear: "you hear six digits, the code of the call", NeedsExchange: true},
	}
}

// TestDeskOptions say what a test desk is like. Addr is needed.
type TestDeskOptions struct {
	Network  Network    // nil: System
	Addr     netip.Addr // of its sockets: one specific address
	MaxCalls int        // at once, for each address; 0: 16
	Log      *slog.Logger
}

// TestDesk answers the addresses of the catalogue behind a sipward, as phones
// inside do.
type TestDesk struct {
	echo    *Echo
	speaker *Speaker
	proxy   atomic.Pointer[b2bua.Proxy] // nil until it is known
}

// NewTestDesk opens the sockets on free ports; Close must follow. Until Behind
// there is no code to read out.
func NewTestDesk(o TestDeskOptions) (d *TestDesk, err error) {
	d = &TestDesk{}
	if d.echo, err = NewEcho(EchoOptions{Network: o.Network, Addr: o.Addr, MaxCalls: o.MaxCalls, Log: o.Log}); err != nil {
		return nil, err
	}
	d.speaker, err = NewSpeaker(SpeakerOptions{Network: o.Network, Addr: o.Addr, MaxCalls: o.MaxCalls, Log: o.Log, Code: d.code})
	if err != nil {
		d.echo.Close()
		return nil, err
	}
	return d, nil
}

// Behind says which sipward hands the calls over, and knows their codes.
func (d *TestDesk) Behind(p *b2bua.Proxy) { d.proxy.Store(p) }

func (d *TestDesk) code(callID string) (string, bool) {
	p := d.proxy.Load()
	if p == nil {
		return "", false
	}
	v, ok := p.CallWith(callID)
	return v.SASCode, ok && v.SASCode != ""
}

// URI is where an address of the catalogue is answered, "" for any other.
func (d *TestDesk) URI(user string) string {
	switch user {
	case echoUser:
		return d.echo.URI()
	case sasUser:
		return d.speaker.URI()
	}
	return ""
}

// Calls counts the calls that are not over.
func (d *TestDesk) Calls() int { return d.echo.Calls() + d.speaker.Calls() }

// Close says BYE to every caller and closes the sockets.
func (d *TestDesk) Close() {
	d.echo.Close()
	d.speaker.Close()
}
