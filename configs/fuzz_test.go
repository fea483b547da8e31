package configs

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
)

// FuzzParse holds what Parse accepts against what the rest of the program relies
// on, and what it refuses against the promise that every problem has a sentence.
func FuzzParse(f *testing.F) {
	f.Add(Workstation())
	f.Add(Office())
	f.Add([]byte(minimal))
	f.Add([]byte("{listeners: [{name: a, side: inside, address: '[::1]:0'}], api: {listen: off}}"))
	files, err := filepath.Glob("testdata/reject/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("fuzz.yaml", text)
		if err != nil {
			var problems Errors
			if !errors.As(err, &problems) || len(problems) == 0 || c != nil {
				t.Fatalf("%+v, %v", c, err)
			}
			for _, p := range problems {
				if p.Message == "" || p.File != "fuzz.yaml" || strings.ContainsAny(p.String(), "\n\r\x00\x1b") {
					t.Errorf("problem %q", p)
				}
			}
			return
		}
		if again, err := Parse("fuzz.yaml", text); err != nil || !reflect.DeepEqual(c, again) {
			t.Errorf("read again: %+v, %v", again, err)
		}
		if _, err := c.Policy(); err != nil {
			t.Error(err)
		}
		c.Routes() // panics over a route that was not checked
		c.Aliases()
		for _, trunk := range c.Trunks {
			for _, list := range [][]route.Rewrite{trunk.Called, trunk.Callers, trunk.Incoming} {
				if _, err := route.NewRewrites(list); err != nil {
					t.Error(err)
				}
			}
			from, err := route.ParseNextHop(trunk.From)
			if _, err2 := route.ParseNextHop(trunk.Server); err != nil || err2 != nil || from.User == "" || trunk.Register && (trunk.User == "" || trunk.AuthUser == "") {
				t.Errorf("trunk %+v: %v, %v", trunk, err, err2)
			}
		}
		for _, w := range c.Warnings() {
			if !w.Warning || w.Line == 0 || strings.ContainsAny(w.String(), "\n\r\x00\x1b") {
				t.Errorf("warning %q", w)
			}
		}
		valid(t, c)
		validRegistrar(t, c)
	})
}

// valid is what the rest of the program takes for granted.
func valid(t *testing.T, c *Config) {
	inside := false
	sides := map[string]bool{}
	for _, l := range c.Listeners {
		sides[string(l.Side)] = true
		inside = inside || l.Side == policy.Inside
		if l.Name == "" || len(l.Transports) == 0 || l.Address.Auto == l.Address.IP.IsValid() || l.Address.IP.IsValid() && l.Address.IP.IsUnspecified() {
			t.Errorf("listener %+v", l)
		}
		if l.Side == policy.Inside != (len(l.Networks) > 0) || l.Side == policy.Outside != (l.Accept != "") {
			t.Errorf("listener %+v", l)
		}
		for _, n := range l.Networks {
			if n.Bits() == 0 || n != n.Masked() {
				t.Errorf("listener %+v", l)
			}
		}
	}
	if !inside {
		t.Error("no inside listener")
	}
	if m := c.Media; m.PortMin < 1024 || m.PortMax > 65535 || m.PortMax-m.PortMin < 3 {
		t.Errorf("media %+v", m)
	}
	for _, r := range c.StaticRoutes {
		named := slices.ContainsFunc(c.Peers, func(p Peer) bool { return p.Name == r.Peer })
		if !sides[r.Side] || r.From != "" && !sides[r.From] || r.Peer != "" && (!named || r.Side != "outside") {
			t.Errorf("route %+v", r)
		}
	}
	for _, p := range c.Peers {
		if p.Name == "" || len(p.Domains)+len(p.Networks) == 0 || len(p.patterns) != len(p.Domains) {
			t.Errorf("peer %+v", p)
		}
	}
	for _, l := range c.Listeners {
		if slices.Contains(l.Transports, "tls") != (l.TLS.Certificate != "" && l.TLS.Key != "") || l.Advertise.IP.IsValid() && l.Advertise.Name != "" {
			t.Errorf("listener %+v", l)
		}
	}
	if len(c.Crypto.Groups) == 0 || len(c.Crypto.Suites) == 0 {
		t.Errorf("crypto %+v", c.Crypto)
	}
	if !c.API.Off && (!c.API.Listen.IsValid() || !c.API.Listen.Addr().IsLoopback() && c.API.TokenFile == "") {
		t.Errorf("api %+v", c.API)
	}
	if c.Log.Level == "" || c.Log.Format == "" {
		t.Errorf("log %+v", c.Log)
	}
}

func validRegistrar(t *testing.T, c *Config) {
	r := c.Registrar
	if r.On != (r.MaxExpires > 0) || r.On && r.Open == (r.Users != "") || r.Users != "" && len(r.Domains) == 0 || r.MaxExpires%time.Second != 0 {
		t.Errorf("registrar %+v", r)
	}
	for _, l := range c.Listeners {
		for _, n := range l.Networks {
			if r.Open && !n.Addr().IsLoopback() {
				t.Errorf("open to %s", n)
			}
		}
	}
	e, target := c.Emergency, c.EmergencyTarget()
	if (e.To == "") != (len(e.Numbers) == 0) || (e.To == "") != (target.Host == "") || e.To != "" && target.Side == "" {
		t.Errorf("emergency %+v, %+v", e, target)
	}
	if c.State != "" {
		if path, err := c.StateFile(); err != nil || (path == "") != (c.State == StateOff) {
			t.Errorf("state %q: %q, %v", c.State, path, err)
		}
	}
}
