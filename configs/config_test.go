package configs

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
)

const minimal = "listeners:\n  - {name: a, side: inside, address: \"127.0.0.1:5062\"}\n"

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c := mustParse(t, minimal)
	l := c.Listeners[0]
	if !slices.Equal(l.Transports, []string{"udp", "tcp"}) || l.Accept != "" || !slices.Contains(l.Networks, netip.MustParsePrefix("127.0.0.0/8")) {
		t.Errorf("listener %+v", l)
	}
	if c.Media != (Media{20000, 29999}) || c.Log != (Log{"info", "text"}) || c.API.Listen.String() != "127.0.0.1:5080" || c.API.Off || c.API.TokenFile != "" {
		t.Errorf("%+v", c)
	}
	if !slices.Equal(c.Crypto.Groups, knownGroups) || !slices.Equal(c.Crypto.Suites, commonSuites) {
		t.Errorf("crypto %+v", c.Crypto)
	}
	if c.Limits != (Limits{4096, 100, 30, 10, 2}) {
		t.Errorf("limits %+v", c.Limits)
	}
	if c.Crypto.Rekey != (Rekey{24 * time.Hour, 0, 2 * time.Second}) || c.Calls != (Calls{30 * time.Minute, time.Minute, 0}) {
		t.Errorf("rekey %+v, calls %+v", c.Crypto.Rekey, c.Calls)
	}
	if r := c.Rules; r.Inside != policy.Off || r.ListedPeers != policy.Require || r.UnknownPeers != policy.Prefer || len(r.List) != 0 {
		t.Errorf("rules %+v", r)
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	c := mustParse(t, "\ufefflisteners:\r\n"+`
  - {name: in, side: inside, address: "[2001:db8::1]:5062", transports: [tcp], networks: ["2001:db8::/32", 10.1.2.3]}
  - name: out
    side: outside
    address: auto:5060
    accept: peers
media:
  ports: 10000 - 10999
limits: {calls: 10, calls_per_user: 2, calls_per_source: 1, requests_per_user: 3, requests_per_source: 1000000}
routes:
  - {match: 0100, from: inside, to: "sip:*@b.example;transport=udp", side: outside, peer: b}
peers:
  - name: b
    domains: [b.example, "*.b.example"]
    networks: [192.0.2.0/24]
    trusted: true
  - {name: c, domains: [c.example]}
policy:
  inside: refuse
  listed_peers: prefer
  unknown_peers: off
  rules:
    - name: the bank
      from: {side: inside, network: 10.1.2.3, address: "bob@*"}
      to: {address: bank.example}
      mode: require
crypto:
  groups: [x25519]
  suites: [AES_CM_128_HMAC_SHA1_80, AEAD_AES_256_GCM]
  rekey: {every: 5s, packets: 100000, min_interval: 3s}
calls: {session: off, ask_after_silence: off, end_after_silence: 5m}
api: {listen: "192.0.2.7:443", token_file: token}
log: {level: debug, format: json}
`)
	in, out := c.Listeners[0], c.Listeners[1]
	if in.Address.String() != "[2001:db8::1]:5062" || !slices.Equal(in.Transports, []string{"tcp"}) ||
		!slices.Equal(in.Networks, []netip.Prefix{netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("10.1.2.3/32")}) {
		t.Errorf("%+v", in)
	}
	if !out.Address.Auto || out.Address.Port != 5060 || out.Address.String() != "auto:5060" || out.Accept != AcceptPeers {
		t.Errorf("%+v", out)
	}
	if c.Media != (Media{10000, 10999}) || c.Log != (Log{"debug", "json"}) || c.API.TokenFile != "token" || c.API.Listen.String() != "192.0.2.7:443" {
		t.Errorf("%+v", c)
	}
	if c.Limits != (Limits{10, 2, 1, 3, 1000000}) {
		t.Errorf("limits %+v", c.Limits)
	}
	if c.Crypto.Rekey != (Rekey{5 * time.Second, 100000, 3 * time.Second}) || c.Calls != (Calls{0, 0, 5 * time.Minute}) {
		t.Errorf("rekey %+v, calls %+v", c.Crypto.Rekey, c.Calls)
	}
	if !c.Trusts("b") || c.Trusts("c") || c.Trusts("d") || c.Trusts("") {
		t.Error("the wrong peers are trusted")
	}
	if !slices.Equal(c.Crypto.Groups, []string{"x25519"}) || !slices.Equal(c.Crypto.Suites, []string{"AES_CM_128_HMAC_SHA1_80", "AEAD_AES_256_GCM"}) {
		t.Errorf("%+v", c.Crypto)
	}
	target, ok := c.Routes().LookupFrom(route.Inside, "sip:0100@x")
	if want := (route.Target{URI: "sip:0100@b.example;transport=udp", Network: "udp", Host: "b.example", Side: "outside", Peer: "b", Rule: "0100"}); !ok || target != want {
		t.Errorf("route %+v, %v", target, ok)
	}
	p, err := c.Policy()
	if err != nil {
		t.Fatal(err)
	}
	facts := policy.Facts{
		From: policy.Party{Side: policy.Inside, Addr: netip.MustParseAddr("10.1.2.3"), URI: "sip:bob@a.example"},
		To:   policy.Party{Side: policy.Outside, URI: "sip:teller@BANK.example"},
	}
	if got, want := p.Decide(facts).Reason, `rule "the bank": calls from bob@* (inside, 10.1.2.3/32) to bank.example must be protected`; got != want {
		t.Errorf("reason %s", got)
	}
	facts.To.URI = "sip:teller@b@c"
	if d := p.Decide(facts); d.Allow {
		t.Errorf("an address that cannot be read: %+v", d)
	}
	facts.To.URI = "sip:teller@c.example"
	if d := p.Decide(facts); d.Mode != policy.Off {
		t.Errorf("unknown peer: %+v", d)
	}
	if c := mustParse(t, minimal+"api: {listen: off}\n"); !c.API.Off || c.API.Listen.IsValid() {
		t.Errorf("api %+v", c.API)
	}
}

func TestEmptySectionsAreDefaults(t *testing.T) {
	t.Parallel()
	c := mustParse(t, minimal+"media:\nroutes:\npeers:\npolicy:\n  rules:\ncrypto:\napi:\nlog:\nlimits:\n")
	if c.Media.PortMin != 20000 || len(c.StaticRoutes) != 0 || c.Log.Level != "info" {
		t.Errorf("%+v", c)
	}
}

func TestPeerFor(t *testing.T) {
	t.Parallel()
	c := mustParse(t, minimal+`
peers:
  - {name: b, domains: [b.example, "*.b.example"]}
  - {name: c, networks: [192.0.2.0/24, "2001:db8::/32"]}
  - {name: d, domains: ["[2001:db9::1]", 198.51.100.7]}
`)
	for _, tt := range []struct{ host, addr, want string }{
		{"b.example", "", "b"},
		{"B.Example.", "", "b"},
		{"x.b.example:5080", "", "b"},
		{"notb.example", "", ""},
		{"", "192.0.2.9", "c"},
		{"", "::ffff:192.0.2.9", "c"},
		{"", "2001:db8::7", "c"},
		{"b.example", "192.0.2.9", "c"},
		{"b.example", "203.0.113.1", "b"},
		{"x.example", "203.0.113.1", ""},
		{"2001:db9::1", "", "d"},
		{"[2001:DB9:0::1]", "", "d"},
		{"198.51.100.7", "", "d"},
		{"a@b.example", "", "b"},
		{"a@a@b.example", "", ""},
		{"", "", ""},
	} {
		var addr netip.Addr
		if tt.addr != "" {
			addr = netip.MustParseAddr(tt.addr)
		}
		if got := c.PeerFor(tt.host, addr); got != tt.want {
			t.Errorf("host %q, address %s: got %q, want %q", tt.host, tt.addr, got, tt.want)
		}
	}
}

func TestAccepts(t *testing.T) {
	t.Parallel()
	c := mustParse(t, `
listeners:
  - {name: in, side: inside, address: "127.0.0.1:5062"}
  - {name: lan, side: inside, address: auto:5062, networks: [10.0.0.0/8, "fe80::/10"]}
  - {name: all, side: outside, address: auto:5060}
  - {name: known, side: outside, address: auto:5061, accept: peers}
peers:
  - {name: b, domains: [b.example], networks: [192.0.2.0/24]}
`)
	for _, tt := range []struct{ listener, addr, want string }{
		{"in", "127.0.0.1", "yes"}, {"in", "::1", "yes"}, {"in", "10.0.0.1", "no"},
		{"lan", "10.0.0.1", "yes"}, {"lan", "::ffff:10.0.0.1", "yes"}, {"lan", "fe80::1%eth0", "yes"}, {"lan", "192.0.2.1", "no"}, {"lan", "127.0.0.1", "no"},
		{"all", "203.0.113.1", "yes"},
		{"known", "192.0.2.1", "yes"}, {"known", "203.0.113.1", "no"},
	} {
		i := slices.IndexFunc(c.Listeners, func(l Listener) bool { return l.Name == tt.listener })
		got := "no"
		if c.Accepts(c.Listeners[i], netip.MustParseAddr(tt.addr)) {
			got = "yes"
		}
		if got != tt.want {
			t.Errorf("listener %s, address %s: %s", tt.listener, tt.addr, got)
		}
	}
	if c.Accepts(Listener{}, netip.MustParseAddr("127.0.0.1")) {
		t.Error("a listener without a side accepts")
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "my.yaml")
	if err := os.WriteFile(path, []byte(minimal+"api: {listen: \"192.0.2.1:5080\", token_file: token}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.API.TokenFile != filepath.Join(dir, "token") || c.File != path {
		t.Errorf("token file %s, file %s", c.API.TokenFile, c.File)
	}
	if _, err := Load(filepath.Join(dir, "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := Load(dir); err == nil {
		t.Error("a folder was loaded")
	}
	if err := os.WriteFile(path, []byte(minimal+strings.Repeat("# filler\n", maxFile/9)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || err.Error() != path+": the file is larger than 1 MiB" {
		t.Errorf("large file: %v", err)
	}
}

func TestReadyFiles(t *testing.T) {
	t.Parallel()
	for name, builtIn := range map[string][]byte{"workstation.yaml": Workstation(), "office.yaml": Office(), "lab.yaml": nil, "b2b.yaml": nil} {
		text, err := os.ReadFile(name)
		if err != nil || builtIn != nil && string(text) != string(builtIn) {
			t.Errorf("%s is not what is built in: %v", name, err)
		}
		if _, err := Load(name); err != nil {
			t.Error(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			if len(line) > 84 || strings.ContainsAny(line, "\t\r") || strings.TrimRight(line, " ") != line {
				t.Errorf("%s:%d: a tab, a space at the end, or more than 84 characters", name, i+1)
			}
		}
	}
}

func TestWorkstation(t *testing.T) {
	t.Parallel()
	c := WorkstationConfig()
	if r := c.Registrar; !r.On || !r.Open || c.State != "" || !c.TestAddresses {
		t.Errorf("registrar %+v, state %q", r, c.State)
	}
	// One person's computer does not keep whom they called, but where they ask for it.
	if b2b, err := Load("b2b.yaml"); err != nil || c.Records != "" || OfficeConfig().Records != "" || b2b.Records == "" {
		t.Errorf("records %q, %q, %q, %v", c.Records, OfficeConfig().Records, b2b.Records, err)
	}
	table := c.Routes()
	if target, ok := table.LookupFrom(route.Outside, "sip:me@203.0.113.5"); ok {
		t.Errorf("a call from outside: %+v", target) // registered phones come behind routes
	}
	if target, ok := table.LookupFrom(route.Inside, "sip:bob@b.example"); ok {
		t.Errorf("a call from the softphone: %+v", target)
	}
	p, err := c.Policy()
	if err != nil {
		t.Fatal(err)
	}
	d := p.Decide(policy.Facts{From: policy.Party{Side: policy.Inside}, To: policy.Party{Side: policy.Outside, URI: "sip:bob@b.example"}})
	if d.Mode != policy.Prefer || !d.Allow {
		t.Errorf("%+v", d)
	}
	for _, l := range c.Listeners {
		loopback, stranger := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("198.51.100.1")
		if outside := l.Side == policy.Outside; c.Accepts(l, stranger) != outside || !c.Accepts(l, loopback) {
			t.Errorf("listener %s: accepts %v %v", l.Name, c.Accepts(l, stranger), c.Accepts(l, loopback))
		}
	}
}

// What stands in the ready-made files behind "# " as something to take in is right
// as well, all of it together.
func TestReadyFilesUncommented(t *testing.T) {
	t.Parallel()
	for name, keys := range map[string][]string{
		"workstation.yaml": {"advertise:", "domains:", "state:"},
		"office.yaml":      {"advertise:", "registrar:", "aliases:", "emergency:", "test_addresses:", "state:"},
	} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		taken := 0
		within := false
		for _, line := range strings.Split(string(text), "\n") {
			indent, comment, ok := strings.Cut(line, "# ")
			begins := ok && slices.ContainsFunc(keys, func(key string) bool { return strings.HasPrefix(comment, key) })
			if begins {
				taken++
			}
			if within = begins || within && strings.HasPrefix(comment, "  "); within {
				line = indent + comment
			}
			lines = append(lines, line)
		}
		if taken != len(keys) {
			t.Errorf("%s: %d of %q found", name, taken, keys)
		}
		c, err := Parse(name, []byte(strings.Join(lines, "\n")))
		if err != nil {
			t.Error(err)
			continue
		}
		if c.Listeners[1].Advertise.Auto() || len(c.Registrar.Domains) != 1 || c.State == "" {
			t.Errorf("%s: %+v", name, c)
		}
		if name == "office.yaml" {
			if r := c.Registrar; r.Users != "users.txt" || r.Open || len(c.AliasList) != 2 || c.EmergencyTarget().Host != "192.168.1.10" || c.Emergency.Side != policy.Inside {
				t.Errorf("%s: %+v", name, c)
			}
		}
		if w := c.Warnings(); len(w) > 0 {
			t.Errorf("%s: %v", name, w)
		}
	}
}

func TestLab(t *testing.T) {
	t.Parallel()
	c, err := Load("lab.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if w := c.Warnings(); len(w) > 0 {
		t.Error(w)
	}
	table := c.Routes()
	if got, ok := table.LookupFrom(route.Inside, "sip:bob@lab.example"); !ok || got.URI != "sip:bob@192.0.2.20:5060" || got.Peer != "kamailio" {
		t.Errorf("a call from the softphone: %+v", got)
	}
	if got, ok := table.LookupFrom(route.Outside, "sip:bob@lab.example"); ok {
		t.Errorf("a call from outside: %+v", got)
	}
	p, err := c.Policy()
	if err != nil {
		t.Fatal(err)
	}
	kamailio, stranger := netip.MustParseAddr("192.0.2.20"), netip.MustParseAddr("198.51.100.1")
	if c.Registrar.On || c.PeerFor("", kamailio) != "kamailio" || c.PeerFor("", stranger) != "" || c.Listeners[1].Accept != AcceptPeers {
		t.Errorf("%+v", c)
	}
	in := policy.Party{Side: policy.Inside, URI: "sip:alice@lab.example"}
	if d := p.Decide(policy.Facts{From: in, To: policy.Party{Side: policy.Outside, URI: "sip:bob@lab.example", Peer: "kamailio"}}); !d.Allow || d.Mode != policy.Require {
		t.Errorf("a call in the lab: %+v", d)
	}
	if d := p.Decide(policy.Facts{From: in, To: policy.Party{Side: policy.Outside, URI: "sip:bob@b.example"}}); d.Allow {
		t.Errorf("a call elsewhere: %+v", d)
	}
}

func TestB2B(t *testing.T) {
	t.Parallel()
	c, err := Load("b2b.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if w := c.Warnings(); len(w) > 0 {
		t.Error(w)
	}
	pbx := c.Listeners[0]
	if !pbx.SpeaksFor("sip:orders@A.example") || pbx.SpeaksFor("sip:orders@b.example") || c.Listeners[1].SpeaksFor("sip:orders@a.example") || c.Listeners[1].Accept != AcceptPeers {
		t.Errorf("%+v", c.Listeners)
	}
	if c.Keyring != (Keyring{Files: "partners"}) || len(c.Identity.OpenPGP) != 1 || c.Identity.OpenPGP[0].File != "a-secret.pgp" || c.Identity.Answers != AnswersAnyone {
		t.Errorf("%+v %+v", c.Keyring, c.Identity)
	}
	p, err := c.Policy()
	if err != nil {
		t.Fatal(err)
	}
	here, there := policy.Party{Side: policy.Inside, URI: "sip:orders@a.example"}, policy.Party{Side: policy.Outside, URI: "sip:orders@b.example", Peer: "b"}
	for _, f := range []policy.Facts{{From: here, To: there}, {From: there, To: here}} {
		if d := p.Decide(f); !d.Allow || d.Mode != policy.Require || d.Trust != policy.Verified || d.OnMismatch != policy.End {
			t.Errorf("%+v", d)
		}
	}
	if d := p.Decide(policy.Facts{From: policy.Party{Side: policy.Outside, URI: "sip:orders@b.example"}, To: here}); d.Allow {
		t.Errorf("a stranger: %+v", d)
	}
}

func TestTrustKeys(t *testing.T) {
	t.Parallel()
	c := mustParse(t, minimal+`
policy:
  listed_peers: {require: pinned}
  unknown_peers: require
  on_mismatch: warn
  rules:
    - {name: bank, to: {address: "*@bank.example"}, require: verified, on_downgrade: end}
    - {name: rest, mode: prefer, on_mismatch: end}
identity:
  answers: peers
  keys: /keys
  openpgp:
    - {for: alice@a.example, gnupg: "0123 4567 89ab cdef 0123  4567 89AB CDEF 0123 4567", home: /gnupg}
keyring: {gnupg: true, home: /gnupg}
`)
	r := c.Rules
	if r.ListedPeers != policy.Require || r.ListedTrust != policy.Pinned || r.UnknownPeers != policy.Require || r.UnknownTrust != "" || r.OnMismatch != policy.Warn {
		t.Errorf("%+v", r)
	}
	if b := r.List[0]; b.Mode != policy.Require || b.Trust != policy.Verified || b.OnDowngrade != policy.End || r.List[1].OnMismatch != policy.End {
		t.Errorf("%+v", r.List)
	}
	if k := c.Identity.OpenPGP[0]; k.GnuPG != "0123456789ABCDEF0123456789ABCDEF01234567" || k.Home != "/gnupg" || c.Identity.Answers != AnswersPeers {
		t.Errorf("%+v", c.Identity)
	}
	if c.Keyring != (Keyring{GnuPG: true, Home: "/gnupg"}) || !c.Keyring.On() {
		t.Errorf("%+v", c.Keyring)
	}
	if dir, err := c.KeysFolder(); err != nil || dir != "/keys" {
		t.Error(dir, err)
	}
}

func TestOffice(t *testing.T) {
	t.Parallel()
	c := OfficeConfig()
	table := c.Routes()
	for _, tt := range []struct{ from, uri, wantURI, wantHost, wantPeer string }{
		{route.Inside, "sip:bob@partner.example", "sip:bob@partner.example", "sipward.partner.example", "partner"},
		{route.Outside, "sip:reception@office.example", "sip:100@192.168.1.10:5060", "192.168.1.10", ""},
		{route.Outside, "sip:217@203.0.113.5:5060", "sip:217@192.168.1.10:5060", "192.168.1.10", ""},
		{route.Inside, "sip:carol@c.example", "", "", ""},
	} {
		got, _ := table.LookupFrom(tt.from, tt.uri)
		if got.URI != tt.wantURI || got.Host != tt.wantHost || got.Peer != tt.wantPeer {
			t.Errorf("from %s to %s: %+v", tt.from, tt.uri, got)
		}
	}
	p, err := c.Policy()
	if err != nil {
		t.Fatal(err)
	}
	in := policy.Party{Side: policy.Inside, URI: "sip:217@office.example"}
	out := func(uri string) policy.Party {
		return policy.Party{Side: policy.Outside, URI: uri, Peer: c.PeerFor(uri[strings.Index(uri, "@")+1:], netip.Addr{})}
	}
	for _, tt := range []struct {
		facts policy.Facts
		want  string
	}{
		{policy.Facts{From: in, To: out("sip:bob@partner.example")}, "listed_peers require"},
		{policy.Facts{From: out("sip:bob@partner.example"), To: in}, "listed_peers require"},
		{policy.Facts{From: in, To: out("sip:carol@c.example")}, "unknown_peers prefer"},
		{policy.Facts{From: in, To: in}, "inside off"},
		{policy.Facts{From: policy.Party{Side: policy.Inside, URI: "sip:board@office.example"}, To: out("sip:carol@c.example")}, "board require"},
		{policy.Facts{From: out("sip:x@nuisance.example"), To: in}, "nuisance refuse"},
		{policy.Facts{From: out("sip:x@c.example"), To: out("sip:bob@partner.example")}, "outside refuse"},
	} {
		d := p.Decide(tt.facts)
		if got := d.Rule + " " + string(d.Mode); got != tt.want {
			t.Errorf("%s to %s: %s, want %s", tt.facts.From.URI, tt.facts.To.URI, got, tt.want)
		}
	}
}
