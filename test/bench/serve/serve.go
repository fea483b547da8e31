// Package serve runs sipward's media engine, as calls use it, for the sessions
// of a plan, and nothing else of sipward: what a measurement of the process
// sees is the relay.
package serve

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/sipward/sipward/media"
	"github.com/sipward/sipward/test/bench/plan"
)

// Run opens the plan's sessions, writes a line "ready" and relays until the
// context ends; with noRing packet by packet.
func Run(ctx context.Context, p *plan.Plan, noRing bool, out io.Writer, log *slog.Logger) (err error) {
	engine, err := media.NewEngine(media.Options{NoRing: noRing, Log: log})
	if err != nil {
		return err
	}
	defer func() {
		if e := engine.Close(); err == nil {
			err = e
		}
	}()
	for i := range p.Sessions {
		if err := open(engine, p, &p.Sessions[i]); err != nil {
			return fmt.Errorf("session %d: %w", i, err)
		}
	}
	if _, err := fmt.Fprintln(out, "ready"); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// open makes one session do what b2bua has it do for an established call: the
// phone at end A, the network at end B.
func open(engine *media.Engine, p *plan.Plan, call *plan.Session) error {
	s, err := engine.OpenAt(call.Plain, call.Secure)
	if err != nil {
		return err
	}
	s.SetRemote(media.A, media.Remote{RTP: p.PlainLocal})
	s.SetRemote(media.B, media.Remote{RTP: p.SecureLocal})
	s.SetMode(media.A, media.Plain)
	if call.Suite == plan.None {
		s.SetMode(media.B, media.Plain)
		return nil
	}
	in, err := plan.ParseKey(call.Suite, call.ToProxy)
	if err != nil {
		return err
	}
	out, err := plan.ParseKey(call.Suite, call.FromProxy)
	if err != nil {
		return err
	}
	return s.Protect(media.B, media.Keys{
		Suite:   call.Suite,
		SendKey: out.Key, SendSalt: out.Salt,
		RecvKey: in.Key, RecvSalt: in.Salt,
	}, media.ProtectOptions{})
}
