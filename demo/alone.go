package demo

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/demo/audio"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
)

// aloneLimit bounds RunAlone as a whole; it takes about twenty seconds.
const aloneLimit = 45 * time.Second

// Alone is what became of the calls of one person with one phone.
type Alone struct {
	Calls []AloneCall `json:"calls"` // one to each address of the catalogue
	OK    bool        `json:"ok"`    // every call was encrypted, and what was heard is right
}

// AloneCall is one of them.
type AloneCall struct {
	To      string `json:"to"`
	Does    string `json:"does"` // what the address is for
	Trust   string `json:"trust"`
	Group   string `json:"group"`
	Suite   string `json:"suite"`
	SASCode string `json:"sas_code"` // as the caller's own sipward shows it
	// Match is how much of what was heard is what the caller had said, 0 to 1, and
	// Code is the digits that were heard; each where the address is for that.
	Match float64 `json:"match,omitempty"`
	Code  string  `json:"code,omitempty"`
	OK    bool    `json:"ok"`
}

// RunAlone has alice, with one phone and one sipward, call every test address; a
// [FarEnd] answers. All is in this process, on loopback and free ports. Of the
// options Transport, Progress and Log count.
//
// An error means that a call did not come about.
func RunAlone(ctx context.Context, o Options) (*Alone, error) {
	return runAlone(ctx, o, System, loopbacks())
}

func runAlone(ctx context.Context, o Options, n Network, at places) (*Alone, error) {
	ctx, cancel := context.WithTimeout(ctx, aloneLimit)
	defer cancel()
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	far, err := NewFarEnd(FarEndOptions{Network: n, Transport: o.Transport, Outside: at.bOutside, Inside: at.bInside, Log: o.Log,
		Accept: func(from netip.Addr) bool { return from == at.aOutside }})
	if err != nil {
		return nil, err
	}
	defer far.Close()
	var routes []route.Route
	for _, a := range TestAddresses() {
		routes = append(routes, route.Route{Match: route.MustPattern(a.User), From: route.Inside, To: far.URI(a.User), Side: route.Outside, Peer: "far"})
	}
	p := plan{network: n, transport: o.Transport, mode: policy.Require, log: o.Log}
	home, err := newWard(p, "sipward", at.aInside, at.aOutside, at.bOutside, "far", routes...)
	if err != nil {
		return nil, err
	}
	defer home.close()
	phone, err := NewPhone(PhoneOptions{Name: "alice", Domain: "a.example", Addr: at.alice, Network: n, Transport: o.Transport, Proxy: home.inside, Play: audio.Alice(), Log: o.Log})
	if err != nil {
		return nil, err
	}
	defer phone.Close()
	r := &Alone{OK: true}
	for _, a := range TestAddresses() {
		c, err := home.try(ctx, phone, a, o.Progress)
		if err != nil {
			return nil, fmt.Errorf("demo: %s: %w", a.User, err)
		}
		r.Calls = append(r.Calls, c)
		r.OK = r.OK && c.OK
	}
	return r, nil
}

// try calls one test address and waits until it has done what it is for.
func (w *ward) try(ctx context.Context, phone *Phone, a TestAddress, progress func(string)) (c AloneCall, err error) {
	c = AloneCall{To: "sip:" + a.User + "@a.example", Does: a.Does}
	progress("alice calls " + c.To)
	call, err := phone.Call(c.To)
	if err != nil {
		return c, err
	}
	v, err := w.encrypted(ctx)
	if err != nil {
		return c, err
	}
	progress("her sipward shows " + sasText(v))
	c.Trust, c.Group, c.Suite, c.SASCode = v.Trust, v.Group, v.Suite, v.SASCode
	if a.NeedsExchange { // it hangs up once it has said everything
		if err := over(ctx, call); err != nil {
			return c, err
		}
		c.Code = audio.HeardDigits(call.Heard())
		code := strings.ReplaceAll(v.SASCode, " ", "")
		c.OK = c.Trust == trustEncrypted && c.Code == code+code
	} else {
		select {
		case <-call.Played():
		case <-call.Ended():
			return c, ended("alice", call)
		case <-ctx.Done():
			return c, ctx.Err()
		}
		if err := call.WaitHeard(ctx, call.PacketsSent()); err != nil {
			return c, err
		}
		call.Hangup()
		if err := over(ctx, call); err != nil {
			return c, err
		}
		c.Match, _ = audio.Correlate(call.Heard(), audio.Alice())
		c.OK = c.Trust == trustEncrypted && c.Match >= minMatch
	}
	return c, w.gone(ctx, v.ID)
}

// over waits until a call has ended in order.
func over(ctx context.Context, c *Call) error {
	select {
	case <-c.Ended():
		return c.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// gone waits until the sipward has heard of the end of a call.
func (w *ward) gone(ctx context.Context, id string) error {
	for {
		select {
		case e, ok := <-w.events:
			switch {
			case !ok:
				return errWardGone
			case e.Call.ID == id && e.Call.State == string(b2bua.Ended):
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Write reports the calls to a person.
func (r *Alone) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "alice -- sipward == a second sipward -- test addresses     (all on this machine)\n")
	for _, c := range r.Calls {
		fmt.Fprintf(&b, "\n%s  %s\n", c.To, c.Does)
		fmt.Fprintf(&b, "  %s (%s, %s), code %s\n", c.Trust, c.Group, c.Suite, c.SASCode)
		if c.Code != "" {
			fmt.Fprintf(&b, "  the far end said %s\n", spaced(c.Code))
		} else {
			fmt.Fprintf(&b, "  alice heard herself: %.3f of 1\n", c.Match)
		}
	}
	if r.OK {
		fmt.Fprintf(&b, "\nWith a phone of your own: run \"sipward run\", and call what it prints.\n")
	} else {
		fmt.Fprintf(&b, "\nNOT as it should be.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// spaced is the first of two equal codes as the sipwards write it.
func spaced(twice string) string {
	if len(twice) != 12 || twice[:6] != twice[6:] {
		return twice
	}
	return twice[:3] + " " + twice[3:6] + ", twice"
}
