package b2bua

import (
	mathrand "math/rand/v2"
	"strings"
	"time"

	"github.com/sipward/sipward/sip"
	"github.com/sipward/sipward/sip/auth"
)

// When a trunk asks again.
const (
	firstRetry      = 4 * time.Second // doubles with each failure in a row, to
	longestRetry    = 5 * time.Minute
	refusedRetry    = time.Hour       // after a refusal that a person has to mend
	steadyFlow      = time.Minute     // what lives shorter is not opened again at once
	shortestRenewal = 5 * time.Second // whatever a provider grants
)

// renewal is when a registration is renewed: early enough for two servers that
// do not answer, and not all trunks at the same moment.
func renewal(d time.Duration) time.Duration {
	early := min(d/2, max(70*time.Second, d/10))
	return max(shortestRenewal, d-early-mathrand.N(d/20+1))
}

// lost: the connection has ended, and no call would reach this proxy over it. A
// new one is opened at once, unless they end all the time.
func (t *trunk) lost(err error) {
	if t.leaving {
		return
	}
	if time.Since(t.since) >= steadyFlow {
		t.drops = 0
	}
	t.drops++
	t.until = time.Time{}
	wait := time.Duration(0)
	if t.drops > 1 {
		wait = backoff(t.drops - 1)
	}
	t.p.log.Info("the connection to the provider has ended", "peer", t.Peer, "server", t.hop.Addr, "error", err, "again-in", wait.String())
	t.stop()
	t.show(trunkRegistering, "the connection has ended", time.Now().Add(wait))
	t.after(wait, t.begin)
}

// backoff is the wait after a number of failures, between half of what it has
// grown to and all of it.
func backoff(failures int) time.Duration {
	d := min(longestRetry, firstRetry<<min(failures-1, 10))
	return d/2 + mathrand.N(d/2)
}

// retryAfter is how long a registrar asks to be left alone (RFC 3261 section
// 20.33); what stands behind the seconds is for people.
func retryAfter(res *sip.Message) time.Duration {
	s, _, _ := strings.Cut(res.Get("Retry-After"), ";")
	s, _, _ = strings.Cut(s, "(")
	return max(0, interval(s))
}

// later: no server has taken the registration, and the next round may do better.
func (t *trunk) later(why string) {
	t.failures++
	wait := max(backoff(t.failures), min(t.wait, refusedRetry))
	t.p.log.Warn("not registered with the provider", "peer", t.Peer, "why", why, "again-in", wait.Round(time.Second).String())
	t.failed(trunkFailing, why, wait)
}

// refused: the provider does not want this account. Asking again soon would only
// have the address shut out.
func (t *trunk) refused(why, fix string) {
	t.failures++
	wait := refusedRetry - mathrand.N(refusedRetry/10)
	t.p.log.Error("the provider refuses the registration", "peer", t.Peer, "why", why, "fix", fix+"; then start sipward again", "again-in", wait.Round(time.Second).String())
	t.session = auth.NewSession(t.Credentials) // the next try answers a new question
	t.failed(trunkRefused, why+": "+fix, wait)
}

func (t *trunk) failed(state, why string, wait time.Duration) {
	t.stop()
	if !time.Now().Before(t.until) {
		t.at.Store(nil)
		if t.stopAlive != nil {
			t.stopAlive()
			t.stopAlive = nil
		}
	}
	t.show(state, why, time.Now().Add(wait))
	t.after(wait, t.begin)
}
