package b2bua

import (
	"slices"

	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/auth"
)

// Trunk is an account at a provider that many phones use: calls to the listed
// peer of its name leave as this account.
type Trunk struct {
	Peer        string           // the listed peer that the provider is
	From        sip.URI          // who calls, as the provider knows its customer
	Credentials auth.Credentials // answer its challenges
}

func (p *Proxy) trunk(peer string) *Trunk {
	for i := range p.o.Trunks {
		if peer != "" && p.o.Trunks[i].Peer == peer {
			return &p.o.Trunks[i]
		}
	}
	return nil
}

// answerChallenge sends the INVITE again where the peer asked for the trunk's
// password: once, with a new share, as every INVITE has (protocol section 7).
func (c *Call) answerChallenge(l *Leg, res *sip.Message) bool {
	t := c.p.trunk(l.peer)
	if t == nil || l.proved {
		return false
	}
	field, answer := "WWW-Authenticate", "Authorization"
	if res.Status == 407 {
		field, answer = "Proxy-Authenticate", "Proxy-Authorization"
	}
	var challenges []string
	for _, f := range res.Fields {
		if f.Name == field {
			challenges = append(challenges, f.Value)
		}
	}
	value, err := auth.Answer(t.Credentials, challenges, "", auth.Request{Method: "INVITE", URI: l.uri.String()})
	if err != nil {
		c.p.log.Warn("the provider's challenge cannot be answered", "peer", l.peer, "error", err)
		return false
	}
	again := c.newLeg()
	again.l, again.routes, again.proved = l.l, l.routes, true
	c.b = again
	if err := c.dial(again, l.flow, l.uri, sip.Field{Name: answer, Value: value}); err != nil {
		c.p.log.Error("cannot answer the provider's challenge", "call", c.id, "error", err)
		return false
	}
	return true
}

// isChallenge says whether a response asks for a password.
func isChallenge(res *sip.Message) bool {
	return res != nil && slices.Contains([]int{401, 407}, res.Status)
}
