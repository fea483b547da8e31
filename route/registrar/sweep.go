package registrar

import (
	"context"
	"time"
)

const (
	sweepEvery = 30 * time.Second
	sweepBatch = 512 // records that one Delete removes
)

// Run sweeps every 30 seconds until ctx ends.
func (r *Registrar) Run(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if _, err := r.Sweep(); err != nil {
				r.o.Log.Warn("bindings that expired are still kept; they are taken for expired after a restart too", "error", err)
			}
		}
	}
}

// Sweep takes bindings that have expired out of memory and returns how many.
// Records of addresses that have no other binding are removed from the keeper;
// the error is the keeper's and leaves nothing undone but that. One sweep runs
// at a time; another one called meanwhile returns at once.
func (r *Registrar) Sweep() (expired int, err error) {
	select {
	case r.sweeping <- struct{}{}:
		defer func() { <-r.sweeping }()
	default:
		return 0, nil
	}
	now := r.o.Now()
	var empty []*emptied
	r.mu.Lock()
	if r.earliest.IsZero() || now.Before(r.earliest) {
		r.mu.Unlock()
		return 0, nil
	}
	r.earliest = time.Time{}
	for aor, u := range r.users {
		alive := live(u.bindings, now)
		if len(alive) == len(u.bindings) {
			r.expect(u.bindings)
			continue
		}
		select {
		case u.turn <- struct{}{}:
		default:
			// A Register is under way and counts with these bindings. What it
			// leaves of them, the next sweep takes.
			r.expect(u.bindings)
			continue
		}
		gone := len(u.bindings) - len(alive)
		expired += gone
		r.total -= gone
		r.publish(u, alive)
		if len(alive) > 0 || r.o.Keeper == nil {
			// The record still has the expired ones; whoever loads it drops them.
			<-u.turn
			r.drop(aor, u)
			continue
		}
		u.calls++
		empty = append(empty, &emptied{aor, u})
	}
	r.mu.Unlock()
	// The turns of the emptied addresses are held until their records are gone:
	// a Register meanwhile would have its record deleted.
	for len(empty) > 0 {
		batch := empty[:min(len(empty), sweepBatch)]
		empty = empty[len(batch):]
		keys := make([]string, len(batch))
		for i, e := range batch {
			keys[i] = e.aor
		}
		if failed := r.o.Keeper.Delete(keys...); failed != nil {
			err = failed
		}
		for _, e := range batch {
			r.leave(e.aor, e.user)
		}
	}
	return expired, err
}

// emptied is an address whose bindings have all expired; its turn is held.
type emptied struct {
	aor  string
	user *user
}

// forget removes records.
func (r *Registrar) forget(keys []string) error {
	for len(keys) > 0 {
		batch := keys[:min(len(keys), sweepBatch)]
		keys = keys[len(batch):]
		if err := r.o.Keeper.Delete(batch...); err != nil {
			return err
		}
	}
	return nil
}
