package configs

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
)

// Names of the groups and suites that the product knows, in the order of
// preference that they have by default. They stand here because this package
// imports neither keyexchange nor media; a test in test/architecture keeps them equal.
const (
	groupHybrid  = "x25519mlkem768"
	groupClassic = "x25519"
)

var (
	knownGroups = []string{groupHybrid, groupClassic}
	// commonSuites are those that every sipward has, and the default.
	commonSuites = []string{"AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES_256_CM_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_80"}
	knownSuites  = append(slices.Clone(commonSuites), "AEAD_ARIA_256_GCM", "X_AEAD_CHACHA20_POLY1305")
)

// Values that keys have when they are left out.
const (
	defaultPortMin = 20000
	defaultPortMax = 29999
	defaultAPI     = "127.0.0.1:5080"
)

// Values of Listener.Accept.
const (
	AcceptAnyone = "anyone"
	AcceptPeers  = "peers"
)

// Values of Listener.SDES: whether phones that are called are offered SRTP under
// keys in the session description.
const (
	SDESLearn  = "learn" // as each has shown that it wants it
	SDESAlways = "always"
	SDESOff    = "off"
)

// Values of Listener.DTMF: how phones send and take digits.
const (
	DTMFPass = "pass" // as they agree with the far end
	DTMFInfo = "info" // in INFO, and in no other way
)

// Values of Listener.Accounts.
const (
	AccountsOwn       = "own"
	AccountsElsewhere = "elsewhere"
)

// Config is a configuration that was checked, with its defaults filled in.
type Config struct {
	File         string // name for messages
	Listeners    []Listener
	Media        Media
	StaticRoutes []route.Route // in their order; see Routes
	Peers        []Peer
	Rules        policy.Rules // see Policy
	Crypto       Crypto
	API          API
	Log          Log

	Registrar     Registrar     // the zero value: phones cannot register
	AliasList     []route.Alias // in their order; see Aliases
	Limits        Limits
	Calls         Calls
	Emergency     Emergency // the zero value: no call is one; see EmergencyTarget
	Trunks        []Trunk   // accounts at providers
	TestAddresses bool      // sip:echo@... and sip:sas@... answer
	State         string    // as written: a path, off, or "" for the default; see StateFile
	Identity      Identity
	Keyring       Keyring
	Records       string // folder of the record of calls, "" for none

	places map[string]place // of the keys
}

// Media holds the ports for RTP and RTCP, both ends included.
type Media struct{ PortMin, PortMax int }

// Calls is for how many calls at once the ports suffice, each with one stream of
// sound: towards either side it takes an even port and the next.
func (m Media) Calls() int {
	first := m.PortMin + m.PortMin%2
	return max(0, (m.PortMax-first+1)/4)
}

// Peer is a domain or network that one knows by name.
type Peer struct {
	Name     string
	Domains  []string        // as written
	patterns []route.Pattern // of the domains
	Networks []netip.Prefix
	// Trusted peers are told who calls (RFC 3325), and are believed where they say it
	// themselves.
	Trusted bool
}

// Crypto holds what key exchanges may use, in order of preference, and when there
// are others within a call.
type Crypto struct {
	Groups, Suites []string
	Rekey          Rekey
}

// API is where people and programs look at the calls.
type API struct {
	Off       bool
	Listen    netip.AddrPort // the zero AddrPort where Off is set
	TokenFile string         // path, "" for none
}

// Log says what is logged and how.
type Log struct {
	Level  string // debug, info, warn, error
	Format string // text, json
}

// Load reads a file of at most 1 MiB. Paths in it that are relative begin at its
// folder. The error is [Errors] where the file could be read and has faults.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	c, err := Parse(path, text)
	if err != nil {
		return nil, err
	}
	c.beside(filepath.Dir(path))
	return c, nil
}

// beside makes every path that is relative one below a folder.
func (c *Config) beside(folder string) {
	paths := []*string{&c.API.TokenFile, &c.Registrar.Users}
	if c.Records != "" {
		paths = append(paths, &c.Records)
	}
	if c.State != StateOff {
		paths = append(paths, &c.State)
	}
	paths = append(paths, &c.Identity.Keys, &c.Keyring.Files, &c.Keyring.Home)
	for i := range c.Identity.OpenPGP {
		k := &c.Identity.OpenPGP[i]
		paths = append(paths, &k.File, &k.PassphraseFile, &k.Home)
	}
	for i := range c.Trunks {
		paths = append(paths, &c.Trunks[i].PasswordFile)
	}
	for i := range c.Listeners {
		t := &c.Listeners[i].TLS
		paths = append(paths, &t.Certificate, &t.Key, &t.ClientCA)
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			folderAtEnd := os.IsPathSeparator((*p)[len(*p)-1])
			if *p = filepath.Join(folder, *p); folderAtEnd {
				*p += string(filepath.Separator) // which tells StateFile that a folder is meant
			}
		}
	}
}

// Parse reads a configuration; name stands for the file in messages. The error
// is [Errors] with every problem that was found.
func Parse(name string, text []byte) (*Config, error) {
	d := &document{file: name, places: map[string]place{}, meant: map[string]bool{}}
	c := &Config{File: name, places: d.places}
	if top, ok := d.readYAML(text); ok && d.decode(top, c) {
		d.check(c)
	}
	if len(d.problems) > 0 {
		return nil, d.problems.sorted()
	}
	return c, nil
}

// Policy makes a policy of the rules. It fails only where Rules was changed
// after [Parse].
func (c *Config) Policy() (*policy.Policy, error) { return policy.New(c.Rules) }

// Routes makes a table of the static routes. It panics where StaticRoutes was
// changed after [Parse] to something that is no route.
func (c *Config) Routes() *route.Table {
	t, err := route.NewTable(c.StaticRoutes)
	if err != nil {
		panic(fmt.Sprintf("configs: routes that were not checked: %v", err))
	}
	return t
}

// Aliases makes a table of the aliases. It panics where AliasList was changed after
// [Parse] to something that is no alias.
func (c *Config) Aliases() *route.Aliases {
	t, err := route.NewAliases(c.AliasList)
	if err != nil {
		panic(fmt.Sprintf("configs: aliases that were not checked: %v", err))
	}
	return t
}

// PeerFor returns the name of the listed peer that an IP address belongs to, or
// else the one that a host, as it stands in a SIP URI, belongs to; "" if neither
// does. Either may be left at its zero value. Where several fit, the first of the
// file counts.
//
// A host in From is what a caller says of himself: it serves to ask more of a
// call, not to let one in. [Config.Accepts] looks at addresses only.
func (c *Config) PeerFor(host string, addr netip.Addr) string {
	for i := range c.Peers {
		if within(c.Peers[i].Networks, addr) {
			return c.Peers[i].Name
		}
	}
	if host == "" {
		return ""
	}
	u, err := route.ParseURI("sip:" + bracketed(host))
	if err != nil {
		return ""
	}
	for i := range c.Peers {
		for _, p := range c.Peers[i].patterns {
			if p.MatchURI(u) {
				return c.Peers[i].Name
			}
		}
	}
	return ""
}

// Trusts reports whether the listed peer of that name is trusted with who calls.
func (c *Config) Trusts(peer string) bool {
	for i := range c.Peers {
		if c.Peers[i].Name == peer {
			return c.Peers[i].Trusted
		}
	}
	return false
}

func bracketed(host string) string {
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is6() {
		return "[" + host + "]"
	}
	return host
}

// Accepts reports whether a listener takes requests from an address: inside, one
// of its networks; outside, every address or those of the listed peers' networks.
func (c *Config) Accepts(l Listener, addr netip.Addr) bool {
	switch {
	case l.Side == policy.Inside:
		return within(l.Networks, addr)
	case l.Side == policy.Outside && l.Accept == AcceptAnyone:
		return true
	case l.Side == policy.Outside && l.Accept == AcceptPeers:
		for i := range c.Peers {
			if within(c.Peers[i].Networks, addr) {
				return true
			}
		}
	}
	return false
}

func within(networks []netip.Prefix, addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, n := range networks {
		if n.Contains(addr) {
			return true
		}
	}
	return false
}
