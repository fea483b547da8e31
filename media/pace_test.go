package media

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	run := func(p *pace, from time.Duration, rounds int, every time.Duration, packets int) (pauses int, now time.Duration) {
		for i := range rounds {
			now = from + time.Duration(i)*every
			if d, _ := p.pause(packets, now, now+ms/10); d > 0 {
				pauses++
			}
		}
		return pauses, now
	}
	p := pace{bound: ms}
	if n, _ := run(&p, 0, 1000, 10*ms, 1); n != 0 {
		t.Errorf("a lone call waits %d times", n)
	}
	if n, _ := run(&p, 10*time.Second, 1000, ms/3, 1); n != 0 {
		t.Errorf("thirty calls wait %d times", n)
	}
	n, now := run(&p, 20*time.Second, 1000, ms, 10)
	if n < 980 {
		t.Errorf("a hundred calls wait only %d times of 1000", n)
	}
	if got, _ := p.pause(10, now+ms, now+ms+ms/10); got != ms-ms/10 {
		t.Errorf("pause of %v: rounds are not a millisecond apart", got)
	}
	if got, busy := p.pause(100, now+2*ms, now+4*ms); got != 0 || !busy {
		t.Errorf("pause of %v after a long round, busy %v", got, busy)
	}
	// The calls end: the first packet after that is not held up for long.
	if n, _ := run(&p, now+2*time.Second, 1000, 10*ms, 1); n > 1 {
		t.Errorf("a lone call after a hundred waits %d times", n)
	}
	for _, never := range []time.Duration{0, -1} {
		p := pace{bound: never}
		if n, _ := run(&p, 0, 1000, ms, 100); n != 0 {
			t.Errorf("bound %v, and it waits %d times", never, n)
		}
	}
}
