package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/audio"
	"github.com/sipward/sipward/media"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

// plan says what is put on the stage.
type plan struct {
	network   Network
	transport string
	mitm      bool
	mode      policy.Mode // between the two sipwards; "": require
	modeB     policy.Mode // of bob's sipward where it is another; "": mode
	places    places
	tap       func(Sighting)
	log       *slog.Logger
}

// places are the addresses of everybody, in the order of a call.
type places struct{ alice, aInside, aOutside, wireA, wireB, bOutside, bInside, bob netip.Addr }

// loopbacks are places on this machine.
func loopbacks() places {
	return places{loopback(11), loopback(12), loopback(13), loopback(14), loopback(15), loopback(16), loopback(17), loopback(18)}
}

// stage is two phones, two sipwards and a wire:
//
//	alice -- a == wire == b -- bob
type stage struct {
	alice, bob *Phone
	a, b       *ward
	wire       *Wire
	mitm       *Mitm // nil without a man in the middle
}

// ward is one sipward: what `sipward run` puts together from a configuration.
type ward struct {
	proxy   *b2bua.Proxy
	engine  *media.Engine
	events  <-chan b2bua.Event
	inside  netip.AddrPort
	outside netip.AddrPort
}

// newStage opens everything; close must follow, also after an error.
func newStage(p plan) (s *stage, err error) {
	s = &stage{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if p.mode == "" {
		p.mode = policy.Require
	}
	if p.network == nil {
		p.network = System
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	o := WireOptions{Network: p.network, Transport: p.transport, LocalA: p.places.wireA, LocalB: p.places.wireB, Tap: p.tap, Log: p.log}
	if p.mitm {
		if s.mitm, err = NewMitm(o); err != nil {
			return s, err
		}
		s.wire = s.mitm.Wire
	} else if s.wire, err = NewWire(o); err != nil {
		return s, err
	}
	s.bob, err = NewPhone(PhoneOptions{Name: "bob", Domain: "b.example", Addr: p.places.bob, Network: p.network, Transport: p.transport,
		Play: audio.Bob(), AnswerAfter: 200 * time.Millisecond, Log: p.log})
	if err != nil {
		return s, err
	}
	hop := func(l Link) string {
		return "sip:" + s.wire.Addr(l).String() + ";transport=" + s.wire.o.Transport
	}
	s.a, err = newWard(p, "sipward-a", p.places.aInside, p.places.aOutside, p.places.wireA, "b",
		route.Route{Match: route.MustPattern("*@b.example"), From: route.Inside, To: hop(LinkA), Side: route.Outside, Peer: "b"})
	if err != nil {
		return s, err
	}
	if p.modeB != "" {
		p.mode = p.modeB
	}
	s.b, err = newWard(p, "sipward-b", p.places.bInside, p.places.bOutside, p.places.wireB, "a",
		route.Route{Match: route.MustPattern("bob@b.example"), From: route.Outside, To: s.bob.URI(), Side: route.Inside})
	if err != nil {
		return s, err
	}
	s.wire.SetPeers(s.a.outside, s.b.outside)
	s.alice, err = NewPhone(PhoneOptions{Name: "alice", Domain: "a.example", Addr: p.places.alice, Network: p.network, Transport: p.transport,
		Proxy: s.a.inside, Play: audio.Alice(), Log: p.log})
	return s, err
}

// newWard starts a sipward with one inside and one outside listener and one
// listed peer, which is behind the wire.
func newWard(p plan, name string, inside, outside, wire netip.Addr, peer string, routes ...route.Route) (w *ward, err error) {
	w = &ward{}
	var opened []io.Closer
	defer func() {
		if err != nil {
			for _, c := range opened {
				c.Close()
			}
			err = fmt.Errorf("demo: %s: %w", name, err)
		}
	}()
	table, err := route.NewTable(routes)
	if err != nil {
		return nil, err
	}
	rules, err := policy.New(policy.Rules{ListedPeers: p.mode})
	if err != nil {
		return nil, err
	}
	mo := media.Options{Workers: 1, Log: p.log}
	if p.network != Network(System) { // the engine's own sockets are faster
		mo.Listen = p.network.ListenPacket
	}
	if w.engine, err = media.NewEngine(mo); err != nil {
		return nil, err
	}
	opened = append(opened, w.engine)
	listen := func(side policy.Side, addr netip.Addr) (b2bua.Listener, netip.AddrPort, error) {
		so, err := sipListener(p.network, name, p.transport, addr)
		if err != nil {
			return b2bua.Listener{}, netip.AddrPort{}, err
		}
		l := b2bua.Listener{Name: name + "-" + string(side), Side: side, Packet: so.Packet, Stream: so.Stream, Dial: so.Dial}
		return l, opensAt(so, &opened), nil
	}
	in, at, err := listen(policy.Inside, inside)
	if err != nil {
		return nil, err
	}
	w.inside = at
	out, at, err := listen(policy.Outside, outside)
	if err != nil {
		return nil, err
	}
	w.outside = at
	w.proxy, err = b2bua.New(b2bua.Options{
		Listeners: []b2bua.Listener{in, out}, Routes: table, Policy: rules, Media: w.engine, UserAgent: "sipward", Log: p.log,
		Peer: func(_ string, addr netip.Addr) string {
			if addr == wire {
				return peer
			}
			return ""
		},
	})
	if err != nil {
		return nil, err
	}
	w.events, _ = w.proxy.Subscribe(256)
	return w, nil
}

// opensAt notes a socket and returns its address.
func opensAt(o sip.ListenerOptions, opened *[]io.Closer) netip.AddrPort {
	if o.Packet != nil {
		*opened = append(*opened, o.Packet)
		return localOf(o.Packet.LocalAddr())
	}
	*opened = append(*opened, o.Stream)
	return localOf(o.Stream.Addr())
}

var errWardGone = errors.New("demo: a sipward has stopped")

// encrypted waits until the sipward shows its call as encrypted and confirmed,
// or as over.
func (w *ward) encrypted(ctx context.Context) (b2bua.View, error) {
	for {
		select {
		case e, ok := <-w.events:
			switch v := e.Call; {
			case !ok:
				return b2bua.View{}, errWardGone
			case v.State == string(b2bua.Ended):
				return v, fmt.Errorf("demo: the call has ended: %s", v.Reason)
			case v.SASCode != "":
				return v, nil
			}
		case <-ctx.Done():
			return b2bua.View{}, ctx.Err()
		}
	}
}

// now is the call as the sipward shows it at this moment.
func (w *ward) now() (b2bua.View, bool) {
	if calls := w.proxy.Calls(); len(calls) > 0 {
		return calls[0], true
	}
	return b2bua.View{}, false
}

func (w *ward) close() {
	if w == nil || w.proxy == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = w.proxy.Shutdown(ctx) // what is still on its way after a second is given up
	_ = w.engine.Close()
}

// close takes everything down, the sipwards first so that they can say BYE.
func (s *stage) close() {
	s.a.close()
	s.b.close()
	for _, p := range []*Phone{s.alice, s.bob} {
		if p != nil {
			p.Close()
		}
	}
	if s.wire != nil {
		s.wire.Close()
	}
}

// talk is one call of the stage: both phones say all they have to say.
type talk struct {
	a, b         *Call
	viewA, viewB b2bua.View // encrypted and confirmed, or as it stood at the end
}

// call has alice call bob and waits until both have heard everything, or for
// what is missing at most grace after the last word.
func (s *stage) call(ctx context.Context, protected bool, grace time.Duration, progress func(string)) (t talk, err error) {
	progress("alice calls sip:bob@b.example")
	if t.a, err = s.alice.Call("sip:bob@b.example"); err != nil {
		return t, err
	}
	select {
	case t.b = <-s.bob.Calls():
	case <-t.a.Ended():
		return t, fmt.Errorf("demo: alice's call: %w", t.a.Err())
	case <-ctx.Done():
		return t, ctx.Err()
	}
	progress("bob's phone rings")
	if err := s.wait(ctx, t, t.a.Up()); err != nil {
		return t, err
	}
	if err := s.wait(ctx, t, t.b.Up()); err != nil {
		return t, err
	}
	progress("the call stands, both talk")
	if protected {
		if t.viewA, err = s.a.encrypted(ctx); err != nil {
			return t, err
		}
		if t.viewB, err = s.b.encrypted(ctx); err != nil {
			return t, err
		}
		progress("alice's sipward shows " + sasText(t.viewA))
		progress("bob's sipward shows   " + sasText(t.viewB))
	}
	for _, c := range []*Call{t.a, t.b} {
		if err := s.wait(ctx, t, c.Played()); err != nil {
			return t, err
		}
	}
	last, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	// What is missing then is missing in the result.
	_ = t.a.WaitHeard(last, t.b.PacketsSent())
	_ = t.b.WaitHeard(last, t.a.PacketsSent())
	if v, ok := s.a.now(); ok {
		t.viewA = v
	}
	if v, ok := s.b.now(); ok {
		t.viewB = v
	}
	t.a.Hangup()
	for _, c := range []*Call{t.a, t.b} {
		select {
		case <-c.Ended():
		case <-ctx.Done():
			return t, ctx.Err()
		}
	}
	progress("alice has hung up")
	return t, nil
}

// wait waits for an event of a call that may fail instead.
func (s *stage) wait(ctx context.Context, t talk, event <-chan struct{}) error {
	select {
	case <-event:
		return nil
	case <-t.a.Ended():
		return ended("alice", t.a)
	case <-t.b.Ended():
		return ended("bob", t.b)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func ended(who string, c *Call) error {
	if err := c.Err(); err != nil {
		return fmt.Errorf("demo: %s's call: %w", who, err)
	}
	return fmt.Errorf("demo: %s's call ended before its time", who)
}

// sasText is the string as people compare it: three words and the code.
func sasText(v b2bua.View) string { return strings.TrimSpace(v.SASWords + " " + v.SASCode) }
