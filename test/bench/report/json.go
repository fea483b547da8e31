package report

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/sipward/sipward/test/bench/compare"
)

// quickNames are the suites' short names in keys of Ratios.
var quickNames = map[string]string{
	"AEAD_AES_128_GCM":        "gcm",
	"AES_CM_128_HMAC_SHA1_80": "cm",
}

// Key names a case in Ratios: one call has ports of its own.
func Key(suite string, calls int) string {
	short, ok := quickNames[suite]
	if !ok {
		short = strings.ToLower(suite)
	}
	return "percall_" + short + "_" + strconv.Itoa(calls)
}

// yardstick is the number of calls that rtpengine carries well.
const yardstick = 500

// Ratios writes one JSON object: for each case the ratio of CPU time per packet,
// sipward's by rtpengine's, null where there is none; "p99_us", sipward's added
// latency at the 99th percentile in microseconds; and where something is null
// "reason", why, by the same keys. A case in which rtpengine was overrun has the ratio
// to what rtpengine takes at 500 calls, and the reason says so.
func Ratios(cases []*compare.Case) ([]byte, error) {
	object, p99, reason := map[string]any{}, map[string]any{}, map[string]string{}
	for _, c := range cases {
		key := Key(c.Suite, c.Calls)
		object[key], p99[key] = nil, nil
		if ratio, _, _, ok := c.Ratio(); ok {
			object[key] = math.Round(ratio*1000) / 1000
		} else {
			reason[key] = c.Reason()
			if ratio, ok := toYardstick(c, cases); ok {
				object[key] = math.Round(ratio*1000) / 1000
				reason[key] += fmt.Sprintf("; this is the ratio to what it takes at %d calls", yardstick)
			}
		}
		if c.Has(compare.Sipward) {
			p99[key] = math.Round(float64(c.Latency(compare.Sipward).P99) / float64(time.Microsecond))
		}
	}
	object["p99_us"] = p99
	if len(reason) > 0 {
		object["reason"] = reason
	}
	return json.Marshal(object)
}

// toYardstick is the ratio to what rtpengine takes at 500 calls under the same suite.
func toYardstick(c *compare.Case, cases []*compare.Case) (ratio float64, ok bool) {
	for _, other := range cases {
		if other.Suite == c.Suite && other.Calls == yardstick {
			return c.RatioTo(other)
		}
	}
	return 0, false
}
