package keyexchange

import "time"

// Times of protocol §3, "Confirmation".
const (
	probeEvery   = 100 * time.Millisecond
	confirmAfter = 5 * time.Second // dh-fin to failure, and how long probes go on
	probeLonger  = time.Second     // how long probes go on behind the confirmation, within confirmAfter
)

// confirmation is the clock of one exchange. It counts the time since dh-fin
// during which the peer did not hold.
type confirmation struct {
	started, confirmed, held bool

	counted time.Duration // up to since
	since   time.Time     // when the clock last started to run
	until   time.Duration // confirmed: when probes end
	probes  int64         // how many points of the grid of probeEvery are behind
}

// elapsed is the time that counts against the 5 s. A clock that goes back
// counts nothing.
func (c *confirmation) elapsed(now time.Time) time.Duration {
	if c.held {
		return c.counted
	}
	return c.counted + max(0, now.Sub(c.since))
}

// Started says that dh-fin was sent (initiator) or taken (responder): the 5 s
// in which the exchange must be confirmed begin. No signature can be set any
// more. Before there are keys, and a second time, it does nothing.
func (x *Exchange) Started(now time.Time) {
	if x.confirmation.started || x.bind() != nil {
		return
	}
	x.confirmation.started, x.confirmation.since = true, now
}

// Held says that the other end holds (true) or goes on (false). While it
// holds it sends nothing, and both 5 s stand still: no probe is due and the
// exchange does not fail. Call Tick after it.
func (x *Exchange) Held(now time.Time, held bool) {
	c := &x.confirmation
	if c.held == held {
		return
	}
	if c.started {
		c.counted = c.elapsed(now)
		c.since = now
	}
	c.held = held
}

// Confirmed says that the first SRTP or SRTCP packet of the peer under this
// exchange's keys verified. Later than 5 s after Started it comes too late and
// the exchange has failed.
func (x *Exchange) Confirmed(now time.Time) {
	c := &x.confirmation
	if x.stage != stageKeyed || c.confirmed {
		return
	}
	if c.started && c.elapsed(now) >= confirmAfter {
		x.end(ErrUnconfirmed)
		return
	}
	c.confirmed, c.until = true, min(c.elapsed(now)+probeLonger, confirmAfter)
}

// IsConfirmed says whether the exchange is confirmed at this end. Only then is
// its SAS shown and a word above 'encrypted' said (protocol §4, §6). It stays
// true after Erase.
func (x *Exchange) IsConfirmed() bool { return x.confirmation.confirmed }

// MaySend says whether this end may send under the keys: both shares are known,
// and in a hybrid group the responder waits until its end is confirmed.
func (x *Exchange) MaySend() bool {
	if x.stage != stageAgreed && x.stage != stageKeyed {
		return false
	}
	return x.initiator || !x.group.hybrid || x.confirmation.confirmed
}

// Tick says what is due at now: a probe, which is SRTCP where this end may
// send and an empty UDP datagram in any case, every 100 ms from Started until
// a second after the exchange was confirmed; or that it has failed, 5 s after
// Started. The second is for the other end: where this end has no media to
// send, what confirms that one is a probe, and one alone may be lost. next is
// when to call again, zero when time alone brings nothing further. A late call
// gives one probe, not all that were missed.
func (x *Exchange) Tick(now time.Time) (probe, failed bool, next time.Time) {
	c := &x.confirmation
	if x.stage == stageOver {
		return false, x.err == ErrUnconfirmed, time.Time{}
	}
	if !c.started || c.held {
		return false, false, time.Time{}
	}
	elapsed := c.elapsed(now)
	if c.confirmed && elapsed >= c.until {
		return false, false, time.Time{}
	}
	if elapsed >= confirmAfter {
		x.end(ErrUnconfirmed)
		return false, true, time.Time{}
	}
	if elapsed >= time.Duration(c.probes)*probeEvery {
		probe = true
		c.probes = int64(elapsed/probeEvery) + 1
	}
	return probe, false, now.Add(time.Duration(c.probes)*probeEvery - elapsed)
}
