package b2bua

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/sipward/sipward/b2bua/door"
	"github.com/sipward/sipward/keyexchange"
	"github.com/sipward/sipward/media"
	"github.com/sipward/sipward/policy"
	"github.com/sipward/sipward/route"
	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/sdp"
)

// State is where a call stands.
type State string

// A call goes down this list; callMoves has the whole of it.
const (
	Routing     State = "routing"     // looking up where it goes
	Calling     State = "calling"     // INVITE sent on the B leg
	Ringing     State = "ringing"     // a provisional response came
	Answered    State = "answered"    // 2xx on the B leg, the A leg's ACK is missing
	Established State = "established" // both dialogs stand; an exchange may still wait for its confirmation
	Ended       State = "ended"
)

// noAnswer bounds how long a callee may ring (RFC 3261 timer C).
const noAnswer = 3 * time.Minute

// Call is one call: the A leg, on which the INVITE came, and the B leg, on
// which it goes on. All fields but seen and last belong to its queue.
type Call struct {
	p       *Proxy
	id      string
	queue   *sip.Queue
	started time.Time
	stood   time.Time // when it was established, zero if never
	invite  *sip.Incoming

	a, b     *Leg          // b: the candidate that was tried last, then the one that answered
	branches []*Leg        // candidates whose INVITE has not failed
	best     *sip.Message  // the refusal that tells most, of those that came
	phones   []destination // registered phones of the callee; nil: the target's hops are looked up
	target   route.Target
	hops     []route.Hop // still untried
	routes   []string    // Route set of the INVITE to them
	forwards int         // Max-Forwards of the B leg's INVITE
	decision policy.Decision
	urgent   bool               // an emergency call: nothing refuses it
	place    door.Place         // among all calls
	user     string             // whose password the INVITE brought, or ""
	meant    string             // who is called, behind an alias; "" where that is no address
	assured  [2]assurance       // of the legs outside, by their ends
	cancel   context.CancelFunc // ends a DNS look-up
	working  context.Context    // of slow looks at signatures, nil before the first
	stopWork context.CancelFunc // ends those

	replacing bool // a phone is taking a leg's place over

	state      State
	protection string
	trust      string
	reason     string

	offer    *sdp.Session    // the offer under way, as it came
	offerer  *Leg            // who made it
	relays   []*relay        // one for each m-line of the session
	held     bool            // no m-line can carry media now
	clearly  []string        // m-lines that are relayed and not protected here
	early    *early          // what a provisional response has begun
	shown    time.Time       // when dh-resp may first have left before the answer, zero: it has not
	pending  *sip.Message    // 2xx of the B leg to an INVITE without SDP: its ACK waits for the answer
	fin      string          // dh-fin that this ACK will carry
	names    [16]byte        // key under which the phones' names in RTCP are changed towards the outside
	passage  passage         // of an exchange between others
	change   *modification   // a re-INVITE or UPDATE under way
	waiting  waitingChange   // until nothing else is
	watch    *time.Timer     // for silence
	ringing  *time.Timer     // noAnswer
	patience *time.Timer     // for an ACK with dh-fin
	led      *led            // somebody has led the call on; nil: nobody has
	detours  *detours        // where redirections lead
	leading  *transfer       // a transfer of one of its parties is under way
	sits     [2]*sip.Address // who came to the A and the B leg by a transfer; nil: who it was from the start
	asked    int             // transfers that were asked for
	leaving  *sip.ServerTx   // a BYE that waits for the far end's answer
	leaver   *Leg            // on which it came
	parting  *time.Timer     // for its answer, or for one with the password that the far end has asked for

	noted State // for note

	seen atomic.Pointer[seen]
	last atomic.Pointer[View] // once the call has ended
}

// Leg is one side of a call: its dialog, the address of its media and, on the
// leg that is protected, the exchange.
type Leg struct {
	call   *Call
	l      *listener
	side   policy.Side
	peer   string // the listed peer's name, or ""
	end    media.End
	dialog *sip.Dialog
	*way          // of its INVITE; nil where none was sent, and once the call stands
	remote string // signalling address, for views

	proved       bool       // the INVITE answers a challenge
	dialled      bool       // this side has called it
	open         bool       // and its route lets led calls leave at an account's cost
	moved        bool       // its party was led to another one: descriptions go on where the last one stopped
	standsFor    *Leg       // a stand-in: holds the place of this one, whom a transfer may bring; no media crosses. side is whose rights count
	finned       bool       // responder: a PRACK has brought dh-fin
	heard        *lastHeard // the newest description that went to it
	exchange     *keyexchange.Exchange
	resp         string             // responder: the value of dh-resp
	sigs         []string           // own values of dh-sig, beside dh-resp or dh-fin
	signed       *signing           // responder: of these; nil: nothing is signed
	vetting      bool               // the other end's signatures are being looked at
	waiting      []func()           // what came behind them
	protect      bool               // media crosses this leg under keys
	sdes         bool               // its phone speaks, or is offered, SRTP under keys in the description
	sdesKeys     map[int]*sdes      // of that, by m-line
	keysOffered  map[int]*keysOffer // for that, by m-line, until it is answered
	firstRefusal *sip.Message       // of an INVITE with the other kind of media before this one
	require      bool               // the INVITE carried Require: dh-srtp, so its ACK does too
	ticker       *time.Timer        // of the exchange's confirmation
	opened       string             // initiator: To tag of the dialog whose reliable 1xx dh-resp was taken from
	tagHeard     string             // To tag of the first response of its INVITE
	letClose     func()             // ends the keep-alives towards the far end

	digits    digits
	described *sdp.Session // what the far end described last, in an offer or an answer
	renewed   uint64       // changes of what it was sent that the other leg did not make
	move      legMove
	rekey     rekeying
	session   sessionTimer
	noted     KeyState // for note
}

// way is where an INVITE goes.
type way struct {
	flow   sip.Flow
	uri    sip.URI  // its Request-URI
	routes []string // its Route set
}

func newCall(p *Proxy, in *sip.Incoming, l *listener, peer string, target route.Target, forwards int) *Call {
	var id [8]byte
	rand.Read(id[:])
	c := &Call{p: p, id: hex.EncodeToString(id[:]), started: time.Now(), invite: in, target: target, forwards: forwards,
		queue: &sip.Queue{Log: p.log}, state: Routing, protection: "none", trust: "none"}
	rand.Read(c.names[:])
	c.a = &Leg{call: c, l: l, side: l.Side, peer: peer, end: media.A, remote: in.Flow.Remote().String()}
	c.b = c.newLeg()
	c.publishView()
	return c
}

// newLeg makes a candidate for the B leg.
func (c *Call) newLeg() *Leg {
	return &Leg{call: c, way: &way{}, side: policy.Side(c.target.Side), peer: c.target.Peer, end: media.B, dialled: true, open: c.target.Transfer}
}

// real is the leg itself or the one that it stands for: who hears what is said to it.
func (l *Leg) real() *Leg {
	if l.standsFor != nil {
		return l.standsFor
	}
	return l
}

func (c *Call) other(l *Leg) *Leg {
	if l == c.a {
		return c.b
	}
	return c.a
}

// start looks up the hops; the look-up may take long, so it is not done on
// the queue.
func (c *Call) start() {
	if c.state == Ended {
		return
	}
	c.reason = c.decision.Reason
	c.emit("call-started")
	c.a.prove()
	if c.a.side == policy.Inside && c.b.side == policy.Inside && c.decision.Mode == policy.Require {
		// Phones inside speak in clear: no leg of such a call could be protected.
		sentence := "This call must be encrypted, and calls between phones inside never are"
		c.refuse(488, sentence, sentence)
		return
	}
	c.knowPeers(func() {
		if refused := c.readOffer(); refused {
			return
		}
		c.begunBefore()
		c.seek()
	})
}

// seek sends the INVITE to the phones that are registered, or to the hops of the
// target.
func (c *Call) seek() {
	if len(c.phones) > 0 {
		c.ringAll(c.phones)
		return
	}
	if c.target.Side == string(policy.Outside) || !literal(c.target.Host) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		c.cancel = cancel
		go func() {
			hops, err := route.Resolve(ctx, c.p.o.Lookup, c.target)
			cancel()
			c.queue.Post(func() {
				c.cancel = nil
				c.resolved(hops, err)
			})
		}()
		return
	}
	hops, err := route.Resolve(context.Background(), c.p.o.Lookup, c.target)
	c.resolved(hops, err)
}

func literal(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

func addrOf(u sip.URI) netip.Addr { a, _ := u.Addr(); return a }

func (c *Call) resolved(hops []route.Hop, err error) {
	if c.state == Ended {
		return
	}
	if (err != nil || len(hops) == 0) && c.detour() {
		return
	}
	if err != nil || len(hops) == 0 {
		c.p.log.Info("cannot route", "call", c.id, "to", c.target.Host, "error", err)
		c.refuse(502, "Bad Gateway", "the next hop "+c.target.Host+" was not found")
		return
	}
	c.hops = c.p.registeredFirst(c.target.Peer, hops)
	c.dialNext()
}
