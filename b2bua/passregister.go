package b2bua

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
)

// toldAtMost is for how long a phone is told to be registered where the way to
// its registrar is a connection. Once that has ended only the phone, which has
// the password, can register over another one, and it shall not be long.
const toldAtMost = 2 * time.Minute

// passRegister sends a REGISTER of a phone inside on to the registrar that it
// names, with the contact led through this proxy. Challenges and their answers
// pass unchanged: the password is between the phone and the registrar.
func (p *Proxy) passRegister(in *sip.Incoming, l *listener) {
	if why := p.notElsewhere(in, l); why != "" {
		in.Reply(403, "Forbidden", warning(why))
		return
	}
	for _, name := range []string{"Require", "Proxy-Require"} {
		for _, tag := range in.Values(name) {
			if !strings.EqualFold(tag, "path") {
				in.Reply(420, "", sip.Field{Name: "Unsupported", Value: tag})
				return
			}
		}
	}
	if !callable(in.To().URI) || !callable(in.URI) {
		in.Reply(400, "Bad Request (To)")
		return
	}
	path, err := routeSet(in.Values("Path"))
	if err != nil {
		in.Reply(400, "Bad Request (Path)")
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
	t := p.wayToRegistrar(in)
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
			r := &registration{p: p, in: in, tx: tx, queue: queue, hops: found, way: t, path: path, forwards: hops - 1}
			if r.contacts() {
				r.next()
			}
		})
	}()
}

// wayToRegistrar is where a REGISTER goes: as a route says for the address of
// record, or to the domain that the Request-URI names.
func (p *Proxy) wayToRegistrar(in *sip.Incoming) route.Target {
	t, ok := p.o.Routes.LookupFrom(string(policy.Inside), in.To().URI.AOR())
	if ok && t.Side == route.Outside {
		return route.Target{Host: t.Host, Port: t.Port, Network: t.Network, Side: route.Outside}
	}
	network, _ := in.URI.Param("transport")
	return route.Target{Host: in.URI.Host, Port: in.URI.Port, Network: strings.ToLower(network), Side: route.Outside}
}

// registration is one REGISTER on its way to the registrar. It runs on its own
// queue.
type registration struct {
	p        *Proxy
	in       *sip.Incoming
	tx       *sip.ServerTx
	queue    *sip.Queue
	hops     []route.Hop
	way      route.Target
	path     []string // the proxies inside that it came through
	forwards int
	like     accountName // of its accounts, but for the phone
	pending  []pending
	all      bool     // Contact: *
	flow     sip.Flow // to the registrar
}

// pending is a contact of the REGISTER with its account.
type pending struct {
	*account
	contact sip.Address
}

// contacts takes an account for each contact; false where the REGISTER has been
// answered.
func (r *registration) contacts() bool {
	to := r.in.To().URI
	r.like = accountName{registrar: strings.ToLower(r.way.Network + ":" + r.way.Host + ":" + strconv.Itoa(r.way.Port)), aor: canonical(to)}
	for _, v := range r.in.Values("Contact") {
		if v == "*" {
			r.all = true
			continue
		}
		c, err := sip.ParseAddress(v)
		if err != nil || !callable(c.URI) {
			r.reply(400, "Bad Request (Contact)")
			return false
		}
		name := r.like
		name.phone = c.URI.String()
		// A phone that comes back from another port is the same one, and leaves
		// no contact behind at the registrar.
		if id, ok := c.Param("+sip.instance"); ok && id != "" {
			reg, _ := c.Param("reg-id")
			name.phone = id + ";" + reg
		}
		a := r.p.up.take(name)
		if a == nil {
			r.reply(503, "", sip.Field{Name: "Retry-After", Value: "60"})
			return false
		}
		r.pending = append(r.pending, pending{a, c})
	}
	return true
}

// callable says whether a URI is one of SIP.
func callable(u sip.URI) bool { return (u.Scheme == "sip" || u.Scheme == "sips") && u.Host != "" }

// reply answers the phone and gives the accounts back.
func (r *registration) reply(status int, reason string, fields ...sip.Field) {
	r.tx.Reply(status, reason, fields...)
	for _, a := range r.pending {
		r.p.up.leave(a.account)
	}
	r.pending = nil
}

func (r *registration) next() {
	for len(r.hops) > 0 {
		hop := r.hops[0]
		r.hops = r.hops[1:]
		l := r.p.pick(policy.Outside, hop.Network, hop.Addr.Addr())
		if l == nil {
			continue
		}
		r.flow = l.flowTo(hop, r.way.Host)
		if err := r.p.stack.Request(sip.RequestOptions{Flow: r.flow, Message: r.request(l), Queue: r.queue, Handle: r.answered}); err == nil {
			return
		}
	}
	r.reply(502, "Bad Gateway", warning("no way to the registrar"))
}

// request is the REGISTER as it goes on. The contact being at this proxy, Path
// and whatever else concerns the way from it to the phone stays here.
func (r *registration) request(l *listener) *sip.Message {
	m := &sip.Message{Method: "REGISTER", URI: r.in.URI}
	m.Add("Max-Forwards", strconv.Itoa(r.forwards))
	for _, f := range r.in.Fields {
		switch f.Name {
		case "Call-ID":
			m.Add("Call-ID", disguised(f.Value))
		case "From", "To", "CSeq", "Expires", "Authorization", "Proxy-Authorization":
			m.Fields = append(m.Fields, f)
		}
	}
	if r.all {
		m.Add("Contact", "*")
	}
	for _, a := range r.pending {
		value := "<" + l.sip.ContactURI(a.token).String() + ">"
		for _, name := range []string{"expires", "q"} {
			if p, ok := a.contact.Param(name); ok {
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

// disguised is the Call-ID that a registrar sees in place of the phone's, which
// often holds the phone's address: always the same one, so that the order of
// CSeq holds (RFC 3261 section 10.3).
func disguised(callID string) string {
	sum := sha256.Sum256([]byte(callID))
	return hex.EncodeToString(sum[:16])
}

// back are the fields of an answer that the phone needs as they are.
// Service-Route is none of them: the phone's requests come here, and go along
// it from here.
var back = []string{"WWW-Authenticate", "Proxy-Authenticate", "Authentication-Info", "Min-Expires", "Date", "Retry-After", "Warning", "P-Associated-URI"}

func (r *registration) answered(res *sip.Message, err error) {
	switch {
	case err != nil && len(r.hops) > 0:
		r.next()
		return
	case err != nil:
		r.p.log.Info("registrar does not answer", "registrar", r.flow.Remote(), "error", err)
		r.reply(504, "", warning("the registrar does not answer"))
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
	if res.Status >= 300 {
		r.reply(res.Status, res.Reason, fields...)
		return
	}
	// What was granted is on the disk before the phone hears of it.
	go func() {
		contacts, err := r.settle(res)
		r.queue.Post(func() {
			if err != nil {
				r.p.log.Error("a registration elsewhere could not be kept", "error", err)
				r.reply(500, "", sip.Field{Name: "Retry-After", Value: "30"})
				return
			}
			r.reply(res.Status, res.Reason, append(fields, contacts...)...)
		})
	}()
}

// settle keeps what the registrar has granted, and returns the fields that tell
// the phone, with the contacts as phones have named them. It may wait for the
// disk.
func (r *registration) settle(res *sip.Message) ([]sip.Field, error) {
	granted, others := r.granted(res)
	var gone []*account
	if r.all {
		gone = r.p.up.all(r.like)
	}
	services, err := routeSet(res.Values("Service-Route"))
	if err == nil && len(services) > 0 && r.p.home(mustAddress(services[0]).URI) {
		services = nil // back to here
	}
	if err != nil {
		r.p.log.Warn("the proxies that a registrar names cannot be used", "registrar", r.way.Host, "error", err)
	}
	var contacts []sip.Field
	for _, a := range r.pending {
		d := granted[a.token]
		if d == 0 {
			gone = append(gone, a.account)
			continue
		}
		b := binding{aor: r.in.To().URI.AOR(), contact: a.contact.URI.String(), flow: r.in.Flow, path: r.path, services: services, way: r.way, registrar: r.flow}
		if err := r.p.up.grant(a.account, b, d); err != nil {
			return nil, err
		}
		contacts = append(contacts, r.told(b.contact, d))
		r.heard(b.contact, true)
	}
	for _, a := range gone {
		contact, was := r.p.up.named(a.token, r.like)
		if err := r.p.up.forget(a); err != nil {
			return nil, err
		}
		if was {
			r.heard(contact, false)
		}
	}
	for _, c := range others {
		contacts = append(contacts, r.told(c.contact, c.d))
	}
	if len(r.path) > 0 {
		for _, v := range r.path {
			contacts = append(contacts, sip.Field{Name: "Path", Value: v}) // RFC 3327 section 5.3
		}
	}
	return contacts, nil
}

func mustAddress(s string) sip.Address { a, _ := sip.ParseAddress(s); return a }

type told struct {
	contact string
	d       time.Duration
}

// granted reads the contacts of a 200: by token those of this REGISTER, and
// beside them what else the address of record has.
func (r *registration) granted(res *sip.Message) (mine map[string]time.Duration, others []told) {
	mine = map[string]time.Duration{}
	for _, a := range r.pending {
		mine[a.token] = 0
	}
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
		d = min(d, longestGrant)
		if _, ok := mine[c.URI.User]; ok {
			mine[c.URI.User] = d
		} else if contact, ok := r.p.up.named(c.URI.User, r.like); ok {
			others = append(others, told{contact, d})
		} else {
			others = append(others, told{c.URI.String(), d})
		}
	}
	return mine, others
}

func (r *registration) told(contact string, d time.Duration) sip.Field {
	if r.flow.Network() != "udp" {
		d = min(d, toldAtMost)
	}
	return sip.Field{Name: "Contact", Value: "<" + contact + ">;expires=" + seconds(d)}
}

func (r *registration) heard(contact string, bound bool) {
	if r.p.o.Registered != nil {
		r.p.o.Registered(r.in.To().URI.AOR(), contact, bound)
	}
}
