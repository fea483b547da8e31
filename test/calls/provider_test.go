package calls

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipward/sipward/b2bua"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/route/registrar"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/auth"
)

// provider is a SIP provider with one customer: it asks for the password at
// every request, also within dialogs.
type provider struct {
	*phone
	challenger *auth.Challenger

	mu        sync.Mutex
	registers []*sip.Message // as they came
	invites   []*sip.Message
	messages  []*sip.Message
	asked     []string // methods within dialogs that were asked for the password
	contact   string   // where the customer is registered; "" nowhere
	expires   string   // granted
	least     string   // Min-Expires
	status    int      // answers so where it is not 0
}

func newChallenger(t *testing.T, lifetime time.Duration) *auth.Challenger {
	t.Helper()
	c, err := auth.New(auth.Options{Realm: "b.example", Users: passwords{"customer"}, Lifetime: lifetime})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *world) provider(at netip.AddrPort) *provider {
	p := &provider{challenger: newChallenger(w.t, 40*time.Minute), expires: "300"}
	w.phone("provider", at, outsideA, func(own *phone) {
		p.phone = own
		own.first, own.within = p.outside, p.inside
	})
	return p
}

// verify returns the challenge that a request without the right password gets.
func (p *provider) verify(m *sip.Message) (status int, fields []sip.Field) {
	given, field, status := "Proxy-Authorization", "Proxy-Authenticate", 407
	if m.Method == "REGISTER" {
		given, field, status = "Authorization", "WWW-Authenticate", 401
	}
	res := p.challenger.Verify(m.Values(given), auth.Request{Method: m.Method, URI: m.URI.String()})
	if res.Verdict == auth.OK {
		return 0, nil
	}
	for _, c := range p.challenger.Challenge(res.Verdict == auth.Stale) {
		fields = append(fields, sip.Field{Name: field, Value: c})
	}
	return status, fields
}

func (p *provider) outside(in *sip.Incoming) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch in.Method {
	case "REGISTER":
		p.registers = append(p.registers, in.Message)
	case "INVITE":
		p.invites = append(p.invites, in.Message)
	case "MESSAGE":
		p.messages = append(p.messages, in.Message)
	}
	if status, fields := p.verify(in.Message); status != 0 {
		in.Reply(status, "", fields...)
		return true
	}
	if in.Method == "MESSAGE" {
		in.Reply(200, "")
		return true
	}
	if in.Method != "REGISTER" {
		return false
	}
	a, _ := sip.ParseAddress(in.Get("Contact"))
	switch {
	case p.status != 0:
		in.Reply(p.status, "")
	case in.Get("Expires") == "0":
		p.contact = ""
		in.Reply(200, "")
	case p.least != "" && in.Get("Expires") != p.least:
		in.Reply(423, "", sip.Field{Name: "Min-Expires", Value: p.least})
	default:
		p.contact = a.URI.String()
		in.Reply(200, "", sip.Field{Name: "Contact", Value: "<" + p.contact + ">;expires=" + p.expires})
	}
	return true
}

func (p *provider) inside(tx *sip.ServerTx) bool {
	status, fields := p.verify(tx.Request)
	if status == 0 {
		return false
	}
	p.mu.Lock()
	p.asked = append(p.asked, tx.Request.Method)
	p.mu.Unlock()
	tx.Reply(status, "", fields...)
	return true
}

// set changes how the provider behaves, while requests come.
func (p *provider) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// customer returns where the customer is registered.
func (p *provider) customer() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.contact
}

func (p *provider) registered() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.registers)
}

// invited returns the INVITEs that came, also those without a password.
func (p *provider) invited() []*sip.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.invites)
}

// lines collects what house A logs.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) with(parts ...string) (found int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(line, p) }) {
			found++
		}
	}
	return found
}

// dns holds records of provider.example; with none for SRV it is at its one
// address.
type dns struct {
	srv map[string][]string // by transport: hosts in their order
	a   map[string]netip.Addr
}

func (d dns) LookupSRV(_ context.Context, _, proto, name string) (string, []*net.SRV, error) {
	var out []*net.SRV
	for i, host := range d.srv[proto] {
		out = append(out, &net.SRV{Target: host, Port: 5060, Priority: uint16(i)})
	}
	if name != "provider.example" || len(out) == 0 {
		return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return "", out, nil
}

func (d dns) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if a, ok := d.a[host]; ok {
		return []netip.Addr{a}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func oneAddress() dns { return dns{a: map[string]netip.Addr{"provider.example": providerAddr.Addr()}} }

// withTrunk gives house A an account at a provider, and phones of its own.
func withTrunk(names dns, log *lines, change func(*b2bua.Options)) worldOptions {
	rewrites := func(r ...route.Rewrite) *route.Rewrites {
		out, err := route.NewRewrites(r)
		if err != nil {
			panic(err)
		}
		return out
	}
	return worldOptions{modeA: policy.Prefer, dnsA: names, routesA: []string{"0*", "sip:provider.example", "outside"}, optionsA: func(o *b2bua.Options) {
		o.Peer = func(host string, _ netip.Addr) string {
			if host == "provider.example" {
				return "provider"
			}
			return ""
		}
		table, err := route.NewTable([]route.Route{{Match: route.MustPattern("0*"), To: "sip:provider.example", Side: "outside", Peer: "provider"}})
		if err != nil {
			panic(err)
		}
		o.Routes = table
		if o.Registrar, err = registrar.New(registrar.Options{}); err != nil {
			panic(err)
		}
		o.Domains = []string{"a.example"}
		if o.Aliases, err = route.NewAliases([]route.Alias{
			{Match: route.MustPattern("+4930123100"), To: "sip:carol@a.example"}, {Match: route.MustPattern("+4930123200"), To: "sip:dave@a.example"},
		}); err != nil {
			panic(err)
		}
		o.Trunks = []b2bua.Trunk{{Peer: "provider",
			From:        sip.URI{Scheme: "sip", User: "+49301230", Host: "provider.example"},
			Account:     sip.URI{Scheme: "sip", User: "4930123", Host: "provider.example"},
			Credentials: auth.Credentials{User: "customer", Password: "pw-customer"},
			Server:      route.Target{Host: "provider.example"}, Expires: 5 * time.Minute,
			Called:   rewrites(route.Rewrite{Match: "00*", To: "+*"}, route.Rewrite{Match: "0*", To: "+49*"}),
			Callers:  rewrites(route.Rewrite{Match: "carol", To: "+4930123100"}),
			Incoming: rewrites(route.Rewrite{Match: "0*", To: "+49*"}, route.Rewrite{Match: "49*", To: "+49*"}),
		}}
		if log != nil {
			o.Log = slog.New(slog.NewTextHandler(log, nil))
		}
		if change != nil {
			change(o)
		}
	}}
}

// trunk is how the trunk of house A is.
func (w *world) trunk() b2bua.TrunkStatus {
	w.t.Helper()
	all := w.a.proxy.Trunks()
	if len(all) != 1 {
		w.t.Fatalf("trunks %+v", all)
	}
	return all[0]
}
