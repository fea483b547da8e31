package configs

import (
	"strconv"
)

// Limits are what one caller, and all together, may take of this sipward.
// Emergency calls are under none of them. A user is an account whose password was
// given, or where nobody is asked for one, a From with its address; a source is an
// address outside that is no listed peer's.
type Limits struct {
	Calls             int // at once
	CallsPerUser      int // at once
	CallsPerSource    int // at once
	RequestsPerUser   int // INVITE and REGISTER a second
	RequestsPerSource int // INVITE a second
}

// defaultLimits suit an office whose PBX shows its main number for everybody, and
// whose unlisted partners have offices, too.
var defaultLimits = Limits{Calls: 4096, CallsPerUser: 100, CallsPerSource: 30, RequestsPerUser: 10, RequestsPerSource: 2}

// maxLimit bounds each of them.
const maxLimit = 1_000_000

func (d *document) limits(v value, c *Config) {
	f := d.section(v, "calls", "calls_per_user", "calls_per_source", "requests_per_user", "requests_per_source")
	c.Limits = defaultLimits
	for key, limit := range map[string]*int{
		"calls": &c.Limits.Calls, "calls_per_user": &c.Limits.CallsPerUser, "calls_per_source": &c.Limits.CallsPerSource,
		"requests_per_user": &c.Limits.RequestsPerUser, "requests_per_source": &c.Limits.RequestsPerSource,
	} {
		if n, ok := f[key]; ok {
			d.limit(n, limit)
		}
	}
}

func (d *document) limit(v value, limit *int) {
	s, ok := d.text(v)
	if !ok {
		return
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 || n > maxLimit {
		d.fail(v.path, "%s is not a number from 1 to %d", show(s), maxLimit)
		return
	}
	*limit = int(n)
}
