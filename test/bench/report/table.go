package report

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/sipward/sipward/test/bench/compare"
)

// Table writes the cases and the calls held in Markdown.
func Table(cases []*compare.Case, held []compare.Held) string {
	var b strings.Builder
	b.WriteString("| suite | calls | sipward | rtpengine | ratio (least to most) | sipward adds p50 / p99 / p99.9 | rtpengine adds |\n|---|---|---|---|---|---|---|\n")
	for _, c := range cases {
		if !c.Has(compare.Sipward) {
			fmt.Fprintf(&b, "| %s | %d | – | – | – | – | – |\n", c.Suite, c.Calls)
			continue
		}
		ratio, theirs, theirLatency := "–", "–", "–"
		if mid, least, most, ok := c.Ratio(); ok {
			ratio = fmt.Sprintf("**%.2f** (%.2f to %.2f)", mid, least, most)
			theirs, theirLatency = cpu(c, compare.RTPEngine), latency(c, compare.RTPEngine)
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s | %s | %s |\n", c.Suite, c.Calls,
			cpu(c, compare.Sipward), theirs, ratio, latency(c, compare.Sipward), theirLatency)
	}
	if len(held) > 0 {
		b.WriteString("\n| suite | relay | calls held |\n|---|---|---|\n")
		for _, h := range held {
			more := ""
			if h.AtLeast {
				more = "at least "
			}
			fmt.Fprintf(&b, "| %s | %s | %s%d |\n", h.Suite, h.Relay, more, h.Calls)
		}
	}
	return b.String()
}

func cpu(c *compare.Case, relay string) string {
	return fmt.Sprintf("%.2f µs", microseconds(c.PerPacket(relay)))
}

func latency(c *compare.Case, relay string) string {
	l := c.Latency(relay)
	text := fmt.Sprintf("%.0f / %.0f / %.0f µs", microseconds(l.P50), microseconds(l.P99), microseconds(l.P999))
	if loss := c.Loss(relay); loss > 0 {
		text += fmt.Sprintf(", %.2f %% lost", 100*loss)
	}
	return text
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// The markers between which Replace writes.
const (
	begin = "<!-- bench: begin, written by make bench -->\n"
	end   = "<!-- bench: end -->\n"
)

// Replace writes text between the markers of a file. It is an error that they
// are not there, once each and in order.
func Replace(file, text string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(b), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 || strings.Contains(after, begin) || strings.Contains(after, end) {
		return fmt.Errorf("%s: the lines %q and %q must be there once each, in this order", file, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return os.WriteFile(file, []byte(before+begin+text+end+after), 0o644)
}
