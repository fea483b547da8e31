package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sipward/sipward/configs"
	"github.com/sipward/sipward/route"
)

// explained is a house with everything in it that a call can come across.
const explained = `listeners:
  - {name: office, side: inside, address: "127.0.0.1:5062", networks: [127.0.0.0/8, 10.0.0.0/8]}
  - {name: internet, side: outside, address: "127.0.0.2:5060", transports: [udp]}
  - {name: partners, side: outside, address: "127.0.0.2:5070", accept: peers}
  - {name: softphones, side: inside, address: "127.0.0.1:5064", networks: [172.16.0.0/16], accounts: elsewhere}
registrar: {domains: [office.example], users: USERS}
aliases:
  - {number: "+4930123*", to: sip:bob@office.example}
  - {number: "0", to: "sip:*@gateway.example"}
emergency: {numbers: [112], to: "sip:*@10.0.0.9"}
test_addresses: true
routes:
  - {match: "*@b.example", from: inside, to: "sip:192.0.2.1;transport=tcp", side: outside, peer: b}
  - {match: fax, to: "sip:fax@10.0.0.8", side: inside}
  - {match: through, to: "sip:192.0.2.7", side: outside}
peers:
  - {name: b, domains: [b.example], networks: [198.51.100.0/24]}
policy:
  rules:
    - {name: bank, from: {side: inside, network: 10.1.0.0/16}, to: {address: "*@bank.example"}, mode: require}
    - {name: foe, to: {network: 203.0.113.0/24}, mode: refuse}
    - {name: nobody, from: {address: "*@nuisance.example"}, mode: refuse}
    - {name: open, to: {address: "radio@*"}, mode: off}
`

func explainedConfig(t *testing.T) (*configs.Config, *phones) {
	t.Helper()
	cfg := parse(t, strings.ReplaceAll(explained, "USERS", fmt.Sprintf("%q", usersFile(t, "alice:one\nbob:two\n"))))
	p, err := accounts(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return cfg, p
}

func TestExplain(t *testing.T) {
	t.Parallel()
	cfg, phones := explainedConfig(t)
	dns := fakeDNS{"c.example": "192.0.2.2", "foe.example": "203.0.113.7", "bank.example": "192.0.2.3", "six.example": "2001:db8::6"}
	for _, tt := range []struct {
		from, to, source string
		dns              route.Lookup
		want             string // outcome, listener, kinds of the steps, rule
	}{
		{"alice", "carol@c.example", "10.0.0.1", nil, "encrypted-or-plain office caller called domain policy unknown_peers"},
		{"alice", "carol@c.example", "", dns, "encrypted-or-plain office caller called domain address policy unknown_peers"},
		{"alice", "x@nowhere.example", "", dns, "nobody office caller called domain address"},
		{"alice", "x@six.example", "", dns, "nobody office caller called domain address"}, // no listener for IPv6
		{"alice", "x@foe.example", "", dns, "refused office caller called domain address policy foe"},
		{"alice", "x@foe.example", "", nil, "encrypted-or-plain office caller called domain policy unknown_peers"},
		{"alice", "x@203.0.113.9", "", nil, "refused office caller called domain policy foe"},
		{"alice", "teller@bank.example", "10.1.2.3", nil, "encrypted office caller called domain policy bank"},
		{"alice", "teller@bank.example", "10.2.2.3", nil, "encrypted-or-plain office caller called domain policy unknown_peers"},
		{"alice", "b@b.example", "", nil, "encrypted office caller called route policy listed_peers"},
		{"alice", "radio@c.example", "", nil, "plain office caller called domain policy open"},
		{"alice", "fax", "", nil, "plain office caller called route policy inside"},
		{"alice", "bob", "", nil, "plain office caller called phones policy inside"},
		{"alice", "bob@127.0.0.2", "", nil, "plain office caller called phones policy inside"}, // an own address
		{"alice", "echo", "", nil, "encrypted office caller called test"},
		{"alice", "sas@127.0.0.1", "", nil, "encrypted office caller called test"},
		{"x@c.example", "sas@office.example", "203.0.113.1", nil, "encrypted-or-plain internet caller called test policy unknown_peers"},
		{"x@c.example", "echo@office.example", "203.0.113.1", nil, "encrypted-or-plain internet caller called test policy unknown_peers"},
		{"alice", "echo@c.example", "", nil, "encrypted-or-plain office caller called domain policy unknown_peers"},
		{"alice", "+493012399", "", nil, "plain office caller called alias phones policy inside"},
		{"alice", "0", "", nil, "encrypted-or-plain office caller called alias domain policy unknown_peers"},
		{"alice", "eve", "", nil, "nobody office caller called phones"},
		{"alice", "office.example@office.example", "", nil, "nobody office caller called phones"},
		{"eve", "carol@c.example", "", nil, "refused office caller called caller"},
		{"eve", "112", "", nil, "plain office caller called emergency"},
		{"eve", "urn:service:sos.fire", "", nil, "plain office caller called emergency"},
		{"alice@elsewhere.example", "carol@c.example", "10.0.0.1", nil, "refused office caller called caller"},
		{"dora@c.example", "carol@c.example", "172.16.0.1", nil, "encrypted-or-plain softphones caller called caller policy unknown_peers"},
		{"dora@b.example", "b@b.example", "172.16.0.1", nil, "encrypted softphones caller called caller policy listed_peers"},
		{"dora@c.example", "112@c.example", "172.16.0.1", nil, "plain softphones caller called emergency"},
		{"dora@c.example", "fax@b.example", "172.16.0.1", nil, "refused softphones caller called caller"},
		{"dora@c.example", "bob@office.example", "172.16.0.1", nil, "refused softphones caller called caller"},
		{"alice", "bob", "172.16.0.1", nil, "refused softphones caller called caller"},
		{"alice", "tel:+4930", "", nil, "refused office caller called"},
		{"x@c.example", "bob", "203.0.113.1", nil, "encrypted-or-plain internet caller called phones policy unknown_peers"},
		{"x@c.example", "bob", "", nil, "encrypted-or-plain internet caller called phones policy unknown_peers"},
		{"x@c.example", "eve", "203.0.113.1", nil, "nobody internet caller called phones"},
		{"x@c.example", "carol@d.example", "203.0.113.1", nil, "nobody internet caller called route"},
		{"x@c.example", "112", "203.0.113.1", nil, "nobody internet caller called phones"}, // help is for those inside
		{"x@c.example", "through", "203.0.113.1", nil, "refused internet caller called route policy outside"},
		{"x@b.example", "bob", "198.51.100.1", nil, "encrypted internet caller called phones policy listed_peers"},
		{"x@b.example", "bob", "203.0.113.1", nil, "encrypted internet caller called phones policy listed_peers"}, // a claim makes it stricter
		{"x@b.example", "bob", "", nil, "encrypted internet caller called phones policy listed_peers"},
		{"x@nuisance.example", "bob", "203.0.113.1", nil, "refused internet caller called phones policy nobody"},
		{"x", "bob", "203.0.113.1", nil, "encrypted-or-plain internet caller called phones policy unknown_peers"},
	} {
		q := question{from: tt.from, to: tt.to, lookup: tt.dns}
		if tt.source != "" {
			q.source = netip.MustParseAddr(tt.source)
		}
		e, err := explain(t.Context(), cfg, phones, q)
		if err != nil {
			t.Errorf("%s to %s: %v", tt.from, tt.to, err)
			continue
		}
		words := []string{e.Outcome, e.Listener}
		for _, s := range e.Steps {
			words = append(words, s.What)
		}
		if e.Policy != nil {
			words = append(words, e.Policy.Rule)
		}
		if got := strings.Join(words, " "); got != tt.want {
			t.Errorf("%s to %s from %q:\ngot  %s\nwant %s", tt.from, tt.to, tt.source, got, tt.want)
		}
		if e.Says == "" || e.Notes == nil || (e.Outcome == outcomeUnavailable || e.Outcome == outcomeRefused) && e.Policy != nil && e.Policy.Allow {
			t.Errorf("%s to %s: %+v", tt.from, tt.to, e)
		}
	}
}

// Who is let in nowhere is told so, and what was guessed is noted.
func TestExplainNotes(t *testing.T) {
	t.Parallel()
	cfg, phones := explainedConfig(t)
	inside := *cfg
	inside.Listeners = cfg.Listeners[:1]
	only := *cfg
	only.Listeners = []configs.Listener{cfg.Listeners[0], cfg.Listeners[2]}
	groups := *cfg
	groups.Crypto.Groups = []string{"x25519mlkem768"}
	srtp, never := *cfg, *cfg
	srtp.Listeners, never.Listeners = slices.Clone(cfg.Listeners), slices.Clone(cfg.Listeners)
	srtp.Listeners[0].SDES, never.Listeners[0].SDES = configs.SDESAlways, configs.SDESOff
	open := *cfg
	open.Registrar = configs.Registrar{On: true, Open: true}
	for _, tt := range []struct {
		cfg              *configs.Config
		from, to, source string
		want             string // part of the notes and the sentence
	}{
		{&inside, "x@c.example", "bob", "203.0.113.1", "The call is refused: no listener takes it."},
		{&only, "x@c.example", "bob", "203.0.113.1", "The call is refused: no listener takes it."},
		{&only, "x@b.example", "bob", "", "calls are known for those of peer \"b\" by their network, not by what the caller says: --source IP says where from"},
		{&srtp, "x@c.example", "bob", "203.0.113.1", "phones of listener \"office\" are offered SRTP with keys in SDP, and nothing else"},
		{&never, "alice", "fax", "", "phones of listener \"office\" are offered plain RTP, and no SRTP if they refuse it"},
		{cfg, "alice", "carol@c.example", "", "rule \"bank\" asks for the caller's network, and it was not said: --source IP"},
		{cfg, "alice", "carol@c.example", "", "rule \"foe\" asks for the network of who is called, and that was not looked up: --dns"},
		{cfg, "alice", "carol@c.example", "", "c.example was not looked up; --dns does"},
		{cfg, "alice", "bob", "", "whether a phone has registered as bob, only the running sipward knows"},
		{cfg, "alice", "bob", "", "the phone is asked for the password of alice first"},
		{cfg, "alice@elsewhere.example", "bob", "10.0.0.1", "Phones with accounts at elsewhere.example need a listener with accounts: elsewhere"},
		{cfg, "dora@c.example", "carol@c.example", "172.16.0.1", "only while the phone has registered as sip:dora@c.example by way of this sipward"},
		{&groups, "alice", "carol@c.example", "", "over UDP there is no key exchange"},
		{&open, "anybody", "me@127.0.0.1", "127.0.0.1", "whether a phone has registered as me"},
	} {
		q := question{from: tt.from, to: tt.to}
		if tt.source != "" {
			q.source = netip.MustParseAddr(tt.source)
		}
		p := phones
		if tt.cfg == &open {
			p = nil
		}
		e, err := explain(t.Context(), tt.cfg, p, q)
		if err != nil {
			t.Fatal(err)
		}
		if all := e.Says + "\n" + strings.Join(e.Notes, "\n"); !strings.Contains(all, tt.want) {
			t.Errorf("%s to %s: %q is not in\n%s", tt.from, tt.to, tt.want, all)
		}
	}
}
