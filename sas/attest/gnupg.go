package attest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	refreshWithin = 30 * time.Second // what reading a large keyring may take
	retryAfter    = 5 * time.Second  // a failed attempt, so that calls do not start one each
	exportAtOnce  = 256              // keys that one run of gpg is asked for
)

// GnuPG is the live keyring of GnuPG: which user IDs are trusted says GnuPG itself,
// with its owner's trust settings, and so do revocations that it has learned of.
//
// It lists all keys, and exports those of which a user ID has full or ultimate
// validity, in two runs of gpg, whatever outsiders ask for; checks are made here
// in memory. A list that is older than Refresh is read again beside the calls
// that use it; for one older than MaxAge a check waits, at most Timeout. A user
// ID that was certified, or a key that was revoked, so counts from the second
// call on, and after MaxAge for the first one too.
type GnuPG struct {
	gpg                      gpg
	timeout, refresh, maxAge time.Duration
	ctx                      context.Context
	cancel                   context.CancelFunc

	mu      sync.Mutex
	have    *gnupgKeys    // nil before the first
	running chan struct{} // closed when the attempt ends; nil: none runs
	failed  error         // of the last attempt
	tried   time.Time     // when it ended
	closed  bool
}

// gnupgKeys is what was read at one time. It is never changed.
type gnupgKeys struct {
	at      time.Time // before gpg was asked
	keys    *keySet   // those with a trusted user ID
	trusted map[string]map[string]bool
	why     map[string]string // of the others
}

// NewGnuPG starts to read the keyring and does not wait for it: that gpg is
// missing is said by the checks.
func NewGnuPG(o GnuPGOptions) *GnuPG {
	g := &GnuPG{
		gpg:     o.gpg(),
		timeout: orDefault(o.Timeout, 2*time.Second),
		refresh: orDefault(o.Refresh, 30*time.Second),
		maxAge:  orDefault(o.MaxAge, 5*time.Minute),
	}
	g.refresh = min(g.refresh, g.maxAge)
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.mu.Lock()
	defer g.mu.Unlock()
	g.start()
	return g
}

// Close kills a gpg that runs and waits for its end. Checks then are Unchecked.
func (g *GnuPG) Close() {
	g.cancel()
	g.mu.Lock()
	g.closed = true
	running := g.running
	g.mu.Unlock()
	if running != nil {
		<-running
	}
}

// start reads the keyring unless somebody does already, or has failed just now.
// mu is held. It returns nil where it has not begun anything.
func (g *GnuPG) start() chan struct{} {
	if g.running != nil || g.closed {
		return g.running
	}
	if g.failed != nil && time.Since(g.tried) < retryAfter {
		return nil
	}
	done := make(chan struct{})
	g.running = done
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(g.ctx, refreshWithin)
		defer cancel()
		k, err := g.gpg.keys(ctx)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.running, g.failed, g.tried = nil, err, time.Now()
		if err == nil {
			g.have = k
		}
	}()
	return done
}

// current gives keys that are younger than maxAge, or than this very request.
func (g *GnuPG) current(ctx context.Context) (*gnupgKeys, error) {
	begin := time.Now()
	timer := time.NewTimer(g.timeout)
	defer timer.Stop()
	for {
		g.mu.Lock()
		have, failed, closed := g.have, g.failed, g.closed
		var running chan struct{}
		fresh := have != nil && time.Since(have.at) < g.refresh
		if !fresh {
			running = g.start()
		}
		g.mu.Unlock()
		switch {
		case closed:
			return nil, errors.New("the keyring is closed")
		case have != nil && (time.Since(have.at) < g.maxAge || have.at.After(begin)):
			return have, nil
		case running == nil:
			return nil, failed
		}
		select {
		case <-running:
		case <-ctx.Done():
			return nil, fmt.Errorf("%s has not answered in time", g.gpg.program)
		case <-timer.C:
			return nil, fmt.Errorf("%s has not answered within %s", g.gpg.program, g.timeout)
		}
	}
}

// keys asks gpg for everything.
func (g gpg) keys(ctx context.Context) (*gnupgKeys, error) {
	k := &gnupgKeys{at: time.Now(), keys: newKeySet(), trusted: map[string]map[string]bool{}, why: map[string]string{}}
	out, err := g.run(ctx, nil, maxListing, "--with-colons", "--fixed-list-mode", "--list-keys")
	if err != nil {
		return nil, err
	}
	list, err := parseListing(out)
	if err != nil {
		return nil, err
	}
	var wanted []string
	for _, l := range list {
		switch {
		case l.why != "":
			k.why[l.fingerprint] = l.why
		case len(l.trusted) == 0:
			k.why[l.fingerprint] = "is not trusted by GnuPG under any of its user IDs; gpg --lsign-key " + l.fingerprint + " does that"
		default:
			k.trusted[l.fingerprint] = l.trusted
			wanted = append(wanted, l.fingerprint)
		}
	}
	for len(wanted) > 0 {
		n := min(len(wanted), exportAtOnce)
		out, err := g.run(ctx, nil, maxExport, append([]string{"--export"}, wanted[:n]...)...)
		if err != nil {
			return nil, err
		}
		// What is not read of it is said of each key by itself: GnuPG knows kinds
		// of keys that are not known here.
		_ = k.keys.add(out)
		for _, f := range wanted[:n] {
			if k.keys.certificates[f] == nil {
				k.why[f] = "is of a kind that is not known here"
			}
		}
		wanted = wanted[n:]
	}
	return k, nil
}

// Verify implements [Keyring].
func (g *GnuPG) Verify(ctx context.Context, fingerprint, identity string, text, signature []byte) Result {
	k, err := g.current(ctx)
	if err != nil {
		return Result{Why: "GnuPG's keyring cannot be asked: " + err.Error()}
	}
	if why := k.why[fingerprint]; why != "" {
		return Result{Why: "the OpenPGP key " + fingerprint + " " + why}
	}
	trusted := k.trusted[fingerprint]
	return k.keys.verify(fingerprint, identity, text, signature, func(userID string) bool { return trusted[userID] })
}

// Usable implements [Keyring].
func (g *GnuPG) Usable(ctx context.Context, identity string) bool {
	k, err := g.current(ctx)
	return err == nil && k.keys.usable(identity, func(c *certificate, userID string) bool { return k.trusted[c.fingerprint][userID] })
}
