package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/policy"
)

// The built-in configuration says, setting by setting, what the softphone needs.
func TestAnnounceAccount(t *testing.T) {
	t.Parallel()
	cfg := onLoopback(t, configs.WorkstationConfig(), netip.MustParseAddrPort("127.0.0.1:5070"))
	cfg.StaticRoutes, cfg.File = nil, builtIn
	cfg.Listeners[1].Advertise = configs.Advertise{IP: netip.MustParseAddr("203.0.113.5"), Port: 5080}
	d := start(t, cfg)
	inside, outside := at(t, d, policy.Inside, "udp"), at(t, d, policy.Outside, "udp")
	var b strings.Builder
	d.announce(&b)
	want := fmt.Sprintf(`sipward is ready, configuration: the built-in workstation.yaml
  inside   %-21v  udp and tcp
  outside  %-21v  udp and tcp, known to others as 203.0.113.5:5080
  API      %s
  In your softphone make an account:
    user name         any name, such as me
    password          none: leave it empty
    server or domain  %[1]v
    outbound proxy    %[1]v
    transport         UDP or TCP
    encryption        off (SRTP, ZRTP and TLS): sipward encrypts
  Others then reach you as sip:NAME@203.0.113.5:5080, with your user name for NAME.
  To try it, call
    sip:echo@%[1]v  you hear yourself, a little later
    sip:sas@%[1]v  you hear six digits, the code of the call
  These calls are encrypted, as one to another sipward is.
  "sipward calls --api %[3]s" shows them: its code must be the one that you hear.
  Other settings: sipward run --config FILE
`, inside, outside, d.APIURL())
	strip := func(s string) string {
		var lines []string
		for line := range strings.Lines(s) {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
		return strings.Join(lines, "\n")
	}
	if got := b.String(); strip(got) != strip(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// With passwords, and with a PBX behind, it says where they are and where calls go.
func TestAnnounceProxies(t *testing.T) {
	t.Parallel()
	users := usersFile(t, "bob:secret of bob\n")
	cfg := onLoopback(t, configs.OfficeConfig(), netip.MustParseAddrPort("127.0.0.1:5070"))
	cfg.Registrar = configs.Registrar{On: true, Domains: []string{"office.example"}, Users: users}
	d := start(t, cfg)
	var b strings.Builder
	d.announce(&b)
	for _, want := range []string{
		fmt.Sprintf("  In the phone enter the outbound proxy %v (udp or tcp).\n", at(t, d, policy.Inside, "udp")),
		"  Phones register as NAME@office.example, with their passwords in " + users + ".\n",
		"  Calls from outside go to 127.0.0.1 port 5070: let the phone or PBX listen there.\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "secret") {
		t.Errorf("it tells a password:\n%s", b.String())
	}
}
