package auth

import "sync"

const (
	// maxNonces is how many nonces of one user are remembered, at 40 octets
	// each. A phone uses one; a PBX that answers each call's challenge afresh
	// needs as many as its answers may overtake one another.
	maxNonces = 256
	// countWindow is how far a count may lag behind the highest one, so that
	// requests which overtook one another on UDP are all taken.
	countWindow = 64
)

// counts remembers which nonce counts were used, so that none is taken twice
// (RFC 7616 section 3.4, nc). Entries are made by correct answers alone and at
// most maxNonces for a user: memory is bounded by the number of accounts.
//
// A nonce that is forgotten before its time must not come back. So the oldest
// goes first, and while a user has as many as are kept, an unknown nonce that
// is older than all of them is refused: at worst a phone is challenged once more.
type counts struct {
	lifetime int64 // nanoseconds, as of nonce.made

	mu    sync.Mutex
	users map[string]*spent
	swept int64 // when expired entries were last looked for
	// Nonces made before horizon may be forgotten already. Callers read the
	// clock before they wait for mu, so one may still think such a nonce alive.
	horizon int64
}

// spent are the nonces one user has used.
type spent struct{ list []used }

// used is one nonce: bit i of seen says that count max-i came.
type used struct {
	nonce
	max  uint32
	seen uint64
	once bool // used without a count: spent as a whole
}

func newCounts(lifetime int64) *counts {
	return &counts{lifetime: lifetime, users: make(map[string]*spent)}
}

// take says whether this use of the nonce is new, and notes it. An answer
// without a count (RFC 2069) uses the nonce up. now is the clock of nonce.made.
func (c *counts) take(user string, n nonce, count uint32, counted bool, now int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now-c.swept >= c.lifetime {
		c.sweep(now)
	}
	if n.made < c.horizon {
		return false
	}
	s := c.users[user]
	if s == nil {
		s = new(spent)
		c.users[user] = s
	}
	for i := range s.list {
		if s.list[i].nonce == n {
			return counted && s.list[i].take(count)
		}
	}
	if len(s.list) == maxNonces {
		s.expire(c.expired(now))
	}
	if len(s.list) == maxNonces {
		oldest := 0
		for i := range s.list {
			if s.list[i].made < s.list[oldest].made {
				oldest = i
			}
		}
		if n.made <= s.list[oldest].made {
			return false
		}
		s.list[oldest] = s.list[len(s.list)-1]
		s.list = s.list[:len(s.list)-1]
	}
	s.list = append(s.list, used{nonce: n, max: count, seen: 1, once: !counted})
	return true
}

// take is a replay window over counts.
func (u *used) take(count uint32) bool {
	if u.once {
		return false
	}
	if count > u.max {
		u.seen = u.seen<<(count-u.max) | 1 // a shift of 64 and more leaves 0
		u.max = count
		return true
	}
	back := u.max - count
	if back >= countWindow || u.seen&(1<<back) != 0 {
		return false
	}
	u.seen |= 1 << back
	return true
}

// expired returns the time before which nonces are too old, and holds to it.
func (c *counts) expired(now int64) int64 {
	c.horizon = max(c.horizon, now-c.lifetime)
	return c.horizon
}

// expire drops the nonces made before that time.
func (s *spent) expire(before int64) {
	kept := s.list[:0]
	for _, u := range s.list {
		if u.made >= before {
			kept = append(kept, u)
		}
	}
	s.list = kept
}

// sweep drops what has expired of every user. It runs once a lifetime, so that
// its cost is spread over the answers of that time.
func (c *counts) sweep(now int64) {
	c.swept = now
	before := c.expired(now)
	for user, s := range c.users {
		s.expire(before)
		if len(s.list) == 0 {
			delete(c.users, user)
		} else if cap(s.list) > 4*len(s.list) {
			s.list = append([]used(nil), s.list...) // a busy hour's room is given back
		}
	}
}
