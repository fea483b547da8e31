package calls

import (
	"math/rand/v2"
	"strings"
	"time"

	"github.com/sipward/sipward/b2bua"
)

// story is what the people of one call do. It is drawn from the seed and the
// call's number and from nothing else.
type story struct {
	random   *rand.Rand
	delayed  bool // the INVITE has no offer
	early    bool // the callee describes its media while it rings
	reliable bool // both phones know reliable provisional responses
	refusal  int  // the callee's answer, where it is none
	never    bool // the callee never answers
	ring     time.Duration
	cancel   time.Duration // after which the caller gives up; 0: never
	turns    []turn
	passes   bool  // one of the two is at the workstation,
	inward   bool  // the callee
	moves    bool  // somebody transfers the call in the end,
	mover    int   // this one,
	leaves   bool  // who hangs up as soon as it is done, and is sent away otherwise,
	wanted   bool  // to somebody who takes the call,
	attends  bool  // and whom he has asked before,
	parks    bool  // with the call on hold
	bye      []int // who hangs up, 0 the caller: both at once where there are two
}

// turn is something that people do within a call.
type turn struct {
	wait time.Duration
	does string // hold, resume, re-INVITE, UPDATE, glare
	who  int
	way  stance
	by   string // the method
}

// seconds is a while of up to n seconds.
func (st *story) seconds(n float64) time.Duration {
	return time.Duration(st.random.Float64() * n * float64(time.Second))
}

func newStory(seed uint64, n int) *story {
	st := &story{random: rand.New(rand.NewPCG(seed, uint64(n)))}
	r := st.random
	chance := func(p float64) bool { return r.Float64() < p }
	st.delayed, st.early = chance(0.1), chance(0.3)
	st.reliable = chance(0.5)
	if st.ring = 0; chance(0.7) {
		st.ring = st.seconds(4)
	}
	switch x := r.Float64(); {
	case x < 0.05:
		st.refusal = 486
	case x < 0.08:
		st.refusal = 603
	case x < 0.13:
		st.never = true
	}
	if chance(0.15) {
		st.cancel = st.seconds(3)
	} else if st.never {
		st.cancel = 2*time.Second + st.seconds(8)
	}
	for range r.IntN(6) {
		x := turn{wait: st.seconds(4), who: r.IntN(2), by: []string{"INVITE", "INVITE", "INVITE", "UPDATE"}[r.IntN(4)], way: both}
		switch k := r.Float64(); {
		case k < 0.4:
			x.does, x.way = "hold", []stance{sendonly, sendonly, inactive, nowhere}[r.IntN(4)]
		case k < 0.7:
			x.does = "resume"
		case k < 0.85:
			x.does = "re-INVITE"
		default:
			x.does = "glare"
		}
		st.turns = append(st.turns, x)
	}
	st.moves, st.mover, st.leaves, st.wanted = chance(0.2), r.IntN(2), chance(0.5), chance(0.7)
	st.bye = [][]int{{0}, {0}, {1}, {1}, {0, 1}}[r.IntN(5)]
	st.attends, st.parks = chance(0.5), chance(0.7)
	st.passes, st.inward = chance(0.15), chance(0.5)
	return st
}

// callee does what the callee does when it is invited, on its queue.
func (st *story) callee(p *seat, offered string) {
	if st.early && offered != "" {
		p.ring(offered)
	} else {
		p.dialog.Provision(180, "", "", nil)
	}
	if st.never {
		return
	}
	refusal := st.refusal
	if p.led && !st.wanted {
		refusal = 486
	}
	time.AfterFunc(st.ring, func() {
		if refusal == 0 {
			p.pickUp(offered)
			return
		}
		p.queue.Post(func() {
			if p.state == alerting {
				p.dialog.Refuse(refusal, "")
				p.end("refused it")
			}
		})
	})
}

// call plays one call from the beginning to the end.
func (s *soak) call(n int) {
	st := newStory(s.seed, n)
	wake := make(chan struct{}, 1)
	from, to := s.alice, s.bob
	switch {
	case st.passes && st.inward:
		from, to = s.bob, s.seat
	case st.passes:
		from = s.seat
	}
	caller, callee := from.sit(n, st, wake), to.sit(n, st, wake)
	seats := [2]*seat{caller, callee}
	defer caller.leave()
	defer callee.leave()

	caller.call(to.domain)
	if st.cancel > 0 {
		time.AfterFunc(st.cancel, caller.giveUp)
	}
	begun := s.wait(n, wake, "the call is answered or ends", func() bool {
		a, b := caller.thinks(), callee.thinks()
		return a.state == talking && b.state == talking && !b.busy || a.state == over && (b.state == over || b.state == idle)
	}, seats)
	if !begun {
		return
	}
	switch a := caller.thinks(); {
	case a.state == talking:
		s.happened("answered")
	case strings.HasPrefix(a.why, "refused 486"), strings.HasPrefix(a.why, "refused 603"):
		s.happened("refused")
	case strings.Contains(a.why, "cancelled"):
		s.happened("cancelled")
	default:
		s.happened("given up")
		s.happened("given up: " + a.why)
	}
	for _, x := range st.turns {
		if caller.thinks().state != talking || callee.thinks().state != talking {
			break
		}
		time.Sleep(x.wait)
		s.play(n, st, x, seats)
	}
	if caller.thinks().state == talking {
		s.agree(n, st, wake, seats)
	}
	if st.moves && caller.thinks().state == talking {
		if st.attends {
			s.attended(n, st, wake, &seats)
		} else {
			s.transfer(n, st, wake, &seats)
		}
	}
	s.hangUp(n, st, wake, seats)
}

// hangUp ends a call, from one end or both, and waits until all know.
func (s *soak) hangUp(n int, st *story, wake chan struct{}, seats [2]*seat) {
	if seats[0].thinks().state == talking {
		for _, who := range st.bye {
			seats[who].hangUp()
		}
		s.happened("ended by " + map[int]string{1: []string{"the caller", "the callee"}[st.bye[0]], 2: "both"}[len(st.bye)])
	}
	if s.wait(n, wake, "both phones know that the call has ended", func() bool {
		b := seats[1].thinks().state
		return seats[0].thinks().state == over && (b == over || b == idle)
	}, seats) {
		s.wait(n, wake, "all sipwards know that the call has ended", func() bool { return len(s.views(n)) == 0 }, seats)
	}
}

// play lets somebody do something.
func (s *soak) play(n int, st *story, x turn, seats [2]*seat) {
	p := seats[x.who]
	if x.does == "resume" && !p.thinks().holds && seats[1-x.who].thinks().holds {
		p = seats[1-x.who] // who holds is who can resume
	}
	s.happened(x.does)
	if x.by == "UPDATE" {
		s.happened("UPDATE")
	}
	if x.does == "re-INVITE" || x.does == "glare" {
		x.way = p.wishes() // only its session's version is another
	}
	if x.does == "glare" {
		other := seats[0]
		if other == p {
			other = seats[1]
		}
		s.ask(n, st, other, "INVITE", other.wishes(), 0)
	}
	s.ask(n, st, p, x.by, x.way, 0)
}

// wishes is what the phone wishes now.
func (p *seat) wishes() stance {
	asked := make(chan stance, 1)
	p.queue.Post(func() { asked <- p.holds })
	return <-asked
}

// ask asks for a change, again where something else was in the way, and returns
// at once. Who waits how long is as in RFC 3261 section 14.1.
func (s *soak) ask(n int, st *story, p *seat, method string, w stance, tries int) {
	p.change(method, w, func(status int) {
		switch {
		case status == 0:
		case status == 491 || status == 500:
			s.happened("491")
			if tries < 3 {
				time.AfterFunc(time.Second+time.Duration(tries+1)*777*time.Millisecond, func() { s.ask(n, st, p, method, w, tries+1) })
			}
		case status == 481 || status == 487 || status == 408:
			s.happened("a change met the end")
		case status >= 300:
			s.fail(n, "a change of the session was answered %d", status)
		}
	})
}

// agree waits until nothing is under way, and holds what the phones and the
// sipwards think against each other.
func (s *soak) agree(n int, st *story, wake chan struct{}, seats [2]*seat) {
	a, b := seats[0], seats[1]
	calm := func() bool {
		x, y := a.thinks(), b.thinks()
		return x.state != talking && y.state != talking || x.state == talking && y.state == talking && !x.busy && !y.busy
	}
	for range 10 { // another try may still come, with pauses between them
		if !s.wait(n, wake, "nothing is under way", calm, seats) {
			return
		}
		time.Sleep(8 * time.Second)
		if calm() {
			break
		}
	}
	x, y := a.thinks(), b.thinks()
	if x.state != talking {
		s.happened("given up")
		s.happened("given up: " + x.why + " / " + y.why)
		return
	}
	if !y.blind && x.holds != y.held || !x.blind && y.holds != x.held {
		s.fail(n, "the phones think %+v and %+v", x, y)
	}
	views := s.views(n)
	var ends, middles []b2bua.View
	for _, v := range views {
		if v.State != "established" || v.Legs[0].DroppedAuth+v.Legs[1].DroppedAuth != 0 {
			s.fail(n, "phones think %+v and %+v, a sipward %+v", x, y, v)
		}
		if v.Protection == "passed-through" {
			middles = append(middles, v)
		} else {
			ends = append(ends, v)
		}
	}
	if len(ends) != 2 || len(middles) != map[bool]int{true: 1}[st.passes] {
		s.fail(n, "%d sipwards know the call: %+v", len(views), views)
		return
	}
	u, v := ends[0], ends[1]
	open := !x.holds && !y.holds
	if u.SASWords != v.SASWords || u.Protection != v.Protection || open && (u.Protection != "srtp" || u.SASWords == "") {
		s.fail(n, "one sipward thinks %+v, the other %+v", u, v)
	}
	if st.passes {
		s.happened("passed through")
	}
	if !open {
		s.happened("held to the end")
		return
	}
	s.speak(n, seats)
	s.happened("talked to the end")
}

// speak has the two say something at once, and counts what they hear.
func (s *soak) speak(n int, seats [2]*seat) {
	a, b := seats[0], seats[1]
	before := [2]int{a.hears(), b.hears()}
	for range 3 {
		a.say()
		b.say()
		time.Sleep(20 * time.Millisecond)
	}
	time.Sleep(200 * time.Millisecond)
	if x, y := a.hears()-before[0], b.hears()-before[1]; x != 3 || y != 3 {
		s.fail(n, "of 3 packets %s heard %d and %s %d: %+v", a.d.domain, x, b.d.domain, y, s.views(n))
	}
}

// views is what the sipwards think of a call.
func (s *soak) views(n int) (out []b2bua.View) {
	for _, h := range s.houses() {
		for _, v := range h.proxy.Calls() {
			if strings.HasPrefix(v.To, "sip:"+userOfCall(n)+"@") {
				out = append(out, v)
			}
		}
	}
	return out
}

// wait waits until something holds, for longer than any timer of SIP.
func (s *soak) wait(n int, wake chan struct{}, what string, holds func() bool, seats [2]*seat) bool {
	late := time.Now().Add(4 * time.Minute)
	for !holds() {
		if time.Now().After(late) {
			s.fail(n, "4 minutes passed until %s: the phones think %+v and %+v, the sipwards %+v", what, seats[0].thinks(), seats[1].thinks(), s.views(n))
			return false
		}
		select {
		case <-wake:
		case <-time.After(time.Second):
		}
	}
	return true
}
