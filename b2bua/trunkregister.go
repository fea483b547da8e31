package b2bua

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/auth"
)

const (
	defaultRegistration = 10 * time.Minute
	unregisterWithin    = 2 * time.Second // of Shutdown
	maxAsked            = 4               // refusals with a question in one try: the first, a stale nonce, a second realm, a longer time
)

// trunk is a Trunk at work. What stands below queue belongs to it.
type trunk struct {
	Trunk
	p       *Proxy
	calls   *auth.Session // for what the provider asks at calls
	token   string        // user of the contact; "" where nothing is registered
	sources atomic.Pointer[[]netip.Addr]
	at      atomic.Pointer[route.Hop] // the server that holds the registration; nil: none
	status  atomic.Pointer[TrunkStatus]
	warned  atomic.Int64 // when foreign has last spoken, in seconds

	queue     sip.Queue
	session   *auth.Session // for what the registrar asks
	callID    string
	seq       uint32
	round     int // numbers what is waited for; what an older round waited for is not wanted any more
	timer     *time.Timer
	cancel    context.CancelFunc // ends a DNS look-up
	hops      []route.Hop        // still untried in this round
	hop       route.Hop          // tried now
	listener  *listener          // from which hop is tried
	flow      sip.Flow           // to hop
	expires   time.Duration      // asked for
	sent      string             // the answer to a challenge that the REGISTER under way carries
	field     string             // that the last answer stood in
	asked     int                // refusals with a question at this hop
	wait      time.Duration      // Retry-After of a hop of this round
	why       string             // the last hop failed
	failures  int                // rounds in a row
	until     time.Time          // end of the registration
	since     time.Time          // the flow has stood
	drops     int                // flows in a row that ended soon
	stopAlive func()
	leaving   bool
	gone      chan struct{} // closed when nothing is registered or waited for any more
}

func (p *Proxy) newTrunk(o Trunk) *trunk {
	t := &trunk{Trunk: o, p: p, calls: auth.NewSession(o.Credentials), session: auth.NewSession(o.Credentials), expires: o.Expires, gone: make(chan struct{})}
	t.queue.Log = p.log
	if t.expires == 0 {
		t.expires = defaultRegistration
	}
	t.expires = min(max(t.expires, time.Minute), longestGrant)
	if o.Server.Host == "" {
		t.show(trunkFixed, "", time.Time{})
		close(t.gone)
		return t
	}
	t.token, t.callID = "t"+randomName(), randomName()+randomName()
	t.show(trunkRegistering, "", time.Time{})
	return t
}

func randomName() string {
	var b [10]byte
	rand.Read(b[:])
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}

// start begins to register.
func (t *trunk) start() {
	if t.token != "" {
		t.queue.Post(t.begin)
	}
}

// after runs f on the queue, unless another round has begun then.
func (t *trunk) after(d time.Duration, f func()) {
	round := t.round
	t.timer = time.AfterFunc(d, func() {
		t.queue.Post(func() {
			if t.round == round {
				f()
			}
		})
	})
}

// begin starts a round: all servers of the provider are tried in their order, the
// one that holds the registration first.
func (t *trunk) begin() {
	if t.leaving {
		return
	}
	t.stop()
	t.wait, t.why = 0, ""
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.cancel = cancel
	round := t.round
	go func() {
		hops, err := route.Resolve(ctx, t.p.o.Lookup, t.Server)
		cancel()
		t.queue.Post(func() {
			if t.round == round {
				t.resolved(hops, err)
			}
		})
	}()
}

// stop ends what the last round waits for.
func (t *trunk) stop() {
	t.round++
	if t.timer != nil {
		t.timer.Stop()
	}
	if t.cancel != nil {
		t.cancel()
	}
}

func (t *trunk) resolved(hops []route.Hop, err error) {
	if err != nil {
		t.later("the registrar was not found: " + err.Error())
		return
	}
	var sources []netip.Addr
	for _, h := range hops {
		sources = append(sources, h.Addr.Addr().Unmap())
	}
	if at := t.at.Load(); at != nil {
		sources = append(sources, at.Addr.Addr().Unmap())
		hops = first(*at, hops)
	}
	t.sources.Store(&sources)
	t.hops = hops
	t.next()
}

// next tries the next server.
func (t *trunk) next() {
	for len(t.hops) > 0 {
		t.hop, t.hops = t.hops[0], t.hops[1:]
		t.listener = t.p.pick(policy.Outside, t.hop.Network, t.hop.Addr.Addr())
		if t.listener == nil {
			t.why = "no outside listener sends over " + t.hop.Network + " to " + t.hop.Addr.String()
			continue
		}
		t.flow, t.asked = t.listener.flowTo(t.hop, t.Server.Host), 0
		if t.send(t.known()) {
			return
		}
	}
	t.later(t.why)
}

// uri is the registrar's, which the answers to its challenges speak for.
func (t *trunk) uri() sip.URI { return sip.URI{Scheme: "sip", Host: t.Account.Host} }

func (t *trunk) request() auth.Request {
	return auth.Request{Method: "REGISTER", URI: t.uri().String()}
}

// known is the answer to the challenge of last time, where it can be used again.
func (t *trunk) known() (field sip.Field) {
	if value, ok := t.session.Next(t.request()); ok {
		return sip.Field{Name: t.field, Value: value}
	}
	return sip.Field{}
}

// send sends a REGISTER with an answer to a challenge, or without where that is
// empty.
func (t *trunk) send(proof sip.Field) bool {
	t.seq++
	t.sent = proof.Value
	expires := t.expires
	if t.leaving {
		expires = 0
	}
	account := "<" + t.Account.String() + ">"
	m := &sip.Message{Method: "REGISTER", URI: t.uri()}
	m.Add("Max-Forwards", "70")
	m.Add("From", account+";tag="+t.callID[:10])
	m.Add("To", account)
	m.Add("Call-ID", t.callID)
	m.Add("CSeq", strconv.FormatUint(uint64(t.seq), 10)+" REGISTER")
	m.Add("Contact", "<"+t.listener.sip.ContactURI(t.token).String()+">;expires="+seconds(expires))
	m.Add("Expires", seconds(expires))
	m.Add("Allow", allowed)
	m.Add("Supported", "path")
	if proof.Value != "" {
		m.Fields = append(m.Fields, proof)
	}
	if ua := t.p.o.UserAgent; ua != "" {
		m.Add("User-Agent", ua)
	}
	round, seq := t.round, t.seq
	err := t.p.stack.Request(sip.RequestOptions{Flow: t.flow, Message: m, Queue: &t.queue, Handle: func(res *sip.Message, err error) {
		if t.round == round && t.seq == seq {
			t.answered(res, err)
		}
	}})
	if err != nil {
		t.why = err.Error()
	}
	return err == nil
}

func (t *trunk) answered(res *sip.Message, err error) {
	switch {
	case err == nil && res.Status < 200:
	case err == nil && isChallenge(res):
		t.challenged(res)
	case t.leaving:
		t.end()
	case err != nil:
		t.why = fmt.Sprintf("%s does not answer: %s", t.hop.Addr, strings.TrimPrefix(err.Error(), "sip: "))
		t.next()
	case res.Status < 300:
		t.granted(res)
	case res.Status == 423:
		t.tooBrief(res)
	case res.Status == 408, res.Status == 480, res.Status >= 500 && res.Status < 600:
		t.why = fmt.Sprintf("%s answers %d %s", t.hop.Addr, res.Status, res.Reason)
		t.wait = max(t.wait, retryAfter(res))
		t.next()
	default:
		t.refused(fmt.Sprintf("%s answers %d %s", t.hop.Addr, res.Status, res.Reason),
			"check user, auth_user and password of this trunk, and that the account may register")
	}
}

// challenged answers a question for the password.
func (t *trunk) challenged(res *sip.Message) {
	t.asked++
	challenges, field := challengesOf(res)
	err := auth.ErrRefused
	value := ""
	if t.asked <= maxAsked {
		value, err = t.session.Answer(challenges, t.sent, t.request())
	}
	switch {
	case err == nil:
		t.field = field
		if !t.send(sip.Field{Name: field, Value: value}) {
			t.giveUp()
		}
	case t.leaving:
		t.end()
	case errors.Is(err, auth.ErrRefused):
		t.refused(t.hop.Addr.String()+" does not take the password", "correct auth_user or password of this trunk")
	default:
		t.refused(fmt.Sprintf("the question of %s for the password cannot be answered: %v", t.hop.Addr, err), "check user and realm of this trunk")
	}
}

// giveUp is what follows where nothing could be sent.
func (t *trunk) giveUp() {
	if t.leaving {
		t.end()
		return
	}
	t.next()
}

// tooBrief: the registrar wants to be asked less often.
func (t *trunk) tooBrief(res *sip.Message) {
	least := interval(res.Get("Min-Expires"))
	if t.asked++; least <= t.expires || least > longestGrant || t.asked > maxAsked {
		t.refused(fmt.Sprintf("%s answers 423 and names no longer time", t.hop.Addr), "set expires of this trunk to what the provider asks for")
		return
	}
	t.expires = least
	if !t.send(t.known()) {
		t.next()
	}
}

// granted: the registration stands.
func (t *trunk) granted(res *sip.Message) {
	d := interval(res.Get("Expires"))
	if d < 0 {
		d = t.expires
	}
	for _, v := range res.Values("Contact") {
		c, err := sip.ParseAddress(v)
		if err != nil || c.URI.User != t.token {
			continue
		}
		if e, ok := c.Param("expires"); ok {
			if own := interval(e); own >= 0 {
				d = own
			}
		}
	}
	if d <= 0 {
		t.why = t.hop.Addr.String() + " answers 200 and keeps no registration"
		t.next()
		return
	}
	d = min(d, longestGrant)
	now := time.Now()
	if at := t.at.Load(); at == nil || *at != t.hop || !now.Before(t.until) {
		t.p.log.Info("registered with the provider", "peer", t.Peer, "server", t.hop.Addr, "network", t.hop.Network, "for", d.String())
		t.since = now
	}
	hop := t.hop
	t.at.Store(&hop)
	t.until, t.failures = now.Add(d), 0
	t.show(trunkRegistered, "", time.Time{})
	t.keepAlive()
	t.stop()
	t.after(renewal(d), t.begin)
}

// keepAlive holds the way of the registration open, and hears when it ends.
func (t *trunk) keepAlive() {
	if t.stopAlive != nil {
		t.stopAlive()
	}
	every := keepAliveUDP
	if t.flow.Network() != "udp" {
		every = keepAliveTCP
	}
	var mine atomic.Bool
	mine.Store(true)
	stop := t.p.stack.KeepAlive(t.flow, every, func(err error) {
		t.queue.Post(func() {
			if mine.Load() {
				t.lost(err)
			}
		})
	})
	t.stopAlive = func() { mine.Store(false); stop() }
}

// leave takes the registration back, and is done when the provider has answered
// or there is none.
func (t *trunk) leave() {
	if t.leaving || t.token == "" {
		return
	}
	t.leaving = true
	t.stop()
	if t.stopAlive != nil {
		t.stopAlive()
	}
	at := t.at.Load()
	if at == nil || !time.Now().Before(t.until) {
		t.end()
		return
	}
	t.hop, t.listener = *at, t.p.pick(policy.Outside, at.Network, at.Addr.Addr())
	t.flow, t.asked, t.hops = t.listener.flowTo(t.hop, t.Server.Host), 0, nil
	if !t.send(t.known()) {
		t.end()
	}
}

func (t *trunk) end() {
	t.stop()
	t.until = time.Time{}
	close(t.gone)
}

// leaveTrunks takes the registrations back, within two seconds or what ctx leaves.
func (p *Proxy) leaveTrunks(ctx context.Context) (wait func()) {
	for _, t := range p.trunks {
		t.queue.Post(t.leave)
	}
	ctx, cancel := context.WithTimeout(ctx, unregisterWithin)
	return func() {
		defer cancel()
		for _, t := range p.trunks {
			select {
			case <-t.gone:
			case <-ctx.Done():
			}
		}
	}
}
