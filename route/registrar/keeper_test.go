package registrar

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// keeper is a Keeper for tests: it can fail, and be slow.
type keeper struct {
	mu      sync.Mutex
	records map[string]string
	fail    error
	slow    time.Duration // Save takes so long, Delete twice
	deletes int
}

func newKeeper() *keeper { return &keeper{records: map[string]string{}} }

func (k *keeper) Load(fn func(key string, value []byte) error) error {
	if k.fail != nil {
		return k.fail
	}
	for _, key := range slices.Sorted(maps.Keys(k.records)) {
		if err := fn(key, []byte(k.records[key])); err != nil {
			return err
		}
	}
	return nil
}

func (k *keeper) Save(key string, value []byte) error {
	return k.do(k.slow, func() { k.records[key] = string(value) })
}

func (k *keeper) Delete(keys ...string) error {
	return k.do(2*k.slow, func() {
		k.deletes++
		for _, key := range keys {
			delete(k.records, key)
		}
	})
}

func (k *keeper) do(slow time.Duration, fn func()) error {
	if slow > 0 {
		time.Sleep(slow) // within a bubble
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail == nil {
		fn()
	}
	return k.fail
}

func counts(r *Registrar, k *keeper) string {
	n := r.Len()
	r.mu.Lock()
	defer r.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	return fmt.Sprintf("%d bindings, %d counted, %d users, %d records, %d deletes", n, r.total, len(r.users), len(k.records), k.deletes)
}

// A keeper that fails leaves the bindings as they were.
func TestKeeperFails(t *testing.T) {
	t.Parallel()
	c := newClock()
	k := newKeeper()
	r := newTest(t, Options{Keeper: k, Now: c.Now, MaxBindings: 2})
	if _, err := r.Register(alice, request("x", 1, set("sip:a@h1", 600))); err != nil {
		t.Fatal(err)
	}
	k.fail = errors.New("disk full")
	for i, req := range []Request{
		request("x", 2, set("sip:a@h1", 700)),
		request("x", 2, set("sip:a@h2", 700)),
		request("x", 2, set("sip:a@h1", 0)),
		request("x", 2, set("*", 0)),
	} {
		_, err := r.Register(alice, req)
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Status != 500 || !errors.Is(err, k.fail) || err.Error() != "the bindings could not be kept: disk full" {
			t.Errorf("request %d: %v", i, err)
		}
		if got := shown(r.Lookup(alice), c.now); got != "a@h1+600" {
			t.Errorf("behind request %d: %s", i, got)
		}
	}
	if _, err := r.Register("sip:bob@a.example", request("x", 1, set("sip:b@h1", 600))); !errors.Is(err, k.fail) {
		t.Errorf("another user: %v", err)
	}
	if r.total != 1 || len(r.users) != 1 {
		t.Errorf("%d bindings and %d users counted", r.total, len(r.users))
	}
	c.now = c.now.Add(time.Hour)
	if n, err := r.Sweep(); n != 1 || !errors.Is(err, k.fail) || r.total != 0 || len(r.users) != 0 {
		t.Errorf("swept %d, %v; %d bindings and %d users left", n, err, r.total, len(r.users))
	}
	k.fail = nil
	if r := newTest(t, Options{Keeper: k, Now: c.Now}); r.Len() != 0 || len(k.records) != 0 {
		t.Errorf("a restart finds %d bindings and leaves %d records", r.Len(), len(k.records))
	}
}

// Register returns when the keeper has, other users do not wait for that, and
// callers see nothing before.
func TestSlowKeeper(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper()
		k.slow = time.Second
		r := newTest(t, Options{Keeper: k})
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				if _, err := r.Register(fmt.Sprintf("sip:u%d@a.example", i), request("x", 1, set("sip:u@h1", 600))); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(999 * time.Millisecond)
		synctest.Wait()
		if n := r.Len(); n != 0 {
			t.Errorf("%d bindings are seen that are not durable", n)
		}
		wg.Wait()
		if took := time.Since(start); took != time.Second || r.Len() != 100 {
			t.Errorf("%d users took %v", r.Len(), took)
		}

		// Requests of one user take turns, and none is lost.
		start = time.Now()
		for i := range 5 {
			wg.Go(func() {
				if _, err := r.Register(alice, request(fmt.Sprint(i), 1, set(fmt.Sprintf("sip:a@h%d", i), 600))); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if took, n := time.Since(start), len(r.Lookup(alice)); took != 5*time.Second || n != 5 {
			t.Errorf("%d requests of one user took %v", n, took)
		}
		if n := len(newTest(t, Options{Keeper: k}).Lookup(alice)); n != 5 {
			t.Errorf("%d of 5 bindings are kept", n)
		}
	})
}

func TestSweep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper()
		r := newTest(t, Options{Keeper: k})
		const n = sweepBatch + 100
		for i := range n {
			changes := []Change{set("sip:u@h1", 60)}
			switch i {
			case 0:
				changes = []Change{set("sip:u@h2", 600)}
			case 1:
				changes = append(changes, set("sip:u@h3", 700))
			}
			if _, err := r.Register(fmt.Sprintf("sip:u%d@a.example", i), request("x", 1, changes...)); err != nil {
				t.Fatal(err)
			}
		}
		ended := make(chan struct{})
		go func() { r.Run(t.Context()); close(ended) }()
		sleep := func(d time.Duration) { time.Sleep(d); synctest.Wait() }
		sleep(60*time.Second - 1)
		if got := len(r.All()); got != n+1 { // two for the second user
			t.Errorf("a moment before: %d bindings", got)
		}
		sleep(1)
		if got := shown(r.All(), time.Now()); got != "u@h2+540, u@h3+640" {
			t.Errorf("at the moment: %s", got)
		}
		sleep(sweepEvery)
		if got := counts(r, k); got != "2 bindings, 2 counted, 2 users, 2 records, 2 deletes" {
			t.Errorf("swept: %s", got)
		}
		r.mu.Lock()
		if left := time.Until(r.earliest); left != 510*time.Second {
			t.Errorf("the next sweep looks in %v", left)
		}
		r.mu.Unlock()
		sleep(700 * time.Second)
		if got := counts(r, k); got != "0 bindings, 0 counted, 0 users, 0 records, 4 deletes" {
			t.Errorf("at the end: %s", got)
		}
		select {
		case <-ended:
			t.Error("Run ended before its context")
		default:
		}
	})
}

// A sweep and a Register of the same address do not undo one another.
func TestSweepMeetsRegister(t *testing.T) {
	t.Parallel()
	for _, sweepFirst := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			k := newKeeper()
			r := newTest(t, Options{Keeper: k})
			if _, err := r.Register(alice, request("x", 1, set("sip:a@h1", 60))); err != nil {
				t.Fatal(err)
			}
			k.slow = time.Second
			time.Sleep(time.Minute)
			var wg sync.WaitGroup
			sweep := func() { r.Sweep() }
			register := func() {
				if _, err := r.Register(alice, request("x", 2, set("sip:a@h1", 60))); err != nil {
					t.Error(err)
				}
			}
			first, second := register, sweep
			if sweepFirst {
				first, second = sweep, register
			}
			wg.Go(first)
			synctest.Wait()
			wg.Go(second)
			wg.Wait()
			if n, kept := len(r.Lookup(alice)), len(k.records); n != 1 || kept != 1 || r.total != 1 {
				t.Errorf("sweep first %v: %d bindings, %d records, %d counted", sweepFirst, n, kept, r.total)
			}
		})
	}
}

// What a sweep left to a Register that then fails, the next one takes.
func TestSweepMeetsFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper()
		r := newTest(t, Options{Keeper: k})
		if _, err := r.Register(alice, request("x", 1, set("sip:a@h1", 60))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		k.slow, k.fail = time.Second, errors.New("disk full")
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := r.Register(alice, request("x", 2, set("sip:a@h1", 60))); !errors.Is(err, k.fail) {
				t.Error(err)
			}
		})
		synctest.Wait()
		if n, err := r.Sweep(); n != 0 || err != nil {
			t.Errorf("a sweep meanwhile took %d bindings, %v", n, err)
		}
		wg.Wait()
		k.fail = nil
		if n, err := r.Sweep(); n != 1 || err != nil || r.Len() != 0 {
			t.Errorf("a later sweep took %d bindings, %v; %d are left", n, err, r.Len())
		}
	})
}

// Sweeps do not run into one another.
func TestSweepsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper()
		r := newTest(t, Options{Keeper: k})
		if _, err := r.Register(alice, request("x", 1, set("sip:a@h1", 60))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		k.slow = time.Second
		var wg sync.WaitGroup
		total := make(chan int, 10)
		for range 10 {
			wg.Go(func() { n, _ := r.Sweep(); total <- n })
		}
		wg.Wait()
		close(total)
		sum := 0
		for n := range total {
			sum += n
		}
		if sum != 1 || k.deletes != 1 || len(r.users) != 0 {
			t.Errorf("swept %d bindings with %d deletes, %d users left", sum, k.deletes, len(r.users))
		}
	})
}

// Many users and sweeps at once leave counts that agree with what is held.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	c := newClock()
	var mu sync.Mutex
	now := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		c.now = c.now.Add(time.Second)
		return c.now
	}
	k := newKeeper()
	r := newTest(t, Options{Keeper: k, MaxBindings: 40, Now: now})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 300 {
				aor := fmt.Sprintf("sip:u%d@a.example", (w+i)%20)
				contact := fmt.Sprintf("sip:u@h%d", i%4)
				seconds := 60 * (i % 3)
				_, err := r.Register(aor, request(fmt.Sprint(w), uint32(i), set(contact, seconds)))
				var refusal *Refusal
				if err != nil && (!errors.As(err, &refusal) || refusal.Status != 503) {
					t.Error(err)
				}
				r.Lookup(aor)
			}
		})
	}
	wg.Go(func() {
		for range 200 {
			r.Sweep()
			r.All()
			if n := r.Len(); n > 40 {
				t.Errorf("%d bindings of at most 40", n)
			}
		}
	})
	wg.Wait()
	held := 0
	for aor, u := range r.users {
		held += len(u.bindings)
		if u.calls != 0 || len(u.bindings) == 0 {
			t.Errorf("%s: %d calls under way, %d bindings", aor, u.calls, len(u.bindings))
		}
		bindings, err := decode(aor, []byte(k.records[aor]))
		if err != nil || len(bindings) < len(u.bindings) {
			t.Errorf("%s: %d bindings held, %d kept, %v", aor, len(u.bindings), len(bindings), err)
		}
	}
	if held != r.total || held != r.Len() || len(k.records) != len(r.users) {
		t.Errorf("%d bindings held, %d counted; %d users, %d records", held, r.total, len(r.users), len(k.records))
	}
}

// What a keeper holds is not taken as it is.
func TestLoad(t *testing.T) {
	t.Parallel()
	c := newClock()
	k := newKeeper()
	r := newTest(t, Options{Keeper: k, Now: c.Now, MaxExpires: 2 * time.Hour})
	for i := range 4 {
		if _, err := r.Register(alice, request("x", uint32(i), set(fmt.Sprintf("sip:a@h%d", i), 7200))); err != nil {
			t.Fatal(err)
		}
		c.now = c.now.Add(time.Second)
	}
	if _, err := r.Register("sip:bob@a.example", request("x", 1, set("sip:b@h1", 7200))); err != nil {
		t.Fatal(err)
	}
	k.records["nonsense"] = k.records[alice]
	k.records["sip:eve@a.example"] = "{"
	load := func(o Options) (string, string) {
		t.Helper()
		o.Keeper, o.Now = k, c.Now
		log := new(strings.Builder)
		o.Log = textLog(log)
		return shown(newTest(t, o).All(), c.now), log.String()
	}
	got, log := load(Options{MaxExpires: 2 * time.Hour})
	if got != "a@h3+7199, a@h2+7198, a@h1+7197, a@h0+7196, b@h1+7200" || strings.Count(log, "cannot be read") != 2 || !strings.Contains(log, "eve") {
		t.Errorf("got %s; log %s", got, log)
	}
	if got, _ := load(Options{}); got != "a@h3+3600, a@h2+3600, a@h1+3600, a@h0+3600, b@h1+3600" {
		t.Errorf("a shorter interval: %s", got)
	}
	if got, _ := load(Options{MaxPerUser: 2}); got != "a@h3+3600, a@h2+3600, b@h1+3600" {
		t.Errorf("fewer for a user: %s", got)
	}
	if got, log := load(Options{MaxBindings: 3}); got != "b@h1+3600" || !strings.Contains(log, "over=4") {
		t.Errorf("fewer in all: %s; log %s", got, log)
	}
	// A clock set back by a year does not make bindings last for one.
	c.now = c.now.AddDate(-1, 0, 0)
	if got, _ := load(Options{}); got != "a@h0+3600, a@h1+3600, a@h2+3600, a@h3+3600, b@h1+3600" {
		t.Errorf("a clock set back: %s", got)
	}
	c.now = c.now.AddDate(2, 0, 0)
	if got, _ := load(Options{}); got != "" || len(k.records) != 2 {
		t.Errorf("a year later: %s, %d records", got, len(k.records))
	}
}
