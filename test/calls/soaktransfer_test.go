package calls

import (
	"net/url"
	"strings"
	"time"

	"github.com/sipward/sipward/sip"
)

// transfer has one of the two ask sipward to connect the other one with somebody
// else, who takes the call or not. Afterwards seats are those who speak.
func (s *soak) transfer(n int, st *story, wake chan struct{}, seats *[2]*seat) {
	s.happened("transfer")
	by := seats[st.mover]
	target := s.led(n, st, wake, by)
	defer target.leave()
	three := [2]*seat{by, target}
	told := s.refer(n, wake, by, target, nil)
	if told == "" {
		return
	}
	if !st.wanted {
		s.happened("not transferred")
		if !strings.Contains(told, " 486 ") || target.thinks().state != over {
			s.fail(n, "a transfer that was refused with 486 ended with %q, and the target thinks %+v", told, target.thinks())
		}
		s.agree(n, st, wake, *seats)
		return
	}
	if !s.wait(n, wake, "the transferor is out of the call", func() bool { return by.thinks().state == over }, three) {
		return
	}
	if !strings.Contains(told, " 200 ") {
		s.fail(n, "a transfer ended with %q", told)
	}
	s.happened("transferred")
	s.goesOn(n, st, wake, seats, target)
}

// attended has one of the two call somebody else first, and then ask sipward to
// connect both, where that one has taken his call.
func (s *soak) attended(n int, st *story, wake chan struct{}, seats *[2]*seat) {
	s.happened("attended transfer")
	by := seats[st.mover]
	if st.parks {
		s.ask(n, st, by, "INVITE", inactive, 0)
	}
	target := s.led(n, st, wake, by)
	defer target.leave()
	second := by.d.line(n, st, wake)
	defer second.leave()
	asked := [2]*seat{second, target}
	second.call(target.d.domain)
	if !s.wait(n, wake, "the second call is answered or ends", func() bool {
		a, b := second.thinks(), target.thinks()
		return a.state == talking && b.state == talking && !a.busy && !b.busy || a.state == over && (b.state == over || b.state == idle)
	}, asked) {
		return
	}
	told := ""
	if second.thinks().state == talking {
		s.speak(n, asked)
		told = s.refer(n, wake, by, target, second)
	} else if why := second.thinks().why; st.wanted || !strings.HasPrefix(why, "refused 486") {
		s.fail(n, "the second call has ended with %q", why)
	}
	if strings.Contains(told, " 200 ") {
		if s.wait(n, wake, "the transferor is out of both calls", func() bool { return by.thinks().state == over && second.thinks().state == over }, [2]*seat{by, second}) {
			s.happened("joined")
			s.goesOn(n, st, wake, seats, target)
		}
		return
	}
	if told != "" && !strings.Contains(told, " 491 ") {
		s.fail(n, "an attended transfer ended with %q", told)
	}
	s.happened("not joined")
	second.hangUp()
	if !s.wait(n, wake, "the second call has ended", func() bool { return second.thinks().state == over && target.thinks().state == over }, asked) {
		return
	}
	if st.parks {
		s.ask(n, st, by, "INVITE", both, 0)
	}
	s.agree(n, st, wake, *seats)
}

// led is the place of a colleague of the transferor's.
func (s *soak) led(n int, st *story, wake chan struct{}, by *seat) *seat {
	target := by.d.colleague.sit(n, st, wake)
	target.led = true
	return target
}

// goesOn: who stays and the target have the call, and end it while the target's
// place is still taken.
func (s *soak) goesOn(n int, st *story, wake chan struct{}, seats *[2]*seat, target *seat) {
	seats[st.mover] = target
	s.agree(n, st, wake, *seats)
	s.hangUp(n, st, wake, *seats)
}

// refer asks until nothing else is in the way, and returns what the transferor was
// told in the end, "" where he was told nothing, since his call had ended or
// something else was in the way all the time.
func (s *soak) refer(n int, wake chan struct{}, by, target, second *seat) (told string) {
	for range 5 {
		status := by.refers(target.d.domain, second)
		switch status {
		case 202:
			if !s.wait(n, wake, "the transferor knows how it went", func() bool { return by.hasHeard() != "" || by.thinks().state == over }, [2]*seat{by, target}) {
				return ""
			}
			if told = by.hasHeard(); second == nil || !strings.Contains(told, " 491 ") {
				if told == "" {
					s.fail(n, "the transferor was told nothing: %+v", by.thinks())
				}
				return told
			}
		case 491, 500: // 500: it came behind a later request (RFC 3261 section 12.2.2)
		case 0:
			return ""
		default:
			s.fail(n, "REFER was answered %d", status)
			return ""
		}
		s.happened("491")
		time.Sleep(3 * time.Second)
	}
	return told
}

// refers asks for a transfer and returns the final status, 408 where none came and
// 0 where the phone has no call. With another call of the phone's it is to be with
// the far end of that one.
func (p *seat) refers(to string, other *seat) int {
	replaces := make(chan string, 1)
	if other != nil {
		other.queue.Post(func() { replaces <- "?Replaces=" + url.QueryEscape(other.dialog.Replaces().String()) })
	} else {
		replaces <- ""
	}
	target := "<sip:" + userOfCall(p.n) + "@" + to + <-replaces + ">"
	final := make(chan int, 1)
	p.queue.Post(func() {
		if p.state != talking {
			final <- 0
			return
		}
		p.mu.Lock()
		p.told = ""
		p.mu.Unlock()
		p.dialog.Do("REFER", "", nil, func(res *sip.Message, err error) {
			switch {
			case err != nil:
				final <- 408
			case res.Status >= 200:
				final <- res.Status
			}
		}, sip.Field{Name: "Refer-To", Value: target})
	})
	return <-final
}

// hasHeard is what the phone was told of its transfer.
func (p *seat) hasHeard() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.told
}
