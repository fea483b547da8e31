package compare

// Held is how many calls a relay holds.
type Held struct {
	Suite, Relay string
	Calls        int
	// AtLeast says that more may be possible: the search ended at its bound, or
	// where the generator could not follow.
	AtLeast bool
}

// verdict is what one probe says.
type verdict int

const (
	fails verdict = iota
	holds
	spoiled // says nothing: the generator fell short
)

// search finds the greatest multiple of step, at most most, at which probe
// holds, as if one that holds made all lower ones hold.
func search(from, most, step int, probe func(calls int) (verdict, error)) (Held, error) {
	low, high := 0, 0 // known to hold; known not to, 0: none known
	limit := false    // high is the generator's
	for next := from; high == 0 && low < most; next = min(most, max(round(next+next/4, step), next+step)) {
		v, err := probe(next)
		if err != nil {
			return Held{}, err
		}
		if v == holds {
			low = next
		} else {
			high, limit = next, v == spoiled
		}
	}
	if high == 0 {
		return Held{Calls: low, AtLeast: true}, nil
	}
	for high-low > step {
		mid := round((low+high)/2, step)
		if mid <= low {
			mid = low + step
		}
		if mid >= high {
			break
		}
		v, err := probe(mid)
		if err != nil {
			return Held{}, err
		}
		if v == holds {
			low = mid
		} else {
			high, limit = mid, v == spoiled
		}
	}
	return Held{Calls: low, AtLeast: limit}, nil
}

func round(n, step int) int { return n / step * step }
