package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sipward/sipward/configs"
)

func TestTrunkPassword(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, tt := range map[string]struct{ text, want, fault string }{
		"a line":         {"hunter2\n", "hunter2", ""},
		"no line end":    {" hunter 2 ", " hunter 2 ", ""},
		"of Windows":     {"hunter2\r\n\r\n", "hunter2", ""},
		"the longest":    {strings.Repeat("x", maxPassword) + "\r\n", strings.Repeat("x", maxPassword), ""},
		"too long":       {strings.Repeat("x", maxPassword+1) + "\n", "", "longer than 1024"},
		"much too long":  {strings.Repeat("x", 100000), "", "longer than 1024"},
		"empty":          {"", "", "is empty"},
		"an empty line":  {"\nhunter2\n", "", "is empty"},
		"two lines":      {"hunter2\nhunter3\n", "", "more than one line"},
		"a control code": {"hun\x00ter2\n", "", "control character"},
		"not UTF-8":      {"hun\xffter2\n", "", "not UTF-8"},
	} {
		file := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := trunkPassword(configs.Trunk{PasswordFile: file})
		if got != tt.want || (err == nil) != (tt.fault == "") || err != nil && (!strings.Contains(err.Error(), tt.fault) || strings.Contains(err.Error(), "hunter")) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := trunkPassword(configs.Trunk{PasswordFile: dir}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Error(err)
	}
	if _, err := trunkPassword(configs.Trunk{PasswordFile: filepath.Join(dir, "none")}); err == nil {
		t.Error("no file, no error")
	}
	if got, err := trunkPassword(configs.Trunk{Password: "p"}); got != "p" || err != nil {
		t.Error(got, err)
	}
}

// What the configuration says is what the proxy is given.
func TestTrunksOfTheConfiguration(t *testing.T) {
	t.Parallel()
	cfg := parse(t, `listeners:
  - {name: a, side: inside, address: "127.0.0.1:5062"}
  - {name: b, side: outside, address: "127.0.0.2:5060"}
peers: [{name: one, domains: [one.example]}, {name: two, networks: [192.0.2.2/32]}]
trunks:
  - {peer: one, server: "sip:edge.one.example:5070;transport=tcp", user: me@one.example, auth_user: au, password: pw, realm: r, from: "+491", identity: pai, numbers: {called: [{match: "0*", to: "+49*"}]}}
  - {peer: two, server: "sip:192.0.2.2", register: false, from: "+492"}
`)
	got, err := trunks(cfg)
	if err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	one, two := got[0], got[1]
	if one.Server.Host != "edge.one.example" || one.Server.Port != 5070 || one.Server.Network != "tcp" || one.Account.String() != "sip:me@one.example" || one.From.String() != "sip:+491@one.example" ||
		one.Credentials.User != "au" || one.Credentials.Password != "pw" || one.Credentials.Realm != "r" || one.Identity != "pai" || one.Expires.Minutes() != 10 {
		t.Errorf("%+v", one)
	}
	if n, ok := one.Called.Apply("030"); n != "+4930" || !ok {
		t.Error(n, ok)
	}
	if two.Server.Host != "" || two.Credentials.User != "" || two.From.String() != "sip:+492@192.0.2.2" {
		t.Errorf("%+v", two)
	}
}
