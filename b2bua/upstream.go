package b2bua

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

// upstream holds the registrations that phones have elsewhere, through this
// proxy: the registrar there knows a contact at the outside listener whose
// user part is a token, and the token leads back to the phone.
type upstream struct {
	mu      sync.Mutex
	byToken map[string]*account
	byPhone map[string]*account // by address of record and contact
}

// account is one contact that a phone registered elsewhere.
type account struct {
	token   string
	key     string
	aor     string // address of record, as the phone named it
	contact string // the phone's own
	flow    sip.Flow
	expires time.Time
	timer   *time.Timer // of its end
	stop    func()      // ends the keep-alives towards the registrar
}

const (
	maxAccounts  = 10000
	settleTime   = time.Minute        // how long an account waits for its first answer
	longestGrant = 7 * 24 * time.Hour // what a registrar may grant at most
)

func newUpstream() *upstream {
	return &upstream{byToken: map[string]*account{}, byPhone: map[string]*account{}}
}

// take returns the account of a contact, made where there is none; nil where
// there are too many.
func (u *upstream) take(aor, contact string, flow sip.Flow) *account {
	u.mu.Lock()
	defer u.mu.Unlock()
	key := aor + " " + contact
	if a := u.byPhone[key]; a != nil {
		a.flow = flow
		return a
	}
	if len(u.byToken) >= maxAccounts {
		return nil
	}
	var b [10]byte
	rand.Read(b[:])
	a := &account{token: "s" + strings.ToLower(base32.StdEncoding.EncodeToString(b[:])), key: key, aor: aor, contact: contact, flow: flow}
	u.byToken[a.token], u.byPhone[key] = a, a
	u.until(a, settleTime)
	return a
}

// until sets when an account ends; under the lock.
func (u *upstream) until(a *account, d time.Duration) {
	a.expires = time.Now().Add(d)
	if a.timer != nil {
		a.timer.Stop()
	}
	a.timer = time.AfterFunc(d, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.byToken[a.token] == a && !time.Now().Before(a.expires) {
			u.remove(a)
		}
	})
}

func (u *upstream) remove(a *account) {
	delete(u.byToken, a.token)
	delete(u.byPhone, a.key)
	a.timer.Stop()
	if a.stop != nil {
		a.stop()
		a.stop = nil
	}
}

// find returns where a token leads.
func (u *upstream) find(token string, now time.Time) (aor string, d destination, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	a := u.byToken[token]
	if a == nil || now.After(a.expires) {
		return "", destination{}, false
	}
	return a.aor, destination{URI: a.contact, flow: a.flow}, true
}

func (u *upstream) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, a := range u.byToken {
		u.remove(a)
	}
}

// passRegister sends a REGISTER of a phone inside on to the registrar that it
// names, with the contact led through this proxy. Challenges and their answers
// pass unchanged: the password is between the phone and the registrar.
//
// Where phones have passwords here nothing is passed: who is registered
// elsewhere has proved nothing to this proxy, and could call through it.
func (p *Proxy) passRegister(in *sip.Incoming) {
	if p.o.Auth != nil {
		in.Reply(403, "Forbidden", warning("phones of this sipward have their accounts here, none elsewhere"))
		return
	}
	queue := &sip.Queue{Log: p.log}
	tx := in.Serve(queue)
	if tx == nil {
		return
	}
	hops, _ := strconv.Atoi(in.Get("Max-Forwards"))
	if in.Get("Max-Forwards") == "" {
		hops = 70
	}
	if hops <= 0 {
		queue.Post(func() { tx.Reply(483, "") })
		return
	}
	t, ok := p.o.Routes.LookupFrom(string(policy.Inside), in.To().URI.AOR())
	if !ok || t.Side != route.Outside {
		network, _ := in.URI.Param("transport")
		t = route.Target{Host: in.URI.Host, Port: in.URI.Port, Network: strings.ToLower(network)}
	}
	select {
	case p.registering <- struct{}{}:
	default:
		queue.Post(func() { tx.Reply(503, "", sip.Field{Name: "Retry-After", Value: "5"}) })
		return
	}
	go func() {
		defer func() { <-p.registering }()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		found, err := route.Resolve(ctx, p.o.Lookup, t)
		queue.Post(func() {
			if err != nil {
				p.log.Info("registrar not found", "host", t.Host, "error", err)
				tx.Reply(502, "Bad Gateway", warning("the registrar "+t.Host+" was not found"))
				return
			}
			r := &registration{p: p, in: in, tx: tx, queue: queue, hops: found, host: t.Host, forwards: hops - 1, accounts: map[string]*account{}}
			r.next()
		})
	}()
}

// registration is one REGISTER on its way to the registrar. It runs on its own
// queue.
type registration struct {
	p        *Proxy
	in       *sip.Incoming
	tx       *sip.ServerTx
	queue    *sip.Queue
	hops     []route.Hop
	host     string // the registrar's name, which its certificate must prove
	forwards int
	accounts map[string]*account // by token
	flow     sip.Flow
}

func (r *registration) next() {
	for len(r.hops) > 0 {
		hop := r.hops[0]
		r.hops = r.hops[1:]
		l := r.p.pick(policy.Outside, hop.Network, hop.Addr.Addr())
		if l == nil {
			continue
		}
		r.flow = l.flowTo(hop, r.host)
		req := r.request(l)
		if req == nil {
			r.tx.Reply(503, "", sip.Field{Name: "Retry-After", Value: "60"})
			return
		}
		if err := r.p.stack.Request(sip.RequestOptions{Flow: r.flow, Message: req, Queue: r.queue, Handle: r.answered}); err == nil {
			return
		}
	}
	r.tx.Reply(502, "Bad Gateway", warning("no way to the registrar"))
}

// request is the REGISTER as it goes on.
func (r *registration) request(l *listener) *sip.Message {
	m := &sip.Message{Method: "REGISTER", URI: r.in.URI}
	m.Add("Max-Forwards", strconv.Itoa(r.forwards))
	for _, f := range r.in.Fields {
		switch f.Name {
		case "From", "To", "Call-ID", "CSeq", "Expires", "Authorization", "Proxy-Authorization":
			m.Fields = append(m.Fields, f)
		}
	}
	for _, v := range r.in.Values("Contact") {
		if v == "*" {
			m.Add("Contact", "*")
			continue
		}
		c, err := sip.ParseAddress(v)
		if err != nil {
			continue
		}
		a := r.p.up.take(r.in.To().URI.AOR(), c.URI.String(), r.in.Flow)
		if a == nil {
			return nil
		}
		r.accounts[a.token] = a
		value := "<" + r.flow.ContactURI(a.token).String() + ">"
		for _, name := range []string{"expires", "q"} {
			if p, ok := c.Param(name); ok {
				value += ";" + name + "=" + p
			}
		}
		m.Add("Contact", value)
	}
	if ua := r.p.o.UserAgent; ua != "" {
		m.Add("User-Agent", ua)
	}
	return m
}

// back are the fields of an answer that the phone needs as they are.
var back = []string{"WWW-Authenticate", "Proxy-Authenticate", "Authentication-Info", "Min-Expires", "Expires", "Date", "Retry-After", "Warning"}

func (r *registration) answered(res *sip.Message, err error) {
	switch {
	case err != nil && len(r.hops) > 0:
		r.next()
		return
	case err != nil:
		r.p.log.Info("registrar does not answer", "registrar", r.flow.Remote(), "error", err)
		r.tx.Reply(504, "", warning("the registrar does not answer"))
		return
	case res.Status < 200:
		return
	}
	var fields []sip.Field
	for _, f := range res.Fields {
		for _, name := range back {
			if strings.EqualFold(f.Name, name) {
				fields = append(fields, f)
			}
		}
	}
	if res.Status < 300 {
		fields = append(fields, r.settle(res)...)
	}
	r.tx.Reply(res.Status, res.Reason, fields...)
}

// settle keeps what the registrar granted, and returns the phone's contacts as
// the phone named them.
func (r *registration) settle(res *sip.Message) (contacts []sip.Field) {
	granted := map[string]time.Duration{}
	for _, v := range res.Values("Contact") {
		c, err := sip.ParseAddress(v)
		if err != nil {
			continue
		}
		d := interval(res.Get("Expires"))
		if e, ok := c.Param("expires"); ok {
			d = interval(e)
		}
		if d < 0 {
			d = time.Hour
		}
		// More than one where the contact was another before: what the registrar
		// sees of this end changes with the NAT.
		granted[c.URI.User] = max(granted[c.URI.User], d)
	}
	u := r.p.up
	u.mu.Lock()
	defer u.mu.Unlock()
	for token, a := range r.accounts {
		d := granted[token]
		if d == 0 {
			u.remove(a)
			continue
		}
		d = min(d, longestGrant)
		u.until(a, d)
		if a.stop != nil {
			a.stop()
		}
		a.stop = r.p.keepOpen(r.flow)
		contacts = append(contacts, sip.Field{Name: "Contact", Value: "<" + a.contact + ">;expires=" + seconds(d)})
		if r.p.o.Registered != nil {
			r.p.o.Registered(r.in.To().URI.AOR(), a.contact, true)
		}
	}
	return contacts
}
