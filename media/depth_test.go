package media

import "testing"

// A socket that may hold more is asked for little more than it holds, and for most
// of it at each visit.
func TestDepth(t *testing.T) {
	t.Parallel()
	const visits = 1000
	for _, holds := range []int{1, 2, 3, 5, 8, maxDepth, maxDepth + 1} {
		var d depth
		asked, got := 0, 0
		for range visits {
			n := d.asks(true)
			asked += n
			got += min(n, holds)
			d.held(min(n, holds))
		}
		if most := visits * min(holds, maxDepth); got < most*95/100 || asked > got*113/100 {
			t.Errorf("a socket of %d is asked %d times in %d visits, which finds %d", holds, asked, visits, got)
		}
	}
	var d depth
	for range visits {
		if n := d.asks(false); n != 1 {
			t.Fatalf("asked %d times where one packet is likely", n)
		}
		d.held(1)
	}
	for range 4 {
		d.held(d.asks(true))
	}
	if n := d.asks(true); n != maxDepth {
		t.Errorf("asked %d times where there were ever more", n)
	}
	d.held(0) // a fault
	if n := d.asks(true); n != 1 {
		t.Errorf("asked %d times behind a fault", n)
	}
}
