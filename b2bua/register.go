package b2bua

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/sipward/sipward/route/registrar"
	"github.com/sipward/sipward/sip"
)

// maxRegistering bounds the REGISTERs that wait for their bindings to be on
// the disk.
const maxRegistering = 64

// register answers a REGISTER from inside (RFC 3261 section 10.3). It keeps
// the reader free: a binding is durable before the 200 leaves.
func (p *Proxy) register(in *sip.Incoming, l *listener) {
	if !p.admit(in, l, "") {
		return
	}
	if l.Accounts == AccountsElsewhere || !p.home(in.URI) {
		if (l.Accounts == AccountsElsewhere || p.o.Auth == nil) && !p.admitUser(in, userOf(in, "")) {
			return
		}
		p.passRegister(in, l)
		return
	}
	if p.o.Registrar == nil {
		in.Reply(405, "", sip.Field{Name: "Allow", Value: allowed})
		return
	}
	user, ok := p.authenticate(in)
	if !ok || !p.admitUser(in, userOf(in, user)) {
		return
	}
	request, err := readRegister(in, l)
	if err != nil {
		in.Reply(400, "Bad Request ("+err.Error()+")")
		return
	}
	queue := &sip.Queue{Log: p.log}
	tx := in.Serve(queue)
	if tx == nil {
		return // a repetition of one that is under way
	}
	reply := func(status int, fields ...sip.Field) { queue.Post(func() { tx.Reply(status, "", fields...) }) }
	select {
	case p.registering <- struct{}{}:
	default:
		reply(503, sip.Field{Name: "Retry-After", Value: "5"})
		return
	}
	go func() {
		defer func() { <-p.registering }()
		p.bind(in, request, reply)
	}()
}

func (p *Proxy) bind(in *sip.Incoming, request registrar.Request, reply func(int, ...sip.Field)) {
	aor := p.aor(in.To().URI)
	bindings, err := p.o.Registrar.Register(aor, request)
	var refusal *registrar.Refusal
	if errors.As(err, &refusal) {
		var fields []sip.Field
		if refusal.MinExpires > 0 {
			fields = append(fields, sip.Field{Name: "Min-Expires", Value: seconds(refusal.MinExpires)})
		}
		p.log.Info("registration refused", "user", in.To().URI.User, "status", refusal.Status, "why", refusal.Reason)
		reply(refusal.Status, append(fields, warning(refusal.Reason))...)
		return
	}
	if err != nil {
		p.log.Error("registration failed", "error", err)
		reply(500)
		return
	}
	now := time.Now()
	fields := make([]sip.Field, 0, len(bindings)+1)
	for _, b := range bindings {
		fields = append(fields, sip.Field{Name: "Contact", Value: "<" + b.Contact + ">;expires=" + seconds(b.Expires.Sub(now))})
	}
	fields = append(fields, sip.Field{Name: "Date", Value: now.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")})
	reply(200, fields...)
	for _, c := range request.Changes {
		if p.o.Registered != nil {
			p.o.Registered(in.To().URI.User, c.Contact, c.Expires != 0)
		}
	}
}

func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

// readRegister takes the contacts out of a REGISTER.
func readRegister(in *sip.Incoming, l *listener) (registrar.Request, error) {
	seq, _, _ := in.CSeq()
	r := registrar.Request{CallID: in.CallID(), CSeq: seq,
		Source: registrar.Source{Network: l.sip.Network, Listener: l.sip.Name, Remote: in.Flow.Remote()}}
	all := registrar.Unsaid
	if v := in.Get("Expires"); v != "" {
		all = interval(v)
	}
	for _, v := range in.Values("Contact") {
		if v == "*" {
			r.Changes = append(r.Changes, registrar.Change{Contact: "*", Expires: all})
			continue
		}
		a, err := sip.ParseAddress(v)
		if err != nil {
			return r, errors.New("Contact")
		}
		c := registrar.Change{Contact: a.URI.String(), Expires: all, Q: 1000}
		if e, ok := a.Param("expires"); ok {
			c.Expires = interval(e)
		}
		if q, ok := a.Param("q"); ok {
			f, err := strconv.ParseFloat(q, 64)
			if err != nil || f < 0 || f > 1 {
				return r, errors.New("q of a Contact")
			}
			c.Q = int(f*1000 + 0.5)
		}
		r.Changes = append(r.Changes, c)
	}
	return r, nil
}

// interval reads delta-seconds; what cannot be read counts as not said
// (RFC 3261 section 10.2.1.1).
func interval(s string) time.Duration {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32)
	if err != nil {
		return registrar.Unsaid
	}
	return time.Duration(n) * time.Second
}

// phonesOf returns where the registered phones of a user are.
func (p *Proxy) phonesOf(u sip.URI) []destination {
	if p.o.Registrar == nil || u.User == "" || !p.home(u) {
		return nil
	}
	var out []destination
	for _, b := range p.o.Registrar.Lookup(p.aor(u)) {
		l := p.listenerNamed(b.Source)
		if l == nil {
			continue // the configuration has changed since; the phone will register anew
		}
		out = append(out, destination{URI: b.Contact, flow: l.sip.Flow(b.Source.Remote)})
	}
	return out
}

func (p *Proxy) listenerNamed(s registrar.Source) *listener {
	for _, l := range p.listeners {
		if l.sip.Name == s.Listener && l.sip.Network == s.Network && l.sip.Local().Addr().Is4() == s.Remote.Addr().Is4() {
			return l
		}
	}
	return nil
}

// known says whether a user has an account here, with a phone or without one now.
func (p *Proxy) known(u sip.URI) bool {
	if p.o.Registrar == nil || !p.home(u) {
		return false
	}
	return p.o.Users != nil && p.o.Users(u.User)
}
