package configs

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
)

var (
	sides = []string{string(policy.Inside), string(policy.Outside)}
	modes = []string{string(policy.Require), string(policy.Prefer), string(policy.Off), string(policy.Refuse)}
)

// decode fills the configuration key by key. What it cannot read stays at its
// zero value, and there is a problem then; check looks at the whole afterwards,
// unless decode found no keys at all.
func (d *document) decode(top value, c *Config) bool {
	f := d.mapping(top, "listeners", "media", "routes", "peers", "policy", "crypto", "api", "log",
		"registrar", "aliases", "emergency", "trunks", "test_addresses", "state", "records", "limits", "calls", "identity", "keyring")
	if f == nil {
		return false
	}
	for _, v := range d.elements(f, "listeners") {
		c.Listeners = append(c.Listeners, d.listener(v))
	}
	d.media(f["media"], c)
	for _, v := range d.elements(f, "routes") {
		c.StaticRoutes = append(c.StaticRoutes, d.route(v))
	}
	for _, v := range d.elements(f, "peers") {
		c.Peers = append(c.Peers, d.peer(v))
	}
	d.policy(f["policy"], c)
	d.crypto(f["crypto"], c)
	d.api(f["api"], c)
	d.log(f["log"], c)
	d.registrar(f["registrar"], c)
	for _, v := range d.elements(f, "aliases") {
		c.AliasList = append(c.AliasList, d.alias(v))
	}
	d.emergency(f["emergency"], c)
	d.limits(f["limits"], c)
	c.Calls = d.calls(f["calls"])
	for _, v := range d.elements(f, "trunks") {
		c.Trunks = append(c.Trunks, d.trunk(v))
	}
	d.identity(f["identity"], c)
	d.keyring(f["keyring"], c)
	if v, ok := f["test_addresses"]; ok {
		c.TestAddresses = d.boolean(v)
	}
	if v, ok := f["state"]; ok {
		c.State = d.filePath(v)
	}
	if v, ok := f["records"]; ok {
		c.Records = d.filePath(v)
	}
	return true
}

func (d *document) elements(fields map[string]value, key string) []value {
	v, ok := fields[key]
	return d.list(v, ok)
}

// section reads the keys of a section that may be left out.
func (d *document) section(v value, known ...string) map[string]value {
	if v.node == nil {
		return nil
	}
	return d.mapping(v, known...)
}

// need returns a key that has to be there.
func (d *document) need(path string, fields map[string]value, key, example string) (value, bool) {
	v, ok := fields[key]
	if !ok && !d.meant[path+"."+key] {
		d.fail(path+"."+key, "is missing; write %s", example)
	}
	return v, ok
}

// name reads a name that people see in messages and choose themselves.
func (d *document) name(path string, f map[string]value) string {
	v, ok := d.need(path, f, "name", "a short name of your choice")
	if !ok {
		return ""
	}
	s, ok := d.text(v)
	if !ok {
		return ""
	}
	for _, r := range s {
		if len(s) > 64 || r == '"' || !unicode.IsPrint(r) {
			d.fail(v.path, "%s is not a name; write at most 64 letters, digits, spaces and hyphens", show(s))
			return ""
		}
	}
	return s
}

// boolean reads true or false.
func (d *document) boolean(v value) bool { return d.word(v, "true", "false") == "true" }

// filePath reads the path of a file or folder.
func (d *document) filePath(v value) string {
	s, _ := d.text(v)
	if strings.HasPrefix(s, "~") {
		d.fail(v.path, "%s: ~ does not stand for a home folder here; write the path in full, or relative to this file", show(s))
		return ""
	}
	return s
}

func (d *document) networks(f map[string]value) []netip.Prefix {
	v, ok := f["networks"]
	items, paths := d.texts(v, ok)
	var networks []netip.Prefix
	for i, s := range items {
		n, err := parseNetwork(s)
		if err != nil {
			d.fail(paths[i], "%v", err)
			continue
		}
		networks = append(networks, n)
	}
	return networks
}

// knownWords reads a list that is not empty, of known words; leftOut says what it
// stands for without the key.
func (d *document) knownWords(v value, known []string, leftOut string) []string {
	before := len(d.problems)
	items, paths := d.texts(v, true)
	for i, s := range items {
		if !slices.Contains(known, s) {
			d.unknownWord(paths[i], s, known)
		}
	}
	if len(items) == 0 && len(d.problems) == before {
		d.fail(v.path, "is empty; write one or more of %s, or leave the key out for %s", strings.Join(known, ", "), leftOut)
	}
	return items
}

func (d *document) media(v value, c *Config) {
	c.Media = Media{defaultPortMin, defaultPortMax}
	ports, ok := d.section(v, "ports")["ports"]
	if !ok {
		return
	}
	s, ok := d.text(ports)
	if !ok {
		return
	}
	const example = "20000-29999"
	first, last, ok := strings.Cut(s, "-")
	low, err1 := strconv.ParseUint(strings.TrimSpace(first), 10, 16)
	high, err2 := strconv.ParseUint(strings.TrimSpace(last), 10, 16)
	switch {
	case !ok || err1 != nil || err2 != nil:
		d.fail(ports.path, "%s: write the first and the last port, neither above 65535, e.g. %s", show(s), example)
	case low >= high:
		d.fail(ports.path, "%s: the first port must be below the last, e.g. %s", show(s), example)
	case low < 1024:
		d.fail(ports.path, "%s: ports below 1024 belong to the system; begin at 1024 or above, e.g. %s", show(s), example)
	case high-(low+low%2)+1 < 4:
		d.fail(ports.path, "%s: a call needs 4 ports, the first of them even, e.g. %s", show(s), example)
	default:
		c.Media = Media{int(low), int(high)}
	}
}

func (d *document) route(v value) route.Route {
	var r route.Route
	f := d.mapping(v, "match", "from", "to", "side", "peer", "transfer")
	if f == nil {
		return r
	}
	if m, ok := d.need(v.path, f, "match", `a pattern such as "bob" or "*@b.example"`); ok {
		r.Match = d.pattern(m)
	}
	if from, ok := f["from"]; ok {
		r.From = d.word(from, sides...)
	}
	if to, ok := d.need(v.path, f, "to", "an address such as sip:192.0.2.1:5060"); ok {
		if s, ok := d.text(to); ok {
			if _, err := route.ParseNextHop(s); err != nil {
				d.fail(to.path, "%v; write one such as sip:192.0.2.1:5060 or sip:bob@192.0.2.1;transport=tcp", err)
			} else {
				r.To = s
			}
		}
	}
	if side, ok := d.need(v.path, f, "side", "inside or outside: where the calls go"); ok {
		r.Side = d.word(side, sides...)
	}
	if peer, ok := f["peer"]; ok {
		r.Peer, _ = d.text(peer)
		if r.Side == route.Inside {
			d.fail(peer.path, "a peer is outside; leave it out, or write side: outside")
		}
	}
	if t, ok := f["transfer"]; ok {
		r.Transfer = d.boolean(t)
	}
	return r
}

func (d *document) pattern(v value) route.Pattern {
	s, ok := d.text(v)
	if !ok {
		return route.Pattern{}
	}
	p, err := route.ParsePattern(s)
	if err != nil {
		d.fail(v.path, "%v", err)
	}
	return p
}

func (d *document) peer(v value) Peer {
	var p Peer
	f := d.mapping(v, "name", "domains", "networks", "trusted")
	if f == nil {
		return p
	}
	p.Name = d.name(v.path, f)
	domains, ok := f["domains"]
	items, paths := d.texts(domains, ok)
	for i, s := range items {
		pattern, err := route.ParsePattern("*@" + s)
		if err != nil {
			d.fail(paths[i], "%s is not a domain; write one such as b.example", show(s))
			continue
		}
		p.Domains, p.patterns = append(p.Domains, s), append(p.patterns, pattern)
	}
	p.Networks = d.networks(f)
	if t, ok := f["trusted"]; ok {
		p.Trusted = d.boolean(t)
	}
	if len(items) == 0 && len(p.Networks) == 0 && !d.failed(v.path) {
		d.fail(v.path, "has neither domains nor networks; by one of them a peer is known")
	}
	return p
}

func (d *document) policy(v value, c *Config) {
	f := d.section(v, "inside", "listed_peers", "unknown_peers", "on_mismatch", "on_downgrade", "rules")
	c.Rules = policy.Rules{Inside: policy.Off, ListedPeers: policy.Require, UnknownPeers: policy.Prefer}
	if m, ok := f["inside"]; ok {
		c.Rules.Inside = policy.Mode(d.word(m, modes...))
	}
	if m, ok := f["listed_peers"]; ok {
		d.treatment(m, &c.Rules.ListedPeers, &c.Rules.ListedTrust)
	}
	if m, ok := f["unknown_peers"]; ok {
		d.treatment(m, &c.Rules.UnknownPeers, &c.Rules.UnknownTrust)
	}
	d.followUps(f, &c.Rules.OnMismatch, &c.Rules.OnDowngrade)
	for _, v := range d.elements(f, "rules") {
		c.Rules.List = append(c.Rules.List, d.rule(v))
	}
}

func (d *document) rule(v value) policy.Rule {
	var r policy.Rule
	f := d.mapping(v, "name", "from", "to", "mode", "require", "on_mismatch", "on_downgrade")
	if f == nil {
		return r
	}
	r.Name = d.name(v.path, f)
	r.From, r.To = d.party(f["from"]), d.party(f["to"])
	d.demand(v, f, &r)
	return r
}

func (d *document) party(v value) policy.Match {
	var m policy.Match
	f := d.section(v, "side", "network", "address")
	if side, ok := f["side"]; ok {
		m.Side = policy.Side(d.word(side, sides...))
	}
	if network, ok := f["network"]; ok {
		if s, ok := d.text(network); ok {
			var err error
			if m.Network, err = parseNetwork(s); err != nil {
				d.fail(network.path, "%v", err)
			}
		}
	}
	if address, ok := f["address"]; ok {
		m.Address = d.pattern(address)
	}
	return m
}

func (d *document) crypto(v value, c *Config) {
	f := d.section(v, "groups", "suites", "rekey")
	c.Crypto = Crypto{slices.Clone(knownGroups), slices.Clone(commonSuites), d.rekey(f["rekey"])}
	if g, ok := f["groups"]; ok {
		c.Crypto.Groups = d.knownWords(g, knownGroups, "all of them")
	}
	if s, ok := f["suites"]; ok {
		c.Crypto.Suites = d.knownWords(s, knownSuites, "the first four")
	}
}

func (d *document) api(v value, c *Config) {
	f := d.section(v, "listen", "token_file")
	c.API.Listen = netip.MustParseAddrPort(defaultAPI)
	if t, ok := f["token_file"]; ok {
		c.API.TokenFile = d.filePath(t)
	}
	listen, ok := f["listen"]
	if !ok {
		return
	}
	s, ok := d.text(listen)
	if !ok {
		return
	}
	if s == "off" {
		c.API.Off, c.API.Listen = true, netip.AddrPort{}
		return
	}
	a, err := parseAddress(s)
	if err != nil || a.Auto {
		d.fail(listen.path, "%s is not where an API can listen; write an IP address and port such as %s, or off", show(s), defaultAPI)
		return
	}
	c.API.Listen = netip.AddrPortFrom(a.IP, a.Port)
	if !a.IP.IsLoopback() && f["token_file"].node == nil {
		d.fail("api.token_file", "is missing; beyond this machine (%s) the API needs a token, in a file named here", s)
	}
}

func (d *document) log(v value, c *Config) {
	f := d.section(v, "level", "format")
	c.Log = Log{Level: "info", Format: "text"}
	if l, ok := f["level"]; ok {
		c.Log.Level = d.word(l, "debug", "info", "warn", "error")
	}
	if l, ok := f["format"]; ok {
		c.Log.Format = d.word(l, "text", "json")
	}
}
