package b2bua

import (
	"context"
	"crypto/subtle"
	"errors"
	"strings"

	"github.com/sipward/sipward/sas"
	"github.com/sipward/sipward/trust"
)

// Errors of [Proxy.SaySAS].
var (
	ErrNoCall    = errors.New("no live call has this id")
	ErrNoSAS     = errors.New("this call has no string to compare: its encryption is not confirmed yet, or there is none")
	ErrSaidNo    = errors.New("somebody said already that the strings of this call differ")
	ErrWrongCode = errors.New("this is not the code of the call; listen again, and try once more")
	ErrSayWhat   = errors.New("say one of three: that the strings are equal, that they differ, or the code that the other person reads out")
)

// Said is what a person at the phone or the console says about the short
// authentication string: that both read the same, that they do not, or the code
// that the other person has read out.
type Said struct {
	Equal, Different bool
	Code             string // six digits; spaces and hyphens between them are passed over
}

// maxWrong is the number of wrong codes that make a mismatch (protocol section 4).
const maxWrong = 2

// SaySAS takes a person's word about a call. What was confirmed or withdrawn is
// durable when it returns. That the strings differ may be said behind that they are
// equal, and takes it back, for later calls too; not the other way round. It belongs behind a key of the own phone, or before the eyes of the
// user or operator: never to the protected leg.
func (p *Proxy) SaySAS(ctx context.Context, id string, s Said) (View, error) {
	words := 0
	for _, one := range []bool{s.Equal, s.Different, s.Code != ""} {
		if one {
			words++
		}
	}
	if words != 1 {
		return View{}, ErrSayWhat
	}
	p.mu.Lock()
	c := p.calls[id]
	p.mu.Unlock()
	if c == nil {
		return View{}, ErrNoCall
	}
	type outcome struct {
		changes []trust.Change
		err     error
	}
	done := make(chan outcome, 1)
	c.queue.Post(func() {
		changes, err := c.said(s)
		done <- outcome{changes, err}
	})
	select {
	case o := <-done:
		if o.err != nil {
			return View{}, o.err
		}
		if err := p.o.Memory.Learn(o.changes); err != nil {
			return View{}, err
		}
		return c.View(), nil
	case <-ctx.Done():
		return View{}, ctx.Err()
	}
}

// said takes a person's word about the string of the call.
func (c *Call) said(s Said) ([]trust.Change, error) {
	if c.state == Ended {
		return nil, ErrNoCall
	}
	l, octets, ok := c.string()
	if !ok {
		return nil, ErrNoSAS
	}
	a := &c.assured[l.end]
	if a.said == trust.Different {
		return nil, ErrSaidNo
	}
	switch {
	case s.Different:
		a.said = trust.Different
	case s.Equal:
		a.said = trust.Equal
	case sameCode(s.Code, sas.Code(octets)):
		a.said, a.wrong = trust.Equal, 0
	default:
		if a.wrong++; a.wrong < maxWrong {
			return nil, ErrWrongCode
		}
		a.said = trust.Different
	}
	v, changes := c.judge(l, trust.Confirmed)
	c.rate(l, v)
	c.p.log.Info("the string was compared", "call", c.id, "equal", a.said == trust.Equal, "trust", v.Word)
	c.emit("call-changed")
	if sentence := c.unfit(v); sentence != "" {
		c.end(sentence)
	}
	return changes, nil
}

// string is the short authentication string that a view shows, that of the first
// exchange (protocol section 4), and the leg whose it is.
func (c *Call) string() (l *Leg, octets [4]byte, ok bool) {
	for _, leg := range []*Leg{c.a, c.b} {
		if leg.exchange == nil || c.protection == "none" {
			continue
		}
		if o, has := leg.ourSAS(); has {
			l, octets, ok = leg, o, true
		}
	}
	return l, octets, ok
}

// sameCode compares in a time that tells nothing about the code.
func sameCode(typed, code string) bool {
	digits := strings.NewReplacer(" ", "", "-", "")
	a, b := []byte(digits.Replace(typed)), []byte(digits.Replace(code))
	return subtle.ConstantTimeCompare(a, b) == 1
}
