package configs

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/route"
)

const trunkSides = `listeners:
  - {name: a, side: inside, address: "127.0.0.1:5062"}
  - {name: b, side: outside, address: "127.0.0.2:5060"}
peers: [{name: provider, domains: [provider.example]}, {name: other, domains: [other.example]}]
policy: {listed_peers: prefer}
`

func TestTrunks(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		want Trunk
	}{
		{"{peer: provider, server: sip:provider.example, user: 4930123, password_file: secret}",
			Trunk{Peer: "provider", Server: "sip:provider.example", Register: true, User: "sip:4930123@provider.example", AuthUser: "4930123", PasswordFile: "secret",
				Expires: 10 * time.Minute, From: "sip:4930123@provider.example", Identity: "from"}},
		{`{peer: provider, server: "sip:edge.provider.example;transport=tcp", user: me@provider.example, auth_user: "x y", password: "p w", realm: r, expires: 1h, from: +49 (30) 123-0, identity: ppi,
    numbers: {called: [{match: "00*", to: "+*"}, {match: 0*, to: +49*}], callers: [{match: alice, to: "+4930 123-1"}], incoming: [{match: 49*, to: "+49*"}]}}`,
			Trunk{Peer: "provider", Server: "sip:edge.provider.example;transport=tcp", Register: true, User: "sip:me@provider.example", AuthUser: "x y", Password: "p w", Realm: "r",
				Expires: time.Hour, From: "sip:+49301230@provider.example", Identity: "ppi",
				Called:  []route.Rewrite{{Match: "00*", To: "+*"}, {Match: "0*", To: "+49*"}},
				Callers: []route.Rewrite{{Match: "alice", To: "+49301231"}}, Incoming: []route.Rewrite{{Match: "49*", To: "+49*"}}}},
		{"{peer: provider, server: \"sip:[2001:db8::1]:5070\", register: false, from: +491}",
			Trunk{Peer: "provider", Server: "sip:[2001:db8::1]:5070", Expires: 10 * time.Minute, From: "sip:+491@[2001:db8::1]", Identity: "from"}},
	} {
		c := mustParse(t, trunkSides+"trunks:\n  - "+tt.text+"\n")
		if !reflect.DeepEqual(c.Trunks[0], tt.want) {
			t.Errorf("got  %#v\nwant %#v", c.Trunks[0], tt.want)
		}
		if trunk, i := c.TrunkOf("provider"); trunk != &c.Trunks[0] || i != 0 {
			t.Errorf("TrunkOf: %v, %d", trunk, i)
		}
		if trunk, _ := c.TrunkOf(""); trunk != nil {
			t.Errorf("TrunkOf nobody: %v", trunk)
		}
		if w := c.Warnings(); len(w) > 0 {
			t.Error(w)
		}
	}
}

// A password is in no message, however the configuration is printed.
func TestSecretIsNotShown(t *testing.T) {
	t.Parallel()
	c := mustParse(t, trunkSides+"trunks: [{peer: provider, server: sip:provider.example, user: u, password: hunter2}]\n")
	text, err := json.Marshal(c.Trunks)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %s %q", c.Trunks, c.Trunks, c.Trunks[0], c.Trunks[0].Password, c.Trunks[0].Password), string(text)} {
		if strings.Contains(s, "hunter2") || !strings.Contains(s, "(secret)") {
			t.Error(s)
		}
	}
	if string(c.Trunks[0].Password) != "hunter2" {
		t.Error("the password itself is lost")
	}
}

func TestTrunkPasswordFileIsBesideTheConfiguration(t *testing.T) {
	t.Parallel()
	c := mustParse(t, trunkSides+"trunks: [{peer: provider, server: sip:provider.example, user: u, password_file: secret}]\n")
	c.beside("/etc/sipward")
	if got := c.Trunks[0].PasswordFile; got != filepath.Join("/etc/sipward", "secret") {
		t.Error(got)
	}
}

// A trunk whose calls must be encrypted is worth a word, and so is nothing else.
func TestTrunkWarnings(t *testing.T) {
	t.Parallel()
	const trunk = "trunks: [{peer: provider, server: sip:provider.example, user: u, password: p}]\n"
	require := strings.Replace(trunkSides, "{listed_peers: prefer}", "{rules: [{name: x, from: {side: outside}, mode: refuse}]}", 1)
	c := mustParse(t, require+trunk)
	if w := c.Warnings(); len(w) != 1 || w[0].Key != "trunks[0].peer" || w[0].Line != 6 || !strings.Contains(w[0].Message, "listed_peers: prefer") {
		t.Errorf("%v", w)
	}
	byNetwork := strings.Replace(trunkSides, "{listed_peers: prefer}", "{rules: [{name: x, to: {network: 192.0.2.0/24}, mode: prefer}]}", 1)
	if w := mustParse(t, byNetwork+trunk).Warnings(); len(w) != 0 {
		t.Errorf("with a rule of a network: %v", w)
	}
	// Peers alone, and the one that registers has no network of its own.
	alone := strings.Replace(trunkSides, `"127.0.0.2:5060"}`, `"127.0.0.2:5060", accept: peers}`, 1)
	mustParse(t, alone+trunk)
}
