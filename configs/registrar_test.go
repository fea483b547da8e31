package configs

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
)

func TestRegistrar(t *testing.T) {
	t.Parallel()
	c := mustParse(t, minimal+"registrar: {domains: [Office.Example., 203.0.113.5, \"[2001:db8::1]\"], users: users.txt, open: false, max_expires: 1h30m}\n")
	r := c.Registrar
	if !r.On || r.Open || r.Users != "users.txt" || r.MaxExpires != 90*time.Minute || !slices.Equal(r.Domains, []string{"office.example", "203.0.113.5", "2001:db8::1"}) {
		t.Errorf("%+v", r)
	}
	if r := mustParse(t, minimal+"registrar: {open: true}\n").Registrar; !r.On || !r.Open || r.MaxExpires != time.Hour || len(r.Domains) != 0 {
		t.Errorf("%+v", r)
	}
	if r := mustParse(t, minimal+"registrar:\n").Registrar; r.On {
		t.Errorf("%+v", r)
	}
}

func TestAliases(t *testing.T) {
	t.Parallel()
	c := mustParse(t, minimal+`aliases:
  - {number: +49 (30) 123-0, to: sip:desk@a.example}
  - {number: "+4930123*", to: "sip:*@a.example"}
  - {number: "+49.30.9", to: "SIP:nine@a.example:5070"}
  - {number: 100, to: sip:alice@a.example}
  - {number: reception@b.example, to: sip:desk@a.example}
`)
	aliases := c.Aliases()
	for in, want := range map[string]string{
		"sip:+49301230@x":            "sip:desk@a.example",
		"sip:+493012345@x":           "sip:+493012345@a.example",
		"sip:+49309@x":               "SIP:nine@a.example:5070",
		"sip:100@a.example":          "sip:alice@a.example",
		"tel:+49-30-123-0":           "sip:desk@a.example",
		"sip:reception@b.example":    "sip:desk@a.example",
		"sip:reception@c.example":    "sip:reception@c.example",
		"sip:alice@a.example;x=y":    "sip:alice@a.example;x=y",
		"not an address of any kind": "not an address of any kind",
	} {
		if got := aliases.Resolve(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestEmergency(t *testing.T) {
	t.Parallel()
	const sides = `listeners:
  - {name: a, side: inside, address: auto:5062, networks: [192.0.2.0/24]}
  - {name: b, side: outside, address: auto:5060}
peers: [{name: trunk, domains: [trunk.example], networks: [198.51.100.0/24]}]
`
	for _, tt := range []struct {
		text string
		want route.Target
	}{
		{"", route.Target{}},
		{"emergency: {numbers: [112], to: sip:192.0.2.8}\n", route.Target{URI: "sip:192.0.2.8", Host: "192.0.2.8", Side: "inside", Rule: "emergency"}},
		{"emergency: {numbers: [112], to: \"sip:*@trunk.example:5070;transport=tcp\"}\n",
			route.Target{URI: "sip:trunk.example:5070;transport=tcp", Host: "trunk.example", Port: 5070, Network: "tcp", Side: "outside", Peer: "trunk", Rule: "emergency"}},
		{"emergency: {numbers: [112], to: \"sip:911@198.51.100.1\"}\n", route.Target{URI: "sip:911@198.51.100.1", Host: "198.51.100.1", Side: "outside", Peer: "trunk", Rule: "emergency"}},
		{"emergency: {numbers: [112], to: \"sip:pbx.example\", side: inside}\n", route.Target{URI: "sip:pbx.example", Host: "pbx.example", Side: "inside", Rule: "emergency"}},
	} {
		if got := mustParse(t, sides+tt.text).EmergencyTarget(); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.text, got, tt.want)
		}
	}
	c := mustParse(t, sides+"emergency: {numbers: [110, \"112\"], to: sip:192.0.2.8}\ntest_addresses: true\n")
	if !slices.Equal(c.Emergency.Numbers, []string{"110", "112"}) || c.Emergency.Side != policy.Inside || !c.TestAddresses {
		t.Errorf("%+v, %v", c.Emergency, c.TestAddresses)
	}
}

// Relative paths begin at the folder of the file; those that are absolute stay.
func TestPathsBesideTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "my.yaml")
	text := `listeners:
  - {name: a, side: inside, address: "127.0.0.1:5062", transports: [tls], tls: {certificate: tls/c.pem, key: /etc/k.pem, client_ca: ../ca.pem}}
registrar: {domains: [a.example], users: users.txt}
state: kept/
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	tls := c.Listeners[0].TLS
	if tls.Certificate != filepath.Join(dir, "tls/c.pem") || tls.Key != "/etc/k.pem" || tls.ClientCA != filepath.Join(filepath.Dir(dir), "ca.pem") {
		t.Errorf("%+v", tls)
	}
	if c.Registrar.Users != filepath.Join(dir, "users.txt") || c.API.TokenFile != "" {
		t.Errorf("users %s, token %s", c.Registrar.Users, c.API.TokenFile)
	}
	if got, err := c.StateFile(); err != nil || got != filepath.Join(dir, "kept", "state.db") {
		t.Errorf("state %s, %v", got, err)
	}
	if err := os.WriteFile(path, []byte(minimal+"state: off\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err = Load(path); err != nil || c.State != StateOff {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestStateFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, state string
		env         map[string]string
		home, want  string
	}{
		{"off", "off", map[string]string{"XDG_STATE_HOME": "/x"}, "/home/a", ""},
		{"folder", dir, nil, "", dir + "/state.db"},
		{"folder that is to be made", dir + "/new", nil, "", dir + "/new/state.db"},
		{"folder with a dot", dir + "/new.d/", nil, "", dir + "/new.d/state.db"},
		{"file", there, nil, "", there},
		{"file that is to be made", dir + "/new.db", nil, "", dir + "/new.db"},
		{"home", "", nil, "/home/a", "/home/a/.local/state/sipward/state.db"},
		{"XDG", "", map[string]string{"XDG_STATE_HOME": "/x"}, "/home/a", "/x/sipward/state.db"},
		{"relative XDG", "", map[string]string{"XDG_STATE_HOME": "x"}, "/home/a", "/home/a/.local/state/sipward/state.db"},
		{"systemd", "", map[string]string{"XDG_STATE_HOME": "/x", "STATE_DIRECTORY": "/var/lib/sipward:/var/lib/other"}, "/home/a", "/var/lib/sipward/state.db"},
		{"no home", "", nil, "", "error"},
	} {
		c := &Config{State: tt.state}
		got, err := c.stateFile(func(name string) string { return tt.env[name] }, func() (string, error) {
			if tt.home == "" {
				return "", os.ErrNotExist
			}
			return tt.home, nil
		})
		if err != nil {
			got = "error"
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s (%v)", tt.name, got, tt.want, err)
		}
	}
}

func TestKeysFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for state, want := range map[string]string{StateOff: "", dir: dir + "/keys", dir + "/other.db": dir + "/keys"} {
		if got, err := (&Config{State: state}).KeysFolder(); err != nil || got != filepath.FromSlash(want) {
			t.Errorf("state %s: %s, %v; want %s", state, got, err, want)
		}
	}
}
