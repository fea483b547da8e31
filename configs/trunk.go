package configs

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
)

// Trunk is an account at a provider that the phones share, or a peer of fixed
// address that writes numbers in its own way.
type Trunk struct {
	Peer         string // name of the listed peer that the provider is
	Server       string // where it registers, and what its addresses end in unless User says otherwise: an address without user
	Register     bool
	User         string        // address of record, sip:user@domain; "" where there is no account
	AuthUser     string        // that the password is for; "" where nothing is answered
	Password     Secret        // "" where PasswordFile is set
	PasswordFile string        // path
	Realm        string        // the only one that is answered, "" for any
	Expires      time.Duration // asked for
	From         string        // main number as an address: who calls where Callers says nothing else
	Identity     string        // where the caller's number stands: from, ppi, pai
	// Called, Callers and Incoming rewrite numbers: those of calls to the
	// provider, the callers' users, and those that the provider's calls are for.
	Called, Callers, Incoming []route.Rewrite
}

// Secret is a password. Printed, whatever the verb, it is not shown.
type Secret string

// Format implements fmt.Formatter.
func (Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, "(secret)") }

// MarshalText keeps the password out of JSON and of structured logs.
func (Secret) MarshalText() ([]byte, error) { return []byte("(secret)"), nil }

const defaultTrunkExpires = 10 * time.Minute

var identities = []string{"from", "ppi", "pai"}

func (d *document) trunk(v value) Trunk {
	t := Trunk{Register: true, Expires: defaultTrunkExpires, Identity: identities[0]}
	f := d.mapping(v, "peer", "server", "register", "user", "auth_user", "password", "password_file", "realm", "expires", "from", "identity", "numbers")
	if f == nil {
		return t
	}
	if peer, ok := d.need(v.path, f, "peer", "the name of the listed peer that the provider is"); ok {
		t.Peer, _ = d.text(peer)
	}
	if r, ok := f["register"]; ok {
		t.Register = d.boolean(r)
	}
	domain := d.trunkServer(v, f, &t)
	d.trunkAccount(v, f, domain, &t)
	if u, err := route.ParseURI(t.User); err == nil {
		domain = bracketed(u.Host)
	}
	if from, ok := f["from"]; ok {
		t.From = d.account(from, domain)
	} else if t.From = t.User; t.From == "" && domain != "" && !t.Register {
		d.need(v.path, f, "from", `the main number, such as "+4930123"`)
	}
	if e, ok := f["expires"]; ok {
		t.Expires = d.interval(e)
		if !t.Register {
			d.fail(e.path, "is how long a registration lasts, and register: false asks for none; leave it out")
		}
	}
	if i, ok := f["identity"]; ok {
		t.Identity = d.word(i, identities...)
	}
	n := d.section(f["numbers"], "called", "callers", "incoming")
	for key, list := range map[string]*[]route.Rewrite{"called": &t.Called, "callers": &t.Callers, "incoming": &t.Incoming} {
		*list = d.rewrites(n, key)
	}
	return t
}

// trunkServer reads where the provider is, and returns the domain of its accounts.
func (d *document) trunkServer(v value, f map[string]value, t *Trunk) (domain string) {
	server, ok := d.need(v.path, f, "server", "where the provider is, such as sip:sip.provider.example")
	if !ok {
		return ""
	}
	s, ok := d.text(server)
	if !ok {
		return ""
	}
	u, err := route.ParseNextHop(s)
	switch {
	case err != nil:
		d.fail(server.path, "%v; write one such as sip:sip.provider.example or sip:192.0.2.1;transport=tcp", err)
		return ""
	case u.User != "":
		d.fail(server.path, "%s names a user, who has the key user; write sip:%s here", show(s), bracketed(u.Host))
		return ""
	}
	t.Server = s
	return bracketed(u.Host)
}

// trunkAccount reads who registers, with which password.
func (d *document) trunkAccount(v value, f map[string]value, domain string, t *Trunk) {
	if user, ok := f["user"]; ok {
		t.User = d.account(user, domain)
		if u, err := route.ParseURI(t.User); err == nil {
			t.AuthUser = u.User
		}
	} else if t.Register {
		d.need(v.path, f, "user", "the account's user or number, or register: false where the provider knows this address")
	}
	if a, ok := f["auth_user"]; ok {
		t.AuthUser, _ = d.text(a)
	}
	if r, ok := f["realm"]; ok {
		t.Realm, _ = d.text(r)
	}
	password, has := f["password"]
	file, hasFile := f["password_file"]
	switch {
	case has && hasFile:
		d.fail(password.path, "stands in password_file already; keep one of them")
	case hasFile:
		t.PasswordFile = d.filePath(file)
	case has:
		s, _ := d.text(password)
		t.Password = Secret(s)
	case t.Register:
		if !d.meant[v.path+".password"] {
			d.need(v.path, f, "password_file", "the name of a file that holds the account's password in one line")
		}
		return
	default:
		t.AuthUser = ""
		return
	}
	if t.AuthUser == "" && !d.failed(v.path) {
		d.fail(v.path+".user", "is missing; write whose password this is")
	}
}

// account reads a user or number, with the domain where it is another one.
func (d *document) account(v value, domain string) string {
	s, ok := d.text(v)
	if !ok || domain == "" {
		return ""
	}
	uri := dialled(strings.TrimPrefix(s, "sip:"))
	if !strings.Contains(uri, "@") {
		uri += "@" + domain
	}
	u, err := route.ParseNextHop("sip:" + uri)
	if err != nil || u.User == "" || u.Port != 0 || strings.ContainsAny(uri, ";?*") {
		d.fail(v.path, "%s is not a user or number; write one such as \"+4930123\" or alice@provider.example", show(s))
		return ""
	}
	return "sip:" + uri
}

// rewrites reads an ordered list of ways to write numbers.
func (d *document) rewrites(f map[string]value, key string) []route.Rewrite {
	var out []route.Rewrite
	for _, v := range d.elements(f, key) {
		r := d.mapping(v, "match", "to")
		if r == nil {
			continue
		}
		var rule route.Rewrite
		for _, k := range []struct {
			name, example string
			into          *string
		}{{"match", `a number or its beginning, such as "0*"`, &rule.Match}, {"to", `what it becomes, such as "+49*"`, &rule.To}} {
			if one, ok := d.need(v.path, r, k.name, k.example); ok {
				if s, ok := d.text(one); ok {
					*k.into = dialled(s)
				}
			}
		}
		if rule.Match == "" || rule.To == "" {
			continue
		}
		if _, err := route.NewRewrites([]route.Rewrite{rule}); err != nil {
			d.fail(v.path, "%v", err)
			continue
		}
		out = append(out, rule)
	}
	return out
}

// checkTrunks looks at what trunks have to do with the rest.
func (d *document) checkTrunks(c *Config) {
	peers := map[string]int{}
	for i, t := range c.Trunks {
		if t.Peer == "" {
			continue
		}
		d.listedPeer(at("trunks", i, "peer"), t.Peer, c)
		if earlier, ok := peers[t.Peer]; ok {
			d.fail(at("trunks", i, "peer"), "%s has a trunk already (trunks[%d]); a second account needs a peer of its own", show(t.Peer), earlier)
			continue
		}
		peers[t.Peer] = i
		u, err := route.ParseNextHop(t.Server)
		if err != nil {
			continue // which is a problem already
		}
		sends := slices.ContainsFunc(c.Listeners, func(l Listener) bool {
			return l.Side == policy.Outside && (u.Transport == "" || slices.Contains(l.Transports, u.Transport))
		})
		if known := !slices.ContainsFunc(c.Listeners, func(l Listener) bool { return l.Side == "" }); known && !sends {
			d.fail(at("trunks", i, "server"), "no outside listener can send there; add one with this transport")
		}
	}
	for i, r := range c.StaticRoutes {
		if _, ok := peers[r.Peer]; ok && r.Peer != "" && r.From != route.Inside {
			d.fail(at("routes", i, "from"), "write inside: the route leads to the trunk %s, and nobody outside may call at its cost", show(r.Peer))
		}
	}
}

// registers says whether a peer is known by what its registrar was told.
func (c *Config) registers() bool {
	return slices.ContainsFunc(c.Trunks, func(t Trunk) bool { return t.Register })
}

// TrunkOf returns the trunk of a listed peer with its place in the list; nil where
// it has none.
func (c *Config) TrunkOf(peer string) (t *Trunk, index int) {
	for i := range c.Trunks {
		if peer != "" && c.Trunks[i].Peer == peer {
			return &c.Trunks[i], i
		}
	}
	return nil, -1
}

// trunks warns of accounts whose calls would have to be encrypted, which providers
// do not do.
func (w *warnings) trunks() {
	p, err := w.c.Policy()
	if err != nil {
		return
	}
	for i, t := range w.c.Trunks {
		to := policy.Party{Side: policy.Outside, Peer: t.Peer, URI: t.From}
		d := p.Decide(policy.Facts{From: policy.Party{Side: policy.Inside}, To: to})
		byNetwork := slices.ContainsFunc(w.c.Rules.List, func(r policy.Rule) bool { return r.To.Network.IsValid() })
		if d.Mode == policy.Require && !byNetwork {
			w.warn(at("trunks", i, "peer"), "its calls have to be encrypted (%s), which only a provider with a sipward can; without one write listed_peers: prefer, with a rule for those who have one", d.Rule)
		}
	}
}
